# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the table of callbacks."""

from __future__ import annotations

import json
import unittest

import callbacks

# As init prints it, with the kernel's lines around
LOG = '''\
ok 1 driver.kvm.mrelease
# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0
# callback                               module        calls    back_offs   longest_ns      reports
# kvm_mmu_notifier_invalidate_range_end  -                 5            0        81250            0
# fake_invalidate                        test_mod          7            3         1250            1
reboot: Restarting system
# fake_range_start                       -                 7            3         1250            1
'''


class TableTest(unittest.TestCase):
    def test_parse(self) -> None:
        self.assertEqual(callbacks.parse(LOG.splitlines()), {
            'kvm_mmu_notifier_invalidate_range_end': {
                'calls': 5, 'back_offs': 0, 'longest_ns': 81250, 'reports': 0},
            'fake_invalidate': {
                'calls': 7, 'back_offs': 3, 'longest_ns': 1250, 'reports': 1}})

    def test_no_table(self) -> None:
        self.assertEqual(callbacks.parse(['# callbacks', '# a b c', '']), {})

    def test_broken_line(self) -> None:
        self.assertEqual(list(callbacks.parse(LOG.replace('81250', 'BUG:').splitlines())),
                         ['fake_invalidate'])

    def test_add(self) -> None:
        total: callbacks.Table = {}
        callbacks.add(total, callbacks.parse(LOG.splitlines()))
        callbacks.add(total, callbacks.parse(LOG.replace('1250 ', '2000 ').splitlines()))
        self.assertEqual(total['fake_invalidate'], {
            'calls': 14, 'back_offs': 6, 'longest_ns': 2000, 'reports': 2})

    def test_text_and_json(self) -> None:
        table = callbacks.parse(LOG.splitlines())
        text = callbacks.as_text(table)
        self.assertEqual(callbacks.parse(f'# {line}' for line in text.splitlines()), table)
        self.assertEqual({len(line) for line in text.splitlines()}, {len(text.splitlines()[0])})
        self.assertEqual(json.loads(callbacks.as_json(table)), table)


if __name__ == '__main__':
    unittest.main()
