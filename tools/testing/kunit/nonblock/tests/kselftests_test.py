# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what is read of the kernel's own selftests, and of how it is compared."""

from __future__ import annotations

import unittest

from nonblock.result import kselftests
from nonblock.common import Failure
from nonblock.tests.fixtures import ScratchTest, quiet, write
from nonblock.result.kselftests import PROGRAMS, Program
from nonblock.result.verdict import Verdict

LOG = '''bench: selftest cow
TAP version 13
1..3
# [RUN] Basic COW after fork() ... with base page
ok 1 Basic COW after fork() ... with base page
not ok 2 vmsplice() + unmap in child ... with base page
ok 3 R/O longterm GUP pin ... # SKIP gup_test not available
# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
bench: ended with status 1
ok 9 not of any program
bench: selftest merge
TAP version 13
ok 1 merge.mprotect_unfaulted_left
not ok 2 merge.mprotect_unfaulted_left
ok 3 merge.mprotect_unfaulted_left
ok 4 merge.xfail # XFAIL not yet
bench: ended by signal 9
bench: selftest mseal_test
TAP version 13
ok 1 seal_addseal
'''
FOUND = {
    'cow': Program('with status 1', {
        'Basic COW after fork() ... with base page': 'passed',
        'vmsplice() + unmap in child ... with base page': 'failed',
        'R/O longterm GUP pin ...': 'skipped'}),
    'merge': Program('by signal 9', {'merge.mprotect_unfaulted_left': 'failed',
                                     'merge.xfail': 'skipped'}),
    'mseal_test': Program('', {'seal_addseal': 'passed'})}


def compare(before: Program, after: Program) -> Verdict:
    verdict = Verdict()
    kselftests.compare(['cow'], {'cow': before}, {'cow': after}, verdict)
    return verdict


class CompareTest(unittest.TestCase):
    def test_parse(self) -> None:
        self.assertEqual(kselftests.parse(LOG.splitlines(True)), FOUND)

    def test_same(self) -> None:
        verdict = compare(FOUND['cow'], FOUND['cow'])
        self.assertEqual((verdict.passed, verdict.failed), (1, 0))

    def test_better(self) -> None:
        verdict = compare(Program('with status 0', {'one': 'failed'}),
                          Program('with status 0', {'one': 'passed', 'two': 'failed'}))
        self.assertEqual((verdict.passed, verdict.failed), (1, 0))

    def test_worse(self) -> None:
        good = Program('with status 0', {'one': 'passed', 'two': 'passed'})
        for after, said in (
                (Program('with status 0', {'one': 'failed', 'two': 'passed'}),
                 'one: passed with only the fixes, failed with all'),
                (Program('with status 0', {'one': 'passed', 'two': 'skipped'}),
                 'two: passed with only the fixes, skipped with all'),
                (Program('with status 0', {'two': 'passed'}), 'one: .*, missing with all'),
                (Program('with status 1', dict(good.tests)),
                 'ended with status 0 with only the fixes, with status 1 with all'),
                (Program('', dict(good.tests)), 'with status 0 with only the fixes, not with all')):
            verdict = compare(good, after)
            self.assertEqual((verdict.passed, verdict.failed), (0, 1))
            self.assertRegex(verdict.lines[0], said)

    def test_never_ended(self) -> None:
        verdict = compare(Program(), Program())
        self.assertEqual((verdict.passed, verdict.failed), (0, 1))


class PresentTest(ScratchTest):
    def test_some(self) -> None:
        write(self.scratch, {f'{kselftests.MM}/{name}.c': '' for name in ('cow', 'other')})
        with quiet() as output:
            self.assertEqual(kselftests.present(self.scratch), ['cow'])
        self.assertIn('not in this kernel: droppable,', output.getvalue())

    def test_none(self) -> None:
        with self.assertRaisesRegex(Failure, PROGRAMS[0]):
            kselftests.present(self.scratch)


if __name__ == '__main__':
    unittest.main()
