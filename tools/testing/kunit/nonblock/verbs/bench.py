# SPDX-License-Identifier: GPL-2.0-only
"""What the series costs: make bench.

Two trees: one with only the fixes of the series, and ours. Where lockdep is off, both
must compile to the same code. Where it is on, both are booted in turn under QEMU, whose
clock counts instructions, so that neither this machine's load nor its caches matter.
Then both run the kernel's own mm selftests, in real time.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Callable, Iterable, Optional

from nonblock.result import kselftests, ktap
from nonblock.kernel import kunit_run
from nonblock.kernel.session import Session, prepared
from nonblock.options import Options
from nonblock.verbs import BUILD, Verb
from nonblock.verbs.bench_code import FIXES, OURS, SIDES, compare_off
from nonblock.kernel.boot import Boot, build_initramfs, command_line, run_boot, run_tool
from nonblock.common import EXIT_BUILD, EXIT_HANG, Failure, as_table, say, write_atomically
from nonblock.kernel.machine import X86_64_BENCH
from nonblock.result.verdict import Verdict

HERE = Path(__file__).resolve().parent
# Hooks that are left out where only the fixes are wanted
ALL_BUT_FIXES = '^(?!fixes-)'
ROUNDS = 3


# Lockdep on: what a boot says

@dataclass
class Measured:
    """Of one kernel: all that it measured, in nanoseconds, that is, instructions."""
    values: dict[str, float] = field(default_factory=dict)
    lockdep: dict[str, dict[str, int]] = field(default_factory=dict)
    trouble: str = ''
    ended: bool = False


VALUE = re.compile(r'bench: (\w+) ([0-9.]+)$')
TROUBLE = re.compile(r'bench: failed: .*|WARNING: .*|BUG: .*|Kernel panic.*')
LOCKDEP = re.compile(r'lockdep ((?:at|before|after) [a-z ]+): +(\S[^:]*): +(\d+)')
# What lockdep has limited room for
RESOURCES = ('lock-classes', 'direct dependencies', 'dependency chains',
             'dependency chain hlocks used', 'stack-trace entries',
             'number of stack traces', 'number of stack hash chains')


def read_passes(lines: Iterable[str]) -> Measured:
    boot = Measured()
    for line in map(str.rstrip, lines):
        if match := VALUE.search(line):
            boot.values[match[1]] = float(match[2])
        elif match := LOCKDEP.search(line):
            if match[2] in RESOURCES:
                boot.lockdep.setdefault(match[1], {})[match[2]] = int(match[3])
        elif match := TROUBLE.search(line):
            boot.trouble = boot.trouble or match[0]
        boot.ended = boot.ended or line.endswith('bench: end')
    if not boot.ended:
        boot.trouble = boot.trouble or 'it did not come to its end'
    return boot


def between(lines: list[str], first: str, last: str) -> Optional[float]:
    """The time from the first line with this to the last with that."""
    starts, ends = ([round(float(match[1]) * 10**9) for line in lines if re.search(pattern, line)
                     and (match := ktap.TIME.match(line))] for pattern in (first, last))
    return float(ends[-1] - starts[0]) if starts and ends else None


def read_suites(lines: list[str]) -> Measured:
    """The kernel's own suites: reports are what some of them are about, but no panic."""
    boot = read_passes(lines)
    boot.trouble = '' if boot.ended else 'it did not come to its end'
    for name, first, last in (
            ('kunit_suites', r'\] KTAP version 1', r'\] (not )?ok \d+ \w+'),
            ('locking_selftests', r'Locking API testsuite', r'Good, all +\d+ testcases passed')):
        value = between(lines, first, last)
        if value is None:
            boot.trouble = boot.trouble or f'{name} did not run'
        else:
            boot.values[name] = value
    results = ktap.parse_log(lines).results
    boot.values[NO_LESS] = sum(result.status == ktap.PASSED for result in results)
    failed = [str(result) for result in results if result.status == ktap.FAILED]
    boot.trouble = boot.trouble or ' '.join(failed and ['failed:', *failed[:3]])
    return boot


