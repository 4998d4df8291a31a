# SPDX-License-Identifier: GPL-2.0-only
"""The selftests in user space: each boot of a kernel runs a test program as its init.

A boot counts the tests that the program ran, and one more: its log. The kernel
must report nothing, or, where a boot is there to show a report, just that.
"""

from __future__ import annotations

import re
import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterable, Iterator, Mapping, Sequence

from nonblock.kernel import kunit_run
from nonblock.kernel import sanitizer
from nonblock.kernel.boot import (SELFTEST, Boot, Booted, build_initramfs, build_programs,
                                  command_line, run_boot)
from nonblock.common import EXIT_BUILD, EXIT_HANG, EXIT_TREE, EXIT_USAGE, Failure, say
from nonblock.kernel.machine import ARCHES, qemu_e2e, uml_e2e, uml_modules
from nonblock.kernel.session import Session, prepared
from nonblock.options import Options
from nonblock.result.ktap import TestLog, parse_log
from nonblock.result.verdict import SkipRule, Verdict, read_skip_rules
from nonblock.verbs import BOOT, MACHINE, Verb

EXCERPT = 15

# What no boot may show, and what none may that is not there to show a report
FATAL = (r'Kernel panic', r'INFO: task .* blocked', sanitizer.HEADLINE.pattern)
TROUBLE = (*FATAL, r'WARNING:', r'BUG:', r'possible .* detected')


# What is booted

@dataclass(frozen=True)
class TestBoot(Boot):
    """A boot whose log is judged."""
    # Regular expressions for lines of the log, to be found in this order
    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = TROUBLE
    peer: str = ''                          # in the tree: whose tests run, if not the program's

    @property
    def source(self) -> str:
        """The name of the file that has the tests."""
        return Path(self.peer or self.program).stem


# The map that is acquired again: mainline knows another recursion of such an allocation.
RECURSION = (r'possible recursive locking detected', r'\(mmu_notifier_nonblock\).* at: \w*alloc')
SLEEPING_LOCK = (r'BUG: Invalid wait context',)
SLEEP = (r'BUG: scheduling in a non-blocking section',)


def held(task: str, callback: str) -> tuple[str, ...]:
    """The list of held locks names the callback."""
    return (rf'\blocks held by {task}/', rf'\(mmu_notifier_nonblock\).* at: {callback}\+0x0')


def report(variant: str, wanted: tuple[str, ...], callback: str) -> TestBoot:
    """Lockdep is off after its first report, so each is made in a boot of its own."""
    return TestBoot(f'report-{variant}', 'report', ('-v', variant), small=True,
                    wanted=wanted + held('oom_reaper', callback), unwanted=FATAL)


def probe_report(variant: str, wanted: tuple[str, ...], callback: str) -> TestBoot:
    """Likewise, of an ordinary munmap() with the nonblocking probe."""
    return TestBoot(f'report-probe-{variant}', 'probe', ('-v', variant),
                    wanted=wanted + held('probe', callback), unwanted=FATAL)


# An extra pass comes ahead of each that may block.
PROBE = 'kunit.enable=0 mmu_notifier_nonblock_probe=1,100,0,-1'


# Where these are modules, a program loads them.
KUNIT_MODULES = ('lib/kunit/kunit.ko', 'lib/kunit/report-test.ko')


@dataclass(frozen=True)
class Suite:
    """Test programs, and the boots that they take."""
    folder: str                             # of the programs, in the tree
    boots: tuple[TestBoot, ...]
    # What else has to be in the initramfs: paths there, and of what is copied
    files: Callable[[Session], Mapping[str, Path]] = lambda session: {}


# Without time travel, so that interrupts come at any moment.
def race(name: str, variant: str, kernel: str = Boot.kernel) -> TestBoot:
    return TestBoot(name, 'race', ('-v', variant), kernel=kernel, time_travel=False, timeout=900)


