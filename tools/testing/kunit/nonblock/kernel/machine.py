# SPDX-License-Identifier: GPL-2.0-only
"""The machines that kunit.py runs the suites on: UML, and those of QEMU."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from nonblock.kernel.kconfig import assignments

HERE = Path(__file__).resolve().parent
E2E_CONFIG = HERE / 'e2e.config'
QEMU_CONFIG = HERE / 'qemu.config'
DRIVERS_CONFIG = HERE / 'drivers.config'
BENCH_CONFIG = HERE / 'bench.config'
# Has each QEMU as a wrapper that leaves KVM alone: there are machines that have /dev/kvm, and
# no guest gets to run on it. Emulated, all take as long, and are the same, everywhere.
TCG = HERE / 'tcg'
# What Debian's LLVM is called: 7.3 wants 17, and both Debian 12 and 13 have this one.
LLVM = '-19'
LLVM_ARCHES = ('um', 'x86_64', 'arm64')     # where it was tried


@dataclass(frozen=True)
class Machine:
    """What kunit.py has to be told."""
    folder: str                         # of the build, next to the prepared tree
    build: tuple[str, ...]              # for its kernel
    run: tuple[str, ...]                # to run that
    timeout: int                        # for the boot and all suites, in seconds
    path: str = ''                      # to be put in front of PATH
    time_travels: bool = False          # if a boot asks for it
    arch: str = 'um'

    @property
    def is_uml(self) -> bool:
        return self.arch == 'um'


# How many CPUs the kernels are built for
MAX_CPUS = 8

# UML's own clock: it does not run while the kernel computes, and skips what it
# would sleep. So sleeps cost nothing, and KUnit's timeout for a case that hangs
# comes at once. All of it needs seconds.
UML = Machine('um', ('--kunitconfig=mm/tests', '--kconfig_add=CONFIG_UML_TIME_TRAVEL_SUPPORT=y'),
              ('--kernel_args=time-travel=inf-cpu',), 120)

# For the tests in user space, which e2e.py boots itself
UML_E2E = Machine('um-e2e', (f'--kunitconfig={E2E_CONFIG}',), (), 300, time_travels=True)

# The same with all in modules that can be. It serves those tests, too, and the suites as
# modules, which a process loads: to build another kernel takes longer than to run both.
UML_MODULES = Machine('um-modules', UML_E2E.build + tuple(
    f'--kconfig_add=CONFIG_{option}' for option in (
        'MODULES=y', 'MODULE_UNLOAD=y', 'KUNIT=m', 'KUNIT_REPORT_TEST=m',
        'KUNIT_MMU_NOTIFIER_TEST=m', 'MMU_NOTIFIER_NONBLOCK_KUNIT_TEST=m',
        'SAMPLE_MMU_NOTIFIER=m', 'SAMPLE_MMU_NOTIFIER_WRONG=m')), (), 300, time_travels=True)

# Several CPUs have no clock of their own. One kernel serves the suites and the tests in
# user space: to build another takes longer than to run both.
UML_SMP = (*UML_E2E.build, '--kconfig_add=CONFIG_SMP=y', f'--kconfig_add=CONFIG_NR_CPUS={MAX_CPUS}',
           '--kconfig_add=CONFIG_UML_TIME_TRAVEL_SUPPORT=n')


def uml_e2e(smp: int) -> Machine:
    if smp == 1:
        return UML_E2E
    # Without seccomp it refuses.
    return Machine('um-smp', UML_SMP, (f'ncpus={smp}', 'seccomp=on'), 300)


def uml_modules(smp: int) -> Machine:
    return UML_MODULES if smp == 1 else uml_e2e(smp)


def uml_suites(smp: int) -> Machine:
    """The suites on the kernel for the tests in user space, where that is built anyway."""
    machine = uml_e2e(smp)
    return replace(machine, run=UML.run if smp == 1 else
                   tuple(f'--kernel_args={argument}' for argument in machine.run))


def uml(smp: int) -> Machine:
    return UML if smp == 1 else uml_suites(smp)


# For what UML does not show: in which ways one kernel can be another, all at once
WAYS = {'no-atomic-sleep': ('DEBUG_ATOMIC_SLEEP=n',),
        'smp': ('SMP=y', 'NR_CPUS=2', 'UML_TIME_TRAVEL_SUPPORT=n')}


def uml_otherwise(tree: Path) -> tuple[Machine, tuple[str, ...]]:
    """That kernel, and its ways."""
    ways = tuple(way for way in WAYS if way != 'smp' or uml_has_smp(tree))
    build = UML.build + tuple(f'--kconfig_add=CONFIG_{option}' for way in ways
                              for option in WAYS[way])
    # With a real clock, it is RCU that they wait for.
    run = (*uml(2 if 'smp' in ways else 1).run, '--kernel_args=rcupdate.rcu_expedited=1')
    return Machine('um-otherwise', build, run, 600), ways


# All others

@dataclass(frozen=True)
class Arch:
    """An architecture under QEMU. Its options are in qemu.config, and in one file more."""
    cross: str = ''                     # prefix of the cross compiler
    config: str = ''                    # the name of that file, if it is another's
    options: tuple[str, ...] = ()       # other ones than in there
    lacks: tuple[str, ...] = ()         # what e2e.config sets, and is not to be had
    qemu: str = ''                      # its arguments
    kernel: str = ''                    # its name in the kernel, likewise
    timeout: int = 900                  # for the boot and all suites, emulated
    # For a boot that is not kunit.py's: as in that one's qemu_configs
    program: str = ''
    machine: str = ''                   # its arguments
    image: str = ''
    console: str = 'ttyS0'


ARCHES = {
    'x86_64': Arch(kernel='x86', qemu='-cpu max', timeout=600, program='qemu-system-x86_64',
                   machine='-bios qboot.rom', image='arch/x86/boot/bzImage'),
    'i386': Arch(kernel='x86', config='x86_64', options=('64BIT=n', 'ISA_DMA_API=y'), timeout=600),
    'arm64': Arch('aarch64-linux-gnu-', program='qemu-system-aarch64',
                  machine='-machine virt -cpu max', image='arch/arm64/boot/Image',
                  console='ttyAMA0'),
    'arm': Arch('arm-linux-gnueabihf-', lacks=('FRAME_POINTER',)),
    'riscv': Arch('riscv64-linux-gnu-'),
    's390': Arch('s390x-linux-gnu-', lacks=('FRAME_POINTER',), program='qemu-system-s390x',
                 machine='-machine s390-ccw-virtio -cpu qemu', image='arch/s390/boot/bzImage',
                 console='ttysclp0'),
    'powerpc': Arch('powerpc64-linux-gnu-', options=('BINFMT_ELF=y',), lacks=('FRAME_POINTER',)),
    'powerpcle': Arch('powerpc64le-linux-gnu-', config='powerpc', kernel='powerpc',
                      options=('BINFMT_ELF=y', 'CPU_LITTLE_ENDIAN=y')),
}


def options_of(arch: str) -> list[Path]:
    """The files."""
    return [QEMU_CONFIG, HERE / f'{ARCHES[arch].config or arch}.config']


def is_there(arch: str, option: str) -> bool:
    """Whether that of e2e.config is: what only UML has is not."""
    return 'UML' not in option and option not in ARCHES[arch].lacks


def qemu(arch: str, smp: int, rt: bool) -> Machine:
    """One with so many CPUs. It needs a minute."""
    its = ARCHES[arch]
    options = ('PREEMPT_RT=y' if rt else 'PREEMPT=y', *its.options)
    return Machine(f'{arch}-rt' if rt else arch,
                   (f'--arch={arch}',
                    *([f'--cross_compile={its.cross}'] if its.cross else []),
                    *(f'--kunitconfig={path}' for path in options_of(arch)),
                    *(f'--kconfig_add=CONFIG_{option}' for option in options)),
                   ('--qemu_args=' + ' '.join([f'-smp {smp}', its.qemu]).strip(),), its.timeout,
                   str(TCG), arch=arch)


def kconfig_has(tree: Path, arch: str, pattern: str) -> bool:
    """Whether the Kconfig of that architecture, by the kernel's name for it, has such a line."""
    path = tree / f'arch/{arch}/Kconfig'
    return path.is_file() and bool(re.search(pattern, path.read_text(encoding='utf-8'), re.M))


