# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the machines: their options, and that QEMU gets no accelerator."""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from unittest import mock

from nonblock.kernel import machine
from nonblock.kernel.kconfig import read_config
from nonblock.kernel.session import Impossible, find_machine
from nonblock.options import Options
from nonblock.tests.fixtures import ScratchTest, quiet, write
from nonblock.tree.source import Base


QEMU = 'qemu-system-x86_64'


class QemuTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.bin = self.scratch / 'bin'
        self.bin.mkdir()
        patch = mock.patch.dict(os.environ, PATH=f'{self.bin}:{os.environ["PATH"]}')
        patch.start()
        self.addCleanup(patch.stop)

    def qemu(self, script: str) -> None:
        path = self.bin / QEMU
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)


class UmlTest(ScratchTest):
    def test_one_cpu_has_a_clock_of_its_own(self) -> None:
        self.assertIs(machine.uml(1), machine.UML)
        self.assertIs(machine.uml_e2e(1), machine.UML_E2E)
        self.assertEqual(machine.uml_suites(1).build, machine.UML_E2E.build)
        self.assertEqual(machine.uml_suites(1).run, machine.UML.run)

    def test_several_cpus(self) -> None:
        kernel = machine.uml(3)
        self.assertIn('--kconfig_add=CONFIG_SMP=y', kernel.build)
        self.assertIn('--kernel_args=ncpus=3', kernel.run)
        self.assertNotIn('time-travel', ' '.join(kernel.run))
        self.assertIn('ncpus=3', machine.uml_e2e(3).run)
        self.assertFalse(machine.uml_e2e(3).time_travels)

    def test_each_kernel_has_a_folder(self) -> None:
        machines = [kind(smp) for kind in (machine.uml, machine.uml_e2e) for smp in (1, 2)]
        machines += [kind(arch, 2, rt) for kind in (machine.qemu, machine.qemu_e2e)
                     for arch in machine.ARCHES for rt in (False, True)]
        machines += [machine.clang(one) for one in machines]
        machines += [machine.sanitized(one, name) for name in machine.SANITIZERS
                     for one in machines]
        machines.append(machine.uml_otherwise(self.kernel)[0])
        kernels = {(one.folder, one.build) for one in machines}
        self.assertEqual(len({folder for folder, _ in kernels}), len(kernels))
        for one in machines:
            self.assertEqual(one.is_uml, '--arch=' not in ' '.join(one.build))

    def test_sanitizer(self) -> None:
        kernel = machine.sanitized(machine.UML, 'kasan')
        self.assertEqual(kernel.folder, 'um-kasan')
        self.assertIn('--kconfig_add=CONFIG_KASAN=y', kernel.build)
        self.assertGreater(kernel.timeout, machine.UML.timeout)

    def test_uml_with_and_without_smp(self) -> None:
        self.assertFalse(machine.uml_has_smp(self.kernel))
        write(self.kernel, {'arch/um/Kconfig': 'config UML\n\tbool\n'})
        self.assertFalse(machine.uml_has_smp(self.kernel))
        write(self.kernel, {'arch/um/Kconfig': 'config SMP\n\tbool "x"\n'})
        self.assertTrue(machine.uml_has_smp(self.kernel))

    def test_the_other_uml_has_what_there_is(self) -> None:
        for kconfig, run in (('config UML\n', machine.UML.run),
                             ('config SMP\n', machine.uml(2).run)):
            write(self.kernel, {'arch/um/Kconfig': kconfig})
            other, ways = machine.uml_otherwise(self.kernel)
            self.assertEqual('smp' in ways, '--kconfig_add=CONFIG_SMP=y' in other.build)
            self.assertIn('--kconfig_add=CONFIG_DEBUG_ATOMIC_SLEEP=n', other.build)
            self.assertEqual(run, other.run[:-1])
        self.assertEqual(tuple(machine.WAYS), ways)


