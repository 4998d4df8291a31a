# SPDX-License-Identifier: GPL-2.0-only
"""make mutants: boot the suites with one edit after the other."""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Iterator, Mapping

from nonblock.common import EXIT_BUILD, Failure, Progress, say, write_atomically
from nonblock.kernel import kunit_run
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.session import Session
from nonblock.mutants import edits, hand
from nonblock.mutants.build import Kernel, with_edit
from nonblock.mutants.edits import Mutant
from nonblock.mutants.show import CRASHED, FAILED, HUNG, LEFT, SAME, SURVIVED, Tried
from nonblock.result.ktap import parse_log
from nonblock.result.verdict import Case, SkipRule, Verdict, judge
from nonblock.tree.hooks import touched_files
from nonblock.tree.prepare import overlay_files

HERE = Path(__file__).resolve().parent
# What is always compiled, and has the choice
DEFINES = 'mm/mmu_notifier.c'
# A test failed, or CONFIG_DETECT_HUNG_TASK tells of a task that waits for ever.
OVER = re.compile(rb'^ *not ok | blocked for more than ', re.MULTILINE)
OTHER_CODE = 'other code, and no test fails'
MUTANTS, EQUIVALENTS = HERE / 'mutants', HERE / 'equivalents'
# New files of the series that are neither tests nor what only tests use
CODE = re.compile(r'(lib/kunit/(?!.*test).*\.c|mm/[^/]*\.c|include/kunit/.*\.h)$')


@dataclass(frozen=True)
class Trial:
    """A boot that may show what an edit does."""
    command: list[str]          # in the folder of the kernel, which is the first word
    timeout: int                # for the time that it computes, in seconds
    # Of the lines of its log, its exit status, and whether it was too late
    judge: Callable[[list[str], int, bool], Verdict]


def trial_of_suites(session: Session, cases: list[Case], rules: list[SkipRule]) -> Trial:
    machine = session.machine
    # A boot on UML computes for half a second.
    timeout = machine.timeout // 10
    there = replace(session, machine=replace(machine, timeout=timeout))
    return Trial(
        ['./linux', 'mem=1G', 'console=tty', 'kunit_shutdown=halt', 'uml_dir=uml',
         *(argument.removeprefix('--kernel_args=') for argument in machine.run)], timeout,
        lambda lines, status, timed_out: judge(cases, parse_log(lines), rules, there,
                                               Outcome(built=True, timed_out=timed_out)))


@dataclass
class Job:
    """What is asked for, and what there is."""
    session: Session
    trials: Mapping[str, Trial]             # and the way that each shows
    ways: Mapping[str, str] = field(default_factory=dict)       # of keys, if not ''
    # What has to be next to a kernel: makes it in the folder of one that has just been linked
    pack: Callable[[Session], object] = lambda session: None
    only: str = ''
    limit: int = 0              # of the list by hand alone, if not 0
    texts: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        if name not in self.texts:
            self.texts[name] = (self.session.tree / name).read_text(encoding='utf-8')
        return self.texts[name]


# Which there are

def added_lines(base: Path, text: str) -> set[int]:
    if not base.exists():
        return set(range(1, text.count('\n') + 2))
    old = base.read_text(encoding='utf-8').splitlines()
    matcher = difflib.SequenceMatcher(None, old, text.splitlines(), False)
    return {line for tag, _, _, first, last in matcher.get_opcodes() if tag != 'equal'
            for line in range(first + 1, last + 1)}


def code_files(job: Job) -> list[str]:
    repo, hooks = job.session.repo, job.session.hooks
    touched = {name for hook in hooks for name in touched_files(repo / hook)}
    return sorted([name for name in touched if name.endswith(('.c', '.h')) and
                   not name.startswith(('lib/test_', 'samples/', 'tools/'))] +
                  [name for name in overlay_files(repo) if CODE.match(name)])


def find_mutants(job: Job) -> tuple[list[Mutant], list[str]]:
    """Those by hand come first."""
    found: dict[str, Mutant] = {}
    trouble: list[str] = []
    for written in hand.read_mutants(MUTANTS):
        mutant = hand.find(written, job.text(written.file))
        if mutant:
            found[mutant.key] = mutant
    if job.limit:
        return list(found.values())[:job.limit], []
    for name in code_files(job):
        lines = added_lines(job.session.base.path / name, job.text(name))
        mutants, unread = edits.of_file(name, job.text(name), lines)
        trouble += unread
        for mutant in mutants:
            found.setdefault(mutant.key, mutant)
    return [mutant for mutant in found.values() if job.only in mutant.key], trouble


# What becomes of them

def computed(pid: int) -> float:
    """For how many seconds this process has."""
    return sum(map(int, kunit_run.stat(pid)[11:13])) / os.sysconf('SC_CLK_TCK')


def summed_up(verdict: Verdict, timed_out: bool, seconds: float) -> Tried:
    if not verdict.failed:
        return Tried(SURVIVED, '', seconds)
    # A test that failed before it hung says most.
    first = min(verdict.lines, key=lambda line: not line.startswith('FAILED '))
    # Where nothing ran, the kernel died before it could say anything.
    what = (FAILED if first.startswith('FAILED ') else HUNG if timed_out else
            CRASHED if first.startswith(('CRASH ', 'MISSING ')) else FAILED)
    return Tried(what, first, seconds)


