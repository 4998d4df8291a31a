# SPDX-License-Identifier: GPL-2.0-only
"""Tests of make bench: what it reads in logs, and how it judges."""

from __future__ import annotations

import json
import signal
import time
import unittest
from dataclasses import replace
from unittest import mock

from nonblock.kernel import machine
from nonblock.verbs import bench, bench_code
from nonblock.verbs.bench import Measured, Ratio
from nonblock.verbs.bench_code import FIXES, OURS
from nonblock.kernel.boot import start
from nonblock.common import Failure
from nonblock.tests.fixtures import TOP, ScratchTest, quiet, write
from nonblock.tree.hooks import read_series
from nonblock.result.kselftests import Program
from nonblock.kernel.machine import X86_64_BENCH
from nonblock.kernel.session import Session
from nonblock.result.verdict import Verdict

LOG = '''[    0.100000] | Locking API testsuite:
[    0.350000] Good, all 261 testcases passed! |
lockdep at boot:  lock-classes:                          500 [max: 8192]
lockdep at boot:  max locking depth:                      12
bench: fault_munmap 52000
[    0.900000] mmu_notifier_bench: loading out-of-tree module taints kernel.
[    1.000000] bench: kmalloc 1234.50
[    1.100000] bench: range_nonblocking_16 31000.00
lockdep after load:  lock-classes:                       503 [max: 8192]
lockdep after load:  stack-trace entries:              20000 [max: 524288]
bench: end
'''
SUITES = '''[    0.100000] | Locking API testsuite:
[    0.350000] Good, all 261 testcases passed! |
[    2.000000] KTAP version 1
[    2.000100]     KTAP version 1
[    2.400000]     WARNING: as expected
[    2.500000] ok 1 slub_test
[    3.250000] ok 2 usercopy # SKIP
bench: end
'''


def boots(values: dict[str, list[float]]) -> dict[str, list[Measured]]:
    """Of one measurement, on each side."""
    return {side: [Measured({'kmalloc': value}) for value in values[side]] for side in values}


class ParseTest(unittest.TestCase):
    def test_passes(self) -> None:
        boot = bench.read_passes(LOG.splitlines())
        self.assertEqual(boot.values, {'fault_munmap': 52000, 'kmalloc': 1234.5,
                                       'range_nonblocking_16': 31000})
        self.assertEqual(boot.lockdep, {'at boot': {'lock-classes': 500},
                                        'after load': {'lock-classes': 503,
                                                       'stack-trace entries': 20000}})
        self.assertEqual(boot.trouble, '')

    def test_trouble(self) -> None:
        for line in ('bench: failed: /mmu_notifier_bench.ko: Invalid argument',
                     'WARNING: possible recursive locking detected',
                     'BUG: Invalid wait context ]'):
            self.assertEqual(bench.read_passes(f'{line}\n{LOG}'.splitlines()).trouble, line)

    def test_no_end(self) -> None:
        boot = bench.read_passes(LOG.replace('bench: end\n', '').splitlines())
        self.assertEqual(boot.trouble, 'it did not come to its end')

    def test_suites(self) -> None:
        boot = bench.read_suites(SUITES.splitlines())
        self.assertEqual(boot.values, {'kunit_suites': 1.25e9, 'locking_selftests': 0.25e9,
                                       'kunit_passed': 1})
        # What a suite has the kernel report is its own affair.
        self.assertEqual(boot.trouble, '')

    def test_suites_that_panic(self) -> None:
        panic = 'Kernel panic - not syncing: Fatal exception'
        boot = bench.read_suites(SUITES.replace('bench: end', panic).splitlines())
        self.assertEqual(boot.trouble, 'it did not come to its end')

    def test_suite_that_failed_or_did_not_run(self) -> None:
        boot = bench.read_suites(SUITES.replace('] ok 1', '] not ok 1').splitlines())
        self.assertEqual(boot.trouble, 'failed: slub_test')
        boot = bench.read_suites(SUITES.replace('Good, all', 'BUG:').splitlines())
        self.assertEqual(boot.trouble, 'locking_selftests did not run')


class JudgeTest(unittest.TestCase):
    def test_median_and_spread(self) -> None:
        result, = bench.ratios(boots({FIXES: [100, 100, 500], OURS: [101, 101, 101]}))
        self.assertEqual((result.ratio, result.spread, result.limit), (1.01, 4.0, 1.01))
        self.assertTrue(result.good)

    def test_what_a_boot_lacks_is_no_result(self) -> None:
        found = boots({FIXES: [100, 100], OURS: [100, 100]})
        found[OURS][1].values.clear()
        self.assertEqual(bench.ratios(found), [])

    def test_linear(self) -> None:
        passes = [Ratio(f'range_nonblocking_{count}', ours, 1, 1, 0, None)
                  for count, ours in ((1, 900), (16, 1600), (4096, 4096 * 130))]
        result, = bench.linear(passes)
        self.assertEqual((result.name, result.ratio, result.good),
                         ('range_nonblocking_linear', 1.3, False))

    def test_verdict(self) -> None:
        verdict = Verdict()
        names = sorted(bench.expected_names() - {'interval_blockable_1'})
        results = [Ratio(name, 2 if name == 'kmalloc' else 1, 1,
                         2 if name == 'kmalloc' else 1, 0, bench.limit_of(name))
                   for name in names]
        bench.judge_ratios(results, verdict)
        self.assertEqual(verdict.lines, [
            'MISSING interval_blockable_1: not measured in each boot',
            'FAILED kmalloc: 2.0 against 1.0, ratio 2.000, goal 1.01'])
        self.assertEqual(verdict.passed, len(names) - 1)

    def test_what_passed_has_to_pass(self) -> None:
        for ours, passed in ((160, 0), (161, 1), (162, 1)):
            verdict = Verdict()
            bench.judge_ratios([Ratio('kunit_passed', ours, 161, ours / 161, 0, None)], verdict)
            self.assertEqual(verdict.passed, passed, ours)

    def test_goals(self) -> None:
        for name, limit in (('kmalloc', 1.01), ('kmalloc_under_mutex', 1.01),
                            ('fault_munmap', 1.01), ('interval_blockable_256', 1.01),
                            ('range_blockable_1', 1.01), ('range_nonblocking_4096', 3),
                            ('kunit_suites', 1.05)):
            self.assertEqual(bench.limit_of(name), limit, name)


