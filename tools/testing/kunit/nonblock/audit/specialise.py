# SPDX-License-Identifier: GPL-2.0-only
"""What is left of a callback when it is called the way that may not block.

A function is added that calls it with a constant range: no flags, the event of the OOM
reaper; the addresses are those of unknown symbols. Then LLVM's optimiser has the word:
whatever depends on these is decided, however the callback asks for it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from nonblock.kernel.machine import LLVM

from . import ir
from .llvm import AuditError, run_llvm
from .module import Module, PointerCall

ROOT = '__audit_root'
ANY = '__audit_any'
DISPATCH = '__audit_dispatch'
FINISH = '__audit_finish'
OPT = ('-passes=internalize,globaldce,default<O2>,globaldce',
       f'-internalize-public-api-list={ROOT}', '-vectorize-loops=0', '-vectorize-slp=0',
       '-simplifycfg-sink-common=false', '-simplifycfg-hoist-common=false',
       '-disable-loop-unrolling')
INLINE = ('inline', 'inlinehint', 'inlinecold', 'inline-cold-callsite')
SYMBOLS = ('mm', 'start', 'end', 'owner')


@dataclass(frozen=True)
class RangeLayout:
    """The members of struct mmu_notifier_range in their order, and the reaper's event."""
    members: tuple[str, ...]
    event: int

    def constant(self) -> str:
        values = []
        for member in self.members:
            if member in ('mm', 'owner'):
                values.append(f'ptr @__audit_{member}')
            elif member in ('start', 'end'):
                values.append(f'i64 ptrtoint (ptr @__audit_{member} to i64)')
            else:
                values.append(f'i32 {self.event if member == "event" else 0}')
        # Weak, so that nothing can be concluded from two of them being different symbols
        symbols = ''.join(f'@__audit_{name} = extern_weak global i8, align 1\n'
                          for name in SYMBOLS)
        types = ', '.join(value.split()[0] for value in values)
        return symbols + (f'@__audit_range = internal constant {{ {types} }} '
                          f'{{ {", ".join(values)} }}\n')


@dataclass(frozen=True)
class Entry:
    """A function to be judged, and what it is called with, by its parameter's number."""
    function: str
    constants: tuple[tuple[int, str], ...] = ()


def root_function(module: Module, entry: Entry, layout: Optional[RangeLayout]) -> str:
    """IR of the function that calls the callback."""
    match = re.search(rf'^define (.*?)@{re.escape(entry.function)}\(', module.text, re.MULTILINE)
    if not match:
        raise ValueError(entry.function)
    line = module.text[match.start():module.text.index('\n', match.start())]
    end = ir.balanced(line, line.index('(', match.end() - 1 - match.start()))
    kind = match[1].split()[-1]
    group = re.search(r'#\d+', line[end:])
    constants = dict(entry.constants)
    parameters, arguments = [], []
    for number, text in enumerate(ir.split(line[match.end() - match.start():end])):
        type_ = text.split()[0]
        if number in constants:
            arguments.append(f'{type_} {constants[number]}')
        else:
            parameters.append(f'{type_} %a{number}')
            arguments.append(f'{type_} %a{number}')
    result = '' if kind == 'void' else '%r = '
    return (f'{layout.constant() if layout else ""}'
            f'@{FINISH} = external global ptr, align 8\n'
            f'declare i32 @{ANY}()\n'
            f'define {kind} @{ROOT}({", ".join(parameters)}) {group[0] if group else ""} {{\n'
            f'  {result}call {kind} @{entry.function}({", ".join(arguments)})\n'
            f'  ret {kind} {"%r" if result else ""}\n}}\n')


def bare(text: str) -> str:
    """A type without attributes."""
    return re.sub(r'\b(?:zeroext|signext|noundef|nonnull|noalias|fastcc|dso_local|align \d+'
                  r'|(?:dereferenceable(?:_or_null)?|range)\([^)]*\)) ?', '', text).strip()


def dispatcher(name: str, kind: str, types: list[str], candidates: tuple[str, ...],
               group: str) -> str:
    """A function that calls any of the candidates, or none if there is none."""
    parameters = ', '.join(f'{type_} %a{i}' for i, type_ in enumerate(types))
    head = f'define {kind} @{name}({parameters}) {group} {{\n'
    if not candidates:
        zero = '' if kind == 'void' else ' null' if kind == 'ptr' else ' zeroinitializer' \
            if not kind.startswith('i') else ' 0'
        return f'{head}  ret {kind}{zero}\n}}\n'
    blocks, cases = [], []
    for number, candidate in enumerate(candidates):
        result = '' if kind == 'void' else f'%r{number} = '
        value = '' if kind == 'void' else f' %r{number}'
        blocks.append(f'd{number}:\n  {result}call {kind} @{candidate}({parameters})\n'
                      f'  ret {kind}{value}\n')
        cases.append(f'i32 {number}, label %d{number}')
    return (f'{head}  %any = call i32 @{ANY}()\n'
            f'  switch i32 %any, label %d0 [ {" ".join(cases[1:])} ]\n' + ''.join(blocks) + '}\n')


