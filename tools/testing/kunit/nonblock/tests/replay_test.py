# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what boots kernels, on kernels that say again what real ones have said.

Each is a script that prints a log, ends early, or never.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Optional
from unittest import mock

from nonblock.common import EXIT_BUILD, EXIT_HANG, Failure
from nonblock.kernel import boot as boot_module, kunit_run
from nonblock.kernel.boot import SELFTEST
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.machine import UML_E2E, UML_MODULES, X86_64_BENCH, Machine
from nonblock.result.verdict import Case, Verdict
from nonblock.tests import bench_test
from nonblock.tests.fixtures import HERE, SUITE_C, TOP, ScratchTest, quiet, write
from nonblock.tests.guard_test import lives
from nonblock.modules import loads
from nonblock.verbs import bench, e2e, modules
from nonblock.verbs.e2e import E2E, Suite, TestBoot

# Until a kernel counts as hung, in seconds; but no test waits for them, see ReplayTest
LONG = 6

# By the name of the program that it runs. It notes its process, and how many there are.
KERNEL = r'''#!/bin/sh
cd "$(dirname "$0")"
program=suites
for word in $*; do
	case $word in rdinit=/*) program=${word#rdinit=/} ;; esac
done
mkdir -p running && : > running/$$
ls running | wc -l >> at_once
case $(cat how 2>/dev/null) in
"hang $program")
	head -n 20 "said/$program.log"
	setsid sleep 300 &
	echo $! >> hung
	echo $$ >> hanging
	wait
	exit ;;		# who is killed last says no more
"crash $program")
	head -n 20 "said/$program.log"
	echo 'Kernel panic - not syncing: Fatal exception'
	exit 134 ;;
slow*)
	# Until there have been so many at once, and then some time for more
	set -- $(cat how)
	tries=500
	while [ "$(sort -n at_once | tail -n 1)" -lt "$2" ] && [ $((tries -= 1)) -gt 0 ]; do
		sleep 0.02
	done
	sleep 0.1 ;;
esac
[ ! -e "said/$program.log" ] || cat "said/$program.log"
rm running/$$
'''


class ReplayTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        wait = subprocess.Popen.wait

        def until_it_hangs(process: subprocess.Popen[bytes], timeout: Optional[float] = None
                           ) -> int:
            """A kernel that hangs does so as soon as it has said all."""
            while timeout == LONG and process.poll() is None:
                hanging = self.folder / 'hanging'
                if hanging.exists() and str(process.pid) in hanging.read_text().split():
                    raise subprocess.TimeoutExpired(process.args, timeout)
                time.sleep(0.01)
            return wait(process, timeout)

        patched = mock.patch.object(subprocess.Popen, 'wait', until_it_hangs)
        patched.start()
        self.addCleanup(patched.stop)

    def boot_folder(self, machine: Machine, logs: dict[str, str]) -> Path:
        """Where a kernel of this machine is, as if it had been built."""
        folder = self.kernel.with_name(machine.folder)
        write(folder, {f'said/{name}.log': text for name, text in logs.items()})
        for name, text in (('linux', KERNEL), ('usr/gen_init_cpio', '#!/bin/sh\ncat "$1"\n')):
            write(folder, {name: text})
            (folder / name).chmod(0o755)
        self.machine = machine
        self.folder = folder
        return folder

    def at_once(self) -> int:
        """How many kernels there were at most."""
        return max(map(int, (self.folder / 'at_once').read_text().split()))

    def assert_nothing_hangs(self) -> None:
        hung = (self.folder / 'hung').read_text().split()
        self.assertTrue(hung)
        self.assertEqual([pid for pid in hung if lives(int(pid))], [])


