# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the drivers' tests: which a kernel needs, and the driver that is mended for them."""

from __future__ import annotations

import shutil
import unittest
from unittest.mock import patch

from nonblock.common import EXIT_TREE, Failure
from nonblock.result.verdict import read_failure_rules
from nonblock.tests.fixtures import FOO_PATCH, TOP, ScratchTest, write
from nonblock.tests.prepare_test import HOOKED
from nonblock.tree.hooks import read_hooks
from nonblock.modules import driver_units
from nonblock.modules.driver_units import FAILURES, SOURCES, UNITS, cases_of, mend, units_for


class TableTest(unittest.TestCase):
    def test_each_patch_has_a_test(self) -> None:
        self.assertEqual({hook.name for hook in read_hooks(TOP) if hook.topic == 'drivers'},
                         set(UNITS.values()))

    def test_each_test_fails_without_its_patch(self) -> None:
        rules = set(read_failure_rules(FAILURES))
        for unit in UNITS:
            cases = {str(case) for case in cases_of([unit])}
            self.assertEqual({case.split('.')[0] for case in cases}, {unit})
            self.assertTrue(cases & rules, unit)
            rules -= cases
        self.assertEqual(rules, set())

    def test_each_is_built(self) -> None:
        text = (SOURCES / 'Kbuild').read_text(encoding='utf-8')
        for unit in UNITS:
            self.assertIn(f'\n{unit}_test-y := {unit}_kunit.o', text)


class MendTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.folder = self.scratch / 'mended'
        self.enterContext(patch.dict(driver_units.UNITS, {'foo': 'foo.patch'}, clear=True))

    def test_mends_a_copy(self) -> None:
        before = (self.kernel / 'mm/foo.c').read_text()
        mend(self.repo, self.kernel, 'foo', self.folder)
        self.assertEqual((self.folder / 'mm/foo.c').read_text(), HOOKED)
        self.assertEqual((self.kernel / 'mm/foo.c').read_text(), before)

    def test_does_not_fit(self) -> None:
        write(self.kernel, {'mm/foo.c': 'int other;\n'})
        with self.assertRaises(Failure) as caught:
            mend(self.repo, self.kernel, 'foo', self.folder)
        self.assertEqual(caught.exception.code, EXIT_TREE)
        self.assertIn('foo.patch: checking file mm/foo.c; Hunk #1 FAILED', str(caught.exception))

    def test_kernel_that_does_not_need_it(self) -> None:
        write(self.repo, {'hooks/series': 'foo.patch # if mm/bar.c has it\n',
                          'hooks/foo.patch': FOO_PATCH})
        self.assertEqual(units_for(self.repo, self.kernel), [])
        write(self.kernel, {'mm/bar.c': 'it\n'})
        self.assertEqual(units_for(self.repo, self.kernel), ['foo'])

    def tearDown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == '__main__':
    unittest.main()
