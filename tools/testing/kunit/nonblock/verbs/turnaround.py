# SPDX-License-Identifier: GPL-2.0-only
"""How long one waits for the suites, in relation to kunit_tool with its own settings.

Part of make bench. The same tree, with lockdep on both sides, and without ccache. This
is in real time: only the ratios count, and those of one sitting.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, Optional

from nonblock.kernel import kunit_run
from nonblock.kernel.boot import start
from nonblock.common import EXIT_BUILD, Failure
from nonblock.kernel.machine import UML, Machine, x86_64
from nonblock.result.verdict import Verdict

# What kunit.py would do by itself, and what makes the reports
STOCK = tuple(f'--kconfig_add=CONFIG_{option}=y' for option in
              ('DEBUG_KERNEL', 'PROVE_LOCKING', 'DEBUG_ATOMIC_SLEEP'))
# What is edited: one of the suites that each of them builds
OUR_TEST, STOCK_TEST = 'mm/tests/mmu_notifier_backoff_kunit.c', 'lib/kunit/kunit-test.c'
ROUNDS = 3


@dataclass
class Time:
    """Of one thing that one waits for, in seconds."""
    name: str
    ours: float
    stock: Optional[float]      # None: the limit is in seconds, not a ratio
    limit: float

    @property
    def value(self) -> float:
        return self.ours if self.stock is None else self.ours / self.stock

    @property
    def good(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        against = ('' if self.stock is None else
                   f' against {self.stock:.1f} s, ratio {self.value:.2f}')
        return f'{self.name}: {self.ours:.1f} s{against}, goal {self.limit:.2f}'


@contextmanager
def without_ccache() -> Iterator[None]:
    before = os.environ.get('CCACHE_DISABLE')
    os.environ['CCACHE_DISABLE'] = '1'
    try:
        yield
    finally:
        del os.environ['CCACHE_DISABLE']
        if before is not None:
            os.environ['CCACHE_DISABLE'] = before


def ended(folder: Path) -> bool:
    """Did the kernel go down by itself? It says so, unless it panics."""
    with open(folder / 'test.log', encoding='utf-8', errors='replace') as file:
        return any('reboot: ' in line for line in file)


def run(tree: Path, machine: Machine, jobs: int, memory: Path) -> dict[str, float]:
    """
    The seconds of each of kunit.py's phases, as it builds and runs. Results do not matter, but
    that there are all: a kernel that crashes is soon done.
    """
    outcome = kunit_run.run(tree, machine, jobs, False, memory, quiet=True)
    if not outcome.built:
        raise Failure(EXIT_BUILD, f'{machine.folder}: {outcome.error}')
    if outcome.timed_out or not ended(tree.with_name(machine.folder)):
        raise Failure(EXIT_BUILD, f'{machine.folder}: the kernel did not come to its end')
    return outcome.seconds


def cold(tree: Path, machine: Machine, jobs: int, memory: Path) -> float:
    shutil.rmtree(tree.with_name(machine.folder), ignore_errors=True)
    return sum(run(tree, machine, jobs, memory).values())


def warm(tree: Path, machine: Machine, edited: str, jobs: int, memory: Path) -> float:
    totals = []
    for _ in range(ROUNDS):
        (tree / edited).touch()
        totals.append(sum(run(tree, machine, jobs, memory).values()))
    return statistics.median(totals)


def boot(folder: Path, machine: Machine, *arguments: str) -> float:
    """What kunit.py does, without kunit.py: until the kernel halts."""
    given = [argument.removeprefix('--kernel_args=') for argument in machine.run]
    log = folder / 'boot.log'
    since = time.monotonic()
    status, timed_out = start(['./linux', 'mem=1G', 'console=tty', 'kunit_shutdown=halt',
                               'uml_dir=uml', *given, *arguments], machine.timeout, folder, log)
    if status or timed_out:
        raise Failure(EXIT_BUILD, f'{machine.folder}: the kernel did not come to its end '
                      f'(log: {log})')
    return time.monotonic() - since


def suites(tree: Path, machine: Machine) -> float:
    """The suites without the boot: the difference to one without suites, of the medians."""
    folder = tree.with_name(machine.folder)
    both = [[boot(folder, machine, *arguments) for _ in range(ROUNDS)]
            for arguments in ((), ('kunit.enable=0',))]
    return statistics.median(both[0]) - statistics.median(both[1])


def stock(machine: Machine, *build: str) -> Machine:
    arch = machine.folder.partition('_')[0]
    return replace(machine, folder=f'{machine.folder}-stock', build=(*build, *STOCK),
                   run=() if arch == 'um' else machine.run, timeout=900)


def measure_uml(tree: Path, jobs: int, memory: Path) -> list[Time]:
    ours = replace(UML, folder='um-cold')
    theirs = stock(ours)
    return [Time('cold, UML', cold(tree, ours, jobs, memory),
                 cold(tree, theirs, jobs, memory), 0.4),
            Time('after an edit of a test, UML', warm(tree, ours, OUR_TEST, jobs, memory),
                 warm(tree, theirs, STOCK_TEST, jobs, memory), 1.0),
            Time('the suites after boot, UML', suites(tree, ours), None, 1.0)]


def measure_pc(tree: Path, jobs: int, memory: Path) -> list[Time]:
    ours = replace(x86_64(2, False), folder='x86_64-cold')
    theirs = stock(ours, '--arch=x86_64')
    return [Time('cold, x86_64', cold(tree, ours, jobs, memory),
                 cold(tree, theirs, jobs, memory), 0.55)]


def measure(tree: Path, jobs: int, memory: Path, verdict: Verdict) -> list[Time]:
    """All of it, each time a test."""
    found: list[Time] = []
    with without_ccache():
        for part in (measure_uml, measure_pc):
            try:
                found += part(tree, jobs, memory)
            except Failure as failure:
                verdict.fail(f'FAILED turn-around: {failure}', failure.code)
    for each in found:
        if each.good:
            verdict.passed += 1
        else:
            verdict.fail(f'FAILED {each}')
    return found


def as_text(times: list[Time]) -> str:
    lines = [f'{"seconds":30} {"stock":>8} {"ours":>8} {"ratio":>7} {"goal":>6}']
    for each in times:
        other, ratio = ('-', '-') if each.stock is None else (f'{each.stock:.1f}',
                                                              f'{each.value:.2f}')
        lines.append(f'{each.name:30} {other:>8} {each.ours:8.1f} {ratio:>7} {each.limit:6.2f}'
                     + ('' if each.good else '  FAILED'))
    return '\n'.join(lines)
