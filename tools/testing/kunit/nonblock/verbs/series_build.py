# SPDX-License-Identifier: GPL-2.0-only
"""For make check-series: a pristine tree in git, and the configurations it is built in."""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator, Optional

from nonblock.common import say
from nonblock.kernel.kbuild import Builder, Config
from nonblock.kernel.machine import ARCHES, LLVM
from nonblock.tree.series import NOBODY, Git
from nonblock.tree.source import Base, source_files
from nonblock.tree.prepare import copy_files

CLANG = f'clang{LLVM}'


# What is built

# What needs lockdep, and what needs KUnit
REPORTS = ('KUNIT_REPORT_TEST', 'KUNIT_MMU_NOTIFIER_TEST', 'MMU_NOTIFIER_NONBLOCK_KUNIT_TEST')
SUITES = (*REPORTS, 'SAMPLE_MMU_NOTIFIER')

# Of mainline: without it, nothing selects MMU_NOTIFIER before the series does.
ANY_KVM = {'VIRTUALIZATION': 'y', 'KVM': 'y'}
KVM = {**ANY_KVM, 'KVM_AMD': 'y'}
NO_LOCKDEP = {'PROVE_LOCKING': 'n', 'PROVE_RAW_LOCK_NESTING': 'n', 'DEBUG_ATOMIC_SLEEP': 'n',
              **dict.fromkeys(('KUNIT_REPORT', *REPORTS), 'n')}
NO_KUNIT = dict.fromkeys(('KUNIT', 'KUNIT_DEBUGFS', 'KUNIT_MMU_NOTIFIER', 'KUNIT_REPORT', *SUITES),
                         'n')
MODULES = {'MODULES': 'y', 'KUNIT': 'm', 'TEST_MMU_NOTIFIER': 'm', **dict.fromkeys(SUITES, 'm'),
           'SAMPLE_MMU_NOTIFIER_WRONG': 'm'}
NO_NOTIFIER = dict.fromkeys(('MMU_NOTIFIER', 'MMU_NOTIFIER_NONBLOCK_PROBE', 'TEST_MMU_NOTIFIER',
                             'KUNIT_MMU_NOTIFIER', *SUITES[1:]), 'n')

CONFIGS = (
    Config('um', 'um'),
    Config('um, lockdep off', 'um', NO_LOCKDEP),
    Config('um, KUnit off', 'um', NO_KUNIT),
    Config('um, KUnit=m', 'um', MODULES),
    Config('um, MMU_NOTIFIER=n', 'um', NO_NOTIFIER),
    Config('um, clang', 'um', make=(f'CC={CLANG}',)),
    Config('x86_64', 'x86_64', KVM),
    Config('x86_64, lockdep off', 'x86_64', {**KVM, **NO_LOCKDEP}),
    Config('x86_64, PREEMPT_RT', 'x86_64', {**KVM, 'PREEMPT_RT': 'y'}),
    Config('x86_64, clang', 'x86_64', KVM, make=(f'CC={CLANG}',)),
    *(Config(arch, arch, {} if arch == 'arm' else ANY_KVM,
             (f'CROSS_COMPILE={ARCHES[arch].cross}',)) for arch in ('arm64', 'arm', 's390')),
)


@dataclass
class SeriesBuilder(Builder):
    """One configuration."""
    trouble: str = ''           # ahead of the topic it cannot even be configured

    def begin(self, files: Iterable[str], symbols: set[str]) -> None:
        self.trouble = self.configure(symbols)
        if not self.trouble:
            # What is up to date from the last time would not be compiled, and not warn.
            for name in self.objects(files):
                (self.out / name).unlink(missing_ok=True)

    def check(self, files: Iterable[str], symbols: Optional[set[str]]) -> tuple[int, str]:
        """With another patch: how many objects were compiled, and what is wrong."""
        trouble = self.configure(symbols) if symbols else ''
        if trouble:
            return 0, trouble
        compiled, trouble, warnings = self.build(files)
        return compiled, trouble or '; '.join(': '.join(one) for one in sorted(warnings))


def never_built(tree: Path, builders: Iterable[SeriesBuilder], names: Iterable[str]) -> str:
    """These files may be of any sort: no configuration compiles them."""
    files = [name for name in in_kernel(names, '.c') if (tree / name).exists()]
    built = {target for builder in builders if not builder.trouble
             for target in builder.objects(files)}
    return ', '.join(name for name in files if name.removesuffix('.c') + '.o' not in built)


# The tree

class Checkout:
    """A pristine tree in git, to apply the series to."""

    def __init__(self, repo: Path, base: Base):
        self.base = base
        self.folder = repo / 'build' / base.name / 'check'
        self.path = self.folder / 'linux'
        self.git = Git(self.path, NOBODY)
        self.copied = False         # by this run: what is in the base is there

    def reset(self) -> None:
        """Without the series, for each file as it is in the base."""
        marker = self.folder / 'base'
        if (self.base.immutable or self.copied) and marker.exists() and \
                marker.read_text(encoding='utf-8') == str(self.base.path):
            # Of a run that was interrupted
            shutil.rmtree(self.path / '.git/rebase-apply', ignore_errors=True)
            (self.path / '.git/index.lock').unlink(missing_ok=True)
            self.git('checkout', '-q', '--force', '-B', 'series', 'pristine')
            self.git('clean', '-q', '-ffdx')
            return
        marker.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        self.git.begin()
        copy_files(self.base, source_files(self.base), self.path)
        say('git add of all files ...')
        self.git.commit(f'Linux {self.base.release}', 'As it is, without the series.\n')
        self.git('tag', 'pristine')
        marker.write_text(str(self.base.path), encoding='utf-8')
        self.copied = True

    def am(self, patches: list[Path]) -> None:
        if patches:
            self.git('am', '-q', *patches)

    @contextlib.contextmanager
    def without_series(self) -> Iterator[None]:
        self.git('checkout', '-q', 'pristine')
        try:
            yield
        finally:
            self.git('checkout', '-q', 'series')

    def symbols(self) -> set[str]:
        """Every Kconfig symbol that the tree has."""
        text = self.git('grep', '-hE', r'^\s*(menu)?config\s+\w+', '--', '*Kconfig*')
        return {line.split()[1] for line in text.splitlines()}


def is_built(name: str) -> bool:
    return not name.startswith(('tools/', 'Documentation/')) and \
        bool(re.search(r'\.[chS]$|(^|/)(Makefile|Kbuild|Kconfig[^/]*)$', name))


def in_kernel(names: Iterable[str], suffix: str) -> list[str]:
    return [name for name in names if is_built(name) and name.endswith(suffix)]