# The longest first: see run_boots().
E2E = Suite(SELFTEST, (
    race('race', 'one_thread'),
    race('race-threads', 'several_threads'),
    # The probe changes nothing for the others.
    race('race-probe', 'one_thread', PROBE),
    # An OOM kill comes when all of the memory is full.
    TestBoot('oom-probe', 'oom', kernel=PROBE, small=True),
    TestBoot('oom', 'oom', small=True),
    TestBoot('device-probe', 'device', kernel=PROBE),
    TestBoot('mrelease-probe', 'mrelease', kernel=PROBE),
    TestBoot('device', 'device'),
    TestBoot('mrelease', 'mrelease'),
    # The suite that it runs makes reports, and expects them.
    TestBoot('lockdep', 'lockdep', unwanted=FATAL, kernel='kunit.filter_glob=kunit_report'),
    report('mutex', SLEEPING_LOCK, 'fake_invalidate'),
    report('allocation', RECURSION, 'fake_range_start'),
    report('range_end', RECURSION, 'fake_range_end'),
    report('sleep', SLEEP, 'fake_invalidate'),
    TestBoot('probe', 'probe', ('-f', 'probe')),
    TestBoot('probe-set', 'probe', ('-t', 'is_set_by_command_line'), PROBE),
    probe_report('mutex', SLEEPING_LOCK, 'fake_invalidate'),
    probe_report('range_end', RECURSION, 'fake_range_end'),
))


# What should run

def scan_tests(text: str) -> list[str]:
    """The names of all tests in a C file, as the harness prints them."""
    text = re.sub(r'/\*.*?\*/|//[^\n]*', '', text, flags=re.DOTALL)
    variants: dict[str, list[str]] = {}
    for fixture, name in re.findall(r'\bFIXTURE_VARIANT_ADD\(\s*(\w+)\s*,\s*(\w+)\s*\)', text):
        variants.setdefault(fixture, []).append(f'{fixture}.{name}')
    found = [f'global.{name}' for name in re.findall(r'\bTEST(?:_SIGNAL)?\(\s*(\w+)', text)]
    for fixture, name in re.findall(r'\bTEST_F(?:_SIGNAL|_TIMEOUT)?\(\s*(\w+)\s*,\s*(\w+)', text):
        found += [f'{full}.{name}' for full in variants.get(fixture, [fixture])]
    return found


def expected_tests(tree: Path, suite: Suite = E2E) -> dict[str, list[str]]:
    """The tests of each program."""
    sources = [*sorted((tree / suite.folder).glob('*.c')),
               *(tree / boot.peer for boot in suite.boots if boot.peer)]
    found = {path.stem: tests for path in sources
             if (tests := scan_tests(path.read_text(encoding='utf-8')))}
    if not found:
        raise Failure(EXIT_TREE, f'{tree / suite.folder}: there is no TEST or TEST_F in any *.c')
    return found


# The verdict

def excerpt(lines: list[str], first: int) -> str:
    """The log from before this line, to be shown."""
    first = max(first - 1, 0)
    return '\n'.join(f'    {line}' for line in lines[first:first + EXCERPT])


def find_lines(lines: list[str], patterns: Iterable[str]) -> tuple[list[int], str]:
    """Where they are, one after the other, and the first that is not there."""
    found: list[int] = []
    for pattern in patterns:
        number = next((number for number in range(found[-1] if found else 0, len(lines))
                       if re.search(pattern, lines[number])), None)
        if number is None:
            return found, pattern
        found.append(number)
    return found, ''


def judge_lines(boot: TestBoot, lines: list[str], verdict: Verdict, tree: Path) -> None:
    """What the log shows counts as one test."""
    _, other = sanitizer.split((match[1] for line in lines
                                if (match := sanitizer.HEADLINE.search(line))), tree)
    if other:
        say(f'boot {boot.name}: {sanitizer.as_text(other)}')
    bad = next((number for number, line in enumerate(lines)
                if any(re.search(pattern, line) for pattern in boot.unwanted) and
                not any(headline in line for headline in other)), None)
    found, missing = find_lines(lines, boot.wanted)
    label = f'boot {boot.name}: log'
    if bad is not None:
        shown = excerpt(lines, bad)
        say(f'boot {boot.name} shows what it must not:\n{shown}')
        verdict.fail(label, f'must not have: {lines[bad].strip()}', report=shown)
        return
    if found:
        say(f'boot {boot.name} made this report:\n{excerpt(lines, found[0])}')
    verdict.note(label, f'has no line for "{missing}"' if missing else '')


