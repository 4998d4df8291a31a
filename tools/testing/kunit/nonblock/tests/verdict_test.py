# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the verdict, on the kernel logs in test_data/."""

from __future__ import annotations

import re
import unittest
from dataclasses import dataclass
from pathlib import Path

from nonblock.common import Failure
from nonblock.tests.fixtures import HERE, SUITE_C, ScratchTest, quiet, write
from nonblock.kernel.kunit_run import Outcome
from nonblock.result.ktap import parse_log
from nonblock.result.verdict import (Case, SkipRule, Verdict, judge, read_failure_rules,
                                     read_skip_rules, scan_source)

DATA = HERE / 'tests/test_data'
RULES = [SkipRule('no two-pass', 'include/linux/mmu_notifier.h', 'invalidate_finish')]


@dataclass(frozen=True)
class Golden:
    """A log, what kunit.py made of it, and the verdict that it must get."""
    lines: list[str]            # the last is the sum
    code: int
    status: int = 1             # kunit.py's exit status
    timed_out: bool = False
    finish: bool = False        # whether this kernel has what the skip is about
    cases: str = ''             # the C file with the expected cases; else fixtures.SUITE_C


GOLDEN = {
    'passed': Golden(['4 passed, 0 failed'], 0, status=0),
    'time_stamps': Golden(['4 passed, 0 failed'], 0, status=0),
    'failed': Golden(['FAILED fake.many:second/mutex: EXPECTATION FAILED at mm/tests/fake.c:31',
                      'FAILED fake.two: ASSERTION FAILED at mm/tests/fake.c:40',
                      '2 passed, 2 failed'], 1),
    'hang': Golden(['HANG fake.two: no result within 120 s', '3 passed, 1 failed'], 6,
                   timed_out=True),
    'hang_in_parameter': Golden(
        ['HANG fake.many: no result within 120 s (the last parameter with a result is first)',
         'MISSING fake.two: it did not run', '2 passed, 2 failed'], 6, timed_out=True),
    'crash': Golden(['CRASH fake.one: Kernel panic - not syncing: Segfault with no mm',
                     'MISSING fake.many: it did not run', 'MISSING fake.two: it did not run',
                     '0 passed, 3 failed'], 6),
    'boot_panic': Golden(['CRASH the kernel\'s boot: Kernel panic - not syncing: no memory',
                          'MISSING fake.one: it did not run', 'MISSING fake.many: it did not run',
                          'MISSING fake.two: it did not run', '0 passed, 4 failed'], 6),
    'empty': Golden(['MISSING fake.one: it did not run; is suite fake enabled in .kunitconfig?',
                     'MISSING fake.many: it did not run; is suite fake enabled in .kunitconfig?',
                     'MISSING fake.two: it did not run; is suite fake enabled in .kunitconfig?',
                     '0 passed, 3 failed'], 1),
    'case_missing': Golden(['MISSING fake.two: it did not run', '3 passed, 1 failed'], 1,
                           status=0),
    'no_parameter': Golden(['FAILED fake.many: no parameter was run', '2 passed, 1 failed'], 1,
                           status=0),
    'no_parameter_skip': Golden(['FAILED fake.many: no parameter was run',
                                 '2 passed, 1 failed'], 1, status=0),
    'suite_failed': Golden(['FAILED fake: the suite itself failed (its init or exit)',
                            '4 passed, 1 failed'], 1),
    'skip': Golden(['3 passed, 0 failed, 1 skipped'], 0, status=0),
    'all_skipped': Golden(['FAILED: no test passed: all 3 were skipped',
                           '0 passed, 1 failed, 3 skipped'], 1, status=0),
    # Recorded from real runs, with kunit.filter_glob: our kernel 6.12, and the
    # same without the annotation. `cases` is what the filter left of the suite.
    'real_passed': Golden(['9 passed, 0 failed, 2 skipped'], 0, status=0,
                          cases='real_passed.c'),
    'real_failed': Golden(['FAILED mmu_notifier_nonblock.range_callback_depends_on_reclaim: '
                           'EXPECTATION FAILED at mm/tests/mmu_notifier_nonblock_kunit.c:495',
                           '0 passed, 1 failed'], 1, cases='real_failed.c'),
}