# Lockdep on: the verdict

# What passes with only the fixes has to pass with all.
NO_LESS = 'kunit_passed'
# A ratio, ours to that with only the fixes. The first that matches counts. A pass that may
# not block is rare on a kernel with lockdep, so it has to be linear, and no more.
GOALS: tuple[tuple[str, Optional[float]], ...] = (
    (r'kmalloc|kmalloc_under_mutex|fault_munmap|\w+_blockable_\d+', 1.01),
    (r'\w+_nonblocking_\d+', 3), (r'kunit_suites|locking_selftests', 1.05),
    (r'.*', None))
# What a notifier may cost at 4,096 of them, in relation to 16
LINEAR, FEW, MANY = 1.2, 16, 4096


@dataclass
class Ratio:
    name: str
    ours: float
    other: float                # the fixes; or, of what must be linear, ours with few
    ratio: float
    spread: float               # of the boots, in relation to the median: the larger one
    limit: Optional[float]      # None: only to be known

    @property
    def good(self) -> bool:
        if self.name == NO_LESS:
            return self.ours >= self.other
        return self.limit is None or self.ratio <= self.limit

    def __str__(self) -> str:
        limit = '' if self.limit is None else f', goal {self.limit:.2f}'
        return (f'{self.name}: {self.ours:.1f} against {self.other:.1f}, '
                f'ratio {self.ratio:.3f}{limit}')


def limit_of(name: str) -> Optional[float]:
    return next(limit for pattern, limit in GOALS if re.fullmatch(pattern, name))


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def ratios(boots: dict[str, list[Measured]]) -> list[Ratio]:
    """Of the medians, for all that each boot of both sides has."""
    every = [boot for side in SIDES for boot in boots[side]]
    found = []
    for name in every[0].values if every else ():
        if any(name not in boot.values for boot in every):
            continue
        values = {side: [boot.values[name] for boot in boots[side]] for side in SIDES}
        ours, other = (statistics.median(values[side]) for side in (OURS, FIXES))
        found.append(Ratio(name, ours, other, ours / other,
                           max(map(spread, values.values())), limit_of(name)))
    return found


def linear(results: Iterable[Ratio]) -> list[Ratio]:
    """What one notifier costs where there are many, and where there are few."""
    ours = {result.name: result for result in results}
    found = []
    for name, many in ours.items():
        few = ours.get(name.replace(f'_{MANY}', f'_{FEW}'))
        if name.endswith(f'_{MANY}') and few:
            each = [many.ours / MANY, few.ours / FEW]
            found.append(Ratio(f'{name.removesuffix(f"_{MANY}")}_linear', each[0], each[1],
                               each[0] / each[1], many.spread, LINEAR))
    return found


def expected_names() -> set[str]:
    passes = {f'{kind}_{how}_{count}' for kind in ('range', 'interval')
              for how in ('blockable', 'nonblocking') for count in (1, 16, 256, 4096)}
    return {'kmalloc', 'kmalloc_under_mutex', 'fault_munmap', 'kunit_suites', NO_LESS,
            'locking_selftests', *passes}


def judge_ratios(results: list[Ratio], verdict: Verdict) -> None:
    for name in sorted(expected_names() - {result.name for result in results}):
        verdict.fail(name, 'not measured in each boot', word='MISSING')
    for result in results:
        if not result.good or result.limit is not None or result.name == NO_LESS:
            verdict.note(result.name, '' if result.good else str(result).partition(': ')[2])


# The tables

def as_text(results: list[Ratio]) -> str:
    rows = [['', 'fixes', 'ours', 'ratio', 'goal', 'spread']]
    rows += [[result.name, f'{result.other:.1f}', f'{result.ours:.1f}', f'{result.ratio:.3f}',
              '-' if result.limit is None else f'{result.limit:.2f}', f'{result.spread:.4f}']
             + ([] if result.good else ['FAILED']) for result in results]
    return (f'{as_table(rows)}\nIn instructions; of what is called linear, for one notifier of '
            f'{FEW} and of {MANY}.')


