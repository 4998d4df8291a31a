# SPDX-License-Identifier: GPL-2.0-only
"""Finds things in the sources: which file defines a function, who mentions a structure."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Iterable, Optional

from nonblock.common import write_atomically

# Where functions live that the table of sleeps.py is about
CORE = ('mm/', 'kernel/', 'lib/', 'fs/', 'block/', 'security/', 'ipc/', 'init/', 'net/core/',
        'drivers/base/', 'drivers/dma-buf/', 'drivers/iommu/', 'drivers/pci/', 'drivers/tty/',
        'arch/x86/kernel/', 'arch/x86/mm/', 'arch/x86/lib/', 'arch/x86/entry/',
        'drivers/gpu/drm/drm_print.c', 'drivers/gpu/drm/drm_drv.c', 'drivers/char/random.c')


def defines(text: str, name: str) -> bool:
    """Whether this C source has the function, and not only a prototype of it."""
    for match in re.finditer(rf'^(?:[A-Za-z_][^\n;=#]*[\s*])?{name}\s*\(', text, re.MULTILINE):
        rest = text[match.end():match.end() + 2000]
        end = re.search(r'[;{]', re.sub(r'"(?:[^"\\\n]|\\.)*"', '', rest))
        if end and end[0] == '{':
            return True
    return False


class Sources:
    def __init__(self, tree: Path, cache: Path):
        self.tree = tree
        self.cache = cache
        self._exports: Optional[dict[str, str]] = None
        self._texts: dict[str, str] = {}

    def grep(self, pattern: str, folders: Iterable[str], *options: str) -> list[str]:
        """Files, relative to the tree, that have a line with this extended expression."""
        present = [folder for folder in folders if (self.tree / folder).exists()]
        if not present:
            return []
        result = subprocess.run(['grep', '-rlE', '--include=*.c', *options, '-e', pattern,
                                 *present], cwd=self.tree, capture_output=True, text=True,
                                errors='replace', check=False, env={**os.environ, 'LC_ALL': 'C'})
        return sorted(name.removeprefix('./') for name in result.stdout.split())

    def exports(self) -> dict[str, str]:
        """The file of each symbol that modules may use; the search is made once a tree."""
        if self._exports is None:
            path = self.cache / 'exports.json'
            if path.exists():
                self._exports = json.loads(path.read_text(encoding='utf-8'))
            else:
                tops = sorted(entry.name for entry in self.tree.iterdir() if entry.is_dir() and
                              entry.name not in ('Documentation', 'tools', 'scripts', 'samples'))
                result = subprocess.run(
                    ['grep', '-rHoE', '--include=*.c', '--include=*.S',
                     r'^\s*EXPORT_SYMBOL\w*\(\w+', *tops],
                    cwd=self.tree, capture_output=True, text=True, check=False,
                    env={**os.environ, 'LC_ALL': 'C'})
                self._exports = {}
                for line in result.stdout.splitlines():
                    name, _, rest = line.partition(':')
                    if not name.startswith('arch/') or name.startswith('arch/x86/'):
                        self._exports.setdefault(rest.split('(')[1], name)
                write_atomically(path, json.dumps(self._exports))
        assert self._exports is not None
        return self._exports

    def _text(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = (self.tree / name).read_text(encoding='utf-8', errors='replace')
        return self._texts[name]

    def definition(self, function: str, folders: Iterable[str]) -> str:
        """The file in one of these folders that defines it, or ''; the first folder first."""
        for folder in folders:
            for name in self.grep(rf'(^|[ *\t]){function}\(', [folder]):
                if defines(self._text(name), function):
                    return name
        return ''

    def is_core(self, function: str) -> bool:
        """Whether it is exported by the core, so that the table may be asked."""
        return self.exports().get(function, '').startswith(CORE)

    def find(self, function: str, near: str) -> str:
        """The file that defines an external function which that file calls, or ''."""
        exported = self.exports().get(function, '')
        if exported and (self.tree / exported).exists() and \
                defines(self._text(exported), function):
            return exported
        return self.definition(function, self._folders(near))

    def _folders(self, near: str) -> list[str]:
        """That of the file and those above, but not all drivers; then the core."""
        # A driver outside of the tree is compiled already.
        folders, folder = [], '' if os.path.isabs(near) else os.path.dirname(near)
        while folder and folder not in ('drivers', 'arch', 'arch/x86', 'drivers/gpu',
                                        'drivers/gpu/drm', 'drivers/net/ethernet', 'net'):
            folders.append(folder)
            folder = os.path.dirname(folder)
        if near.startswith('virt/kvm/'):
            folders += ['arch/x86/kvm/mmu', 'arch/x86/kvm']
        core = ['mm', 'kernel', 'lib', 'arch/x86/mm', 'arch/x86/kernel', 'arch/x86/lib', 'fs',
                'drivers/base', 'block', 'security']
        return folders + [name for name in core if name not in folders]

    def members(self, header: str, structure: str, options: set[str]) -> list[str]:
        """Of a plain structure: its members' names, without what is left out by #ifdef."""
        text = (self.tree / header).read_text(encoding='utf-8')
        match = re.search(rf'^struct {structure} \{{(.*?)^\}};', text, re.MULTILINE | re.DOTALL)
        body = re.sub(r'/\*.*?\*/', '', match[1], flags=re.DOTALL) if match else ''
        kept, stack = [], [True]
        for line in body.splitlines():
            condition = re.match(r'#if(n?)def (\w+)', line)
            if condition:
                stack.append((condition[2] in options) != bool(condition[1]))
            elif line.startswith('#else'):
                stack[-1] = not stack[-1]
            elif line.startswith('#endif'):
                stack.pop()
            elif all(stack):
                kept.append(line)
        return [name for part in '\n'.join(kept).split(';')[:-1]
                for name in re.findall(r'\(\*(\w+)\)|(\w+)(?:\[.*\])?\s*$', part.strip())[:1]
                for name in (name[0] or name[1],)]

    def option(self, source: str) -> str:
        """The option of the configuration that builds a file, as its Makefiles have it."""
        path, option = source[:-2] + '.o', ''
        for _ in range(6):
            folder = os.path.dirname(path)
            found = ''
            for name in ('Makefile', 'Kbuild'):
                makefile = self.tree / folder / name
                if not makefile.exists():
                    continue
                text = makefile.read_text(encoding='utf-8', errors='replace')
                text = text.replace('\\\n', ' ')
                target = re.escape(os.path.relpath(path, folder) + ('/' if option == '?' else ''))
                for match in re.finditer(rf'^([\w$()-]+)\s*[:+]?=.*(?<![\w/-]){target}(?:\s|$)',
                                         text, re.MULTILINE):
                    variable = re.search(r'\$\(CONFIG_(\w+)\)', match[1])
                    if variable:
                        return f'CONFIG_{variable[1]}'
                    found = re.sub(r'-(?:y|objs|m)$', '', match[1])
                if found:
                    break
            if found and found not in ('obj', 'lib'):
                path, option = os.path.join(folder, found + '.o'), ''
            else:
                path, option = folder, '?'
            if not path:
                break
        return ''
