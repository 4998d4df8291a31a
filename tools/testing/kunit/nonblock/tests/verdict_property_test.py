# SPDX-License-Identifier: GPL-2.0-only
"""No log of a run in which something went wrong is summed up as a success.

Each line of good logs is spoiled in each way; kunit.py's exit status is no help here.
"""

from __future__ import annotations

import re
import unittest
from typing import Callable, Iterator

from nonblock.kernel.kunit_run import Outcome
from nonblock.result.ktap import parse_log
from nonblock.result.verdict import Case, SkipRule, judge, scan_source
from nonblock.tests.fixtures import DATA, SUITE_C, ScratchTest

RULES = [SkipRule('no two-pass', 'include/linux/mmu_notifier.h', 'invalidate_finish')]
GOOD = {'passed': SUITE_C, 'time_stamps': SUITE_C, 'skip': SUITE_C,
        'real_passed': (DATA / 'real_passed.c').read_text(encoding='utf-8')}
# A case with parameters, and a suite: what is skipped of them is counted one by one.
SUM = re.compile(r'\b(many|back_off_returns_eagain|back_off_ends_\w+|fake|mmu_\w+)$')
RESULT = re.compile(r'^(.*?)\bok (\d+.*)$')


def results(lines: list[str]) -> Iterator[int]:
    """Where the results of parameters, cases and suites are."""
    begun = False
    for number, line in enumerate(lines):
        begun = begun or 'KTAP' in line
        if begun and RESULT.match(line):
            yield number


class PropertyTest(ScratchTest):
    def fails(self, cases: list[Case], lines: list[str], timed_out: bool = False) -> bool:
        verdict = judge(cases, parse_log(lines), RULES, self.session(),
                        Outcome(0, built=True, timed_out=timed_out))
        return bool(verdict.failed and verdict.code and verdict.lines)

    def each(self, spoil: Callable[[list[str], int], list[str]],
             which: Callable[[str], bool] = bool) -> None:
        """Spoil each result of each good log."""
        tried = 0
        for name, source in GOOD.items():
            lines = (DATA / f'{name}.log').read_text(encoding='utf-8').splitlines()
            cases = scan_source(source, name)
            self.assertFalse(self.fails(cases, lines), name)
            for number in (number for number in results(lines) if which(lines[number])):
                spoiled = spoil(lines, number)
                with self.subTest(f'{name}: {lines[number].strip()}'):
                    self.assertTrue(self.fails(cases, spoiled))
                tried += 1
        self.assertGreater(tried, 20)

    def test_failed(self) -> None:
        self.each(lambda lines, number: [
            *lines[:number], RESULT.sub(r'\1not ok \2', lines[number]).partition(' # SKIP')[0],
            *lines[number + 1:]])

    def test_missing(self) -> None:
        self.each(lambda lines, number: lines[:number] + lines[number + 1:])

    def test_skipped_for_no_known_reason(self) -> None:
        self.each(lambda lines, number: [
            *lines[:number], lines[number].partition(' # SKIP')[0] + ' # SKIP not today',
            *lines[number + 1:]], lambda line: not SUM.search(line))

    def test_ended_ahead_of_each_result(self) -> None:
        self.each(lambda lines, number: lines[:number])

    def test_panic_ahead_of_each_result(self) -> None:
        self.each(lambda lines, number: [*lines[:number], 'Kernel panic - not syncing: bad'])

    def test_broken_off_within_each_result(self) -> None:
        self.each(lambda lines, number: [*lines[:number], lines[number][:-1].rpartition('ok')[0]])

    def test_hung_at_each_line(self) -> None:
        for name, source in GOOD.items():
            lines = (DATA / f'{name}.log').read_text(encoding='utf-8').splitlines()
            cases = scan_source(source, name)
            for number in range(len(lines) + 1):
                with self.subTest(f'{name}: {number} lines'):
                    self.assertTrue(self.fails(cases, lines[:number], timed_out=True))


if __name__ == '__main__':
    unittest.main()