class GoldenTest(ScratchTest):
    def judge(self, name: str, golden: Golden) -> Verdict:
        cases = (DATA / golden.cases).read_text() if golden.cases else SUITE_C
        if golden.finish:
            write(self.kernel, {'include/linux/mmu_notifier.h': 'bool (*invalidate_finish)();\n'})
        with open(DATA / f'{name}.log', encoding='utf-8') as file:
            log = parse_log(file)
        return judge(scan_source(cases, name), log, RULES, self.session(),
                     Outcome(golden.status, timed_out=golden.timed_out))

    def test_golden_logs(self) -> None:
        for name, golden in GOLDEN.items():
            with self.subTest(name):
                verdict = self.judge(name, golden)
                self.assertEqual(verdict.lines + [str(verdict)], golden.lines)
                self.assertEqual(verdict.code, golden.code)

    def test_each_log_is_used(self) -> None:
        self.assertEqual(sorted(GOLDEN), sorted(path.stem for path in DATA.glob('*.log')))

    def test_skip_of_what_the_kernel_has(self) -> None:
        verdict = self.judge('skip', Golden([], 1, status=0, finish=True))
        self.assertEqual(verdict.lines, ['SKIPPED fake.two: not in expected-skips: '
                                         'no two-pass interval notifiers'])
        self.assertEqual((str(verdict), verdict.code), ('3 passed, 1 failed', 1))

    def test_kunit_py_fails_alone(self) -> None:
        verdict = self.judge('passed', Golden([], 1, status=1))
        self.assertEqual(verdict.lines, ['FAILED kunit.py: exit status 1, though every case '
                                         'passed'])

    def test_sanitizer(self) -> None:
        headline = 'BUG: KASAN: slab-use-after-free in foo+0x10/0x20'
        lines = (DATA / 'passed.log').read_text(encoding='utf-8').splitlines()
        log = parse_log([lines[0], headline, *lines[1:], f'[ 1.0] {headline}',
                         'BUG: KCSAN: data-race in foo / bar'])
        with quiet() as output:
            verdict = judge(scan_source(SUITE_C, 'x'), log, RULES, self.session(), Outcome())
        self.assertEqual(verdict.lines, [f'FAILED {headline} (2 times)'])
        self.assertEqual((str(verdict), verdict.code), ('4 passed, 1 failed', 1))
        self.assertIn('BUG: KCSAN: data-race in foo / bar (1 times)\n', output.getvalue())

    def test_hang_after_the_last_case(self) -> None:
        verdict = self.judge('passed', Golden([], 6, timed_out=True))
        self.assertEqual(verdict.lines,
                         ['HANG the kernel, after suite fake: no result within 120 s'])
        self.assertEqual(verdict.code, 6)


class LostTest(ScratchTest):
    def test_numbers_that_are_missing(self) -> None:
        log = parse_log(['KTAP version 1', '    # Subtest: fake', '        # Subtest: two',
                         '        ok 2 b', '        ok 3 c', '        ok 6 f', '    ok 1 two',
                         '        # Subtest: three', '        ok 1 a', '    ok 2 three',
                         'ok 1 fake'])
        self.assertEqual(log.lost, ['fake.two: results 1 to 1', 'fake.two: results 4 to 5'])
        with quiet():
            verdict = judge([], log, [], self.session(), Outcome())
        self.assertEqual(verdict.lines, [f'MISSING {lost} are not in the log'
                                         for lost in log.lost])

    def test_results_that_are_missing_at_the_end(self) -> None:
        log = parse_log(['KTAP version 1', '    # Subtest: fake', '    ok 1 one',
                         '        # Subtest: two', '        ok 1 a', '        ok 2 b',
                         '    # two: pass:5 fail:0 skip:0 total:5', '    ok 2 two',
                         '# Totals: pass:6 fail:0 skip:0 total:6', 'ok 1 fake',
                         '    # Subtest: whole', '    ok 1 one', '        # Subtest: two',
                         '        ok 1 a', '        not ok 2 b', '    not ok 2 two',
                         '# Totals: pass:2 fail:1 skip:0 total:3', 'not ok 2 whole'])
        self.assertEqual(log.lost, ['fake: 3 of 6 results'])


class ScanTest(unittest.TestCase):
    def test_cases_and_suites(self) -> None:
        text = '''
            /* KUNIT_CASE(not_this) */
            // KUNIT_CASE(nor_this)
            static struct kunit_case a[] = { KUNIT_CASE(a1), KUNIT_CASE_SLOW(a2), {} };
            static struct kunit_case b[] = {
                KUNIT_CASE_PARAM_WITH_INIT(b1, gen, init, exit),
                KUNIT_CASE_ATTR(b2, attributes), { }
            };
            static struct kunit_suite second = { .test_cases = b, .name = "second", };
            static struct kunit_suite first = { .name = "first", .test_cases = a };
        '''
        self.assertEqual(scan_source(text, 'x.c'), [
            Case('second', 'b1', True), Case('second', 'b2', False),
            Case('first', 'a1', False), Case('first', 'a2', False)])

    def test_cases_of_no_suite(self) -> None:
        with self.assertRaisesRegex(Failure, 'x.c: cannot tell'):
            scan_source('static struct kunit_case a[] = { KUNIT_CASE(a1), {} };', 'x.c')


class SkipRuleTest(ScratchTest):
    def test_the_rules_of_this_repository(self) -> None:
        rules = read_skip_rules()
        self.assertTrue(any(rule.allows('no two-pass interval notifiers', self.session())
                            for rule in rules))
        for pattern in (*(rule.pattern for rule in rules), *read_failure_rules().values()):
            re.compile(pattern)

    def test_a_missing_file_has_no_pattern_in_it(self) -> None:
        self.assertTrue(SkipRule('no x', 'mm/none.c', 'x').allows('no x here', self.session()))

    def test_the_configuration(self) -> None:
        rule = SkipRule('no x', '.config', 'CONFIG_X=y')
        config = self.kernel.with_name('um') / '.config'
        write(config.parent, {'.config': '# CONFIG_X is not set\n'})
        self.assertTrue(rule.allows('no x', self.session()))
        write(config.parent, {'.config': 'CONFIG_X=y\n'})
        self.assertFalse(rule.allows('no x', self.session()))

    def test_another_reason(self) -> None:
        self.assertFalse(SkipRule('no x', 'mm/none.c', 'x').allows('out of memory', self.session()))

    def test_bad_line(self) -> None:
        path = self.scratch / 'skips'
        path.write_text('# fine\nno x | mm/none.c\n')
        with self.assertRaisesRegex(Failure, f'{Path(path)}:2: '):
            read_skip_rules(path)
