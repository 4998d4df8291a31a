# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the machines: which accelerator QEMU gets."""

from __future__ import annotations

import os
import subprocess
import unittest
from unittest import mock

import machine
from common import EXIT_MACHINE, Failure
from fixtures import ScratchTest


class QemuTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.bin = self.scratch / 'bin'
        self.bin.mkdir()
        patch = mock.patch.dict(os.environ, PATH=f'{self.bin}:{os.environ["PATH"]}')
        patch.start()
        self.addCleanup(patch.stop)

    def qemu(self, script: str) -> None:
        path = self.bin / machine.QEMU
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)


class AcceleratorTest(QemuTest):
    def test_guest_that_ends_qemu(self) -> None:
        self.qemu(f'exit {machine.EXIT_STATUS}')
        self.assertTrue(machine.guest_runs('kvm', 5))

    def test_qemu_that_refuses(self) -> None:
        self.qemu('exit 1')
        self.assertFalse(machine.guest_runs('kvm', 5))

    def test_qemu_that_just_ends(self) -> None:
        self.qemu('exit 0')
        self.assertFalse(machine.guest_runs('kvm', 5))

    def test_guest_that_hangs(self) -> None:
        self.qemu('exec sleep 60')
        self.assertFalse(machine.guest_runs('kvm', 0.2))

    def test_no_qemu(self) -> None:
        with mock.patch.dict(os.environ, PATH=str(self.scratch)), \
                self.assertRaises(Failure) as caught:
            machine.guest_runs('kvm', 5)
        self.assertEqual(caught.exception.code, EXIT_MACHINE)
        self.assertIn('packages.sh x86_64', str(caught.exception))

    def test_the_boot_sector_fits(self) -> None:
        self.assertLessEqual(len(machine.BOOT_SECTOR), 510)

    def test_machine_without_kvm(self) -> None:
        with mock.patch.object(machine, 'kvm_works', return_value=False):
            self.assertEqual(machine.x86_64(2, False).path, str(machine.TCG))
        with mock.patch.object(machine, 'kvm_works', return_value=True):
            self.assertEqual(machine.x86_64(2, False).path, '')


class TcgTest(QemuTest):
    """tcg/qemu-system-x86_64, as kunit.py calls it"""

    def arguments(self, *arguments: str) -> list[str]:
        self.qemu('for a; do echo "$a"; done')
        env = {**os.environ, 'PATH': f'{machine.TCG}:{os.environ["PATH"]}'}
        return subprocess.run([machine.QEMU, *arguments], env=env, check=True, timeout=10,
                              stdout=subprocess.PIPE, text=True).stdout.splitlines()

    def test_other_accelerators_are_left_out(self) -> None:
        self.assertEqual(self.arguments('-nodefaults', '-accel', 'kvm', '-accel', 'hvf', '-accel',
                                        'tcg', '-append', 'a b  "c"', '-smp', '2'),
                         ['-nodefaults', '-accel', 'tcg', '-append', 'a b  "c"', '-smp', '2'])

    def test_nothing_is_left_out(self) -> None:
        self.assertEqual(self.arguments('-m', '1024', '-accel'), ['-m', '1024', '-accel'])


if __name__ == '__main__':
    unittest.main()