def judge_stop(boot: TestBoot, timeout: int, log: TestLog, lines: list[str], status: int,
               timed_out: bool, verdict: Verdict) -> None:
    """Where it hung or crashed, or what it left out without that."""
    if timed_out or status or log.open_test or log.planned is None:
        where = log.open_test or ('after its last test' if log.tests else 'before its first test')
        what = (f'no end within {timeout} s' if timed_out else
                log.panic if status and log.panic else
                f'the kernel ended with exit status {status}' if status else
                'the program ended without a result')
        end = excerpt(lines, len(lines) - EXCERPT + 1)
        verdict.fail(f'{boot.name}: {where}', what, EXIT_HANG, 'HANG' if timed_out else 'CRASH',
                     end)
        if lines and not log.panic.startswith('Kernel panic'):
            say(f'the end of the log of boot {boot.name}:\n{end}')
    elif not log.planned:
        verdict.fail(boot.name, f'no test is called so: {shlex.join(boot.arguments)}')
    elif log.planned != len(log.tests):
        verdict.fail(boot.name, f'{len(log.tests)} of {log.planned} tests have a result',
                     word='MISSING')


def judge_boot(boot: TestBoot, session: Session, lines: list[str], status: int,
               timed_out: bool, rules: list[SkipRule]) -> tuple[Verdict, TestLog]:
    log, verdict = parse_log(lines), Verdict()
    for result in log.tests:
        verdict.take(result, rules, session, f'{boot.name}: {result}')
    judge_stop(boot, boot.timeout or session.machine.timeout, log, lines, status, timed_out,
               verdict)
    judge_lines(boot, lines, verdict, session.tree)
    return verdict, log


def missing_tests(expected: dict[str, list[str]], ran: dict[str, set[str]]) -> Verdict:
    """Tests that no boot has begun, because one crashed, or because none is to run them."""
    verdict = Verdict()
    for program, tests in expected.items():
        for name in tests:
            if name not in ran.get(program, set()):
                verdict.fail(f'{program}: {name}', 'no boot has run it', word='MISSING')
    return verdict


# All of it

def run_boots(session: Session, boots: Sequence[TestBoot]) -> Iterator[tuple[TestBoot, Booted]]:
    """Several at once; each as soon as it is over."""
    def run_one(boot: TestBoot) -> tuple[TestBoot, Booted]:
        return boot, run_boot(session, boot.name, command_line(session.machine, boot),
                              boot.timeout)

    # In real time they sleep the most, and need no CPU of their own.
    sleepers = sum(not boot.time_travel for boot in boots) if session.machine.time_travels else 0
    with ThreadPoolExecutor(session.at_once + sleepers) as pool:
        futures = [pool.submit(run_one, boot) for boot in boots]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # Interrupted: those that have not begun need not. One may begin just now.
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):
                kunit_run.stop_children()
                time.sleep(0.05)
            raise


def initramfs_files(session: Session, suite: Suite) -> dict[str, Path]:
    um = session.folder
    programs = build_programs(session.tree, um, suite.folder, '' if session.machine.is_uml
                              else ARCHES[session.machine.arch].cross)
    return {**{f'/{boot.program}': programs / boot.program for boot in suite.boots},
            **{f'/{Path(name).name}': um / name for name in KUNIT_MODULES if (um / name).exists()},
            **suite.files(session)}


def run_suite(session: Session, suite: Suite = E2E) -> Verdict:
    """Build all in the folder next to the prepared tree, boot all, and judge."""
    rules, expected = read_skip_rules(), expected_tests(session.tree, suite)
    ran = {boot.source: set[str]() for boot in suite.boots}
    total = Verdict()
    outcome = kunit_run.build(session)
    if not outcome.built:
        total.fail('build', outcome.error, EXIT_BUILD)
        return total
    build_initramfs(session.folder, initramfs_files(session, suite))
    shutil.rmtree(session.folder / 'uml', ignore_errors=True)
    for boot, booted in run_boots(session, suite.boots):
        verdict, log = judge_boot(boot, session, booted.lines, booted.status, booted.timed_out,
                                  rules)
        verdict.tests[-1].seconds = booted.seconds      # of the log
        booted.say(boot.name, verdict, session.repo)
        ran[boot.source] |= {result.name for result in log.tests} | {log.open_test}
        total.add(verdict)
    total.add(missing_tests(expected, ran))
    return total


def check(options: Options) -> None:
    if options.arch != 'um' and not ARCHES[options.arch].program:
        raise Failure(EXIT_USAGE, f'ARCH={options.arch}: nobody has tried "e2e" there')


def run(options: Options) -> Verdict:
    # With a sanitizer, one kernel serves the suites, too, and has them built in.
    with prepared(options, (uml_e2e if options.san else uml_modules, qemu_e2e)) as session:
        return run_suite(session).tell(session.about)


VERB = Verb('e2e', run, (*BOOT, *MACHINE), check=check)
