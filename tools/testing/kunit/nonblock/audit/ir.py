# SPDX-License-Identifier: GPL-2.0-only
"""What the audit has to know of LLVM IR as text: functions, calls, values, places.

No parser of all of the language: a line is an instruction, and what is asked of it is
who is called with what, and where in the source that is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Iterator, Optional

NAME = r'[@%](?:"[^"]*"|[\w.$-]+)'
DEFINE = re.compile(rf'^define .*?({NAME})\(', re.MULTILINE)
DECLARE = re.compile(rf'^declare .*?({NAME})\(', re.MULTILINE)
CALL = re.compile(rf'^(?:({NAME}) = )?(?:(?:tail|musttail|notail) )?(call|callbr|invoke) (.*)$')
CALLEE = re.compile(rf'({NAME})\(')
DBG = re.compile(r', !dbg !(\d+)')
METADATA = re.compile(r'^!(\d+) = (?:distinct )?!(DI\w+)\((.*)\)$', re.MULTILINE)


def plain(name: str) -> str:
    """Without the sigil and quotes, and without the number of a copy of the linker's."""
    return name[1:].strip('"')


def balanced(text: str, start: int) -> int:
    """The end of what is in brackets from here on."""
    depth, quoted = 0, False
    for index in range(start, len(text)):
        char = text[index]
        if char == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif char in '([{<':
            depth += 1
        elif char in ')]}>':
            depth -= 1
            if not depth:
                return index
    return len(text)


def split(text: str) -> list[str]:
    """At the commas that are in no brackets."""
    parts, depth, quoted, last = [], 0, False, 0
    for index, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif char in '([{<':
            depth += 1
        elif char in ')]}>':
            depth -= 1
        elif char == ',' and not depth:
            parts.append(text[last:index].strip())
            last = index + 1
    if text[last:].strip():
        parts.append(text[last:].strip())
    return parts


def value_of(argument: str) -> str:
    """The value of an argument, without its type and attributes."""
    if argument.endswith(')'):
        # A constant expression, the name of which comes before its brackets
        match = re.search(r'(\w+(?: \w+)?) \(.*\)$', argument)
        return match[0] if match else argument
    return argument.rsplit(' ', 1)[-1]


@dataclass(frozen=True)
class Place:
    function: str
    file: str
    line: int
    column: int = 0


@dataclass
class Call:
    """The callee is empty if it is inline assembly."""
    callee: str
    arguments: list[str]
    dbg: str
    text: str
    result: str = ''

    @property
    def indirect(self) -> bool:
        return self.callee.startswith('%')


@dataclass
class Function:
    name: str
    parameters: list[str]
    blocks: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._values: Optional[dict[str, str]] = None

    @property
    def lines(self) -> Iterator[str]:
        for block in self.blocks.values():
            yield from block

    def calls(self) -> Iterator[tuple[str, int, Call]]:
        """Each with its block, and its number there."""
        for label, block in self.blocks.items():
            for number, line in enumerate(block):
                call = read_call(line)
                if call:
                    yield label, number, call

    def reachable(self, label: str) -> set[str]:
        """The blocks that may come after this one."""
        found: set[str] = set()
        todo = [label]
        while todo:
            block = self.blocks.get(todo.pop(), [])
            for name in re.findall(r'label %("[^"]*"|[\w.$-]+)', block[-1] if block else ''):
                name = name.strip('"')
                if name not in found:
                    found.add(name)
                    todo.append(name)
        return found

    def value(self, name: str) -> str:
        """The instruction that makes it."""
        if self._values is None:
            self._values = {}
            for line in self.lines:
                target, equal, rest = line.partition(' = ')
                if equal and target.startswith('%'):
                    self._values[target] = rest
        return self._values.get(name, '')


def read_call(line: str) -> Optional[Call]:
    match = CALL.match(line)
    if not match:
        return None
    rest = match[3]
    dbg = DBG.search(line)
    where = dbg[1] if dbg else ''
    assembly = re.match(r'[^"@(]*\basm\b', rest)
    if assembly:
        return Call('', [], where, line, match[1] or '')
    callee = None
    for found in CALLEE.finditer(rest):
        if not found[1].startswith('%') or not rest[:found.start()].endswith('.'):
            callee = found
            break
    if not callee:
        return None
    end = balanced(rest, callee.end() - 1)
    return Call(callee[1], split(rest[callee.end():end]), where, line, match[1] or '')


def read_functions(text: str) -> dict[str, Function]:
    found: dict[str, Function] = {}
    current: Optional[Function] = None
    block: list[str] = []
    for line in text.splitlines():
        if current is None:
            if line.startswith('define '):
                match = DEFINE.match(line)
                assert match is not None
                end = balanced(line, match.end() - 1)
                current = Function(plain(match[1]), split(line[match.end():end]))
                block = current.blocks.setdefault('', [])
            continue
        if line == '}':
            found[current.name] = current
            current = None
        elif line and not line[0].isspace():
            label = line.split(':', 1)[0].strip('"')
            block = current.blocks.setdefault(label, [])
        elif line.strip():
            if line.startswith('   ') or line.strip() == ']':
                # Goes on from the line before.
                if block:
                    block[-1] += ' ' + line.strip()
            else:
                block.append(line.strip())
    return found


class Places:
    """Where in the source an instruction comes from, through all that was inlined."""

    def __init__(self, text: str, root: str = ''):
        self.nodes: dict[str, tuple[str, str]] = {
            number: (kind, rest) for number, kind, rest in METADATA.findall(text)}
        self.root = root

    def _get(self, number: str, key: str) -> str:
        match = re.search(rf'\b{key}: (!?"?[^,")]*)', self.nodes.get(number, ('', ''))[1])
        return match[1].strip('!"') if match else ''

    def _function(self, scope: str) -> str:
        while scope and self.nodes.get(scope, ('', ''))[0] != 'DISubprogram':
            scope = self._get(scope, 'scope')
        return self._get(scope, 'name') if scope else ''

    def _file(self, scope: str) -> str:
        number = self._get(scope, 'file')
        name = self._get(number, 'filename')
        if not os.path.isabs(name):
            name = os.path.join(self._get(number, 'directory'), name)
        name = os.path.normpath(name)
        return os.path.relpath(name, self.root) if self.root and \
            name.startswith(self.root + '/') else name

    def chain(self, dbg: str) -> list[Place]:
        """From the outermost function to that in which the instruction was written."""
        found = []
        while dbg in self.nodes:
            scope = self._get(dbg, 'scope')
            found.append(Place(self._function(scope), self._file(scope),
                               int(self._get(dbg, 'line') or 0),
                               int(self._get(dbg, 'column') or 0)))
            dbg = self._get(dbg, 'inlinedAt')
        return found[::-1]

    def definition(self, function: str) -> Optional[Place]:
        for number, (kind, rest) in self.nodes.items():
            if kind == 'DISubprogram' and f'name: "{function}"' in rest:
                return Place(function, self._file(number), int(self._get(number, 'line') or 0))
        return None
