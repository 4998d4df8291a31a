# SPDX-License-Identifier: GPL-2.0-only
"""Tests that the guide shows what there is: code that is tested, reports that were made."""

from __future__ import annotations

import re
import unittest

from fixtures import HERE, TOP
from runner import FAILURE_RULES
from verdict import read_failure_rules

GUIDE = TOP / 'Documentation/mm/mmu_notifier_nonblock.rst'
TEXT = GUIDE.read_text(encoding='utf-8')


class GuideTest(unittest.TestCase):
    def block_after(self, line: str) -> list[str]:
        """The lines of the literal block that this introduces."""
        self.assertIn(line, TEXT)
        block = TEXT.split(line, 1)[1].split('::\n', 1)[1]
        match = re.match(r'(?:(?: {4}.*)?\n)+', block)
        self.assertTrue(match)
        assert match
        return [text.strip() for text in match[0].splitlines() if text.strip()]

    def test_included_code_is_there(self) -> None:
        found = re.findall(r'^\.\. literalinclude:: (\S+)\n((?:   :.*\n)*)', TEXT, re.MULTILINE)
        self.assertGreaterEqual(len(found), 3)
        for name, options in found:
            source = (GUIDE.parent / name).read_text(encoding='utf-8')
            for marker in re.findall(r':(?:start-at|end-before): (.*)', options):
                self.assertEqual(source.count(marker), 1, f'{name}: {marker}')

    def test_the_report_was_made(self) -> None:
        log = (HERE / 'test_data/e2e/report.log').read_text(encoding='utf-8')
        known = {re.sub(r'\b[0-9a-f]{16} ', '', line).strip() for line in log.splitlines()}
        for line in self.block_after('This one came from the OOM reaper'):
            self.assertIn(line, known)

    def test_the_message_is_one_that_is_expected(self) -> None:
        where, message = self.block_after('fails, with a message such as')
        case = re.search(r'# (\w+): EXPECTATION FAILED', where)
        self.assertTrue(case)
        assert case
        rule = next(rule for rule in read_failure_rules(FAILURE_RULES)
                    if rule.case == f'mirror_wrong.{case[1]}')
        self.assertRegex(message, rule.message)

    def test_the_kbuild_is_five_lines_at_most(self) -> None:
        text = (TOP / 'samples/mmu_notifier/out-of-tree/Kbuild').read_text(encoding='utf-8')
        self.assertLessEqual(len(text.splitlines()), 5)
