# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the matrix, on excerpts of real kernel logs in test_data/matrix/."""

from __future__ import annotations

import re
import subprocess

from nonblock.verbs import matrix
from nonblock.common import EXIT_HANG
from nonblock.tests.fixtures import HERE, TOP, ScratchTest, diff, write
from nonblock.verbs.matrix import MAINLINE, MARKS, OURS, PROTECTED, WRONG, Cell, Sides, Run
from nonblock.result.ktap import parse_log

DATA = HERE / 'tests/test_data/matrix'


class MatrixTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.log = (DATA / 'linux-6.12.log').read_text()

    def changed(self, must: str, name: str, reported: str, status: str = 'not ok') -> str:
        """The log, with another report and result of this cell."""
        case = next(case for case, its in matrix.CASES.items() if its == must)
        text, count = re.subn(rf'(# {case}: reported: ).*(\n +)ok (\d+ {name})$',
                              rf'\g<1>{reported}\g<2>{status} \g<3>', self.log,
                              flags=re.MULTILINE)
        self.assertEqual(count, 1, name)
        return text

    def run_of(self, log: str, trouble: str = '') -> Run:
        return Run(self.session(), matrix.read_cells(parse_log(log.splitlines())),
                   trouble, EXIT_HANG)

    def kernels(self, mainline: str = '', ours: str = '') -> list[Sides]:
        return [{MAINLINE: self.run_of(mainline or self.log), OURS: self.run_of(ours or self.log)}]

    def judge(self, mainline: str = '', ours: str = '') -> list[str]:
        verdict = matrix.judge_cells(self.kernels(mainline, ours))
        self.assertEqual(bool(verdict.lines), bool(verdict.code))
        return [*verdict.lines, str(verdict)]


class CellTest(MatrixTest):
    def test_what_each_reported(self) -> None:
        run = self.run_of(self.log)
        marks = {str(cell): MARKS[run.outcome(cell)] for cell in run.results}
        for name, mark in {
                'range_start/mutex_lock': 'yes', 'range_end_unwind/msleep': 'yes',
                'range_end/flush_allocating_work': 'yes',
                'invalidate/kmalloc/GFP_NOFS': 'yes', 'range_start/synchronize_rcu': '-',
                'invalidate_start/mutex_lock': '-', 'range_end/kmalloc/GFP_NOWAIT': '.'}.items():
            self.assertEqual(marks[name], mark, name)
        self.assertEqual(len(marks), 10 * 6)

    def test_two_pass_notifiers_of_7_3(self) -> None:
        log = (DATA / 'linux-7.3.log').read_text()
        cell = Cell(WRONG, 'kmalloc/GFP_NOFS', 'invalidate_finish')
        self.assertEqual(MARKS[self.run_of(log).outcome(cell)], 'yes')

    def test_time_stamps(self) -> None:
        log = ''.join(f'[    0.{number:06}] {line}\n' for number, line
                      in enumerate(self.log.splitlines()))
        self.assertEqual(self.run_of(log).results, self.run_of(self.log).results)

    def test_the_report_of_one_cell_is_not_anothers(self) -> None:
        log = self.log.replace('    # nonblock_wrong_is_reported: reported: scheduler\n'
                               '        ok 122', '        ok 122')
        cell = Cell(WRONG, 'msleep', 'range_end')
        self.assertEqual(MARKS[self.run_of(log).outcome(cell)], '?')

    def test_what_is_no_report_is_named_so(self) -> None:
        source = (TOP / 'lib/kunit/report.c').read_text()
        table = re.search(r'kunit_report_kinds\[\] = \{(.*?)\n\};', source, re.DOTALL)
        assert table
        kinds = set(re.findall(r'\{ KUNIT_REPORT_\w+, "([^"]+)"', table[1]))
        self.assertGreater(len(kinds), 5)
        self.assertIn('WARN()', kinds)

    def test_the_cases_are_in_the_suite(self) -> None:
        source = (TOP / f'mm/tests/{matrix.SUITE}_kunit.c').read_text()
        for case in matrix.CASES:
            self.assertRegex(source, rf'KUNIT_CASE_PARAM\({case},')

    def test_a_warn_is_no_report(self) -> None:
        log = self.changed(WRONG, 'range_end/mutex_lock', 'WARN()')
        cell = Cell(WRONG, 'mutex_lock', 'range_end')
        self.assertEqual(MARKS[self.run_of(log).outcome(cell)], 'MISS')


