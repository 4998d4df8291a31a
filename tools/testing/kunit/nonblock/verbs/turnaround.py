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
from nonblock.common import EXIT_BUILD, Failure, as_table
from nonblock.kernel.machine import UML, qemu
from nonblock.kernel.session import Session
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


def run(session: Session) -> dict[str, float]:
    """
    The seconds of each of kunit.py's phases, as it builds and runs. Results do not matter, but
    that there are all: a kernel that crashes is soon done.
    """
    outcome = kunit_run.run(session, quiet=True)
    if not outcome.built:
        raise Failure(EXIT_BUILD, f'{session.machine.folder}: {outcome.error}')
    if outcome.timed_out or not ended(session.folder):
        raise Failure(EXIT_BUILD, f'{session.machine.folder}: the kernel did not come to its end')
    return outcome.seconds


def cold(session: Session) -> float:
    shutil.rmtree(session.folder, ignore_errors=True)
    return sum(run(session).values())


def warm(session: Session, edited: str) -> float:
    totals = []
    for _ in range(ROUNDS):
        (session.tree / edited).touch()
        totals.append(sum(run(session).values()))
    return statistics.median(totals)


def boot(session: Session, *arguments: str) -> float:
    """What kunit.py does, without kunit.py: until the kernel halts."""
    machine, log = session.machine, session.folder / 'boot.log'
    given = [argument.removeprefix('--kernel_args=') for argument in machine.run]
    since = time.monotonic()
    status, timed_out = start(['./linux', 'mem=1G', 'console=tty', 'kunit_shutdown=halt',
                               'uml_dir=uml', *given, *arguments], machine.timeout,
                              session.folder, log)
    if status or timed_out:
        raise Failure(EXIT_BUILD, f'{machine.folder}: the kernel did not come to its end '
                      f'(log: {log})')
    return time.monotonic() - since


def suites(session: Session) -> float:
    """The suites without the boot: the difference to one without suites, of the medians."""
    both = [[boot(session, *arguments) for _ in range(ROUNDS)]
            for arguments in ((), ('kunit.enable=0',))]
    return statistics.median(both[0]) - statistics.median(both[1])


def stock(session: Session, *build: str) -> Session:
    machine = session.machine
    return replace(session, machine=replace(
        machine, folder=f'{machine.folder}-stock', build=(*build, *STOCK),
        run=() if machine.is_uml else machine.run, timeout=900))


def measure_uml(session: Session) -> list[Time]:
    ours = replace(session, machine=replace(UML, folder='um-cold'), raw=False)
    theirs = stock(ours)
    return [Time('cold, UML', cold(ours), cold(theirs), 0.4),
            Time('after an edit of a test, UML', warm(ours, OUR_TEST), warm(theirs, STOCK_TEST),
                 1.0),
            Time('the suites after boot, UML', suites(ours), None, 1.0)]


def measure_pc(session: Session) -> list[Time]:
    machine = replace(qemu('x86_64', 2, False), folder='x86_64-cold')
    ours = replace(session, machine=machine, raw=False)
    return [Time('cold, x86_64', cold(ours), cold(stock(ours, '--arch=x86_64')), 0.55)]


def measure(session: Session, verdict: Verdict) -> list[Time]:
    """All of it, each time a test."""
    found: list[Time] = []
    with without_ccache():
        for part in (measure_uml, measure_pc):
            try:
                found += part(session)
            except Failure as failure:
                verdict.fail('turn-around', str(failure), failure.code)
    for each in found:
        verdict.note(each.name, '' if each.good else str(each).partition(': ')[2])
    return found


def as_text(times: list[Time]) -> str:
    return as_table([['seconds', 'stock', 'ours', 'ratio', 'goal'], *(
        [each.name, *(('-', f'{each.ours:.1f}', '-') if each.stock is None else
                      (f'{each.stock:.1f}', f'{each.ours:.1f}', f'{each.value:.2f}')),
         f'{each.limit:.2f}', *([] if each.good else ['FAILED'])] for each in times)])
