# SPDX-License-Identifier: GPL-2.0-only
"""The machines that kunit.py runs the suites on: UML, and a PC under QEMU."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from nonblock.common import EXIT_MACHINE, Failure
from nonblock.kernel.kconfig import assignments

HERE = Path(__file__).resolve().parent
E2E_CONFIG = HERE / 'e2e.config'
X86_64_CONFIG = HERE / 'x86_64.config'
DRIVERS_CONFIG = HERE / 'drivers.config'
BENCH_CONFIG = HERE / 'bench.config'
# Has a qemu-system-x86_64 that leaves KVM alone
TCG = HERE / 'tcg'
QEMU = 'qemu-system-x86_64'


@dataclass(frozen=True)
class Machine:
    """What kunit.py has to be told."""
    folder: str                         # of the build, next to the prepared tree
    build: tuple[str, ...]              # for its kernel
    run: tuple[str, ...]                # to run that
    timeout: int                        # for the boot and all suites, in seconds
    path: str = ''                      # to be put in front of PATH
    time_travels: bool = False          # if a boot asks for it

    @property
    def is_uml(self) -> bool:
        return self.folder.startswith('um')


# How many CPUs the kernels are built for
MAX_CPUS = 8

# UML's own clock: it does not run while the kernel computes, and skips what it
# would sleep. So sleeps cost nothing, and KUnit's timeout for a case that hangs
# comes at once. All of it needs seconds.
UML = Machine('um', ('--kunitconfig=mm/tests', '--kconfig_add=CONFIG_UML_TIME_TRAVEL_SUPPORT=y'),
              ('--kernel_args=time-travel=inf-cpu',), 120)

# For the tests in user space, which e2e.py boots itself
UML_E2E = Machine('um-e2e', (f'--kunitconfig={E2E_CONFIG}',), (), 300, time_travels=True)

# Several CPUs have no clock of their own. One kernel serves the suites and the tests in
# user space: to build another takes longer than to run both.
UML_SMP = (*UML_E2E.build, '--kconfig_add=CONFIG_SMP=y', f'--kconfig_add=CONFIG_NR_CPUS={MAX_CPUS}',
           '--kconfig_add=CONFIG_UML_TIME_TRAVEL_SUPPORT=n')


def uml_e2e(smp: int) -> Machine:
    if smp == 1:
        return UML_E2E
    # Without seccomp it refuses.
    return Machine('um-smp', UML_SMP, (f'ncpus={smp}', 'seccomp=on'), 300)


def uml_suites(smp: int) -> Machine:
    """The suites on the kernel for the tests in user space, where that is built anyway."""
    machine = uml_e2e(smp)
    return replace(machine, run=UML.run if smp == 1 else
                   tuple(f'--kernel_args={argument}' for argument in machine.run))


def uml(smp: int) -> Machine:
    return UML if smp == 1 else uml_suites(smp)


def uml_has_smp(tree: Path) -> bool:
    try:
        kconfig = (tree / 'arch/um/Kconfig').read_text(encoding='utf-8')
    except OSError:
        return False
    return 'config SMP\n' in kconfig


def x86_64(smp: int, rt: bool) -> Machine:
    """A PC with so many CPUs. Without KVM it needs a minute."""
    preemption = 'CONFIG_PREEMPT_RT=y' if rt else 'CONFIG_PREEMPT=y'
    return Machine('x86_64-rt' if rt else 'x86_64',
                   ('--arch=x86_64', f'--kunitconfig={X86_64_CONFIG}',
                    f'--kconfig_add={preemption}'),
                   (f'--qemu_args=-smp {smp} -cpu max',), 600,
                   '' if kvm_works() else str(TCG))


# .kunitconfig's, with all that is to be tested in modules, and a process that loads them
UML_MODULES = Machine('um-modules', UML.build + tuple(
    f'--kconfig_add=CONFIG_{option}' for option in (
        'MODULES=y', 'BINFMT_ELF=y', 'BLK_DEV_INITRD=y',
        'KUNIT=m', 'KUNIT_REPORT_TEST=m', 'KUNIT_MMU_NOTIFIER_TEST=m',
        'MMU_NOTIFIER_NONBLOCK_KUNIT_TEST=m',
        'SAMPLE_MMU_NOTIFIER=m', 'SAMPLE_MMU_NOTIFIER_WRONG=m',
        # The initramfs is not compressed.
        *(f'RD_{method}=n' for method in ('BZIP2', 'GZIP', 'LZ4', 'LZMA', 'LZO', 'XZ', 'ZSTD'))
    )), (), 120)


def x86_64_e2e(smp: int, rt: bool) -> Machine:
    """For those, and with drivers whose notifiers run without special hardware."""
    base = x86_64(smp, rt)
    # What is off there and on here is turned on again, but for what only UML has.
    options = [option for option in assignments(E2E_CONFIG) if 'UML' not in option]
    options += assignments(DRIVERS_CONFIG)
    return Machine(f'{base.folder}-e2e',
                   base.build + tuple(f'--kconfig_add={option}' for option in options),
                   ('-smp', str(smp), '-cpu', 'max'), 900, base.path)


def x86_64_drivers(smp: int, rt: bool) -> Machine:
    """Never on KVM: that which is tested runs on what QEMU emulates."""
    return replace(x86_64_e2e(smp, rt), path=str(TCG))


def x86_64_suites(smp: int, rt: bool) -> Machine:
    """Likewise."""
    return replace(x86_64_e2e(smp, rt), run=x86_64(smp, rt).run)


# Never on KVM: QEMU counts instructions, and makes that the time of the guest, which is
# then the same in each boot. Where all sleep, it goes on to when the next one wakes.
X86_64_BENCH = Machine(
    'x86_64-bench', ('--arch=x86_64', f'--kunitconfig={X86_64_CONFIG}',
                     '--kconfig_add=CONFIG_PREEMPT=y',
                     *(f'--kconfig_add={option}' for option in assignments(BENCH_CONFIG))),
    ('-smp', '1', '-cpu', 'max', '-icount', 'shift=0,sleep=off',
     '-rtc', 'base=2020-01-01,clock=vm'), 600, str(TCG))


SANITIZERS = ('kasan', 'kcsan')


def sanitized(machine: Machine, name: str) -> Machine:
    """The same with the options of kasan.config or kcsan.config, and more time."""
    options = assignments(HERE / f'{name}.config')
    return replace(machine, folder=f'{machine.folder}-{name}', timeout=3 * machine.timeout,
                   build=machine.build + tuple(f'--kconfig_add={option}' for option in options))


# Executed in place of an operating system's: counts for a while, which an emulated
# KVM does not survive in time, and then writes 16 to a port that ends QEMU.
BOOT_SECTOR = bytes([0x66, 0xb9, 0x00, 0x00, 0x00, 0x08,    # mov $0x8000000, %ecx
                     0x66, 0x49,                            # dec %ecx
                     0x75, 0xfc,                            # jnz .-2
                     0xb0, 0x10,                            # mov $0x10, %al
                     0xe6, 0xf4,                            # out %al, $0xf4
                     0xeb, 0xfe])                           # jmp .
EXIT_DEVICE = 'isa-debug-exit,iobase=0xf4,iosize=4'
EXIT_STATUS = 16 << 1 | 1


def guest_runs(accelerator: str, seconds: float) -> bool:
    """Whether a guest gets so far as to end QEMU."""
    with tempfile.NamedTemporaryFile() as disk:
        disk.write(BOOT_SECTOR.ljust(510, b'\0') + b'\x55\xaa')
        disk.flush()
        command = [QEMU, '-accel', accelerator, '-nodefaults', '-nographic', '-device', EXIT_DEVICE,
                   '-drive', f'file={disk.name},format=raw,if=ide,snapshot=on']
        try:
            result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return False
        except FileNotFoundError:
            raise Failure(EXIT_MACHINE, f'{QEMU}: not found. '
                          'tools/testing/kunit/nonblock/packages.sh x86_64 installs it.') from None
    return result.returncode == EXIT_STATUS


def kvm_works() -> bool:
    # It is a matter of a second, or of never.
    return Path('/dev/kvm').exists() and guest_runs('kvm', 5)