def uml_has_smp(tree: Path) -> bool:
    return kconfig_has(tree, 'um', '^config SMP$')


def has_rt(tree: Path, arch: str) -> bool:
    return kconfig_has(tree, ARCHES[arch].kernel or arch, r'^\s+select ARCH_SUPPORTS_RT\b')


def qemu_e2e(arch: str, smp: int, rt: bool) -> Machine:
    """For those, and with drivers whose notifiers run without special hardware."""
    base = qemu(arch, smp, rt)
    # What is off there and on here is turned on again, but for what only UML has.
    options = [option for option in assignments(E2E_CONFIG)
               if is_there(arch, option.removeprefix('CONFIG_').partition('=')[0])]
    # Their drivers are a PC's. PREEMPT_RT has no huge pages, which TEST_HMM needs.
    if arch == 'x86_64':
        options += [option for option in assignments(DRIVERS_CONFIG)
                    if not rt or not re.search('TRANSPARENT_HUGEPAGE|TEST_HMM', option)]
    return replace(base, folder=f'{base.folder}-e2e', timeout=900,
                   build=base.build + tuple(f'--kconfig_add={option}' for option in options),
                   run=('-smp', str(smp), *ARCHES[arch].qemu.split()))


def qemu_suites(arch: str, smp: int, rt: bool) -> Machine:
    """The suites on that kernel."""
    return replace(qemu_e2e(arch, smp, rt), run=qemu(arch, smp, rt).run)


def qemu_run(arch: str, smp: int, rt: bool) -> Machine:
    """The same, where that kernel has no drivers: to build another takes minutes."""
    has_e2e = ARCHES[arch].program and arch != 'x86_64'
    return (qemu_suites if has_e2e else qemu)(arch, smp, rt)


# Never on KVM: QEMU counts instructions, and makes that the time of the guest, which is
# then the same in each boot. Where all sleep, it goes on to when the next one wakes.
X86_64_BENCH = Machine(
    'x86_64-bench', ('--arch=x86_64',
                     *(f'--kunitconfig={path}' for path in options_of('x86_64')),
                     '--kconfig_add=CONFIG_PREEMPT=y',
                     *(f'--kconfig_add={option}' for option in assignments(BENCH_CONFIG))),
    ('-smp', '1', '-cpu', 'max', '-icount', 'shift=0,sleep=off',
     '-rtc', 'base=2020-01-01,clock=vm'), 600, str(TCG), arch='x86_64')


def clang(machine: Machine) -> Machine:
    """The same, compiled and linked by LLVM."""
    return replace(machine, folder=f'{machine.folder}-clang',
                   build=(*machine.build, f'--make_options=LLVM={LLVM}'))


SANITIZERS = ('kasan', 'kcsan')


def sanitized(machine: Machine, name: str) -> Machine:
    """The same with the options of kasan.config or kcsan.config, and more time."""
    options = assignments(HERE / f'{name}.config')
    return replace(machine, folder=f'{machine.folder}-{name}', timeout=3 * machine.timeout,
                   build=machine.build + tuple(f'--kconfig_add={option}' for option in options))
