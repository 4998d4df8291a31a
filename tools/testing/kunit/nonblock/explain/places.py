# SPDX-License-Identifier: GPL-2.0-only
"""Files and lines of functions, by the kernel's own script."""

from __future__ import annotations

import mmap
import os
import re
import subprocess
from pathlib import Path
from typing import Callable

from nonblock.common import EXIT_MACHINE, EXIT_USAGE, Failure, say

from .symbols import Symbol

Locate = Callable[[Symbol], str]
SCRIPT = 'scripts/decode_stacktrace.sh'
BANNER = re.compile(rb'Linux version \d[ -~]{20,400}')


def nowhere(_symbol: Symbol) -> str:
    return ''


def find_script(vmlinux: Path, kdir: str, repo: Path) -> Path:
    if kdir:
        tops = [Path(kdir)]
    else:
        folder = vmlinux.resolve().parent
        tops = [folder, folder / 'source', folder.parent / 'linux',
                *sorted((repo / 'build').glob('*/linux'), reverse=True)]
    for top in tops:
        if (top / SCRIPT).is_file():
            return top / SCRIPT
    where = f'KDIR={kdir} has no {SCRIPT}' if kdir else \
        f'there is no {SCRIPT} next to {vmlinux}, nor in a prepared tree'
    raise Failure(EXIT_USAGE, f'{where}. Give a kernel tree with KDIR=, or run `make tree`.')


def banners(path: Path) -> list[str]:
    """What a vmlinux says that it is. It is large: it is mapped, not read."""
    try:
        with open(path, 'rb') as file:
            if file.read(4) != b'\x7fELF':
                raise Failure(EXIT_USAGE, f'VMLINUX={path} is not an ELF file. Give the vmlinux of '
                              'the build, not bzImage or vmlinuz.')
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
                # There may be one without the build's number and time as well.
                return [match[0].decode().strip() for match in BANNER.finditer(image)]
    except OSError as error:
        raise Failure(EXIT_USAGE, f'VMLINUX={path}: {error.strerror}') from None


def check_vmlinux(path: Path, banner: str) -> None:
    """Lines of another kernel would mislead."""
    found = banners(path)
    if not found:
        raise Failure(EXIT_USAGE, f'VMLINUX={path} is not a Linux kernel')
    if banner and banner.strip() not in found:
        raise Failure(EXIT_USAGE, f'VMLINUX={path} is not the kernel of this log:\n'
                      f'    {max(found, key=len)}\n    {banner.strip()}')


def decode(script: Path, vmlinux: Path, modules: str, symbols: set[Symbol]) -> dict[Symbol, str]:
    """What the kernel's own script makes of them: file and line, where it finds any."""
    order = sorted((symbol for symbol in symbols if symbol.size), key=str)
    command = ['bash', str(script), str(vmlinux.resolve()), 'auto', *([modules] if modules else [])]
    try:
        result = subprocess.run(command, input=''.join(f' {symbol}\n' for symbol in order),
                                capture_output=True, text=True, errors='replace', check=False)
    except FileNotFoundError:
        raise Failure(EXIT_MACHINE, 'bash: not found; decode_stacktrace.sh needs it, and '
                      'binutils') from None
    lines = result.stdout.splitlines()
    if result.returncode or len(lines) != len(order):
        raise Failure(EXIT_MACHINE, f'{script} failed: '
                      + (result.stderr.strip().splitlines() or ['no message'])[-1])
    places = {}
    for symbol, line in zip(order, lines):
        if match := re.search(r'\(([^()]+:\d+[^()]*)\)', line):
            places[symbol] = match[1]
    return places


def check_modules(modules: str) -> None:
    if modules and not os.path.isdir(modules):
        raise Failure(EXIT_USAGE, f'MODULES={modules}: there is no such folder')


def locate(vmlinux: str, modules: str, kdir: str, repo: Path, banner: str,
           symbols: set[Symbol]) -> Locate:
    if not vmlinux:
        return nowhere
    path = Path(vmlinux)
    check_vmlinux(path, banner)
    places = decode(find_script(path, kdir, repo), path, modules, symbols) if symbols else {}
    if symbols and not places:
        say(f'VMLINUX={vmlinux} gives no line: it was built without CONFIG_DEBUG_INFO, or the '
            'code is in a module and MODULES= does not have that with debug info.\n')
    elif places and not banner:
        say('The log does not say which kernel it is from. The lines below are right only if '
            f'that is {vmlinux}.\n')
    return lambda symbol: places.get(symbol, '')
