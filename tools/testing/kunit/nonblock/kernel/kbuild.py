# SPDX-License-Identifier: GPL-2.0-only
"""Single objects of a kernel in any configuration, built without the rest.

kunit.py builds whole kernels. To read what the compiler says of some files, or to compare
the code that it makes of them, make is called here without it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable

from nonblock.kernel import kunit_run
from nonblock.common import EXIT_BUILD, Failure, capture
from nonblock.kernel.kconfig import as_config, read_config
from nonblock.kernel.machine import ARCHES, E2E_CONFIG, is_there, options_of


# The configuration

@dataclass(frozen=True)
class Config:
    name: str
    arch: str
    options: dict[str, str] = field(default_factory=dict)   # others than in the files
    make: tuple[str, ...] = ()


def base_options(arch: str) -> dict[str, str]:
    """Everything on: the options of `make e2e`, whose kernels have the suites and the device."""
    found = read_config(E2E_CONFIG)
    if arch == 'um':
        return found
    found = {name: value for name, value in found.items() if value == 'y' and is_there(arch, name)}
    given: dict[str, str] = {}
    for path in options_of(arch):
        given |= read_config(path)
    given |= dict(option.split('=') for option in ARCHES[arch].options)
    return {**given, **found}


# What make says

WARNING = re.compile(r'^(?!make\b)([\w./+-]+):(?:\d+:)*\s*(?:warning|WARNING): ?(.*)$',
                     re.MULTILINE)
ERROR = re.compile(r'^.*(?:\berror: |\*\*\* ).*$', re.MULTILINE)


def read_warnings(output: str, tree: Path) -> set[tuple[str, str]]:
    """File and text of each warning; the line is left out, because it moves."""
    return {(name.removeprefix(f'{tree}/'), re.sub(r'\d+', 'N', text))
            for name, text in WARNING.findall(output)}


# The objects

# Has the Makefile of a folder tell what it would build
ASK = '''
include $(out)/include/config/auto.conf
srctree := $(tree)
src := $(tree)/$(folder)
obj := $(folder)
include $(tree)/$(folder)/Makefile
all-objects := $(obj-y) $(obj-m) $(lib-y)
__ask:
\t@echo $(all-objects) $(foreach o,$(all-objects),$($(o:.o=-objs)) $($(o:.o=-y)) $($(o:.o=-m)))
'''


@dataclass
class Builder:
    """One configuration, which is built in a folder next to the tree."""
    config: Config
    tree: Path
    jobs: int

    @property
    def out(self) -> Path:
        return self.tree.with_name(re.sub(r'\W+', '-', self.config.name).lower())

    def make(self, *arguments: str) -> tuple[int, str]:
        result = capture(['make', '-C', self.tree, f'O={self.out}', f'ARCH={self.config.arch}',
                          *self.config.make, f'-j{self.jobs}', *arguments], None,
                         {**kunit_run.environment(), 'LC_ALL': 'C'})
        return result.returncode, result.stdout + result.stderr

    def configure(self, symbols: set[str]) -> str:
        """Write .config; return what is wrong with it."""
        wanted = {name: value for name, value in
                  {**base_options(self.config.arch), **self.config.options}.items()
                  if name in symbols}
        self.out.mkdir(parents=True, exist_ok=True)
        config = self.out / '.config'
        config.write_text(as_config(wanted), encoding='utf-8')
        # objects() reads what the second makes of .config.
        status, output = self.make('olddefconfig', 'syncconfig')
        if status or 'unmet direct dependencies' in output or read_warnings(output, self.tree):
            return 'olddefconfig: ' + output.strip()
        got = read_config(config)
        ours = {name for name, value in wanted.items()
                if value in 'ym' or name in self.config.options}
        wrong = [f'{name} is {got.get(name, "n")} and not {wanted[name]}' for name in sorted(ours)
                 if got.get(name, 'n') != wanted[name]]
        return '; '.join(wrong)

    def find_makefile(self, name: str) -> str:
        """The folder of the one that builds this."""
        folder = os.path.dirname(name)
        while folder and not (self.tree / folder / 'Makefile').exists():
            folder = os.path.dirname(folder)
        return folder

    def ask(self, folder: str) -> set[str]:
        """What the Makefile of this folder builds, if that of another enters it."""
        # That of an architecture enters folders in a way of its own.
        parent = '' if folder.startswith('arch/') else self.find_makefile(folder)
        if parent and os.path.relpath(folder, parent) + '/' not in self.ask(parent):
            return set()
        script = self.out / 'ask.mk'
        script.write_text(ASK, encoding='utf-8')
        result = capture(['make', '-s', '-f', script, '__ask', f'out={self.out}',
                          f'tree={self.tree}', f'folder={folder}'], self.out,
                         kunit_run.environment())
        if result.returncode:
            raise Failure(EXIT_BUILD, f'{folder}/Makefile: {result.stderr.strip()}')
        # And folders
        return {name for name in result.stdout.split() if name.endswith(('.o', '/'))}

    def objects(self, files: Iterable[str]) -> list[str]:
        """The objects of those source files that this configuration builds."""
        found = []
        asked: dict[str, set[str]] = {}
        for name in sorted(files):
            folder = self.find_makefile(name)
            # arch/x86/um is UML's.
            if folder.startswith('arch/') and self.config.arch not in folder.split('/')[1:3]:
                continue
            if folder not in asked:
                asked[folder] = self.ask(folder)
            target = re.sub(r'\.c$', '.o', name)
            if os.path.relpath(target, folder) in asked[folder]:
                found.append(target)
        return found

    def build(self, files: Iterable[str]) -> tuple[int, str, set[tuple[str, str]]]:
        """How many objects were compiled, what went wrong, and the warnings."""
        objects = self.objects(files)
        if not objects:
            return 0, '', set()     # make without a target would build all
        status, output = self.make('W=1', '--keep-going', *objects)
        compiled = len(re.findall(r'^  CC (?:\[M\])? +\S+\.o$', output, re.MULTILINE))
        trouble = ''
        if status:
            error = ERROR.search(output)
            trouble = error[0].strip() if error else output.strip().splitlines()[-1]
        return compiled, trouble, read_warnings(output, self.tree)
