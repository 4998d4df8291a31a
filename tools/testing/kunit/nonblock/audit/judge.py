# SPDX-License-Identifier: GPL-2.0-only
"""The verdict on one callback.

What is not known of the functions that it calls is looked up step by step: first in the
driver, which may decide what is reached at all, then in the kernel, until nothing is
left to be asked, or too much.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from . import ir, sleeps
from .compiler import Compiler
from .llvm import AuditError
from .module import OPS, Module, Slot
from .sleeps import Argument, Knowledge
from .sources import CORE, Sources
from .specialise import FINISH, Entry, Program, RangeLayout
from .walk import LastCall, Walk, does_something, hands_out_finish, may_precede, returned

BLOCK, ALWAYS, MAY, CLEAN, UNDECIDED = ('may-block', 'always-backs-off', 'may-back-off', 'clean',
                                        'undecided')
# Callback, by the index in its table: name, number of the range among the parameters (or
# -1), and whether it may back off
CALLBACKS: dict[str, dict[str, tuple[int, bool]]] = {
    'range': {'invalidate_range_start': (1, True), 'invalidate_range_end': (1, False)},
    'interval': {'invalidate': (1, True), 'invalidate_start': (1, True),
                 'invalidate_finish': (-1, False)},
}
STATIC_CALL = '__SCT__'
# By the prefix of the name: the structure, where it is declared, and where it is filled
STATIC_CALL_TABLES = {
    'kvm_x86_': ('kvm_x86_ops', 'arch/x86/include/asm/kvm_host.h', 'arch/x86/kvm'),
}
ROUNDS = 12
FILES = 40          # for one callback
FILES_TO_BE_SURE = 12   # when something that sleeps is found already
# mutex_trylock() and try_wait_for_completion(), and not list_del_entry()
TRY = re.compile(r'(?<![a-z])try|is_locked')


@dataclass
class Judged:
    verdict: str
    findings: list[LastCall] = field(default_factory=list)
    remark: str = ''
    hands_out: bool = False         # of the first pass: may ask for the second


@dataclass
class World:
    """All that is the same for each callback."""
    compiler: Compiler
    sources: Sources
    layout: RangeLayout
    reclaim: int
    folder: Path
    modules: dict[str, Module] = field(default_factory=dict)    # by the source
    symbols: dict[str, list[Module]] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)         # the source of a function, or ''
    core_types: dict[str, bool] = field(default_factory=dict)

    def load(self, source: str, path: Path) -> Module:
        if source not in self.modules:
            module = Module(path, str(self.compiler.tree))
            self.modules[source] = module
            for name in module.defined:
                self.symbols.setdefault(name, []).append(module)
        return self.modules[source]

    def defining(self, function: str, caller: Module) -> Optional[Module]:
        """Each kernel module of a driver may have a function of this name: that of the caller."""
        found = self.symbols.get(function, [])
        own = [module for module in found if module.parts_of & caller.parts_of]
        return next(iter(own or found), None)

    def source_of(self, function: str, near: str) -> str:
        if function not in self.found:
            self.found[function] = self.sources.find(function, near)
        return self.found[function]

    def member_index(self, header: str, structure: str, member: str) -> int:
        """As the compiler counts, with the options that are on; -1 if it has none."""
        config = (self.compiler.out / '.config').read_text(encoding='utf-8')
        names = self.sources.members(header, structure, set(re.findall(
            r'^(CONFIG_\w+)=[ym]', config, re.MULTILINE)))
        return names.index(member) if member in names else -1

    def is_core_type(self, name: str) -> bool:
        if name not in self.core_types:
            self.core_types[name] = bool(self.sources.grep(
                rf'^struct {re.escape(name)} \{{', ['include'], '--include=*.h'))
        return self.core_types[name]


class Judge:
    """Of one callback, in one module."""

    def __init__(self, world: World, module: Module, source: str, entry: Entry,
                 layout: Optional[RangeLayout]):
        self.world, self.module, self.source = world, module, source
        self.program = Program(world.folder, module, entry, layout)
        self.hopeless: set[str] = set()
        self.harmless: set[tuple[str, int, int]] = set()
        self.sites: dict[tuple[str, int, int], tuple[str, tuple[str, ...], bool]] = {}

    # What is known of a function

    def decide(self, name: str, argument: Argument) -> Optional[Knowledge]:
        known = sleeps.look_up(name, argument, self.world.reclaim)
        if self.world.sources.is_core(name):
            return known
        # Others may have functions of the same name, and of those the table knows nothing.
        if name in self.world.symbols or name in self.world.sources.exports():
            return None
        return known if known and not self._is_drivers(name) else None

    def _is_drivers(self, name: str) -> bool:
        """Whether a function that nobody exports is one of the driver's own."""
        if self.source.startswith('/'):
            # A module can call nothing else; but for what the compiler makes calls to.
            return not name.startswith('__') and not re.fullmatch(r'(mem|str|bcmp)\w*', name)
        source = self.world.source_of(name, self.source)
        return bool(source) and not source.startswith(CORE)

    # The loop

    def run(self) -> Judged:
        try:
            walk = self._follow()
        except AuditError as error:
            return Judged(UNDECIDED, remark=str(error))
        certain, possible = self._sort(walk.sleeps)
        hands_out = hands_out_finish(walk)
        if certain:
            return Judged(BLOCK, certain, hands_out=hands_out)
        unknown = [finding for finding in walk.unknown
                   if not finding.pointer or self._key(finding.place) not in self.harmless]
        if possible or unknown:
            return Judged(UNDECIDED, possible + unknown, hands_out=hands_out)
        return self._by_return(walk, hands_out)

    def _follow(self) -> Walk:
        tree = str(self.world.compiler.tree)
        for _ in range(ROUNDS):
            walk = Walk(self.program.optimise(), tree, self.decide).run()
            certain = self._sort(walk.sleeps)[0]
            limit = FILES_TO_BE_SURE if certain else FILES
            wanted = [finding for finding in walk.unknown
                      if not certain or self._may_matter(walk, finding, certain)]
            if not self._resolve(wanted, limit):
                break
        return walk

    def _may_matter(self, walk: Walk, finding: LastCall, certain: list[LastCall]) -> bool:
        """Whether what it returns may decide that nothing sleeps after all."""
        if not all(may_precede(walk, finding, other) for other in certain):
            return False
        if finding.pointer or finding.knowledge.why != 'nothing is known of it':
            return False
        source = self.world.found.get(finding.name) or self.world.source_of(
            finding.name, self.source) if finding.name not in self.world.symbols else 'driver'
        if not source or source.startswith(CORE):
            return False
        for function in walk.functions.values():
            for _, _, call in function.calls():
                if ir.plain(call.callee or '@') == finding.name and \
                        (call.result or '__audit_range' in call.text):
                    return True
        return False

    def _resolve(self, unknown: list[LastCall], limit: int) -> bool:
        """Add what defines these functions; whether there was anything to add."""
        before = len(self.program.modules), len(self.program.resolved), len(self.hopeless)
        names: dict[str, str] = {}
        for finding in unknown:
            if finding.pointer:
                self._resolve_pointer(finding)
            elif finding.name.startswith(STATIC_CALL):
                self._resolve_static_call(finding)
            elif finding.name in self.world.symbols:
                self._add_function(finding.name, finding.place.file)
            elif finding.knowledge.why == 'nothing is known of it':
                near = next((step.place.file for step in reversed(finding.chain)
                             if step.place.file.endswith('.c')), self.source)
                source = self.world.source_of(finding.name, near)
                names[finding.name] = source
        self._compile(names, limit)
        return before != (len(self.program.modules), len(self.program.resolved),
                          len(self.hopeless))

    def _compile(self, names: dict[str, str], limit: int) -> None:
        room = limit - len(self.program.modules)
        sources = list(dict.fromkeys(source for source in names.values() if source))[:max(room, 0)]
        paths = self.world.compiler.compile(sources, 'compiling what it calls')
        for name, source in names.items():
            if not source or source in paths and not paths[source]:
                self.hopeless.add(name)
                continue
            path = paths.get(source)
            if path:
                module = self.world.load(source, path)
                if name in module.defined:
                    self._add(module)
                else:
                    self.hopeless.add(name)

    def _add_function(self, name: str, file: str = '') -> None:
        """What defines it, for a call from that file."""
        module = self.world.defining(name, self.world.modules.get(file, self.module))
        if module:
            self._add(module)

    def _add(self, module: Module) -> None:
        if module is not self.module and module not in self.program.modules:
            self.program.modules.append(module)

    # Function pointers

    @staticmethod
    def _key(place: ir.Place) -> tuple[str, int, int]:
        return place.function, place.line, place.column

    def _resolve_pointer(self, finding: LastCall) -> None:
        place = finding.place
        key = self._key(place)
        if key in self.sites:
            return
        found = self.program.site_of(place)
        if not found or not found[1].slot:
            self.sites[key] = '', (), False
            return
        module, site = found
        assert site.slot is not None
        candidates = self._candidates(site.slot)
        name = f'{site.slot.type}.{site.slot.name}'
        if sleeps.pointer_never_sleeps(site.slot.type, site.slot.name) and \
                self.world.is_core_type(site.slot.type):
            self.harmless.add(key)
            self.sites[key] = name, (), True
            return
        self.sites[key] = name, candidates, self.world.is_core_type(site.slot.type)
        if candidates:
            self.program.resolved[str(module.path), site.line] = candidates
            for candidate in candidates:
                self._add_function(candidate)

    def _resolve_static_call(self, finding: LastCall) -> None:
        """Of those that stand for members of a table, which the prefix tells."""
        name = finding.name.removeprefix(STATIC_CALL)
        self.hopeless.add(finding.name)
        for prefix, (type_, header, folder) in STATIC_CALL_TABLES.items():
            if not name.startswith(prefix):
                continue
            index = self.world.member_index(header, type_, name.removeprefix(prefix))
            if index < 0:
                continue
            candidates = self._candidates(Slot(type_, index, name.removeprefix(prefix)), folder)
            self.program.static_calls[finding.name] = candidates
            for candidate in candidates:
                self._add_function(candidate)

    def _candidates(self, slot: Slot, folder: str = '') -> tuple[str, ...]:
        """The functions that the driver's tables of this type have there."""
        self._load_tables(slot, folder or os.path.dirname(self.source))
        found: dict[str, None] = {}
        for module in self.world.modules.values():
            for table in module.tables():
                if table.type == slot.type and slot.index < len(table.functions) and \
                        table.functions[slot.index]:
                    found[table.functions[slot.index]] = None
        return tuple(found) if '?' not in found else ()

    def _load_tables(self, slot: Slot, folder: str) -> None:
        """Compile the driver's other files that have one."""
        if folder.startswith('/'):
            return
        pattern = rf'struct {re.escape(slot.type)} \w+(\[.*\])?( \w+)? *= *'
        if slot.name:
            pattern += rf'|(\.|->){re.escape(slot.name)} = [a-z]\w+;'
        sources = self.world.sources.grep(pattern, [folder])
        for source, path in self.world.compiler.compile(sources[:10], 'compiling tables').items():
            if path:
                self.world.load(source, path)

    def _sort(self, found: list[LastCall]) -> tuple[list[LastCall], list[LastCall]]:
        """What is certain, and what only may be: by one of several functions of a pointer.

        Any of a structure that the driver itself defines may be it. Of one that many drivers
        fill, as there are in the core's headers, all have to sleep.
        """
        certain: list[LastCall] = []
        possible: list[LastCall] = []
        blocking: dict[tuple[str, int, int], set[str]] = {}
        for finding in found:
            for step in finding.chain:
                key = self._key(step.place)
                if key in self.sites:
                    blocking.setdefault(key, set()).add(step.calls)
        for finding in found:
            sure = True
            for step in finding.chain:
                key = self._key(step.place)
                if key in self.sites:
                    _, candidates, core = self.sites[key]
                    sure = sure and (not core or len(blocking[key]) >= len(set(candidates)))
            (certain if sure else possible).append(finding)
        return certain, possible

    # Nothing sleeps

    def _by_return(self, walk: Walk, hands_out: bool) -> Judged:
        known, more = returned(walk)
        backs_off = self._backs_off(walk)
        tries = [finding for finding in walk.calls if TRY.search(finding.name)]
        if not known and not more:
            return Judged(CLEAN, hands_out=hands_out)
        no = {value for value in known if value in backs_off}
        if known and no == known and not more:
            return Judged(ALWAYS, hands_out=hands_out,
                          remark='' if self._interval() else self._looks_at_range(walk))
        if not no and not more:
            return Judged(CLEAN, hands_out=hands_out)
        if not does_something(walk) and not tries:
            return Judged(ALWAYS, remark='' if self._interval() else self._looks_at_range(walk),
                          hands_out=hands_out)
        where = '; '.join(dict.fromkeys(f'{finding.name}() at {finding.place.file}:'
                                        f'{finding.place.line}' for finding in tries))
        return Judged(MAY, tries, where or 'by a condition', hands_out)

    def _interval(self) -> bool:
        return dict(self.program.entry.constants).get(1, '') != '' and self._kind() == 'i1'

    def _kind(self) -> str:
        match = re.search(rf'^define (.*?)@{re.escape(self.program.entry.function)}\(',
                          self.module.text, re.MULTILINE)
        return match[1].split()[-1] if match else ''

    def _backs_off(self, walk: Walk) -> set[int]:
        """The values that mean it."""
        if self._kind() == 'i1':
            return {0}
        return {value for value in returned(walk)[0] if value}

    @staticmethod
    def _looks_at_range(walk: Walk) -> str:
        used = re.search(r'@__audit_(?:start|end)\b', '\n'.join(
            line for function in walk.functions.values() for line in function.lines))
        return 'looks at the range first' if used else 'never looks at the range'


def entry_for(ops: str, callback: str, function: str) -> Entry:
    number, _ = CALLBACKS[OPS[ops]][callback]
    constants = [(number, '@__audit_range')] if number >= 0 else []
    if callback == 'invalidate_start':
        constants.append((3, f'@{FINISH}'))
    return Entry(function, tuple(constants))
