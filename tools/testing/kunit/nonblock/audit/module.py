# SPDX-License-Identifier: GPL-2.0-only
"""One compiled source file: its IR made ready to be put together with that of others.

Static functions get a name of their own, so that the table in one file can lead to the
function in another; nothing is kept from being inlined.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Optional

from . import ir

OPS = {'mmu_notifier_ops': 'range', 'mmu_interval_notifier_ops': 'interval'}
BUILT_FOR = re.compile(r'^; kbuild: (.*)$', re.MULTILINE)
KEPT = re.compile(r'^@llvm\.(?:compiler\.)?used = .*\n', re.MULTILINE)
ATTRIBUTES = re.compile(r'^attributes #\d+ = \{.*$', re.MULTILINE)
UNWANTED = re.compile(r' "[^"]*"(?:="[^"]*")?|\b(?:noinline|optnone|cold|optsize|minsize) ')
STATIC = re.compile(r'^define internal .*?@([\w.$]+)\(', re.MULTILINE)
VARIABLE = re.compile(r'^@([\w.$]+) = (?!external |extern_weak )[^"=]*?\bglobal (.*)$',
                      re.MULTILINE)
INDIRECT = re.compile(rf'^\s+(?:{ir.NAME} = )?(?:\w+ )?call (?!.*\basm\b)[^@]*?(%[\w.$]+)\(.*'
                      r'!dbg !(\d+)')
FIELD = re.compile(r'getelementptr (?:inbounds )?(?:nuw )?(?:nusw )?%(?:struct|union)\.([\w.]+), '
                   r'ptr [^,]+, i32 0, i32 (\d+)')


@dataclass(frozen=True)
class Slot:
    """A function pointer in a structure, by its type."""
    type: str
    index: int
    name: str = field(default='', compare=False)


@dataclass(frozen=True)
class Table:
    """Functions that are given to a structure: a constant, or one at run time (index)."""
    type: str
    name: str
    functions: tuple[str, ...]      # '' for none, '?' for what is not known
    where: Optional[ir.Place] = None


@dataclass(frozen=True)
class PointerCall:
    """A call through a pointer: the line of the text, and the structure it came from."""
    line: int
    slot: Optional[Slot]


def untyped(name: str) -> str:
    """The name of a structure, without the number that tells it from others."""
    return re.sub(r'\.\d+$', '', name)


def forget_variable(match: re.Match[str]) -> str:
    """A variable may have any value: others write it, module parameters for example."""
    rest = match[2]
    end = ir.balanced(rest, 0) + 1 if rest[0] in '[{<' else len(rest.split(' ')[0])
    return f'@{match[1]} = external global {rest[:end].rstrip(",")}, align 1'


class Module:
    """Text of unoptimised IR."""

    def __init__(self, path: Path, root: str):
        self.path = path
        self.root = root
        text = path.read_text(encoding='utf-8', errors='replace')
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.id = hashlib.sha256(str(path).encode()).hexdigest()[:6]
        text = ATTRIBUTES.sub(lambda match: UNWANTED.sub('', match[0]), KEPT.sub('', text))
        found = BUILT_FOR.search(text)
        # The kernel modules that it is a part of, if they are outside of the tree
        self.parts_of = frozenset(found[1].split(':') if found else ())
        static = set(STATIC.findall(text))
        self.text = re.sub(r'@([\w.$]+)', lambda match: f'@{match[1]}.s{self.id}'
                           if match[1] in static else match[0], text)
        self._raw = self.text
        self.text = VARIABLE.sub(forget_variable, self.text)
        self.text = re.sub(r'^define internal ', 'define ', self.text, flags=re.MULTILINE)
        self.defined = {ir.plain(name) for name in ir.DEFINE.findall(self.text)}
        self._places: Optional[ir.Places] = None
        self._sites: Optional[dict[tuple[str, int, int], PointerCall]] = None
        self._members: Optional[dict[str, list[str]]] = None
        self._tables: Optional[list[Table]] = None

    @property
    def places(self) -> ir.Places:
        if self._places is None:
            self._places = ir.Places(self.text, self.root)
        return self._places

    # Function pointers

    def _functions(self) -> Iterator[tuple[str, int, list[str]]]:
        """Name, number of the first line, and lines of each."""
        lines = self.text.split('\n')
        start, name = -1, ''
        for number, line in enumerate(lines):
            if line.startswith('define '):
                match = ir.DEFINE.match(line)
                start, name = number, ir.plain(match[1]) if match else ''
            elif line == '}' and start >= 0:
                yield name, start, lines[start:number]
                start = -1

    def _types(self) -> dict[str, list[str]]:
        """The members' types of each structure."""
        if self._members is None:
            self._members = {
                name: ir.split(body) for name, body in re.findall(
                    r'^%((?:struct|union)\.[\w.]+) = type <?\{ (.*) \}>?$', self._raw,
                    re.MULTILINE)}
        return self._members

    def _constant_slots(self, address: str) -> list[Slot]:
        """Of an address that the linker knows: the member, also that of a structure in it."""
        match = re.match(r'getelementptr [\w ]*\(%((?:struct|union)\.[\w.]+), ptr .*, '
                         r'i32 (\d+)\)$', address)
        if match:
            type_, index = match[1], int(match[2])
        else:
            found = re.search(rf'^{re.escape(address)} = .*?\bglobal %((?:struct|union)\.[\w.]+)',
                              self._raw, re.MULTILINE) if address.startswith('@') else None
            if not found:
                return []
            type_, index = found[1], 0
        slots = []
        while True:
            slots.append(Slot(untyped(type_.split('.', 1)[1]), index))
            members = self._types().get(type_, [])
            inner = members[index] if index < len(members) else ''
            if not inner.startswith(('%struct.', '%union.')):
                return slots
            type_, index = inner[1:], 0

    def _find_slot(self, lines: list[str], pointer: str) -> Optional[Slot]:
        """Of a pointer that was loaded from a structure, or kept in a variable since."""
        for _ in range(4):
            load = next((line for line in lines if line.startswith(f'  {pointer} = load ')), '')
            match = re.search(r'load (?:volatile )?ptr, ptr '
                              r'(%[\w.$]+|@[\w.$]+|getelementptr .*\)),', load)
            if not match:
                return None
            address = match[1]
            if address[0] != '%':
                found_slots = self._constant_slots(address)
                return found_slots[-1] if found_slots else None
            made = next((line for line in lines if line.startswith(f'  {address} = ')), '')
            found = FIELD.search(made)
            if found:
                return Slot(untyped(found[1]), int(found[2]),
                            re.sub(r'\d+$', '', address[1:]))
            stores = [re.search(r'store ptr (%[\w.$]+),', line) for line in lines
                      if f', ptr {address},' in line and ' store ' in line]
            if len(stores) != 1 or not stores[0]:
                return None
            pointer = stores[0][1]
        return None

    def sites(self) -> dict[tuple[str, int, int], PointerCall]:
        """The calls through pointers: by the function, line and column in the source."""
        if self._sites is None:
            self._sites = {}
            for _, start, lines in self._functions():
                for offset, line in enumerate(lines):
                    match = INDIRECT.match(line)
                    if not match:
                        continue
                    chain = self.places.chain(match[2])
                    if chain:
                        key = chain[-1].function, chain[-1].line, chain[-1].column
                        self._sites[key] = PointerCall(start + offset,
                                                       self._find_slot(lines, match[1]))
        return self._sites

    # Tables of functions

    def _constants(self) -> Iterator[Table]:
        for match in re.finditer(r'^@([\w.$]+) = .*?\b(?:global|constant) (.*)$', self._raw,
                                 re.MULTILINE):
            for inner in re.finditer(r'%struct\.([\w.]+) \{', match[2]):
                end = ir.balanced(match[2], inner.end() - 1)
                values = tuple(self._function_of(value) for value in
                               ir.split(match[2][inner.end():end]))
                if any(values):
                    yield Table(untyped(inner[1]), match[1], values)

    def _function_of(self, value: str) -> str:
        name = value.rsplit(' ', 1)[-1]
        return name[1:] if name.startswith('@') and value.startswith('ptr ') else ''

    def _stores(self) -> Iterator[Table]:
        """Pointers that are stored in a structure while the driver runs."""
        for _, _, lines in self._functions():
            slots: dict[str, tuple[str, int]] = {}
            for line in lines:
                name, _, rest = line.strip().partition(' = ')
                found = FIELD.match(rest) if rest else None
                if found:
                    slots[name] = untyped(found[1]), int(found[2])
                match = re.match(r'  store (?:volatile )?ptr ([@%][\w.$]+), '
                                 r'ptr (%[\w.$]+|@[\w.$]+|getelementptr .*\)),.*?(?:!dbg !(\d+))?$',
                                 line)
                if not match:
                    continue
                where = [Slot(*slots[match[2]])] if match[2] in slots else \
                    self._constant_slots(match[2])
                for slot in where:
                    if match[1].startswith('%') and slot.type not in OPS:
                        continue
                    chain = self.places.chain(match[3] or '')
                    for function in self._stored(lines, match[1]):
                        yield Table(slot.type, '', ('',) * slot.index + (function,),
                                    chain[-1] if chain else None)

    def _stored(self, lines: list[str], value: str) -> list[str]:
        """The functions that it may be: one, or those of a condition; '?' if not known."""
        if value.startswith('%'):
            made = next((line for line in lines if line.startswith(f'  {value} = ')), '')
            names = re.findall(r'@([\w.$]+)', made) \
                if re.search(r' = (?:phi|select) ', made) else []
            return names or ['?']
        return [value[1:]] if value[1:] in self.defined or f'{value}(' in self.text else []

    def tables(self) -> list[Table]:
        if self._tables is None:
            self._tables = [*self._constants(), *self._stores()]
        return self._tables

    def line_of(self, function: str) -> ir.Place:
        """Where a function is defined."""
        match = re.search(rf'^define .*@{re.escape(function)}\(.*!dbg !(\d+)', self.text,
                          re.MULTILINE)
        name = re.sub(r'\.s[0-9a-f]{6}$', '', function)
        found = self.places.definition(name) if match else None
        return found or ir.Place(name, '', 0)
