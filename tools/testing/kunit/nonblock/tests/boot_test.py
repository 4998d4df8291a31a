# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the boots with an initramfs of ours, with a script for a kernel."""

from __future__ import annotations

import time
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

from nonblock.kernel import machine
from nonblock.kernel.boot import Boot, command_line, initramfs_list, start
from nonblock.tests.fixtures import ScratchTest, quiet, write
from nonblock.kernel.machine import UML_E2E, Machine


class InitramfsTest(unittest.TestCase):
    def test_folders_of_files(self) -> None:
        self.assertEqual(initramfs_list({'/a/b/c': Path('/x'), '/d': Path('/y')}, {}), '''\
dir /a 0755 0 0
dir /a/b 0755 0 0
dir /dev 0755 0 0
dir /tmp 0755 0 0
nod /dev/console 0600 0 0 c 5 1
file /a/b/c /x 0755 0 0
file /d /y 0755 0 0
''')


class BootTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.um = self.scratch / UML_E2E.folder
        self.log = self.um / 'boot.log'

    def kernel_does(self, script: str) -> None:
        write(self.um, {'linux': f'#!/bin/sh\n{script}\n'})
        (self.um / 'linux').chmod(0o755)

    def start(self, machine: Machine = UML_E2E) -> tuple[int, bool]:
        with quiet() as output:
            try:
                command = command_line(machine, Boot('boot', 'prog', ('-t', 'name')))
                return start(command, machine.timeout, self.um, self.log)
            finally:
                self.output = output.getvalue()

    def test_log_and_status(self) -> None:
        self.kernel_does('echo "$@"; echo err >&2; exit 3')
        self.assertEqual(self.start(), (3, False))
        text = self.log.read_text()
        self.assertRegex(text, r' rdinit=/prog -- -t name\nerr\n$')
        self.assertIn(f'$ cd {self.um} && ./linux {text.splitlines()[0]}\n', self.output)

    def test_memory(self) -> None:
        """A boot may do with less on UML; not with a sanitizer, and not with several CPUs."""
        boot = Boot('boot', 'prog', small=True)
        for which, memory in ((UML_E2E, 64), (machine.uml_e2e(2), 128),
                              (machine.sanitized(UML_E2E, 'kasan'), 128)):
            self.assertIn(f'mem={memory}M', command_line(which, boot), which.folder)
        self.assertIn('mem=128M', command_line(UML_E2E, replace(boot, small=False)))

    def test_under_qemu(self) -> None:
        command = command_line(machine.qemu_e2e('x86_64', 3, True),
                               Boot('boot', 'prog', ('-t', 'name')))
        self.assertEqual(command[0], machine.ARCHES['x86_64'].program)
        self.assertIn('-accel tcg -smp 3 -cpu max', ' '.join(command))
        self.assertRegex(command[-1], 'console=ttyS0 .* rdinit=/prog -- -t name$')
        self.assertNotIn('time-travel', command[-1])

    def test_on_another_architecture(self) -> None:
        command = command_line(machine.qemu_e2e('arm64', 2, False), Boot('boot', 'prog'))
        self.assertEqual(command[0], 'qemu-system-aarch64')
        self.assertIn('-machine virt', ' '.join(command))
        self.assertIn('arch/arm64/boot/Image', command)
        self.assertRegex(command[-1], '^console=ttyAMA0 ')

    def test_hang(self) -> None:
        self.kernel_does('setsid sleep 300 & echo $!; wait')
        self.assertEqual(self.start(replace(UML_E2E, timeout=1)), (0, True))
        self.assert_gone(int(self.log.read_text()))

    def assert_gone(self, pid: int) -> None:
        path = Path(f'/proc/{pid}/stat')
        self.assertFalse(path.exists() and ') Z' not in path.read_text())

    def test_interrupted(self) -> None:
        self.kernel_does('echo $$; exec sleep 300')

        def interrupt(*_: object) -> None:
            while not self.log.exists() or not self.log.read_text():
                time.sleep(0.01)
            raise KeyboardInterrupt

        with mock.patch('subprocess.Popen.wait', interrupt), self.assertRaises(KeyboardInterrupt):
            self.start()
        self.assert_gone(int(self.log.read_text()))


if __name__ == '__main__':
    unittest.main()
