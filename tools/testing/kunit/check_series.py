# SPDX-License-Identifier: GPL-2.0-only
"""make check-series: does the series build and pass, patch by patch?

On a pristine tree, in git, of each kernel: git am of one patch after the other. After
each the objects that the series touches are built with W=1 in each of the
configurations below, without a warning that was not there before the series. Then what
can be checked of the whole is, and the suites are run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Iterator, Optional, TypeVar

import kunit_run
from common import EXIT_BUILD, EXIT_TREE, Failure, capture, say
from kbuild import ERROR, Builder, Config, includers, read_warnings
from kconfig import read_config
from machine import Machine
from series import NOBODY, Git, write_series
from source import Base, source_files
from tree import KUNITCONFIG, copy_files, fill_stage, overlay_files, same, touched_files
from verdict import Case, SkipRule, Verdict, judge, parse_log

T = TypeVar('T')

HERE = Path(__file__).resolve().parent
CLANG = 'clang-19'          # 7.3 wants 17; both Debian 12 and 13 have this one
KUNITCONFIG_FOLDER = 'mm/tests'
SELFTEST = 'mm/mmu_notifier'


# What is built

# What needs lockdep, and what needs KUnit
REPORTS = ('KUNIT_REPORT_TEST', 'KUNIT_MMU_NOTIFIER_TEST', 'MMU_NOTIFIER_NONBLOCK_KUNIT_TEST')
SUITES = (*REPORTS, 'SAMPLE_MMU_NOTIFIER')

# Of mainline: without it, nothing selects MMU_NOTIFIER before the series does.
KVM = {'VIRTUALIZATION': 'y', 'KVM': 'y', 'KVM_AMD': 'y'}
NO_LOCKDEP = {'PROVE_LOCKING': 'n', 'PROVE_RAW_LOCK_NESTING': 'n', 'DEBUG_ATOMIC_SLEEP': 'n',
              **dict.fromkeys(REPORTS, 'n')}
NO_KUNIT = {'KUNIT': 'n', 'KUNIT_DEBUGFS': 'n', **dict.fromkeys(SUITES, 'n')}
MODULES = {'MODULES': 'y', 'KUNIT': 'm', 'TEST_MMU_NOTIFIER': 'm', **dict.fromkeys(SUITES, 'm'),
           'SAMPLE_MMU_NOTIFIER_WRONG': 'm'}
NO_NOTIFIER = {'MMU_NOTIFIER': 'n', 'MMU_NOTIFIER_NONBLOCK_PROBE': 'n', 'TEST_MMU_NOTIFIER': 'n',
               **dict.fromkeys(SUITES[1:], 'n')}

CONFIGS = (
    Config('um', 'um'),
    Config('um, lockdep off', 'um', NO_LOCKDEP),
    Config('um, KUnit off', 'um', NO_KUNIT),
    Config('um, KUnit=m', 'um', MODULES),
    Config('um, MMU_NOTIFIER=n', 'um', NO_NOTIFIER),
    Config('um, clang', 'um', make=(f'CC={CLANG}',)),
    Config('x86_64', 'x86_64', KVM),
    Config('x86_64, lockdep off', 'x86_64', {**KVM, **NO_LOCKDEP}),
    Config('x86_64, KUnit off', 'x86_64', {**KVM, **NO_KUNIT}),
    Config('x86_64, KUnit=m', 'x86_64', {**KVM, **MODULES}),
    Config('x86_64, MMU_NOTIFIER=n', 'x86_64', NO_NOTIFIER),
    Config('x86_64, PREEMPT_RT', 'x86_64', {**KVM, 'PREEMPT_RT': 'y'}),
    Config('x86_64, clang', 'x86_64', KVM, make=(f'CC={CLANG}',)),
    Config('i386', 'i386'),
)


@dataclass
class SeriesBuilder(Builder):
    """One configuration, and what was known of it before the series."""
    known: set[tuple[str, str]] = field(default_factory=set)    # warnings
    trouble: str = ''           # it cannot even be built without the series

    def begin(self, files: Iterable[str], symbols: set[str]) -> None:
        """Without the series: any warning is known."""
        self.trouble = self.configure(symbols)
        if not self.trouble:
            # What is up to date from the last time would not be compiled, and not warn.
            for name in self.objects(files):
                (self.out / name).unlink(missing_ok=True)
            _, self.trouble, self.known = self.build(files)

    def check(self, files: Iterable[str], symbols: Optional[set[str]]) -> tuple[int, str]:
        """With another patch: how many objects were compiled, and what is wrong."""
        trouble = self.configure(symbols) if symbols else ''
        if trouble:
            return 0, trouble
        compiled, trouble, warnings = self.build(files)
        return compiled, trouble or '; '.join(': '.join(one) for one in warnings - self.known)


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
        self.git = Git(self.path, NOBODY, '2000-01-01T00:00:00Z')

    def reset(self) -> None:
        """Without the series, for each file as it is in the base."""
        marker = self.folder / 'base'
        if self.base.immutable and marker.exists() and \
                marker.read_text(encoding='utf-8') == str(self.base.path):
            shutil.rmtree(self.path / '.git/rebase-apply', ignore_errors=True)
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


# What checkpatch.pl asks for that would be wrong: its types, the files, and why

WAIVED = (
    ('FILE_PATH_CHANGES', '.*', 'that each file is in MAINTAINERS is checked itself'),
    ('ALLOC_WITH_SIZEOF', '.*', '6.12 has no kzalloc_obj()'),
    ('MACRO_ARG_REUSE', 'include/kunit/mmu_notifier.h', 'the state is asked before and after'),
    ('BIT_MACRO', 'include/linux/mmu_notifier.h', 'as the flag before it'),
    ('COMPLEX_MACRO|TRAILING_SEMICOLON|PARENTHESIS_ALIGNMENT|OPEN_ENDED_LINE',
     'include/trace/events/.*', 'trace events have a style of their own'),
    ('LINUX_VERSION_CODE|CONSTANT_COMPARISON', 'mm/tests/mmu_notifier_acts.c',
     'nothing else tells what vmalloc(GFP_NOWAIT) does'),
    ('BRACES|MACRO_WITH_FLOW_CONTROL', 'tools/testing/selftests/.*',
     'a macro of kselftest_harness.h is not a single statement'),
)


def checkpatch(tree: Path, patch: Path) -> list[str]:
    result = capture(['perl', 'scripts/checkpatch.pl', '--strict', '--no-signoff', '--no-summary',
                      '--terse', '--showfile', '--show-types', patch], tree,
                     # Its spdxcheck.py wants modules that Debian's python3 has.
                     {**os.environ, 'PATH': f'/usr/bin:{os.environ["PATH"]}'})
    found = []
    for line in result.stdout.splitlines() + result.stderr.splitlines():
        match = re.match(r'(.*?):\d+: (?:ERROR|WARNING|CHECK):(\w+): ', line)
        reason = next((reason for kinds, files, reason in WAIVED if match and
                       re.fullmatch(kinds, match[2]) and re.fullmatch(files, match[1])), None)
        if reason:
            say(f'waived ({reason}): {line}')
        else:
            found.append(line)
    return found


# What Sphinx says

# Sphinx's, docutils' and kernel-doc's ways to say it, each on a line with the file's name
DOC_TROUBLE = re.compile(r'\b(?:warning|error|severe|critical)\b|failed|exception', re.IGNORECASE)


def doc_warnings(output: str, files: Iterable[str], tree: Path) -> list[str]:
    """What is said of these files, which are named as in the tree; or in Documentation."""
    names = [re.escape(name.removeprefix('Documentation/').removesuffix('.rst')) for name in files]
    ours = re.compile(rf'(?<![\w-])(?:{"|".join(names)})(?:\.rst)?(?![\w.-])')
    found = [line.replace(f'{tree}/', '').strip() for line in output.splitlines()
             if ours.search(line) and DOC_TROUBLE.search(ours.sub('', line))]
    return list(dict.fromkeys(found))


# What sparse says

class Skipped(Exception):
    """A check that this machine does not have what it takes for, and why."""


def sparse_warnings(output: str, tree: Path) -> set[str]:
    """make goes on without sparse where the kernel wants a newer one: it is asked what it did."""
    if not re.search(r'^ +CHECK +', output, re.MULTILINE):
        if refused := re.search(r'C=2 specified, but sparse .*', output):
            raise Skipped(refused[0])
        return {f'sparse has looked at nothing: {output.strip()[-300:]}'}
    # What sparse calls an error ends make; mainline has some, on lines that move.
    return {': '.join(one) for one in read_warnings(output, tree)} | \
        {re.sub(r'\d+', 'N', error) for error in ERROR.findall(output)}


# One kernel

class Check:
    def __init__(self, repo: Path, base: Base, jobs: int, cases: list[Case],
                 rules: list[SkipRule], configs: tuple[Config, ...] = CONFIGS):
        self.repo = repo
        self.base = base
        self.jobs = jobs
        self.cases = cases          # that should run
        self.rules = rules
        self.checkout = Checkout(repo, base)
        self.tree = self.checkout.path
        # Side by side: of a few objects, make itself takes the most of the time.
        self.builders = [SeriesBuilder(config, self.tree, 1) for config in configs]
        self.verdict = Verdict()
        self.rows: list[list[str]] = []

    def note(self, what: str, trouble: str, code: int = EXIT_BUILD) -> bool:
        if trouble:
            self.verdict.fail(f'FAILED {self.base.name}: {what}: {trouble}', code)
            say(self.verdict.lines[-1])
        else:
            self.verdict.passed += 1
        return not trouble

    def run(self) -> Verdict:
        patches = sorted(write_series(self.repo, self.base).glob('*.patch'))[1:]
        self.checkout.reset()
        every = sorted({name for patch in patches for name in touched_files(patch)})
        self.sources = set(in_kernel(every, '.c')) | includers(
            self.tree, (name for name in in_kernel(every, '.h') if (self.tree / name).exists()),
            ('mm', 'lib/kunit', 'kernel/locking', 'kernel/sched'))
        self.begin()
        for number, patch in enumerate(patches, 1):
            if not self.apply(patch, f'{number}/{len(patches)}'):
                break
        else:
            self.whole(every)
        say('\n' + self.table() + '\n')
        return self.verdict

    def present(self) -> list[str]:
        return [name for name in sorted(self.sources) if (self.tree / name).exists()]

    def for_each(self, do: Callable[[SeriesBuilder], T]
                 ) -> Iterator[tuple[SeriesBuilder, T, float]]:
        """In their order: what it returns, and the seconds that it took."""
        def timed(builder: SeriesBuilder) -> tuple[SeriesBuilder, T, float]:
            start = time.monotonic()
            found = do(builder)
            return builder, found, time.monotonic() - start

        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                yield from pool.map(timed, self.builders)
            except BaseException:
                # Interrupted: those that have not begun need not.
                pool.shutdown(cancel_futures=True)
                raise

    def begin(self) -> None:
        symbols, present = self.checkout.symbols(), self.present()
        for builder, _, seconds in self.for_each(
                lambda builder: builder.begin(present, symbols)):
            say(f'{self.base.name} without the series, {builder.config.name}: '
                + (builder.trouble or f'{len(builder.known)} warnings, {seconds:.0f} s'))
            if builder.trouble:
                self.note(f'without the series, {builder.config.name}', builder.trouble)

    def apply(self, patch: Path, number: str) -> bool:
        say(f'== {self.base.name} {number} {patch.stem}')
        row = [patch.stem[:40]]
        self.rows.append(row)
        try:
            self.checkout.git('am', '-q', patch)
        except Failure as failure:
            return self.note(f'{patch.name}: git am', str(failure), EXIT_TREE)
        found = checkpatch(self.tree, patch)
        row.append(self.cell(f'{patch.name}: checkpatch', '\n    '.join(found)))
        names = touched_files(patch)
        built = any(map(is_built, names))
        if not built:
            row += ['-'] * len(self.builders)
            return True
        symbols = self.checkout.symbols() if any('Kconfig' in name for name in names) else None
        present = self.present()
        for builder, (compiled, trouble), seconds in self.for_each(
                lambda builder: (0, '') if builder.trouble else builder.check(present, symbols)):
            if builder.trouble:
                row.append('?')
                continue
            say(f'{builder.config.name}: {trouble or f"{compiled} objects"}, {seconds:.0f} s')
            if compiled or trouble:
                row.append(self.cell(f'{patch.name}: {builder.config.name}', trouble,
                                     str(compiled)))
            else:
                row.append('-')
        unseen = never_built(self.tree, self.builders, names)
        self.note(f'{patch.name}: compiled', f'in no configuration: {unseen}' if unseen else '')
        return True

    def cell(self, what: str, trouble: str, text: str = 'ok') -> str:
        return text if self.note(what, trouble) else 'FAIL'

    # The whole

    def whole(self, every: list[str]) -> None:
        ours = [name for name in every if name in overlay_files(self.repo)]
        checks: tuple[tuple[str, Callable[[], str]], ...] = (
            ('the tree is the one that make run tests', self.same_tree),
            (f'kunit.py run --kunitconfig={KUNITCONFIG_FOLDER}', self.documented),
            ('modules', self.modules),
            ('kernel-doc', lambda: self.kernel_doc(ours)),
            ('sparse', self.sparse),
            ('includecheck', lambda: self.script('scripts/checkincludes.pl', every)),
            ('versioncheck', lambda: self.script('scripts/checkversion.pl', every)),
            ('listnewconfig', self.new_config),
            ('MAINTAINERS', lambda: self.maintainers(ours)),
            ('selftests', self.selftests),
            # The last: 6.12 leaves files in the source tree.
            ('htmldocs', lambda: self.html_docs(ours)),
        )
        for what, check in checks:
            self.one(what, check)

    def one(self, what: str, check: Callable[[], str]) -> None:
        say(f'== {self.base.name}: {what}')
        try:
            if self.note(what, check()):
                say('ok')
        except Skipped as reason:
            self.verdict.skipped += 1
            say(f'SKIPPED {self.base.name}: {what}: {reason}')

    def same_tree(self) -> str:
        stage = fill_stage(self.repo, self.base, self.checkout.folder / 'stage')
        differs = [name for name in sorted(stage.files - {KUNITCONFIG})
                   if not same(stage.path / name, self.tree / name)]
        shutil.rmtree(stage.path)
        return ', '.join(differs)

    def documented(self) -> str:
        """The suites, as whoever has the patches and not this repository runs them."""
        machine = Machine('kunit', (f'--kunitconfig={KUNITCONFIG_FOLDER}',), (), 300)
        outcome = kunit_run.run(self.tree, machine, self.jobs, False,
                                self.checkout.folder / 'objects.json', True)
        if not outcome.built:
            return outcome.error
        with open(self.checkout.folder / 'kunit/test.log', encoding='utf-8',
                  errors='replace') as file:
            log = parse_log(file)
        verdict = judge(self.cases, log, self.rules, self.tree, outcome.status,
                        outcome.timed_out, machine.timeout, machine.folder)
        say(str(verdict))
        return '; '.join(verdict.lines)

    def modules(self) -> str:
        """A whole kernel with modules: is all exported that they use?"""
        for builder in self.builders:
            if builder.config.arch == 'um' and 'MODULES' in builder.config.options:
                builder.jobs = self.jobs
                status, output = builder.make('all')
                found = {': '.join(one) for one in read_warnings(output, self.tree)
                         if 'modpost' in ': '.join(one)} | set(ERROR.findall(output))
                return '\n    '.join(sorted(found)) or (output.strip() if status else '')
        return 'there is no configuration with modules'

    def new_in_series(self, find: Callable[[], set[str]]) -> str:
        """What is found in the tree with the series, and not in that without."""
        found = find()
        with self.checkout.without_series():
            found -= find()
        return '\n    '.join(sorted(found))

    def script(self, name: str, files: list[str]) -> str:
        def find() -> set[str]:
            names = [file for file in files if file.endswith(('.c', '.h'))
                     and (self.tree / file).exists()]
            result = capture(['perl', name, *names], self.tree)
            return set((result.stdout + result.stderr).splitlines())
        return self.new_in_series(find)

    def kernel_doc(self, files: list[str]) -> str:
        names = [file for file in files if file.endswith(('.c', '.h'))]
        result = capture(['scripts/kernel-doc', '-none', '-Wall', *names], self.tree)
        return (result.stdout + result.stderr).strip()

    def sparse(self) -> str:
        """What is new compared to the tree without the series, in files that it has."""
        builders = [builder for builder in self.builders if not builder.trouble]
        if not builders:
            return 'there is no configuration that can be built'
        # mm/mmu_notifier.c is there without the series, too, where KVM is.
        builder = next((each for each in builders if 'KVM' in each.config.options), builders[0])

        def find() -> set[str]:
            _, output = builder.make('--keep-going', 'C=2', 'CHECK=sparse',
                                     *builder.objects(self.present()))
            return sparse_warnings(output, self.tree)
        return self.new_in_series(find)

    def new_config(self) -> str:
        """Whoever updates gets asked for nothing but the options of the series."""
        builder = Builder(Config('defconfig', 'x86_64'), self.tree, self.jobs)
        builder.out.mkdir(exist_ok=True)
        config = builder.out / '.config'
        with self.checkout.without_series():
            before = self.checkout.symbols()
            status, output = builder.make('defconfig', 'debug.config')
            if status:
                return output.strip()
            with open(config, 'a', encoding='utf-8') as file:
                file.write('CONFIG_KUNIT=y\n')
            builder.make('olddefconfig')
            old = read_config(config)
        _, output = builder.make('-s', 'listnewconfig')
        asked = set(re.findall(r'^CONFIG_(\w+)=', output, re.MULTILINE))
        builder.make('-s', 'olddefconfig')
        new = read_config(config)
        changed = {name for name in old.keys() | new.keys()
                   if old.get(name, 'n') != new.get(name, 'n')}
        say(f'new: {", ".join(sorted(asked))}; on by default: '
            f'{", ".join(sorted(changed)) or "none"}')
        return ', '.join(sorted((asked | changed) - (self.checkout.symbols() - before)))

    def maintainers(self, files: list[str]) -> str:
        section = self.checkout.git('diff', 'pristine', '--', 'MAINTAINERS')
        title = re.search(r'^\+([A-Z][^:\n]+)$', section, re.MULTILINE)
        if not title:
            return 'the series adds no entry'
        result = capture(['perl', 'scripts/get_maintainer.pl', '--self-test=sections'], self.tree)
        wrong = [line for line in result.stdout.splitlines() if title[1] in line]
        for name in files:
            found = capture(['perl', 'scripts/get_maintainer.pl', '--no-git', '--no-git-fallback',
                             '--sections', '-f', name], self.tree)
            if title[1] not in found.stdout:
                wrong.append(f'{name} is in no entry of the series')
        return '\n    '.join(wrong)

    def selftests(self) -> str:
        output = self.checkout.folder / 'selftests'
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        result = capture(['make', '-C', self.tree / 'tools/testing/selftests',
                          f'TARGETS={SELFTEST}', f'O={output}'], None, kunit_run.environment())
        text = result.stdout + result.stderr
        if result.returncode or not any((output / 'kselftest' / SELFTEST).glob('*')):
            return text.strip()
        return '; '.join(': '.join(one) for one in sorted(read_warnings(text, self.tree)))

    def html_docs(self, files: list[str]) -> str:
        """Sphinx on the folders that have pages of the series, with what these include."""
        pages = [name for name in files if re.match(r'Documentation/.*\.rst$', name)]
        folders = sorted({os.path.dirname(name).removeprefix('Documentation/') for name in pages})
        output = self.checkout.folder / 'htmldocs'
        shutil.rmtree(output, ignore_errors=True)
        result = capture(['make', '-C', self.tree, 'htmldocs', f'BUILDDIR={output}',
                          f'SPHINXDIRS={" ".join(folders)}'], None, kunit_run.environment())
        text = result.stdout + result.stderr
        found = doc_warnings(text, files, self.tree)
        if result.returncode:
            found.append(text.strip().splitlines()[-1])
        found += [f'{name}: there is no page of it' for name in pages
                  if not any(output.rglob(f'{Path(name).stem}.html'))]
        return '\n    '.join(found)

    def table(self) -> str:
        """One row for each patch, one column for each configuration."""
        columns = ['checkpatch', *(builder.config.name for builder in self.builders)]
        lines = [f'{self.base.name}: objects compiled after each patch']
        lines += [f'    {number:2} {name}' for number, name in enumerate(columns, 1)]
        lines.append(' ' * 40 + ''.join(f'{number:>5}' for number in range(1, len(columns) + 1)))
        lines += [f'{row[0]:40}' + ''.join(f'{cell:>5}' for cell in row[1:]) for row in self.rows]
        return '\n'.join(lines)


# The runner itself

# Not minded: pycodestyle's own exceptions, and the tabs of C code in a string.
STYLE = 'E121,E123,E126,E226,E24,E704,W503,W504,E101,W191'


def check_runner() -> Verdict:
    """What the runner is written in."""
    verdict = Verdict()
    modules = [*sorted(path.name for path in HERE.glob('*.py')), 'nonblock']
    for command in (['mypy', '--strict', *modules], ['pyflakes3', *modules],
                    ['pycodestyle', '--max-line-length=100', f'--ignore={STYLE}', *modules],
                    ['shellcheck', 'packages.sh', 'tcg/qemu-system-x86_64']):
        say(f'$ {command[0]} ...')
        result = capture(command, HERE)
        if result.returncode:
            output = (result.stdout + result.stderr).strip()
            verdict.fail(f'FAILED {command[0]}:\n    ' + '\n    '.join(output.splitlines()[-20:]))
        else:
            verdict.passed += 1
    return verdict
