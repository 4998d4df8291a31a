# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what is taken out of the repository's files, on a small kernel."""

from __future__ import annotations

import unittest

from nonblock.tests.fixtures import write
from nonblock.tests.prepare_test import TreeTest

NAMES = '# a comment\nTWO_PASS # if mm/foo.c has int line9\n'
SOURCE = '#ifdef TWO_PASS\nint two;\n#else\nint one;\n#endif\n#ifdef CONFIG_MMU\nint mmu;\n#endif\n'


class UnifdefTest(TreeTest):
    def setUp(self) -> None:
        super().setUp()
        write(self.repo, {'hooks/unifdef': NAMES, 'mm/tests/two_kunit.c': SOURCE})

    def test_a_kernel_that_has_it(self) -> None:
        self.prepare()
        self.assertEqual(self.read('mm/tests/two_kunit.c'),
                         'int two;\n#ifdef CONFIG_MMU\nint mmu;\n#endif\n')

    def test_a_kernel_that_lacks_it(self) -> None:
        write(self.repo, {'hooks/unifdef': NAMES.replace('line9', 'line99')})
        self.prepare()
        self.assertEqual(self.read('mm/tests/two_kunit.c'),
                         'int one;\n#ifdef CONFIG_MMU\nint mmu;\n#endif\n')

    def test_a_tree_that_has_the_series(self) -> None:
        self.prepare()
        for name in ('mm/foo.c', 'mm/tests/two_kunit.c', 'mm/tests/fake_kunit.c',
                     'mm/tests/.kunitconfig'):
            write(self.kernel, {name: self.read(name)})
        self.prepare()
        self.assertIn('has the series already: it is taken as it is\n', self.output)

    def test_bad_names(self) -> None:
        write(self.repo, {'hooks/unifdef': 'TWO_PASS\n'})
        self.refuse('hooks/unifdef:1: TWO_PASS: want')

    def test_bad_file(self) -> None:
        write(self.repo, {'mm/tests/two_kunit.c': '#ifdef TWO_PASS\n'})
        self.refuse('unifdef', 'two_kunit.c', 'Premature EOF')


if __name__ == '__main__':
    unittest.main()