Resources = dict[str, dict[str, dict[str, int]]]        # by time, name and side


def resources(*boots: dict[str, Measured]) -> Resources:
    """Lockdep's own, of each of these boots of each side."""
    found: Resources = {}
    for boot in boots:
        for side in SIDES:
            for when, table in boot[side].lockdep.items():
                for name, value in table.items():
                    found.setdefault(when, {}).setdefault(name, {})[side] = value
    return found


def resources_as_text(table: Resources) -> str:
    return as_table([['lockdep', 'fixes', 'ours'], *(
        [f'{when}: {name}', str(row.get(FIXES, 0)), str(row.get(OURS, 0))]
        for when, rows in table.items() for name, row in rows.items())])


def as_json(title: str, results: list[Ratio], table: Resources, objects: list[str],
            selftests: dict[str, dict[str, kselftests.Program]], verdict: Verdict) -> str:
    return json.dumps({
        'title': title, 'unit': 'instructions', 'rounds': ROUNDS,
        'results': [{**asdict(result), 'good': result.good} for result in results],
        'lockdep': table, 'objects_off': objects,
        'selftests': {side: {name: asdict(program) for name, program in programs.items()}
                      for side, programs in selftests.items()},
        'failures': verdict.lines}, indent=1) + '\n'


# The kernels, the module and the boots

def find_address(folder: Path, symbol: str) -> str:
    text = (folder / 'System.map').read_text(encoding='utf-8')
    match = re.search(rf'^([0-9a-f]+) [TtDdBb] {symbol}$', text, re.MULTILINE)
    if not match:
        raise Failure(EXIT_BUILD, f'{folder}/System.map: no {symbol}')
    return f'0x{match[1]}'


def module_arguments(folder: Path) -> tuple[str, ...]:
    """Not exported, and the kernel is not relocatable, so that System.map tells."""
    symbols = {'start': 'start', 'end': 'end', 'map': 'start_map'}
    return tuple(f'{name}={find_address(folder, f"__mmu_notifier_invalidate_range_{symbol}")}'
                 for name, symbol in symbols.items())


def build(session: Session) -> str:
    """The kernel and its initramfs; returns what is wrong."""
    folder, tree = session.folder, session.tree
    outcome = kunit_run.build(session)
    if not outcome.built:
        return outcome.error
    output = folder / 'bench'
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(HERE / 'bench_src', output)
    run_tool('building the module that measures', [
        'make', '-C', tree, 'ARCH=x86_64', f'O={folder}', f'M={output}', 'modules'])
    for name in ('bench', 'run_selftests'):
        run_tool('building the init', ['gcc', '-O2', '-static', '-o', output / name,
                                       output / f'{name}.c'])
    names = kselftests.present(tree)
    selftests = kselftests.build(session, names)
    build_initramfs(folder, {'/bench': output / 'bench',
                             '/run_selftests': output / 'run_selftests',
                             '/mmu_notifier_bench.ko': output / 'mmu_notifier_bench.ko',
                             **{f'/selftests/{name}': selftests / name for name in names}})
    return ''


def boot_once(session: Session, number: int, suites: bool) -> Measured:
    machine = session.machine
    name = f'bench-{"suites" if suites else "passes"}-{number}'
    # What the kernel draws by lot: where objects come to lie, for one.
    seeded = replace(machine, run=(*machine.run, '-seed', str(number)))
    what = Boot(name, 'bench', () if suites else module_arguments(session.folder),
                kernel='' if suites else 'kunit.enable=0', memory=256)
    return boot_and_read(replace(session, machine=seeded), what,
                         read_suites if suites else read_passes)[0]


def boot_and_read(session: Session, what: Boot, read: Callable[[list[str]], Measured]
                  ) -> tuple[Measured, list[str]]:
    booted = run_boot(session, what.name, command_line(session.machine, what))
    found = read(booted.lines)
    if booted.timed_out:
        found.trouble = f'no end within {session.machine.timeout} s'
    if found.trouble:
        found.trouble += f' (log: {booted.log})'
    return found, booted.lines


