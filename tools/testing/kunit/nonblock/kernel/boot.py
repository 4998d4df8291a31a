# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that runs one of our programs as its init: what is in its initramfs, and its boot.

For all that kunit.py does not do, since it knows of no init: it only builds the kernel,
and we boot that ourselves, in its build folder.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping, Optional

from nonblock.kernel import kunit_run
from nonblock.common import EXIT_BUILD, capture, say, tool_failure
from nonblock.kernel.machine import ARCHES, SANITIZERS, Machine
from nonblock.kernel.session import Session

# Where our programs are, in the tree
SELFTEST = 'tools/testing/selftests/mm/mmu_notifier'


# The programs and their initramfs

def run_tool(what: str, command: list[str | Path]) -> None:
    """Run a program of the build; if it fails, its stderr says why."""
    result = capture(command, env=kunit_run.environment())
    if result.returncode:
        raise tool_failure(EXIT_BUILD, what, result.stderr)


def initramfs_list(files: Mapping[str, Path], links: Mapping[str, str]) -> str:
    """For gen_init_cpio: these files, in folders that they need, symbolic links, and a console."""
    folders = {str(parent) for path in [*files, *links, '/dev/null', '/tmp/null']
               for parent in Path(path).parents} - {'/'}
    return ''.join([*(f'dir {folder} 0755 0 0\n' for folder in sorted(folders)),
                    'nod /dev/console 0600 0 0 c 5 1\n',
                    *(f'file {path} {source} 0755 0 0\n' for path, source in files.items()),
                    *(f'slink {path} {target} 0777 0 0\n' for path, target in links.items())])


def build_programs(tree: Path, um: Path, folder: str, cross: str = '') -> Path:
    selftest = um / 'selftest'
    selftest.mkdir(exist_ok=True)
    # All of them, as make does not know of each header. It takes seconds.
    run_tool(f'building {folder}', ['make', '--always-make', '-C', tree / folder,
                                    f'OUTPUT={selftest}', f'CROSS_COMPILE={cross}'])
    return selftest


def build_initramfs(um: Path, files: Mapping[str, Path],
                    links: Optional[Mapping[str, str]] = None) -> None:
    contents = um / 'initramfs.list'
    contents.write_text(initramfs_list(files, links or {}), encoding='utf-8')
    with open(um / 'initramfs.cpio', 'wb') as output:
        result = subprocess.run([um / 'usr/gen_init_cpio', contents], stdout=output,
                                stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        raise tool_failure(EXIT_BUILD, 'making the initramfs', result.stderr)


# The boot

@dataclass(frozen=True)
class Boot:
    name: str
    program: str
    arguments: tuple[str, ...] = ()         # the program's: no more than 30
    kernel: str = 'kunit.enable=0'          # the kernel's arguments
    time_travel: bool = True                # where there is such a thing
    memory: int = 192                       # MB of it, under QEMU
    small: bool = False                     # on UML, if it has one CPU and no sanitizer
    timeout: int = 0                        # in seconds, if not the machine's


def uml_command_line(arguments: Iterable[str], memory: int = 128) -> list[str]:
    """Without uml_dir the kernel leaves files in the user's home."""
    return ['./linux', f'mem={memory}M', 'initrd=initramfs.cpio', 'uml_dir=uml', *arguments]


def command_line(machine: Machine, boot: Boot) -> list[str]:
    """What boots it, to be run in the build folder."""
    # Without hung_task_panic it may wait for ever, quickly where time travels.
    arguments = ['hung_task_panic=1', boot.kernel, f'rdinit=/{boot.program}', '--',
                 *boot.arguments]
    if machine.is_uml:
        time_travels = machine.time_travels and boot.time_travel
        arguments = [*machine.run, *(['time-travel=inf-cpu'] if time_travels else []), *arguments]
        if boot.small and time_travels and not machine.folder.endswith(SANITIZERS):
            # Since 6.16 there is seccomp: a process gets its memory several times as fast.
            return uml_command_line(['seccomp=auto', *arguments], 64)
        return uml_command_line(arguments)
    its = ARCHES[machine.arch]
    return [its.program, '-nodefaults', '-nographic', '-no-reboot', '-m', str(boot.memory),
            *its.machine.split(), '-serial', 'stdio',
            '-accel', 'tcg', *machine.run,
            '-kernel', its.image, '-initrd', 'initramfs.cpio',
            '-append', ' '.join([f'console={its.console}', 'panic=-1', 'at_end=reboot',
                                 *arguments])]


def start(command: list[str], timeout: int, um: Path, log: Path) -> tuple[int, bool]:
    """Boot it, wait for its end, and tell the exit status, and whether it was too late."""
    say(f'$ cd {shlex.quote(str(um))} && {shlex.join(command)}')
    # It polls what it reads from, which a file does not allow.
    with open(log, 'wb') as output, subprocess.Popen(
            command, cwd=um, stdin=subprocess.PIPE, stdout=output, stderr=output,
            start_new_session=True) as process:
        try:
            return process.wait(timeout), False
        except subprocess.TimeoutExpired:
            # At once: how UML takes SIGTERM would be in the log, as a fault of its own.
            kunit_run.stop(process, [signal.SIGKILL])
            return 0, True
        except BaseException:
            kunit_run.stop(process)
            raise


@dataclass(frozen=True)
class Booted:
    status: int
    timed_out: bool
    lines: list[str]            # of the log
    seconds: float
    log: Path

    def say(self, name: str, what: object, repo: Path) -> None:
        say(f'boot {name}: {what}, {self.seconds:.0f} s, log: {os.path.relpath(self.log, repo)}')


def run_boot(session: Session, name: str, command: list[str], timeout: int = 0) -> Booted:
    """In the build folder, to its end; timeout: if not the machine's."""
    since, log = time.monotonic(), session.folder / f'{name}.log'
    ended = start(command, timeout or session.machine.timeout, session.folder, log)
    text = log.read_text(encoding='utf-8', errors='replace')
    if session.raw:
        say(text)
    return Booted(*ended, text.splitlines(), time.monotonic() - since, log)