class Boots:
    """Boots the kernels, as many at once as there are CPUs."""

    def __init__(self, job: Job):
        self._job = job
        self._folder = job.session.build / 'mutants-boots'
        self._folder.mkdir(exist_ok=True)
        self._places: queue.Queue[int] = queue.Queue()
        self._stopped = threading.Event()
        self._processes: set[subprocess.Popen[bytes]] = set()
        for place in range(job.session.at_once):
            self._places.put(place)

    def boot(self, folder: Path, number: int = 0, way: str = '') -> Tried:
        """That which shows this way, with the kernel of that folder."""
        place, trial = self._places.get(), self._job.trials[way]
        log = self._folder / f'{place}.log'
        command = [trial.command[0], f'mutant={number}', *trial.command[1:]]
        try:
            if self._stopped.is_set():
                return Tried(LEFT)
            start = time.monotonic()
            with open(log, 'wb') as output, subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                    stderr=output, start_new_session=True) as process:
                self._processes.add(process)
                timed_out = not self._has_ended(process, log, trial.timeout)
                if timed_out:
                    kunit_run.stop(process, [signal.SIGKILL])
                self._processes.discard(process)
            if self._stopped.is_set():
                return Tried(LEFT)
            lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
            status = 0 if timed_out else process.returncode
            return summed_up(trial.judge(lines, status, timed_out), timed_out,
                             time.monotonic() - start)
        finally:
            self._places.put(place)

    @staticmethod
    def _has_ended(process: subprocess.Popen[bytes], log: Path, timeout: int) -> bool:
        """By itself; not if it has said enough."""
        # Time that it computes: the machine may have other things to do.
        end = time.monotonic() + 10 * timeout
        while time.monotonic() < end and not OVER.search(log.read_bytes()) and \
                computed(process.pid) < timeout:
            try:
                process.wait(0.5)
                return True
            except subprocess.TimeoutExpired:
                pass
        return False

    def stop(self) -> None:
        self._stopped.set()
        for process in list(self._processes):
            kunit_run.stop(process, [signal.SIGKILL])


class Store:
    """The results so far, for as long as nothing has changed that they depend on."""

    def __init__(self, job: Job):
        session = job.session
        self._path = session.build / f'mutants-results-{session.machine.folder}.json'
        self._lock = threading.Lock()
        digest = hashlib.sha256(repr((session.base.release, session.machine)).encode())
        for path in [*(session.repo / name for name in overlay_files(session.repo)),
                     *(session.repo / hook for hook in session.hooks),
                     *sorted(HERE.glob('*.py')), *sorted(HERE.with_name('result').glob('*.py'))]:
            digest.update(path.read_bytes())
        self._digest = digest.hexdigest()
        self.results: dict[str, Tried] = {}
        # Where one kernel is with many of them, and by which number it chooses each
        self.kernel = session.build / f'mutants-kernel-{session.machine.folder}'
        self.numbers: dict[str, int] = {}
        try:
            saved = json.loads(self._path.read_text(encoding='utf-8'))
            if saved['digest'] == self._digest:
                self.results = {key: Tried(**value) for key, value in saved['results'].items()}
                self.numbers = saved['numbers']
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def note(self, mutant: Mutant, result: Tried) -> None:
        if result.outcome == LEFT:
            return
        with self._lock:
            self.results[mutant.key] = result
            self._save()

    def _save(self) -> None:
        write_atomically(self._path, json.dumps({
            'digest': self._digest, 'numbers': self.numbers,
            'results': {key: vars(value) for key, value in self.results.items()}}))

    def forget(self, mutants: list[Mutant]) -> None:
        for mutant in mutants:
            self.results.pop(mutant.key, None)
        self._save()

    def keep(self, built: Path, numbers: dict[str, int]) -> None:
        """The kernel that has been built there, for all that follows."""
        shutil.rmtree(self.kernel, ignore_errors=True)
        self.kernel.mkdir()
        for name in ('linux', 'initramfs.cpio'):
            if (built / name).exists():
                shutil.copy(built / name, self.kernel)
        self.numbers = numbers
        self._save()

    def has_kernel(self, mutants: list[Mutant]) -> bool:
        return self.kernel.exists() and all(mutant.key in self.numbers for mutant in mutants)


def link(job: Job, kernel: Kernel) -> None:
    kernel.link()
    job.pack(replace(job.session, machine=replace(job.session.machine, folder=kernel.path.name)))


def build_all(job: Job, kernel: Kernel, mutants: list[Mutant], store: Store) -> None:
    """One kernel for all that can be chosen."""
    numbers: dict[str, int] = {}
    numbered = dict(enumerate(mutants, 1))
    # Headers first: who includes them may have edits, too.
    files = {mutant.file for mutant in mutants} | {DEFINES}
    for name in sorted(files, key=lambda name: (name.endswith('.c'), name)):
        here = {number: mutant for number, mutant in numbered.items() if mutant.file == name}
        wrong = kernel.install(name, job.text(name), here, name == DEFINES)
        for number in wrong:
            store.note(here[number], Tried(SAME, 'does not compile'))
        numbers.update((mutant.key, number) for number, mutant in here.items()
                       if number not in wrong)
        say(f'{name}: {len(here)} edits, {len(wrong)} do not compile')
    link(job, kernel)
    store.keep(kernel.path, numbers)
    for name in files:
        kernel.restore(name)


