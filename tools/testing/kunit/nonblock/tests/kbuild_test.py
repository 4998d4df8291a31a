# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what is taken for a warning, and of which objects are built."""

from __future__ import annotations

import unittest
from pathlib import Path

from nonblock.tests.fixtures import ScratchTest, write
from nonblock.kernel.kbuild import Builder, Config, read_warnings

TREE = Path('/tree')


class OutputTest(unittest.TestCase):
    def test_warnings(self) -> None:
        for line, name, text in (
                ('/tree/mm/foo.c:12:3: warning: unused variable \'x\'', 'mm/foo.c',
                 'unused variable \'x\''),
                ('mm/foo.c:12: warning: Function parameter \'x\' not described', 'mm/foo.c',
                 'Function parameter \'x\' not described'),
                ('mm/foo.o: warning: objtool: foo+0x12: unreachable', 'mm/foo.o',
                 'objtool: foo+NxN: unreachable'),
                ('mm/Kconfig:7:warning: leading', 'mm/Kconfig', 'leading')):
            with self.subTest(line=line):
                self.assertEqual(read_warnings(f'  CC  mm/foo.o\n{line}\n', TREE), {(name, text)})

    def test_a_line_that_moves_is_no_new_warning(self) -> None:
        self.assertEqual(read_warnings('mm/foo.c:12:3: warning: bad\n', TREE),
                         read_warnings('mm/foo.c:40:9: warning: bad\n', TREE))

    def test_no_warnings(self) -> None:
        self.assertEqual(read_warnings('  CC      mm/foo.o\nmm/foo.c: In function \'warning\':\n'
                                       'make[1]: warning: jobserver unavailable\n', TREE), set())


class BuilderTest(ScratchTest):
    def test_objects(self) -> None:
        """Those alone that the Makefile would build."""
        write(self.kernel, {
            'mm/Makefile': 'obj-$(CONFIG_A) += a.o\nobj-$(CONFIG_B) += b.o\n'
                           'obj-$(CONFIG_A) += tests.o\ntests-y := tests/one.o\n'
                           '$(obj)/a.o: $(src)/a.h\n'})
        builder = Builder(Config('test', 'um'), self.kernel, 1)
        write(builder.out, {'include/config/auto.conf': 'CONFIG_A=m\n'})
        self.assertEqual(builder.objects(['mm/a.c', 'mm/b.c', 'mm/tests/one.c', 'mm/tests/two.c']),
                         ['mm/a.o', 'mm/tests/one.o'])

    def test_nothing_to_build(self) -> None:
        write(self.kernel, {'Makefile': 'all: ; @echo "  CC      mm/a.o"\n',
                            'mm/Makefile': 'obj-$(CONFIG_B) += b.o\n'})
        builder = Builder(Config('test', 'um'), self.kernel, 1)
        write(builder.out, {'include/config/auto.conf': 'CONFIG_A=y\n'})
        self.assertEqual(builder.build(['mm/b.c']), (0, '', set()))

    def test_objects_of_this_config(self) -> None:
        """Not of the one that was built before."""
        write(self.kernel, {
            'Makefile': 'olddefconfig: ; @:\n'
                        'syncconfig: ; @cp $(O)/.config $(O)/include/config/auto.conf\n',
            'mm/Makefile': 'obj-$(CONFIG_A) += a.o\nobj-$(CONFIG_B) += b.o\n'})
        builder = Builder(Config('test', 'um', {'A': 'y'}), self.kernel, 1)
        write(builder.out, {'include/config/auto.conf': 'CONFIG_B=y\n'})
        self.assertEqual(builder.configure({'A'}), '')
        self.assertEqual(builder.objects(['mm/a.c', 'mm/b.c']), ['mm/a.o'])

    def test_folder_that_is_not_entered(self) -> None:
        """As mainline's lib/kunit, whose own Makefile always has hooks.o."""
        write(self.kernel, {
            'lib/Makefile': 'obj-$(CONFIG_A) += a/\nobj-$(CONFIG_B) += b/\n',
            'lib/a/Makefile': 'obj-y += c/ hooks.o\n', 'lib/b/Makefile': 'obj-y += c/ hooks.o\n',
            'lib/a/c/Makefile': 'obj-y += d.o\n', 'lib/b/c/Makefile': 'obj-y += d.o\n',
            'arch/um/Makefile': '$(error not kbuild)', 'arch/um/kernel/Makefile': 'obj-y := e.o\n'})
        builder = Builder(Config('test', 'um'), self.kernel, 1)
        write(builder.out, {'include/config/auto.conf': 'CONFIG_A=y\n'})
        self.assertEqual(builder.objects(['lib/a/hooks.c', 'lib/b/hooks.c', 'lib/a/c/d.c',
                                          'lib/b/c/d.c', 'arch/um/kernel/e.c']),
                         ['arch/um/kernel/e.o', 'lib/a/c/d.o', 'lib/a/hooks.o'])


if __name__ == '__main__':
    unittest.main()
