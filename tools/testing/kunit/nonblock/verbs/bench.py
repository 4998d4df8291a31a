# SPDX-License-Identifier: GPL-2.0-only
"""What the series costs: make bench.

Two trees: one with only the fixes of the series, and ours. Where lockdep is off, both
must compile to the same code. Where it is on, both are booted in turn under QEMU, whose
clock counts instructions, so that neither this machine's load nor its caches matter.
"""

from __future__ import annotations

import re
import shlex
import shutil
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from nonblock.kernel import kunit_run
from nonblock.kernel.session import Session, find_base, prepared
from nonblock.options import Options
from nonblock.verbs import BOOT, Verb
from nonblock.kernel.boot import Boot, build_initramfs, command_line, run_boot, run_tool
from nonblock.common import EXIT_BUILD, EXIT_HANG, Failure, as_table, capture, say
from nonblock.kernel.kbuild import ERROR, Builder, Config, base_options
from nonblock.kernel.kconfig import read_config
from nonblock.kernel.machine import BENCH_CONFIG, X86_64_BENCH
from nonblock.result.verdict import Verdict
from nonblock.tree.hooks import touched_files
from nonblock.tree.prepare import overlay_files

HERE = Path(__file__).resolve().parent
FIXES, OURS = SIDES = 'fixes', 'ours'
# What the names of the topics begin with that are the fixes
FIX_TOPICS = 'fixes-'
ROUNDS = 3


# Lockdep off

OFF = dict.fromkeys((
    'PROVE_LOCKING', 'PROVE_RAW_LOCK_NESTING', 'DEBUG_ATOMIC_SLEEP', 'FTRACE',
    'ENABLE_DEFAULT_TRACERS', 'KUNIT', 'KUNIT_DEBUGFS', 'FAULT_INJECTION_DEBUG_FS',
    'FAULT_INJECTION_STACKTRACE_FILTER', 'TEST_MMU_NOTIFIER', 'SYNC_FILE', 'DETECT_HUNG_TASK'), 'n')


def off_options() -> dict[str, str]:
    """bench.config's, and to be off what is on in the other configurations."""
    return {**read_config(BENCH_CONFIG), **OFF}


def touched_sources(sides: dict[str, Session]) -> list[str]:
    """Mainline's C files that our hooks change; they include the headers that these change."""
    ours, tree = sides[OURS], sides[FIXES].tree
    names = {name for hook in ours.hooks for name in touched_files(ours.repo / hook)
             if name.endswith('.c') and (tree / name).is_file()}
    return sorted(name for name in names if not name.startswith(('arch/', 'tools/', 'samples/')))


def disassemble(path: Path) -> str:
    """All code, with its relocations, and without the name of the file."""
    result = capture(['objdump', '--disassemble', '--reloc', path])
    if result.returncode:
        raise Failure(EXIT_BUILD, f'objdump {path}: {result.stderr.strip()}')
    return result.stdout.partition('file format')[2]


def compare_off(sides: dict[str, Session], verdict: Verdict) -> None:
    """One test for each object."""
    sources = touched_sources(sides)
    config = Config('x86_64, bench off', 'x86_64', off_options())
    builders = {side: Builder(config, session.tree, session.jobs)
                for side, session in sides.items()}
    objects: list[str] = []
    for side, builder in builders.items():
        say(f'lockdep off: building the touched objects in {builder.out.name} of {side} ...')
        trouble = builder.configure({*base_options('x86_64'), *off_options()})
        objects = builder.objects(sources) if not trouble else []
        status, output = builder.make(*objects) if objects else (1, trouble or 'no objects')
        if status:
            error = ERROR.search(output)
            verdict.fail(f'build of {side}, lockdep off',
                         error[0].strip() if error else output.strip(), EXIT_BUILD)
            return
    ours = [name for name in overlay_files(sides[OURS].repo) if name.endswith('.c') and
            name.startswith(('mm/', 'lib/'))]
    extra = builders[OURS].objects(ours)
    verdict.note('off: objects that only ours has', ' '.join(extra))
    for name in objects:
        one, other = (disassemble(builders[side].out / name) for side in SIDES)
        verdict.note(f'off: {name}', '' if one == other else 'the code is not the same')
    say(f'lockdep off: {len(objects)} objects: {" ".join(objects)}')


# Lockdep on: what a boot says

Measured = dict[str, float]       # by what was measured, in nanoseconds, that is, instructions

VALUE = re.compile(r'bench: (\w+) ([0-9.]+)\s*$', re.MULTILINE)
TROUBLE = re.compile(r'bench: failed: .*|WARNING: .*|BUG: .*|Kernel panic.*')


def read_boot(text: str) -> tuple[Measured, str]:
    """What a kernel measured, and what went wrong."""
    values = {name: float(value) for name, value in VALUE.findall(text)}
    if trouble := TROUBLE.search(text):
        return values, trouble[0]
    return values, '' if 'bench: end' in text else 'it did not come to its end'