def boot_all(job: Job, boots: Boots, mutants: list[Mutant], store: Store) -> None:
    ways = {mutant.key: job.ways.get(mutant.key, '') for mutant in mutants}

    def expect_green() -> None:
        for way in sorted(set(ways.values())):
            found = boots.boot(store.kernel, 0, way)
            if found.outcome != SURVIVED:
                raise Failure(EXIT_BUILD, f'without an edit, the tests fail: {found.by}')

    expect_green()
    progress = Progress('booting')
    with ThreadPoolExecutor(job.session.at_once) as pool:
        futures = [(mutant, pool.submit(boots.boot, store.kernel, store.numbers[mutant.key],
                                        ways[mutant.key])) for mutant in mutants]
        try:
            for done, (mutant, future) in enumerate(futures, 1):
                store.note(mutant, future.result())
                progress.update(f'{done} of {len(mutants)} mutants')
        except BaseException:
            boots.stop()
            raise
    try:
        expect_green()
    except Failure:
        # A full disk, for example: it was not the edits that failed.
        store.forget(mutants)
        raise


def boot_own(job: Job, kernel: Kernel, boots: Boots, mutant: Mutant) -> Tried:
    """One that has a kernel of its own."""
    name, text = mutant.file, job.text(mutant.file)
    code = kernel.code(name, with_edit(text, mutant))
    if not code:
        return Tried(SAME, 'does not compile')
    if code == kernel.code(name, text):
        return Tried(SAME, 'makes the same code')
    if kernel.replace(name, with_edit(text, mutant)):       # of a header, the first to tell
        kernel.restore(name)
        return Tried(SAME, 'does not compile')
    link(job, kernel)
    kernel.restore(name)
    return boots.boot(kernel.path, 0, job.ways.get(mutant.key, ''))


def compare_code(job: Job, kernel: Kernel, survivors: list[Mutant], store: Store) -> None:
    """Is there any difference in what the compiler makes?"""
    before = {name: kernel.code(name, job.text(name))
              for name in {mutant.file for mutant in survivors}}

    def compare(item: tuple[int, Mutant]) -> None:
        worker, mutant = item
        code = kernel.code(mutant.file, with_edit(job.text(mutant.file), mutant), worker)
        if not code or code == before[mutant.file]:
            why = 'makes the same code' if code else 'does not compile'
            store.note(mutant, Tried(SAME, why))
        else:
            store.note(mutant, replace(store.results[mutant.key], by=OTHER_CODE))

    with ThreadPoolExecutor(job.session.jobs) as pool:
        list(pool.map(compare, enumerate(survivors, 1)))


@contextlib.contextmanager
def stage(what: str) -> Iterator[None]:
    """Tells how long it took."""
    start = time.monotonic()
    yield
    say(f'time: {what} {time.monotonic() - start:.0f} s')


def run_mutants(job: Job, mutants: list[Mutant], store: Store) -> None:
    def left() -> list[Mutant]:
        return [mutant for mutant in mutants if mutant.key not in store.results]

    say(f'{len(mutants)} edits, {len(mutants) - len(left())} of which have a result already')
    boots = Boots(job)
    with contextlib.ExitStack() as stack:
        @functools.cache
        def kernel() -> Kernel:
            with stage(f'build of {job.session.machine.folder}'):
                outcome = kunit_run.build(job.session)
                if not outcome.built:
                    raise Failure(EXIT_BUILD, outcome.error)
                found = Kernel(job.session)
            stack.callback(shutil.rmtree, found.path, ignore_errors=True)
            for mutant in left():
                if not found.has(mutant.file):
                    store.note(mutant, Tried(SAME, 'this kernel does not compile the file'))
            return found

        def choosable() -> list[Mutant]:
            return [mutant for mutant in left() if mutant.edit.site.kind != 'own']

        if not store.has_kernel(choosable()):
            built = kernel()
            with stage('compiling the edits'):
                build_all(job, built, choosable(), store)
        if choosable():
            with stage('boots'):
                boot_all(job, boots, choosable(), store)
        if survivors := [mutant for mutant in mutants if mutant.key in store.results and
                         store.results[mutant.key].outcome == SURVIVED and
                         not store.results[mutant.key].by]:
            built = kernel()
            with stage('comparing the code'):
                compare_code(job, built, survivors, store)
        if left():
            built = kernel()
            with stage('kernels of their own'):
                progress = Progress('kernels of their own')
                for mutant in left():
                    progress.update(f'{len(left())} left')
                    result = boot_own(job, built, boots, mutant)
                    store.note(mutant, replace(result, by=OTHER_CODE)
                               if result.outcome == SURVIVED else result)
