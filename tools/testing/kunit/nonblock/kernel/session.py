# SPDX-License-Identifier: GPL-2.0-only
"""What a verb works with: a prepared tree, the machine for its kernel, and how to build it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, ContextManager, Iterator, Optional

from nonblock.common import EXIT_USAGE, LOCK, REPO, Failure, lock
from nonblock.kernel.machine import (ARCHES, LLVM_ARCHES, MAX_CPUS, SANITIZERS, Machine, clang,
                                     has_rt, sanitized, uml_has_smp)
from nonblock.options import Options
from nonblock.tree.prepare import Preparer
from nonblock.tree.source import DEFAULT_KVER, TESTED, Base, from_debian, from_kdir


@dataclass(frozen=True)
class Session:
    repo: Path
    base: Base
    machine: Machine
    tree: Path
    hooks: tuple[str, ...] = ()
    jobs: int = 1
    raw: bool = False           # show the kernel's whole output
    edited: tuple[str, ...] = ()        # files of the tree, by hand

    @property
    def build(self) -> Path:
        """All that is of this base."""
        return self.tree.parent

    @property
    def folder(self) -> Path:
        """Where the kernel of this machine is built."""
        return self.tree.with_name(self.machine.folder)

    @property
    def about(self) -> dict[str, str]:
        return {**self.base.about,
                'machine': self.machine.folder, 'build': shlex.join(self.machine.build),
                'arguments': shlex.join(self.machine.run),
                'config': os.path.relpath(self.config, self.repo),
                'hooks': ' '.join(self.hooks),
                **({'edited': ' '.join(self.edited)} if self.edited else {})}

    @property
    def config(self) -> Path:
        return self.folder / '.config'

    @property
    def at_once(self) -> int:
        """How many boots there are CPUs for."""
        cpus = re.search(r'(?:ncpus=|-smp )(\d+)', ' '.join(self.machine.run))
        return max(self.jobs // (int(cpus[1]) if cpus else 1), 1)


# The base

def find_base(options: Options) -> Base:
    if options.kdir:
        return from_kdir(options.kdir, REPO / 'build')
    return from_debian(options.kver or DEFAULT_KVER)


def each_kernel(options: Options) -> list[Options]:
    """The one that was asked for, or those on which all is tested."""
    one = options.kver or options.kdir
    return [options] if one else [replace(options, kver=kver) for kver in TESTED]


def locked(base: Base) -> ContextManager[None]:
    return lock(REPO / 'build' / base.name / LOCK, f'build/{base.name}')


# The machine

class Impossible(Failure):
    """This kernel does not have what is asked for."""


def check_machine(options: Options) -> None:
    """Whether there is such a machine, whatever the kernel."""
    arch, smp, san = options.arch, options.smp, options.san
    fewest = 1 if arch == 'um' else 2
    for refused, why in (
            (arch not in ('um', *ARCHES), f'ARCH={arch}: want um (the default), '
             f'{" or ".join(ARCHES)}'),
            (not fewest <= smp <= MAX_CPUS, f'SMP={smp}: want {fewest} to {MAX_CPUS} CPUs with '
             f'ARCH={arch}' + ('; UML has one' if fewest > 1 else '')),
            (options.rt and arch == 'um', 'RT=1: not with ARCH=um; UML has no PREEMPT_RT'),
            (san and san not in SANITIZERS, f'SAN={san}: want {" or ".join(SANITIZERS)}'),
            (san == 'kcsan' and arch != 'x86_64', 'SAN=kcsan: only with ARCH=x86_64'),
            (san and arch not in ('um', 'x86_64'), f'SAN={san}: only with ARCH=um and ARCH=x86_64'),
            (options.llvm and arch not in LLVM_ARCHES,
             f'LLVM=1: only with ARCH={" or ".join(LLVM_ARCHES)}')):
        if refused:
            raise Failure(EXIT_USAGE, why)


# The kinds of machines that a verb has, by architecture, how many CPUs and whether PREEMPT_RT
UserMode = Callable[[int], Machine]
Qemu = Callable[[str, int, bool], Machine]


def find_machine(options: Options, base: Base, user_mode: UserMode, qemu: Qemu) -> Machine:
    if options.arch == 'um':
        if options.smp > 1 and not uml_has_smp(base.path):
            raise Impossible(EXIT_USAGE, f'SMP={options.smp}: {base.origin} has no SMP on UML '
                             '(in its arch/um/Kconfig); ARCH=x86_64 has')
        machine = user_mode(options.smp)
    else:
        # 6.12 has one name for powerpc of either endianness.
        known = [name for name in (options.arch, options.arch.removesuffix('le'))
                 if (base.path / f'tools/testing/kunit/qemu_configs/{name}.py').exists()]
        if not known:
            raise Impossible(EXIT_USAGE, f'ARCH={options.arch}: the kunit_tool of {base.origin} '
                             'does not know it')
        if options.rt and not has_rt(base.path, options.arch):
            raise Impossible(EXIT_USAGE, f'RT=1: {base.origin} has no PREEMPT_RT on '
                             f'{options.arch} (in its Kconfig in arch/)')
        machine = qemu(options.arch, options.smp, options.rt)
        machine = replace(machine, build=(f'--arch={known[0]}', *machine.build[1:]))
    if options.llvm:
        machine = clang(machine)
    return sanitized(machine, options.san) if options.san else machine


@contextlib.contextmanager
def prepared(options: Options, machine: Machine | tuple[UserMode, Qemu],
             base: Optional[Base] = None, topics: str = '', patch: Optional[Path] = None
             ) -> Iterator[Session]:
    """Prepare the tree, and hold its lock. `patch` goes on top of the hooks of these topics."""
    base = base or find_base(options)
    if not isinstance(machine, Machine):
        machine = find_machine(options, base, *machine)
    with locked(base):
        prepare = Preparer(REPO, base, topics, patch)
        hooks = tuple(prepare.prepare())
        yield Session(REPO, base, machine, prepare.tree, hooks, options.jobs, options.v,
                      tuple(prepare.edited))