class OutputTest(ScratchTest):
    def test_json_and_text(self) -> None:
        results = [Ratio('kmalloc', 2, 1, 2, 0, 1.01), Ratio('other', 1, 1, 1, 0, None)]
        table = bench.resources(*({side: Measured(lockdep={when: {'lock-classes': number}})
                                   for side, number in numbers} for when, numbers in (
                                       ('at boot', ((FIXES, 5), (OURS, 6))),
                                       ('after the selftests', ((FIXES, 7), (OURS, 8))))))
        self.assertEqual(table, {'at boot': {'lock-classes': {FIXES: 5, OURS: 6}},
                                 'after the selftests': {'lock-classes': {FIXES: 7, OURS: 8}}})
        programs = {side: {'cow': Program('with status 0', {'one': 'passed'})}
                    for side in (FIXES, OURS)}
        found = json.loads(bench.as_json('Linux', results, table, ['mm/foo.o'],
                                         programs, Verdict()))
        self.assertEqual([result['good'] for result in found['results']], [False, True])
        self.assertEqual(found['selftests'][OURS]['cow']['tests'], {'one': 'passed'})
        self.assertRegex(bench.as_text(results), r'kmalloc +1\.0 +2\.0 +2\.000 +1\.01 .* FAILED')
        self.assertRegex(bench.resources_as_text(table), r'at boot: lock-classes +5 +6')

    def test_address(self) -> None:
        write(self.scratch, {'System.map': 'ffffffff81000010 T foo_start\n'
                                           'ffffffff81000020 t foo\n'})
        self.assertEqual(bench.find_address(self.scratch, 'foo'), '0xffffffff81000020')
        with self.assertRaisesRegex(Failure, 'no bar'):
            bench.find_address(self.scratch, 'bar')


class InterruptTest(ScratchTest):
    def test_selftests_end_at_once(self) -> None:
        def boot(session: Session, *_: object) -> tuple[Measured, dict[str, Program]]:
            start(['sleep', '60'], 60, self.scratch, session.repo / 'log')
            return Measured(), {}

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        sides = dict.fromkeys((FIXES, OURS), self.session())
        before = signal.signal(signal.SIGALRM, interrupt)
        since = time.monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with mock.patch('nonblock.verbs.bench.boot_selftests', boot), quiet(), \
                    self.assertRaises(KeyboardInterrupt):
                bench.boot_both_selftests(sides, 0, Verdict())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        self.assertLess(time.monotonic() - since, 30)


class TreeTest(ScratchTest):
    def test_fixes_come_first(self) -> None:
        left = read_series(TOP, bench.ALL_BUT_FIXES)
        self.assertIn('mm-mmu_notifier-end-interval-state.patch', left)
        self.assertEqual(left, read_series(TOP)[:len(left)])
        self.assertFalse([name for name in left if 'kunit' in name or 'annotate' in name])

    def test_touched_sources(self) -> None:
        write(self.repo, {'hooks/foo.patch': '--- a/mm/foo.c\n+++ b/mm/foo.c\n'
                          '--- a/include/linux/foo.h\n+++ b/include/linux/foo.h\n'
                          '--- /dev/null\n+++ b/mm/new.c\n'})
        write(self.kernel, {'include/linux/foo.h': '', 'mm/user.c': '#include <linux/foo.h>\n'})
        session = replace(self.session(), hooks=('hooks/foo.patch',))
        self.assertEqual(bench_code.touched_sources({FIXES: session, OURS: session}),
                         ['mm/foo.c', 'mm/user.c'])

    def test_difference_names_the_function(self) -> None:
        code = '0000000000000000 <foo>:\n   0:\tc3\tret\n'
        self.assertEqual(bench_code.first_difference(code, code.replace('c3\tret', '90\tnop')),
                         'foo: 0: c3 ret | 0: 90 nop')
        self.assertEqual(bench_code.first_difference(code, code + 'more'), 'one is longer')

    def test_machine(self) -> None:
        # Without TCG it does not count, and the module takes addresses as they are.
        self.assertTrue(X86_64_BENCH.path)
        self.assertIn('-icount', X86_64_BENCH.run)
        config = (machine.HERE / 'x86_64.config').read_text(encoding='utf-8')
        self.assertIn('# CONFIG_RELOCATABLE is not set', config)


if __name__ == '__main__':
    unittest.main()