# Lockdep on: the verdict

# What is measured
NAMES = ('fault_munmap', 'kmalloc', 'kmalloc_under_mutex',
         *(f'{kind}_{how}_{count}' for kind in ('range', 'interval') for count in (1, 16, 256, 4096)
           for how in ('blockable', 'nonblocking')))
# Goals of a ratio, ours to that with only the fixes. A pass that may not block is rare on a
# kernel with lockdep, so it has to be linear, as that is, and no more.
GOAL, NONBLOCKING_GOAL = 1.01, 3


@dataclass
class Ratio:
    name: str
    ours: float
    other: float                # the fixes
    limit: float

    @property
    def ratio(self) -> float:
        return self.ours / self.other

    @property
    def good(self) -> bool:
        return self.ratio <= self.limit

    def __str__(self) -> str:
        return (f'{self.ours:.1f} against {self.other:.1f}, ratio {self.ratio:.3f}, '
                f'goal {self.limit:.2f}')


def limit_of(name: str) -> float:
    return NONBLOCKING_GOAL if 'nonblocking' in name else GOAL


def ratios(boots: dict[str, list[Measured]]) -> list[Ratio]:
    """Of the medians, for all that each boot of both sides has."""
    def median(side: str, name: str) -> float:
        return statistics.median(values[name] for values in boots[side])

    return [Ratio(name, median(OURS, name), median(FIXES, name), limit_of(name))
            for name in NAMES if all(name in values for side in SIDES for values in boots[side])]


def judge_ratios(results: list[Ratio], verdict: Verdict) -> None:
    for name in sorted(set(NAMES) - {result.name for result in results}):
        verdict.fail(name, 'not measured in each boot', word='MISSING')
    for result in results:
        verdict.note(result.name, '' if result.good else str(result))


def as_text(results: list[Ratio]) -> str:
    rows = [['', 'fixes', 'ours', 'ratio', 'goal']]
    rows += [[result.name, f'{result.other:.1f}', f'{result.ours:.1f}', f'{result.ratio:.3f}',
              f'{result.limit:.2f}'] for result in results]
    return f'{as_table(rows)}\nIn instructions.'


# The kernels, the module and the boots

def module_arguments(folder: Path) -> tuple[str, ...]:
    """Not exported, and the kernel is not relocatable, so that System.map tells."""
    prefix = '__mmu_notifier_invalidate_range_'
    found = re.findall(rf'^([0-9a-f]+) \w {prefix}(start|end|start_map)$',
                       (folder / 'System.map').read_text(encoding='utf-8'), re.MULTILINE)
    if len(found) != 3:
        raise Failure(EXIT_BUILD, f'{folder}/System.map: want {prefix}start, ...end, ...start_map')
    return tuple(f'{name.removeprefix("start_")}=0x{address}' for address, name in found)


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
    run_tool('building the init', ['gcc', '-O2', '-static', '-o', output / 'bench',
                                   output / 'bench.c'])
    build_initramfs(folder, {'/bench': output / 'bench',
                             '/mmu_notifier_bench.ko': output / 'mmu_notifier_bench.ko'})
    return ''


def boot_once(session: Session, number: int) -> tuple[Measured, str]:
    machine = session.machine
    # What the kernel draws by lot: where objects come to lie, for one.
    seeded = replace(machine, run=(*machine.run, '-seed', str(number)))
    what = Boot(f'bench-{number}', 'bench', module_arguments(session.folder), memory=256)
    booted = run_boot(session, what.name, command_line(seeded, what))
    values, trouble = read_boot('\n'.join(booted.lines))
    if booted.timed_out:
        trouble = f'no end within {machine.timeout} s'
    return values, f'{trouble} (log: {booted.log})' if trouble else ''


def measure(sides: dict[str, Session]) -> Verdict:
    """All of it, up to the verdict."""
    total = Verdict()
    compare_off(sides, total)
    for side, session in sides.items():
        say(f'== the kernel with {side}: {shlex.quote(str(session.tree))}')
        if trouble := build(session):
            total.fail(f'build of {side}', trouble, EXIT_BUILD)
            return total
    boots: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for number in range(1, ROUNDS + 1):
        for side in SIDES:
            values, trouble = boot_once(sides[side], number)
            if trouble:
                total.fail(f'boot of {side}', trouble, EXIT_HANG)
            boots[side].append(values)
    results = ratios(boots)
    judge_ratios(results, total)
    say(f'\n{as_text(results)}\n')
    return total


def run(options: Options) -> Verdict:
    """What the series costs on one kernel."""
    base = find_base(options)
    other = replace(base, name=f'{base.name}-{FIXES}')
    with prepared(options, X86_64_BENCH, other, FIX_TOPICS) as fixes, \
            prepared(options, X86_64_BENCH, base) as ours:
        return measure({FIXES: fixes, OURS: ours}).tell(ours.about)


VERB = Verb('bench', run, BOOT)