class EndToEndTest(ReplayTest):
    """The real programs' logs, and their boots in the real table."""

    def setUp(self) -> None:
        super().setUp()
        for name in ('mrelease.c', 'report.c'):
            write(self.kernel / SELFTEST, {name: (TOP / SELFTEST / name).read_text()})
        write(self.kernel / SELFTEST, {'Makefile': 'all:\n\ttouch $(OUTPUT)/mrelease '
                                                   '$(OUTPUT)/report\n'})
        self.boot_folder(UML_E2E, {
            name: (HERE / f'tests/test_data/e2e/{name}.log').read_text()
            for name in ('mrelease', 'report')})
        self.boots = tuple(boot for boot in E2E.boots if boot.name in (
            'mrelease', 'mrelease-probe', 'report-allocation'))

    def run_suite(self, how: str = '', timeout: int = 60, jobs: int = 2) -> Verdict:
        write(self.folder, {'how': how})
        session = replace(self.session(replace(self.machine, timeout=timeout)), jobs=jobs)
        with quiet() as output, \
                mock.patch.object(kunit_run, 'build', return_value=Outcome(built=True)):
            verdict = e2e.run_suite(session, Suite(SELFTEST, self.boots))
        self.output = output.getvalue()
        return verdict

    def lines(self, verdict: Verdict) -> list[str]:
        """Without those of tests that no log has, or skips for the sake of another kernel."""
        return [line for line in verdict.lines
                if not line.startswith(('MISSING', 'SKIPPED')) and 'two_pass' not in line]

    def test_as_recorded(self) -> None:
        verdict = self.run_suite()
        self.assertEqual(self.lines(verdict), [])
        # Each boot counts its log, too.
        self.assertEqual(verdict.passed, 2 * (12 + 1) + 1 + 1)
        self.assertIn('boot report-allocation made this report:', self.output)
        self.assertEqual({line.split()[1] for line in verdict.lines if 'no boot' in line},
                         {'mrelease:', 'report:'})

    def test_hang(self) -> None:
        verdict = self.run_suite('hang report', timeout=LONG)
        self.assertEqual(self.lines(verdict)[0], 'HANG report-allocation: '
                         'report.allocation.is_made_once: no end within 6 s')
        self.assertEqual(verdict.code, EXIT_HANG)
        self.assertEqual(verdict.passed, 2 * (12 + 1))
        self.assert_nothing_hangs()

    def test_crash(self) -> None:
        verdict = self.run_suite('crash mrelease')
        self.assertEqual(verdict.code, EXIT_HANG)
        self.assertRegex('\n'.join(self.lines(verdict)),
                         r'CRASH mrelease: mrelease\.range_backs_off\.\w+: '
                         'Kernel panic - not syncing: Fatal exception')

    def test_as_many_at_once_as_there_are_cpus_for(self) -> None:
        self.boots = tuple(TestBoot(f'boot-{number}', 'mrelease') for number in range(5))
        for jobs in (1, 2, 3):
            (self.folder / 'at_once').unlink(missing_ok=True)
            self.run_suite(f'slow {jobs}', jobs=jobs)
            self.assertEqual(self.at_once(), jobs)

    def test_kernels_with_several_cpus(self) -> None:
        self.boots = tuple(TestBoot(f'boot-{number}', 'mrelease') for number in range(3))
        self.machine = replace(UML_E2E, run=('ncpus=2', 'seccomp=on'), time_travels=False)
        self.run_suite('slow 1', jobs=2)
        self.assertEqual(self.at_once(), 1)

    def test_who_sleeps_in_real_time_is_beside_these(self) -> None:
        self.boots = tuple(TestBoot(f'boot-{number}', 'mrelease', time_travel=number > 1)
                           for number in range(6))
        self.run_suite('slow 3', jobs=1)
        self.assertEqual(self.at_once(), 3)

    def test_interrupted(self) -> None:
        """Ctrl-C ends all kernels, and none begins after it."""
        self.boots = tuple(TestBoot(f'boot-{number}', 'mrelease') for number in range(5))

        def interrupt() -> None:
            deadline = time.monotonic() + 30
            hung = self.folder / 'hung'
            while time.monotonic() < deadline and not (
                    hung.exists() and len(hung.read_text().split()) == 2):
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        thread = threading.Thread(target=interrupt)
        thread.start()
        with self.assertRaises(KeyboardInterrupt):
            self.run_suite('hang mrelease')
        thread.join()
        self.assert_nothing_hangs()
        self.assertEqual(len((self.folder / 'hung').read_text().split()), 2)