@dataclass
class Program:
    """The modules of one entry, with the calls through pointers that were resolved."""
    folder: Path
    main: Module
    entry: Entry
    layout: Optional[RangeLayout]
    modules: list[Module] = field(default_factory=list)
    static_calls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    resolved: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def _text(self, module: Module) -> str:
        lines = module.text.split('\n')
        added: list[str] = []
        declared = module.defined | {ir.plain(name) for name in ir.DECLARE.findall(module.text)}
        group = re.search(r'^define .*(#\d+) ', module.text, re.MULTILINE)

        def add(name: str, kind: str, types: list[str], candidates: tuple[str, ...]) -> None:
            added.append(dispatcher(name, kind, types, candidates, group[1] if group else ''))
            for target in candidates:
                if target not in declared:
                    declared.add(target)
                    added.append(f'declare {kind} @{target}({", ".join(types)})\n')

        for (path, number), candidates in self.resolved.items():
            call = ir.read_call(lines[number].strip()) if path == str(module.path) else None
            found = ir.CALL.match(call.text) if call else None
            if call and found:
                label = f'{DISPATCH}_{module.id}_{number}'
                kind = bare(found[3][:found[3].index(call.callee)].split(' (')[0])
                types = [bare(argument[:-len(ir.value_of(argument))])
                         for argument in call.arguments]
                add(label, kind, types, candidates)
                lines[number] = lines[number].replace(f'{call.callee}(', f'@{label}(', 1)
        if module is self.main:
            for name, candidates in self.static_calls.items():
                kind, types = self._declaration(name)
                lines = [line for line in lines
                         if not line.startswith('declare ') or f'@{name}(' not in line]
                add(name, kind, types, candidates)
            added.append(root_function(module, self.entry, self.layout))
        elif added:
            added.append(f'declare i32 @{ANY}()\n')
        first = next(number for number, line in enumerate(lines)
                     if line.startswith('attributes #'))
        return '\n'.join(lines[:first] + added + lines[first:])

    def _declaration(self, name: str) -> tuple[str, list[str]]:
        """Type and parameters of a function that somebody declares."""
        for module in [self.main, *self.modules]:
            match = re.search(rf'^declare (.*?)@{re.escape(name)}\((.*?)\)', module.text,
                              re.MULTILINE)
            if match:
                return bare(match[1]), [bare(part + ' ') for part in ir.split(match[2])]
        raise AuditError(f'{name}() is not declared')

    def _assemble(self, module: Module) -> Path:
        """As bitcode, which is made once unless something in it was resolved."""
        own = module is self.main or any(name == str(module.path) for name, _ in self.resolved)
        path = self.folder / (f'own-{module.id}.bc' if own else f'{module.id}-{module.digest}.bc')
        if own or not path.exists():
            temporary = path.with_suffix('.ll.tmp')
            temporary.write_text(self._text(module), encoding='utf-8')
            run_llvm([f'llvm-as{LLVM}', temporary, '-o', path.with_suffix('.bc.tmp')])
            path.with_suffix('.bc.tmp').replace(path)
            temporary.unlink()
        return path

    def optimise(self) -> str:
        """Put all together, and leave what the entry reaches."""
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = [self._assemble(module) for module in [self.main, *self.modules]]
        linked, out = self.folder / 'linked.bc', self.folder / 'out.ll'
        run_llvm([f'llvm-link{LLVM}', '--only-needed', '--suppress-warnings', *paths,
                  '-o', linked])
        size = 20000 if os.path.getsize(linked) < 30_000_000 else 2000
        run_llvm([f'opt{LLVM}', '-S', linked, '-o', out, *OPT,
                  *(f'-{kind}-threshold={size}' for kind in INLINE)])
        return out.read_text(encoding='utf-8', errors='replace')

    def site_of(self, place: ir.Place) -> Optional[tuple[Module, PointerCall]]:
        """The call through a pointer that is at this place of the source."""
        for module in [self.main, *self.modules]:
            site = module.sites().get((place.function, place.line, place.column))
            if site:
                return module, site
        return None
