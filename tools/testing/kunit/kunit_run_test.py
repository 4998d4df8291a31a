# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what is made of kunit.py's log."""

from __future__ import annotations

import unittest

import kunit_run
from fixtures import ScratchTest


class ReplayTest(ScratchTest):
    def drop(self, log: str) -> str:
        path = self.scratch / 'test.log'
        path.write_bytes(log.encode())
        dropped = kunit_run.drop_replayed(path)
        left = path.read_bytes().decode()
        self.assertEqual(dropped, left != log)
        return left

    def test_broken_off_line_goes(self) -> None:
        self.assertEqual(self.drop('ok 1 a\nok 2 invalid\n** replaying previous printk message **\n'
                                   'ok 2 invalidate\n'), 'ok 1 a\nok 2 invalidate\n')

    def test_with_carriage_returns(self) -> None:
        self.assertEqual(self.drop('ok 2 inv\r\n** replaying previous printk message **\r\n'
                                   'ok 2 x\r\n'),
                         'ok 2 x\r\n')

    def test_nothing_to_drop(self) -> None:
        self.assertEqual(self.drop('ok 1 a\nok 2 invalid\n'), 'ok 1 a\nok 2 invalid\n')

    def test_at_the_start(self) -> None:
        self.assertEqual(self.drop('** replaying previous printk message **\nok 1 a\n'), 'ok 1 a\n')


if __name__ == '__main__':
    unittest.main()
