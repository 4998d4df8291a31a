# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what make bench tells of the time that one waits."""

from __future__ import annotations

import os
import unittest
from unittest import mock

from nonblock.kernel import kunit_run
from nonblock.verbs import turnaround
from nonblock.common import EXIT_BUILD, Failure
from nonblock.tests.fixtures import ScratchTest, write
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.machine import Machine
from nonblock.kernel.session import Session
from nonblock.verbs.turnaround import Time
from nonblock.result.verdict import Verdict


class TimeTest(unittest.TestCase):
    def test_ratio(self) -> None:
        self.assertTrue(Time('cold', 50.0, 200.0, 0.4).good)
        self.assertFalse(Time('cold', 90.0, 200.0, 0.4).good)
        self.assertEqual(str(Time('cold', 90.0, 200.0, 0.4)),
                         'cold: 90.0 s against 200.0 s, ratio 0.45, goal 0.40')

    def test_seconds(self) -> None:
        self.assertTrue(Time('suites', 0.9, None, 1.0).good)
        self.assertFalse(Time('suites', 1.1, None, 1.0).good)
        self.assertEqual(str(Time('suites', 1.1, None, 1.0)), 'suites: 1.1 s, goal 1.00')

    def test_table(self) -> None:
        lines = turnaround.as_text([Time('cold', 90.0, 200.0, 0.4),
                                    Time('suites', 0.9, None, 1.0)]).splitlines()
        self.assertEqual(lines[1].split(), ['cold', '200.0', '90.0', '0.45', '0.40', 'FAILED'])
        self.assertEqual(lines[2].split(), ['suites', '-', '0.9', '-', '1.00'])


class CcacheTest(unittest.TestCase):
    def test_off_and_as_before(self) -> None:
        cases: tuple[dict[str, str], ...] = ({}, {'CCACHE_DISABLE': ''})
        for before in cases:
            with mock.patch.dict(os.environ, before):
                with turnaround.without_ccache():
                    self.assertEqual(os.environ['CCACHE_DISABLE'], '1')
                self.assertEqual(os.environ.get('CCACHE_DISABLE'), before.get('CCACHE_DISABLE'))


class MeasureTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.tree = self.scratch / 'linux'
        self.log = 'ok 1 foo\nreboot: System halted\n'
        write(self.tree, {turnaround.OUR_TEST: '', turnaround.STOCK_TEST: ''})

    def run_with(self, outcomes: list[Outcome]) -> tuple[list[Time], Verdict, list[Machine]]:
        verdict, machines = Verdict(), []

        def kunit(session: Session, **_: object) -> Outcome:
            machines.append(session.machine)
            write(session.folder, {'test.log': self.log})
            return outcomes.pop(0)

        with mock.patch.object(kunit_run, 'run', kunit), \
                mock.patch.object(turnaround, 'suites', return_value=0.75):
            times = turnaround.measure_uml(self.session(tree=self.tree))
        return times, verdict, machines

    def test_uml(self) -> None:
        took = [Outcome(built=True, seconds={'build': build, 'run': run}) for build, run in
                ((80, 1), (260, 10), (5, 1), (4, 0.5), (9, 2), (10, 10), (10, 10), (10, 10))]
        times, _, machines = self.run_with(took)
        self.assertEqual([(time.ours, time.stock) for time in times],
                         [(81, 270), (6, 20), (0.75, None)])
        self.assertEqual({machine.folder for machine in machines}, {'um-cold', 'um-cold-stock'})
        self.assertNotIn('--kunitconfig=mm/tests', machines[1].build)
        self.assertIn('--kconfig_add=CONFIG_PROVE_LOCKING=y', machines[1].build)

    def test_suites_without_the_boot(self) -> None:
        took = [0.9, 1.1, 1.0, 0.2, 0.1, 0.3]
        given: list[tuple[str, ...]] = []

        def boot(_session: Session, *arguments: str) -> float:
            given.append(arguments)
            return took.pop(0)

        with mock.patch.object(turnaround, 'boot', boot):
            self.assertAlmostEqual(turnaround.suites(self.session()), 0.8)
        self.assertEqual(given, [()] * 3 + [('kunit.enable=0',)] * 3)

    def test_kernel_that_hangs(self) -> None:
        for result in ((0, True), (1, False)):
            with mock.patch.object(turnaround, 'start', return_value=result), \
                    self.assertRaises(Failure) as caught:
                turnaround.boot(self.session())
            self.assertIn('boot.log', str(caught.exception))

    def test_cold_is_from_nothing(self) -> None:
        old = self.tree.with_name('um') / 'old.o'
        write(old.parent, {old.name: ''})
        with mock.patch.object(kunit_run, 'run', return_value=Outcome(built=True)), \
                mock.patch.object(turnaround, 'ended', return_value=True):
            turnaround.cold(self.session(tree=self.tree))
        self.assertFalse(old.exists())

    def test_failed_build(self) -> None:
        with self.assertRaises(Failure) as caught:
            self.run_with([Outcome(error='foo.c:1: error: bar')])
        self.assertIn('um-cold: foo.c:1: error: bar', str(caught.exception))

    def test_hang(self) -> None:
        with self.assertRaises(Failure) as caught:
            self.run_with([Outcome(built=True, timed_out=True)])
        self.assertIn('did not come to its end', str(caught.exception))

    def test_crash_is_not_fast(self) -> None:
        self.log = 'ok 1 foo\nKernel panic - not syncing: Segfault\n'
        with self.assertRaises(Failure) as caught:
            self.run_with([Outcome(built=True, status=1)])
        self.assertIn('um-cold: the kernel did not come to its end', str(caught.exception))

    def test_failure_is_one_of_the_verdict(self) -> None:
        verdict = Verdict()
        failure = Failure(EXIT_BUILD, 'no compiler')
        with mock.patch.object(turnaround, 'measure_uml', side_effect=failure), \
                mock.patch.object(turnaround, 'measure_pc',
                                  return_value=[Time('cold', 1.0, 2.0, 0.4)]):
            times = turnaround.measure(self.session(), verdict)
        self.assertEqual(len(times), 1)
        self.assertEqual(verdict.lines, ['FAILED turn-around: no compiler',
                                         'FAILED cold: 1.0 s against 2.0 s, ratio 0.50, goal 0.40'])


if __name__ == '__main__':
    unittest.main()