class JudgeTest(MatrixTest):
    def test_all_as_it_must_be(self) -> None:
        self.assertEqual(self.judge(), ['32 passed, 0 failed, 28 skipped'])

    def test_ours_misses_one(self) -> None:
        log = self.changed(WRONG, 'invalidate/mutex_lock', 'nothing')
        self.assertEqual(self.judge(ours=log), [
            'MISS 6.12 ours invalidate/mutex_lock: reported nothing, must be reported',
            '31 passed, 1 failed, 28 skipped'])
        self.assertEqual(self.judge(mainline=log), ['32 passed, 0 failed, 28 skipped'])

    def test_ours_reports_one_too_many(self) -> None:
        log = self.changed(PROTECTED, 'range_end/spin_lock', 'might_sleep')
        self.assertEqual(self.judge(ours=log)[0], 'FALSE 6.12 ours range_end/spin_lock: reported '
                         'might_sleep, must be silent')
        self.assertEqual(self.judge(mainline=log), ['32 passed, 0 failed, 28 skipped'])

    def test_reported_and_not_as_it_should(self) -> None:
        log = self.changed(WRONG, 'range_end/mutex_lock', 'might_sleep')
        self.assertEqual(self.judge(ours=log)[0], 'FAILED 6.12 ours range_end/mutex_lock: reported '
                         'might_sleep, but the test failed')

    def test_a_cell_without_a_result(self) -> None:
        log = re.sub(r'(?m)^.* ok \d+ range_end/mutex_lock\n', '', self.log)
        self.assertEqual(self.judge(mainline=log), [
            'MISSING 6.12 mainline: 1 of 60 cells have no result; the first is '
            'range_end/mutex_lock', '32 passed, 1 failed, 28 skipped'])

    def test_crash_keeps_what_there_is(self) -> None:
        log = self.log[:self.log.index('BUG: scheduling')]
        kernels = self.kernels(mainline=log)
        kernels[0][MAINLINE].trouble = 'CRASH mmu: panic'
        self.assertEqual(len(kernels[0][MAINLINE].results), 6)
        verdict = matrix.judge_cells(kernels)
        self.assertEqual((verdict.lines, verdict.code), (['6.12 mainline: CRASH mmu: panic'], 6))

    def test_no_cell_at_all(self) -> None:
        """The command then says that nothing was tested."""
        self.assertEqual(self.judge('KTAP version 1', 'KTAP version 1'), ['0 passed, 0 failed'])


class PageTest(MatrixTest):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.kernels(
            mainline=self.changed(WRONG, 'range_end/msleep', 'nothing'),
            ours=self.changed(PROTECTED, 'invalidate/spin_lock', 'invalid wait context'))

    def test_text(self) -> None:
        lines = matrix.as_text(self.made).splitlines()
        msleep = next(line for line in lines if line.startswith('msleep'))
        self.assertEqual(msleep.split(), ['msleep', 'yes/yes', 'MISS/yes', 'yes/yes', 'yes/yes',
                                          '-/-', '-/-'])
        self.assertRegex('\n'.join(lines), r'\nspin_lock +(\./\. +){3}\./FALSE ')
        self.assertEqual([line.split() for line in lines[-2:]], [
            ['6.12', 'mainline', '19', '1', '0'],
            ['6.12', 'ours', '20', '0', '1']])

    def test_width(self) -> None:
        text = matrix.as_text(self.kernels())
        self.assertLessEqual(max(map(len, text.splitlines())), 120)


class FrontDoorTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.copy_runner()
        write(self.repo, {'hooks/series': '# topic a\nfoo.patch\n# topic annotation\nbar.patch\n',
                          'hooks/bar.patch': diff('mm/bar.c', 'int bar;\n', 'int annotated;\n'),
                          'tools/testing/kunit/nonblock/verbs/mainline.patch':
                          diff('mm/bar.c', 'int annotated;\n', 'int bar;\n')})

    def matrix(self, what: str, log: str = 'matrix/linux-6.12') -> subprocess.CompletedProcess[str]:
        return self.make('matrix', KDIR=str(self.kernel), FAKE=what,
                         FAKE_LOG=str(HERE / f'tests/test_data/{log}.log'))

    def test_both_kernels(self) -> None:
        result = self.matrix('failed')          # as kunit.py says of mainline
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(result.stdout.splitlines()[-1], '32 passed, 0 failed, 28 skipped')
        bars = {path.parents[2].name.endswith('-mainline'): path.read_text()
                for path in self.repo.glob('build/*/linux/mm/bar.c')}
        self.assertEqual(bars, {True: 'int bar;\n', False: 'int annotated;\n'})

    def test_hang(self) -> None:
        result = self.matrix('hang')
        self.assert_error(result, 6, '-mainline', 'mainline: HANG the kernel, after suite '
                          'mmu_notifier_nonblock', 'ours: HANG')
        self.assertNotIn('timed out after', result.stdout)      # kunit.py's digest is left out

    def test_build_error(self) -> None:
        result = self.matrix('build error')
        self.assert_error(result, 5, 'mainline: FAILED build: mm/foo.c:3:1')
        self.assertEqual(result.stdout.splitlines()[-1], '0 passed, 2 failed')

    def test_mainline_patch_does_not_fit(self) -> None:
        write(self.repo, {'tools/testing/kunit/nonblock/verbs/mainline.patch':
                          diff('mm/bar.c', 'int other;\n', 'int bar;\n')})
        self.assert_error(self.matrix('passed'), 3, 'mainline.patch does not fit',
                          'mm/bar.c; Hunk #1 FAILED')