class ModulesTest(ReplayTest):
    CASES = [Case('fake', name, name == 'many') for name in ('one', 'many', 'two')]

    def run_boots(self, how: str = '', log: str = 'passed', timeout: int = 60) -> Verdict:
        write(self.kernel / SELFTEST, {'Makefile': 'all:\n\ttouch $(OUTPUT)/load\n'})
        self.boot_folder(UML_MODULES, {
            'load': (HERE / f'tests/test_data/{log}.log').read_text()})
        write(self.folder, {'how': how})
        boot = loads.Load('driver', ('lib/kunit/kunit.ko', '/drv/drv.ko'), ())
        with quiet() as output:
            verdict = loads.run_loads([boot], self.session(replace(self.machine,
                                                                   timeout=timeout)),
                                      self.CASES, [], {})
        self.output = output.getvalue()
        return verdict

    def test_passed(self) -> None:
        self.assertEqual(str(self.run_boots()), '4 passed, 0 failed')
        self.assertIn('-- /driver/kunit.ko /driver/drv.ko\n', self.output)
        self.assertIn('file /driver/drv.ko /drv/drv.ko 0755 0 0\n',
                      (self.folder / 'initramfs.cpio').read_text())

    def test_failed(self) -> None:
        self.assertEqual(self.run_boots(log='failed').lines[0].split(': ')[:2],
                         ['driver', 'FAILED fake.many:second/mutex'])

    def test_hang(self) -> None:
        verdict = self.run_boots('hang load', log='hang', timeout=LONG)
        self.assertEqual(verdict.code, EXIT_HANG)
        self.assertRegex(verdict.lines[0], r'^driver: HANG fake\.\w+: no result within 6 s')
        self.assert_nothing_hangs()

    def test_crash(self) -> None:
        verdict = self.run_boots('crash load', log='hang')
        self.assertEqual(verdict.code, EXIT_HANG)
        self.assertIn('Kernel panic - not syncing: Fatal exception', verdict.lines[0])

    def test_status_without_a_word(self) -> None:
        """All passed, and then something went wrong."""
        self.boot_folder(UML_MODULES, {})
        with mock.patch.object(boot_module, 'start', lambda *arguments: (shutil.copy(
                HERE / 'tests/test_data/passed.log', arguments[3]) and 3, False)):
            verdict = self.run_boots()
        self.assertEqual(verdict.lines, ['driver: FAILED: the kernel ended with exit status 3'])

    def run_driver(self, rule: str, log: str) -> Verdict:
        """What make driver does, with a rule of the kernel's Makefile that builds its module"""
        write(self.scratch / 'drv', {'Kbuild': 'obj-m := drv.o\n', 'drv.c': SUITE_C})
        write(self.kernel, {'Makefile': f'modules:\n\t{rule}\n'})
        write(self.kernel / SELFTEST, {'Makefile': 'all:\n\ttouch $(OUTPUT)/load\n'})
        self.boot_folder(UML_MODULES, {
            'load': (HERE / f'tests/test_data/{log}.log').read_text()})
        with quiet(), mock.patch.object(kunit_run, 'build', return_value=Outcome(built=True)):
            return modules.run_driver(self.session(self.machine), self.scratch / 'drv')

    def test_driver(self) -> None:
        rule = 'cd $(M) && touch drv.ko && echo drv.o > modules.order'
        self.assertEqual(str(self.run_driver(rule, 'passed')), '4 passed, 0 failed')
        self.assertIn(f'file /driver/drv.ko {self.scratch}/drv/drv.ko 0755 0 0\n',
                      (self.folder / 'initramfs.cpio').read_text())
        self.assertEqual(self.run_driver(rule, 'failed').lines[0].split(': ')[:2],
                         ['driver', 'FAILED fake.many:second/mutex'])

    def test_driver_that_does_not_compile(self) -> None:
        with self.assertRaisesRegex(Failure, r'building .*/drv failed:\n    drv.c: no') as caught:
            self.run_driver('echo drv.c: no >&2; false', 'passed')
        self.assertEqual(caught.exception.code, EXIT_BUILD)


class BenchTest(ReplayTest):
    """Under QEMU, which is a script, too."""

    def boot_once(self, how: str = '', timeout: int = 60) -> tuple[bench.Measured, str]:
        folder = self.boot_folder(replace(X86_64_BENCH, timeout=timeout), {'bench': bench_test.LOG})
        write(folder, {'how': how, 'System.map': ''.join(
            f'0000{number} T __mmu_notifier_invalidate_range_{name}\n'
            for number, name in enumerate(('start', 'end', 'start_map')))})
        (folder / 'linux').rename(folder / 'qemu-system-x86_64')
        with quiet() as output, mock.patch.dict(os.environ, {
                'PATH': f'{folder}:{os.environ["PATH"]}'}):
            measured = bench.boot_once(self.session(self.machine), 2)
        self.output = output.getvalue()
        return measured

    def test_as_recorded(self) -> None:
        values, trouble = self.boot_once()
        self.assertEqual((trouble, values['kmalloc']), ('', 1234.5))
        self.assertRegex(self.output, r"-seed 2 .* rdinit=/bench -- start=0x00000 end=0x00001 ")

    def test_hang(self) -> None:
        self.assertRegex(self.boot_once('hang bench', LONG)[1],
                         r'^no end within 6 s \(log: .*/bench-2\.log\)$')
        self.assert_nothing_hangs()

    def test_crash(self) -> None:
        self.assertIn('Kernel panic - not syncing', self.boot_once('crash bench')[1])
