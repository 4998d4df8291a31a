# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what is made of kunit.py's log."""

from __future__ import annotations

import os
import unittest
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

        def kunit(command: list[str], *_: object) -> Outcome:
            self.assertEqual(command[1], 'run')         # and never parse
            write(log.parent, {'test.log': 'ok 1 each_cl\n** replaying previous printk message '
                                           '**\nok 1 each_claims_its_own\n'})
            return Outcome()

        with mock.patch.object(kunit_run, '_call', kunit):
            kunit_run.run(self.session(tree=self.scratch / 'linux'))
        self.assertEqual(log.read_text(encoding='utf-8'), 'ok 1 each_claims_its_own\n')


class MemoryTest(ScratchTest):
    """How many objects there were is an estimate, and no reason to fail."""

    def setUp(self) -> None:
        super().setUp()
        self.um = self.scratch / '7.3/um'
        write(self.um, {'foo.o': ''})

    def test_cannot_be_saved(self) -> None:
        with quiet() as output:
            kunit_run.BuildProgress(self.um, Path('/dev/null/objects.json')).remember()
        self.assertIn('The next build will not know how far it is.', output.getvalue())

    def test_what_others_wrote_meanwhile_is_kept(self) -> None:
        memory = self.scratch / 'objects.json'
        progress = kunit_run.BuildProgress(self.um, memory)
        write(self.scratch, {'objects.json': '{"6.12/um": 3}'})
        progress.remember()
        self.assertEqual(kunit_run.read_estimates(memory), {'6.12/um': 3, '7.3/um': 1})

    def test_of_another_kind(self) -> None:
        write(self.scratch, {'objects.json': '[]'})
        self.assertEqual(kunit_run.read_estimates(self.scratch / 'objects.json'), {})


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