class ArchTest(ScratchTest):
    def test_options_are_given_once(self) -> None:
        # kunit.py refuses files of which each sets an option to another value.
        for arch in machine.ARCHES:
            files = [read_config(path) for path in machine.options_of(arch)]
            both = set(files[0]) & set(files[1])
            self.assertFalse(both, arch)

    def test_cross_compiler_is_installed(self) -> None:
        script = (machine.HERE.parent / 'packages.sh').read_text(encoding='utf-8')
        makefile = (machine.HERE.parents[4] / 'Makefile').read_text(encoding='utf-8')
        names = re.findall(r'\$\(filter ([\w ]+),\$\(ARCH\)\)', makefile)[0].split()
        self.assertEqual(set(names), set(machine.ARCHES))
        for arch, its in machine.ARCHES.items():
            self.assertRegex(script, rf'\b{arch}\) cross {its.cross.rstrip("-")} ' if its.cross
                             else rf'\b{arch}\b[\w |]*\) needed="\$needed\nqemu-system-x86')

    def test_one_kernel_for_run_and_e2e(self) -> None:
        for arch in ('arm64', 's390', 'x86_64', 'arm'):
            suites, e2e = machine.qemu_run(arch, 2, False), machine.qemu_e2e(arch, 2, False)
            self.assertEqual((suites.folder, suites.build) == (e2e.folder, e2e.build),
                             arch in ('arm64', 's390'))
            self.assertEqual(suites.run, machine.qemu(arch, 2, False).run)

    def test_no_huge_pages_with_rt(self) -> None:
        for rt in (False, True):
            found = machine.qemu_e2e('x86_64', 2, rt).build
            self.assertEqual('--kconfig_add=CONFIG_TRANSPARENT_HUGEPAGE=y' in found, not rt)

    def test_with_and_without_rt(self) -> None:
        self.assertFalse(machine.has_rt(self.kernel, 'powerpcle'))
        write(self.kernel, {'arch/powerpc/Kconfig': 'config PPC\n\tselect ARCH_SUPPORTS_RTAS\n',
                            'arch/x86/Kconfig': 'config X86\n\tselect ARCH_SUPPORTS_RT\n'})
        self.assertFalse(machine.has_rt(self.kernel, 'powerpcle'))
        self.assertTrue(machine.has_rt(self.kernel, 'i386'))

    def test_either_endianness(self) -> None:
        base = Base('test', self.kernel, '', '6.12.5')
        for name in 'powerpc', 'powerpcle':
            write(self.kernel, {f'tools/testing/kunit/qemu_configs/{name}.py': ''})
            found = find_machine(Options(arch='powerpcle', smp=2), base, machine.uml, machine.qemu)
            self.assertEqual((found.folder, found.build[0]), ('powerpcle', f'--arch={name}'))
            self.assertIn('--kconfig_add=CONFIG_CPU_LITTLE_ENDIAN=y', found.build)

    def test_what_a_kernel_lacks(self) -> None:
        write(self.kernel, {'tools/testing/kunit/qemu_configs/arm.py': ''})
        base = Base('6.12', self.kernel, 'this kernel', '6.12')
        for options, words in ((Options(arch='arm', smp=2, rt=True), 'kernel has no PREEMPT_RT'),
                               (Options(arch='riscv', smp=2), 'of this kernel does not know it')):
            with self.assertRaisesRegex(Impossible, words):
                find_machine(options, base, machine.uml, machine.qemu)
        with quiet():
            found = find_machine(Options(arch='arm', smp=2), base, machine.uml, machine.qemu)
        self.assertEqual(found.folder, 'arm')

    def test_clang(self) -> None:
        self.assertIn(f'--make_options=LLVM={machine.LLVM}', machine.clang(machine.UML).build)


class TcgTest(QemuTest):
    """tcg/qemu-system-x86_64, as kunit.py calls it"""

    def arguments(self, *arguments: str) -> list[str]:
        self.qemu('for a; do echo "$a"; done')
        env = {**os.environ, 'PATH': f'{machine.TCG}:{os.environ["PATH"]}'}
        return subprocess.run([QEMU, *arguments], env=env, check=True, timeout=10,
                              stdout=subprocess.PIPE, text=True).stdout.splitlines()

    def test_other_accelerators_are_left_out(self) -> None:
        self.assertEqual(self.arguments('-nodefaults', '-accel', 'kvm', '-accel', 'hvf', '-accel',
                                        'tcg', '-append', 'a b  "c"', '-smp', '2'),
                         ['-nodefaults', '-accel', 'tcg', '-append', 'a b  "c"', '-smp', '2'])

    def test_each_machine_has_one(self) -> None:
        self.assertEqual({machine.qemu(arch, 2, False).path for arch in machine.ARCHES},
                         {str(machine.TCG)})
        for name in machine.TCG.iterdir():
            path = self.bin / name.name
            path.write_text('#!/bin/sh\necho "${0##*/}"\n')
            path.chmod(0o755)
            env = {**os.environ, 'PATH': f'{machine.TCG}:{os.environ["PATH"]}'}
            self.assertEqual(subprocess.run([name.name], env=env, check=True, timeout=10, text=True,
                                            stdout=subprocess.PIPE).stdout, name.name + '\n')

    def test_nothing_is_left_out(self) -> None:
        self.assertEqual(self.arguments('-m', '1024', '-accel'), ['-m', '1024', '-accel'])


if __name__ == '__main__':
    unittest.main()
