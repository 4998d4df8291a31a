# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what the runner is written in, by the tools that are there."""

from __future__ import annotations

import shutil
import subprocess
import unittest

from nonblock.tests.fixtures import HERE

# Not minded: pycodestyle's own exceptions, and the tabs of C code in a string.
STYLE = 'E121,E123,E126,E226,E24,E704,W503,W504,E101,W191'


class StyleTest(unittest.TestCase):
    def check(self, *command: str) -> None:
        if not shutil.which(command[0]):
            self.skipTest(f'no {command[0]} here')
        result = subprocess.run(command, cwd=HERE.parent, text=True, capture_output=True,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_types(self) -> None:
        self.check('mypy', '--strict', 'nonblock')

    def test_python(self) -> None:
        self.check('pyflakes3', 'nonblock')
        self.check('pycodestyle', '--max-line-length=100', f'--ignore={STYLE}', 'nonblock')

    def test_shell(self) -> None:
        self.check('shellcheck', 'nonblock/packages.sh', 'nonblock/kernel/tcg/qemu-system-x86_64')


if __name__ == '__main__':
    unittest.main()