def boot_in_turn(sides: dict[str, Session], verdict: Verdict) -> dict[str, list[Measured]]:
    boots: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for number in range(1, ROUNDS + 1):
        for side in SIDES:
            parts = [boot_once(sides[side], number, suites) for suites in (False, True)]
            for part in parts:
                if part.trouble:
                    verdict.fail(f'boot of {side}', part.trouble, EXIT_HANG)
            boots[side].append(Measured(parts[0].values | parts[1].values, parts[0].lockdep))
    return boots


def boot_selftests(session: Session, load: int) -> tuple[Measured, dict[str, kselftests.Program]]:
    """
    On two CPUs and in real time: some wait for what others do. In one thread: these turn
    static keys of the scheduler on and off, and with two, a CPU may still run a breakpoint
    that the other one has patched away: an Oops at an int3 in __schedule(), after minutes.
    """
    machine = replace(session.machine, run=('-smp', '2', '-cpu', 'max'),
                      timeout=session.machine.timeout + load)
    what = Boot('bench-selftests', 'run_selftests', (str(load),),
                kernel='kunit.enable=0 loglevel=5 hugepages=8', memory=2048,
                accelerator='tcg,thread=single')
    found, lines = boot_and_read(replace(session, machine=machine), what, read_passes)
    return found, kselftests.parse(lines)


def boot_both_selftests(sides: dict[str, Session], load: int, verdict: Verdict
                        ) -> dict[str, tuple[Measured, dict[str, kselftests.Program]]]:
    """Side by side: nothing is measured but lockdep's tables."""
    say('the kernel\'s own mm selftests, on both kernels' +
        (f', as a load of {load} s' if load else '') + ' ...')
    with ThreadPoolExecutor(len(SIDES)) as pool:
        try:
            done = dict(zip(SIDES, pool.map(lambda side: boot_selftests(sides[side], load), SIDES)))
        except BaseException:
            # Only this thread is interrupted, and those wait for their kernels.
            kunit_run.stop_children()
            raise
    for side, (boot, _) in done.items():
        if boot.trouble:
            verdict.fail(f'selftests on {side}', boot.trouble, EXIT_HANG)
    return done


def measure(sides: dict[str, Session], title: str, load: int) -> Verdict:
    """All of it, up to the verdict."""
    ours, total = sides[OURS], Verdict()
    objects = compare_off(sides, total)
    for side, session in sides.items():
        say(f'== the kernel with {side}: {shlex.quote(str(session.tree))}')
        if trouble := build(session):
            total.fail(f'build of {side}', trouble, EXIT_BUILD)
            return total
    boots = boot_in_turn(sides, total)
    results = ratios(boots)
    results += linear(results)
    judge_ratios(results, total)
    done = boot_both_selftests(sides, load, total)
    loaded = {side: boot for side, (boot, _) in done.items()}
    selftests = {side: programs for side, (_, programs) in done.items()}
    names = kselftests.present(ours.tree)
    kselftests.compare(names, selftests[FIXES], selftests[OURS], total)
    table = resources({side: boots[side][0] for side in SIDES}, loaded)
    say('\n'.join(['', as_text(results), '', resources_as_text(table), '']))
    write_atomically(ours.build / 'bench.json',
                     as_json(title, results, table, objects, selftests, total))
    say(f'also in {os.path.relpath(ours.build / "bench.json", ours.repo)}')
    return total


def run(options: Options) -> Verdict:
    """What the series costs on one kernel."""
    with prepared(options, X86_64_BENCH) as ours:
        sides = {FIXES: ours.beside(FIXES).prepare(ALL_BUT_FIXES), OURS: ours}
        return measure(sides, f'Linux {ours.base.release}', options.load)


VERB = Verb('bench', run, (*BUILD, 'LOAD'))
