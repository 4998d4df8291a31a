# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what is read in a .config, and written to it."""

from __future__ import annotations

import unittest

from nonblock.tests.fixtures import ScratchTest
from nonblock.kernel.kconfig import as_config, assignments, read_config


class ConfigTest(ScratchTest):
    def test_options(self) -> None:
        options = {'A': 'y', 'B': 'n', 'C': '"text"'}
        path = self.scratch / '.config'
        path.write_text('# comment\n' + as_config(options), encoding='utf-8')
        self.assertEqual(read_config(path), options)

    def test_off_and_not_set(self) -> None:
        path = self.scratch / 'some.config'
        path.write_text('# CONFIG_A is not set\nCONFIG_B=n\nCONFIG_C="a=b"\n', encoding='utf-8')
        self.assertEqual(assignments(path), ['CONFIG_B=n', 'CONFIG_C="a=b"'])
        self.assertEqual(read_config(path), {'A': 'n', 'B': 'n', 'C': '"a=b"'})


if __name__ == '__main__':
    unittest.main()
