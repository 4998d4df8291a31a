# SPDX-License-Identifier: GPL-2.0-only
"""Sources of a kernel tree, or of a driver outside of it, compiled to LLVM IR.

kbuild does it, in a build folder of its own, with what it knows of each file; nothing is
linked. The IR is not optimised yet: that comes when it is known what is called how.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Iterable, Optional, Sequence

from nonblock.common import EXIT_BUILD, Failure, Progress, say, write_atomically
from nonblock.kernel.kunit_run import environment
from nonblock.kernel.machine import LLVM

CONFIG = Path(__file__).with_name('audit.config')
# Lines without types; the optimiser's work is left to us; no warning is of interest here.
CFLAGS = '-gline-tables-only -Xclang -disable-llvm-passes -w'
# Objects that another folder's Makefile builds
BUILT_FROM = (('drivers/gpu/drm/amd/', 'drivers/gpu/drm/amd/amdgpu/../'),
              ('virt/kvm/', 'arch/x86/kvm/../../../virt/kvm/'))
ERROR = re.compile(r'^(?:\S+?:\d+:\d+: (?:fatal )?error: .*|.*No rule to make target.*)$',
                   re.MULTILINE)
WRAPPER = '''#!/bin/sh
# Compiles as kbuild wants it, and to IR: only that counts. What a driver asks the compiler by
# itself, to learn what the kernel has, is no object of kbuild, and gets the true answer.
out=; source=; c=; kbuild=; module=
last=
for arg; do
    case $last in -o) out=$arg ;; esac
    case $arg in *.c) source=$arg ;; -c) c=1 ;; -Wp,-M*) kbuild=1 ;;
    -D__KBUILD_MODNAME=*) module=${{arg#*=}} ;; esac
    last=$arg
done
case "$c$kbuild$source" in
11*.mod.c | 11*.module-common.c) exec {clang} "$@" ;;
11?*) ;;
*) exec {clang} "$@" ;;
esac
rm -f "${{out%.o}}.ll"
{clang} "$@" {flags} -S -emit-llvm -fno-discard-value-names -o "${{out%.o}}.ll" || exit 1
echo "; kbuild: ${{module#kmod_}}" >> "${{out%.o}}.ll"
exec {clang} -c -x c -o "$out" /dev/null
'''


def last_words(output: str) -> list[str]:
    """What was said last, by others than make: it only says that something failed."""
    lines = [line for line in output.splitlines() if line.strip()]
    return ([line for line in lines if not re.match(r'make(\[\d+\])?: ', line)] or lines)[-5:]


class Compiler:
    """One configuration of a tree, and the IR that was made in it."""

    def __init__(self, tree: Path, out: Path, jobs: int):
        self.tree, self.out, self.jobs = tree, out, jobs
        self.done: dict[str, Optional[Path]] = {}
        self.errors: dict[str, str] = {}

    def _make(self, arguments: Sequence[str | Path], label: str = '', total: int = 0) -> str:
        command: list[str | Path] = [
            'make', '-C', self.tree, f'O={self.out}', f'LLVM={LLVM}', 'ARCH=x86_64',
            f'-j{self.jobs}', '-k', *arguments]
        progress, lines, count = Progress(label), [], 0
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors='replace',
                              env={**environment(), 'LC_ALL': 'C'}) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if re.match(r'  CC ', line):
                    count += 1
                    progress.update(f'{min(count, total)} of {total} files' if total
                                    else f'{count} files')
        self.status = process.returncode
        return ''.join(lines)

    def configure(self) -> None:
        """Once for each change to the options: a configuration, and what headers are made."""
        defaults = self.tree / 'arch/x86/configs/x86_64_defconfig'
        text = defaults.read_text(encoding='utf-8') + CONFIG.read_text(encoding='utf-8')
        version = (self.tree / 'Makefile').read_bytes()[:300]
        stamp = self.out / 'audit.stamp'
        digest = hashlib.sha256(text.encode() + version).hexdigest()
        if stamp.exists() and stamp.read_text(encoding='utf-8') == digest:
            return
        say('configuring, and making the headers that are generated ...')
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / '.config').write_text(text, encoding='utf-8')
        for targets in (['olddefconfig'], ['prepare', 'modules_prepare']):
            output = self._make(targets, 'preparing')
            if self.status:
                raise Failure(EXIT_BUILD, f'make {shlex.join(targets)} in {self.out}:\n    '
                              + '\n    '.join(output.strip().splitlines()[-5:]))
        write_atomically(stamp, digest)

    @staticmethod
    def target(source: str) -> str:
        for prefix, built in BUILT_FROM:
            if source.startswith(prefix) and not source.startswith(built[:-3]):
                return built + source.removeprefix(prefix)[:-2] + '.ll'
        return source[:-2] + '.ll'

    def compile(self, sources: Iterable[str], label: str = '') -> dict[str, Optional[Path]]:
        """IR of files of the tree; None and an error for what cannot be compiled."""
        wanted = list(dict.fromkeys(sources))
        missing = [source for source in wanted if source not in self.done]
        if missing:
            targets = {source: self.target(source) for source in missing}
            output = self._make([f'KCFLAGS={CFLAGS}', *targets.values()], label, len(missing))
            # A header that is made for some objects only, and not for their IR
            need = [target for source, target in targets.items() if re.search(
                r"'[^']*generated[^']*' file not found", self._error(output, source, target))]
            if need:
                self._make([target[:-3] + '.o' for target in need], label)
                output = re.sub(r'(?m)^.*(?:\*\*\* |file not found).*$', '', output) + \
                    self._make([f'KCFLAGS={CFLAGS}', *need], label)
            for source, target in targets.items():
                path = Path(os.path.normpath(self.out / target))
                error = self._error(output, source, target)
                self.done[source] = path if path.exists() and not error else None
                if not self.done[source]:
                    self.errors[source] = error or 'was not compiled'
        return {source: self.done[source] for source in wanted}

    @staticmethod
    def _error(output: str, source: str, target: str) -> str:
        name = os.path.basename(source)
        if not re.search(rf'\*\*\* \[.*{re.escape(os.path.basename(target))}\] Error|'
                         rf"No rule to make target '[^']*{re.escape(os.path.basename(target))}'",
                         output):
            return ''
        errors: list[str] = ERROR.findall(output)
        found = [line for line in errors
                 if f'/{name}:' in line or os.path.basename(target) in line]
        return found[0] if found else next(iter(errors), 'was not compiled')

    # A driver outside of the tree

    def compile_external(self, folder: Path) -> tuple[dict[str, Path], list[str]]:
        """IR of all objects that its Kbuild has, by the source; and what went wrong."""
        wrapper = self.out / 'audit-cc'
        text = WRAPPER.format(clang=f'clang{LLVM}', flags=CFLAGS)
        if not wrapper.exists() or wrapper.read_text(encoding='utf-8') != text:
            wrapper.write_text(text, encoding='utf-8')
            wrapper.chmod(0o755)
        output = self._make([f'CC={wrapper}', f'HOSTCC=clang{LLVM}', 'objtool=true',
                             'KBUILD_MODPOST_WARN=1', f'M={folder}', 'modules'],
                            'compiling the driver')
        found = {}
        for path in sorted(folder.rglob('*.ll')):
            match = re.search(r'^source_filename = "(.*)"', path.read_text(
                encoding='utf-8', errors='replace')[:4000], re.MULTILINE)
            if match:
                source = Path(match[1])
                source = source if source.is_absolute() else folder / path.relative_to(
                    folder).with_suffix('.c')
                found[str(source)] = path
        errors = [line for line in output.splitlines() if re.search(r': (?:fatal )?error: ', line)
                  or re.search(r'No rule to make target', line)]
        if not found and not errors and self.status:
            errors = last_words(output)
        # What is wrong in a header is said for each file that includes it.
        return found, list(dict.fromkeys(errors))
