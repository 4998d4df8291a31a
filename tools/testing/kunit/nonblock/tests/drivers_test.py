# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what the drivers' boots are made of."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from unittest import mock

from nonblock.verbs import drivers
from nonblock.common import EXIT_MACHINE, Failure
from nonblock.verbs.e2e import expected_tests
from nonblock.tests.fixtures import TOP, ScratchTest, write
from nonblock.kernel.machine import qemu_e2e


class DriversTest(ScratchTest):
    def test_the_table(self) -> None:
        folder = drivers.DRIVERS.folder
        write(self.scratch, {f'{folder}/{path.name}': path.read_text()
                             for path in (TOP / folder).glob('*.c')})
        write(self.scratch, {drivers.HMM_TESTS: 'TEST(one)\n'})
        self.assertEqual(set(expected_tests(self.scratch, drivers.DRIVERS)),
                         {boot.source for boot in drivers.DRIVERS.boots})

    def test_libraries(self) -> None:
        found = drivers.libraries(Path(sys.executable).resolve())
        self.assertTrue(any(path.name.startswith('libc.so') for path in found), found)
        self.assertTrue(any(path.name.startswith('ld-') for path in found), found)
        self.assertTrue(all(path.exists() for path in found), found)

    def test_no_program(self) -> None:
        with self.assertRaisesRegex(Failure, 'ldd .*nowhere'):
            drivers.libraries(self.scratch / 'nowhere')

    def test_no_stress_ng(self) -> None:
        with mock.patch('shutil.which', return_value=None), \
                self.assertRaisesRegex(Failure, 'packages.sh drivers') as caught:
            drivers.files(self.session())
        self.assertEqual(caught.exception.code, EXIT_MACHINE)

    def test_machine(self) -> None:
        machine = qemu_e2e('x86_64', 2, True)
        self.assertEqual(machine.folder, 'x86_64-rt-e2e')
        # What is emulated does not run on KVM.
        self.assertTrue(machine.path)


if __name__ == '__main__':
    unittest.main()
