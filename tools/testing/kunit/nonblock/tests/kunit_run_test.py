# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what is made of kunit.py's log."""

from __future__ import annotations

import os
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

from nonblock.kernel import kunit_run
from nonblock.tests.fixtures import ScratchTest, quiet, write
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.machine import UML


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

    def test_also_where_all_passed(self) -> None:
        log = self.scratch / UML.folder / 'test.log'

        def kunit(_session: object, arguments: list[str], *_: object) -> Outcome:
            self.assertEqual(arguments[0], 'run')       # and never parse
            write(log.parent, {'test.log': 'ok 1 each_cl\n** replaying previous printk message '
                                           '**\nok 1 each_claims_its_own\n'})
            return Outcome()

        with mock.patch.object(kunit_run, '_call', kunit):
            kunit_run.run(self.session(tree=self.scratch / 'linux'))
        self.assertEqual(log.read_text(encoding='utf-8'), 'ok 1 each_claims_its_own\n')


class HangTest(ScratchTest):
    def test_kunit_py_does_not_stop_it(self) -> None:
        """The kernel is killed, and kunit.py writes the log."""
        write(self.scratch, {'log': 'KTAP version 1\n'})
        session = self.session(replace(UML, timeout=1))
        with quiet() as output, mock.patch.object(kunit_run, 'GRACE', 0), \
                mock.patch.dict(os.environ, {'FAKE': 'wait', 'FAKE_LOG': f'{self.scratch}/log'}):
            outcome = kunit_run.run(session)
        self.assertEqual((outcome.built, outcome.timed_out), (True, True))
        child = next(line for line in output.getvalue().splitlines() if line.startswith('child'))
        self.assertFalse(Path(f'/proc/{child.split()[1]}').exists())


class EnvironmentTest(unittest.TestCase):
    def test_other_builds_variables(self) -> None:
        leaks = ('CROSS_COMPILE', 'LLVM', 'LLVM_IAS', 'KBUILD_OUTPUT', 'KCFLAGS', 'KAFLAGS',
                 'KCPPFLAGS', 'CFLAGS', 'HOSTCFLAGS', 'USERCFLAGS', 'LDFLAGS', 'HOSTLDLIBS',
                 'KCONFIG_CONFIG', 'KBUILD_EXTMOD', 'SUBARCH', 'O', 'M', 'W', 'C', 'OUTPUT',
                 'MAKEFLAGS', 'GNUMAKEFLAGS', 'MAKEFILES', 'INSTALL_PATH', 'LOCALVERSION',
                 'ARCH', 'V', 'KDIR', 'CROSS_COMPILE_COMPAT')
        kept = ('PATH', 'HOME', 'TMPDIR', 'CCACHE_DIR', 'KBUILD_BUILD_TIMESTAMP', 'TERM', 'LANG')
        with mock.patch.dict(os.environ, dict.fromkeys((*leaks, *kept), 'x'), clear=True):
            self.assertEqual(set(kunit_run.environment()), set(kept))


if __name__ == '__main__':
    unittest.main()
