# SPDX-License-Identifier: GPL-2.0-only
"""make check-series: does each topic of the series build and pass, patch by patch?

On a pristine tree, in git, of each kernel, for each topic: git am of the topics that it
depends on, then of one of its patches after the other. checkpatch reads each, and the
objects that the topic touches are built with W=1 in each configuration, without a
warning: mainline has none in these files. Then a kernel is built and booted, with
the suites that it has by then. Last, all topics are applied in their order, and what can
be checked of the whole is.
"""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterable, Iterator

from nonblock.common import EXIT_BUILD, EXIT_TREE, REPO, Failure, as_failure, capture, say
from nonblock.kernel import kunit_run
from nonblock.kernel.kbuild import Builder, Config
from nonblock.kernel.kconfig import as_config, read_config
from nonblock.kernel.machine import ARCHES, LLVM, UML, Machine
from nonblock.kernel.session import Session, each_kernel, find_base, locked
from nonblock.options import Options
from nonblock.result.verdict import (TEST_SOURCE, Case, Verdict, green_cases, judge,
                                     read_skip_rules, scan_source)
from nonblock.tree.hooks import touched_files
from nonblock.tree.prepare import KUNITCONFIG, copy_files, fill_stage, overlay_files, same
from nonblock.tree.series import NOBODY, Git, choose_topics, read_topics, write_series
from nonblock.tree.source import Base, source_files
from nonblock.verbs import BUILD, Verb, series
from nonblock.verbs.run import boot

CLANG = f'clang{LLVM}'
KUNITCONFIG_FOLDER = 'mm/tests'

# How many things a check has looked at, and what is wrong with them
Found = tuple[int, str]


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
    # asm-generic/io.h of 6.12, which has ioports of UML at address 0
    Config('um, clang', 'um', make=(f'CC={CLANG}', 'KCFLAGS=-Wno-null-pointer-arithmetic')),
    Config('x86_64', 'x86_64', KVM),
    Config('x86_64, lockdep off', 'x86_64', {**KVM, **NO_LOCKDEP}),
    Config('x86_64, PREEMPT_RT', 'x86_64', {**KVM, 'PREEMPT_RT': 'y'}),
    Config('x86_64, clang', 'x86_64', KVM, make=(f'CC={CLANG}',)),
    *(Config(arch, arch, {} if arch in ('arm', 'powerpc') else ANY_KVM,
             (f'CROSS_COMPILE={ARCHES[arch].cross}',))
      for arch in ('arm64', 'arm', 's390', 'powerpc')),
)


PROBE = 'MMU_NOTIFIER_NONBLOCK_PROBE'


def for_config(config: Config, symbols: set[str]) -> set[str]:
    """Without the probe where nothing selects MMU_NOTIFIER, as in mainline only KVM does."""
    there = 'KVM' in config.options or any(
        name in symbols and config.options.get(name) != 'n'
        for name in ('KUNIT_MMU_NOTIFIER', 'TEST_MMU_NOTIFIER'))
    return symbols if there else symbols - {PROBE}


def is_built(name: str) -> bool:
    return not name.startswith(('tools/', 'Documentation/')) and \
        bool(re.search(r'\.[chS]$|(^|/)(Makefile|Kbuild|Kconfig[^/]*)$', name))


def in_kernel(names: Iterable[str]) -> list[str]:
    return [name for name in names if is_built(name) and name.endswith('.c')]


def never_built(tree: Path, builders: Iterable[Builder], names: Iterable[str]) -> str:
    """These files may be of any sort: no configuration compiles them."""
    files = [name for name in in_kernel(names) if (tree / name).exists()]
    built = {target for builder in builders for target in builder.objects(files)}
    return ', '.join(name for name in files if name.removesuffix('.c') + '.o' not in built)


# What checkpatch.pl asks for that would be wrong: its types, the files, and why

WAIVED = (
    ('FILE_PATH_CHANGES', '.*', 'that each file is in MAINTAINERS is tested in series_test.py'),
    ('ALLOC_WITH_SIZEOF', '.*', '6.12 has no kzalloc_obj()'),
    ('MACRO_ARG_REUSE', 'include/kunit/mmu_notifier.h', 'the state is asked before and after'),
    ('BIT_MACRO', 'include/linux/mmu_notifier.h', 'as the flag before it'),
    ('COMPLEX_MACRO|TRAILING_SEMICOLON|PARENTHESIS_ALIGNMENT|OPEN_ENDED_LINE',
     'include/trace/events/.*', 'trace events have a style of their own'),
    ('UNKNOWN_COMMIT_ID', '', 'the base comes without its history'),
    ('YIELD', 'mm/tests/mmu_notifier_ops_kunit.h', 'a test of what is reported of it'),
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


# Sphinx's, docutils' and kernel-doc's ways to say it, each on a line with the file's name
DOC_TROUBLE = re.compile(r'\b(?:warning|error|severe|critical)\b|failed|exception', re.IGNORECASE)


def doc_warnings(output: str, files: Iterable[str], tree: Path) -> list[str]:
    """What is said of these files, which are named as in the tree; or in Documentation."""
    names = [re.escape(name.removeprefix('Documentation/').removesuffix('.rst')) for name in files]
    ours = re.compile(rf'(?<![\w-])(?:{"|".join(names)})(?:\.rst)?(?![\w.-])')
    found = [line.replace(f'{tree}/', '').strip() for line in output.splitlines()
             if ours.search(line) and DOC_TROUBLE.search(ours.sub('', line))]
    return list(dict.fromkeys(found))


# One kernel

class SeriesCheck:
    """One kernel, whose pristine tree is copied into git, to apply the series to."""

    def __init__(self, repo: Path, base: Base, jobs: int, configs: tuple[Config, ...] = CONFIGS):
        self.repo = repo
        self.base = base
        self.jobs = jobs
        self.folder = repo / 'build' / base.name / 'check'
        self.tree = self.folder / 'linux'
        self.git = Git(self.tree, NOBODY)
        self.copied = False
        # Side by side: of a few objects, make itself takes the most of the time.
        self.every = [Builder(config, self.tree, 1) for config in configs]
        self.builders: list[Builder] = []       # that could be configured ahead of the topic
        self.sources: set[str] = set()          # of the kernel, that the patches touch
        self.verdict = Verdict()

    def run(self, name: str = '') -> Verdict:
        """One topic, or all and then the whole."""
        topics = choose_topics(read_topics(self.repo), name)
        for topic in topics[-1:] if name else topics:
            self.topic(topic.name, all(hook.prepared for hook in topic.hooks))
        if not name:
            self.whole()
        return self.verdict

    def note(self, what: str, trouble: str, code: int = EXIT_BUILD) -> bool:
        self.verdict.note(f'{self.base.name}: {what}', trouble, code)
        if trouble:
            say(self.verdict.lines[-1])
        return not trouble

    def one(self, what: str, check: Callable[[], Found]) -> None:
        say(f'== {self.base.name}: {what}')
        count, trouble = check()
        if self.note(what, trouble or ('' if count else 'has looked at nothing')):
            say(f'ok: {count} looked at')

    # The tree

    def reset(self) -> None:
        """The tree without the series, for each file as it is in the base."""
        if not self.copied:
            shutil.rmtree(self.tree, ignore_errors=True)
            self.git.begin()
            copy_files(self.base, source_files(self.base), self.tree)
            say('git add of all files ...')
            self.git.commit(f'Linux {self.base.release}', 'As it is, without the series.\n')
            self.git('tag', 'pristine')
            self.copied = True
        # Of a patch that did not apply
        shutil.rmtree(self.tree / '.git/rebase-apply', ignore_errors=True)
        self.git('checkout', '-q', '--force', '-B', 'series', 'pristine')
        self.git('clean', '-q', '-ffdx')

    def symbols(self) -> set[str]:
        """Every Kconfig symbol that the tree has."""
        text = self.git('grep', '-hE', r'^\s*(menu)?config\s+\w+', '--', '*Kconfig*')
        return {line.split()[1] for line in text.splitlines()}

    def present(self) -> list[str]:
        return [name for name in sorted(self.sources) if (self.tree / name).exists()]

    # A topic

    def topic(self, name: str, builds: bool) -> None:
        """A topic alone on those that it depends on.

        No configuration here has the drivers of the one that is in no prepared tree. What
        compiles their patches is make modules.
        """
        say(f'== {self.base.name}: topic {name}')
        self.reset()
        written = write_series(self.repo, self.base, name)
        patches = written.pop(name, [])[1:]
        if not patches:
            return
        for depends in written.values():
            self.git('am', '-q', *depends[1:])
        every = {touched for patch in patches for touched in touched_files(patch)}
        # Who else includes a header that it touches is in the kernel that is booted.
        self.sources = set(in_kernel(every))
        if self.sources and builds:
            self.begin(name)
        for number, patch in enumerate(patches, 1):
            if not self.apply(patch, f'{name} {number}/{len(patches)}', builds):
                return
        if builds and any(map(is_built, every)):
            self.one(f'topic {name}: a kernel with it boots, and its suites pass',
                     self.boot_topic)

    def for_each(self, builders: list[Builder], do: Callable[[Builder], Found]
                 ) -> Iterator[tuple[Builder, Found]]:
        """In their order, with what it returns."""
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                yield from zip(builders, pool.map(do, builders))
            except BaseException:
                # Interrupted: those that have not begun need not.
                pool.shutdown(cancel_futures=True)
                raise

    def begin(self, topic: str) -> None:
        """Configure, and remove what is up to date: it would not be compiled, and not warn."""
        symbols, present = self.symbols(), self.present()

        def begin_one(builder: Builder) -> Found:
            trouble = builder.configure(for_config(builder.config, symbols))
            for name in builder.objects(present) if not trouble else ():
                (builder.out / name).unlink(missing_ok=True)
            return 0, trouble

        self.builders = []
        for builder, (_, trouble) in self.for_each(self.every, begin_one):
            if trouble:
                self.note(f'before {topic}, {builder.config.name}', trouble)
            else:
                self.builders.append(builder)

    def apply(self, patch: Path, number: str, builds: bool) -> bool:
        say(f'== {self.base.name}: {number} {patch.stem}')
        try:
            self.git('am', '-q', patch)
        except Failure as failure:
            return self.note(f'{patch.name}: git am', str(failure), EXIT_TREE)
        self.note(f'{patch.name}: checkpatch', '\n    '.join(checkpatch(self.tree, patch)))
        names = touched_files(patch)
        if not builds or not any(map(is_built, names)):
            return True
        # None: the options are as they were.
        symbols = self.symbols() if any('Kconfig' in name for name in names) else None
        present = self.present()

        def build_one(builder: Builder) -> Found:
            trouble = builder.configure(for_config(builder.config, symbols)) if symbols else ''
            if trouble:
                return 0, trouble
            compiled, trouble, warnings = builder.build(present)
            return compiled, trouble or '; '.join(': '.join(one) for one in sorted(warnings))

        for builder, (compiled, trouble) in self.for_each(self.builders, build_one):
            say(f'{builder.config.name}: {trouble or f"{compiled} objects"}')
            if compiled or trouble:
                self.note(f'{patch.name}: {builder.config.name}', trouble)
        unseen = never_built(self.tree, self.builders, names)
        self.note(f'{patch.name}: compiled', f'in no configuration: {unseen}' if unseen else '')
        return True

    def boot_topic(self) -> Found:
        """With those of the suites' options that the tree has by now, and one suite it has."""
        wanted = read_config(self.repo / KUNITCONFIG_FOLDER / KUNITCONFIG)
        symbols = for_config(Config('um', 'um'), self.symbols())
        path = self.folder / 'topic.config'
        path.write_text(as_config({name: value for name, value in wanted.items()
                                   if name in symbols} | {'LIST_KUNIT_TEST': 'y'}),
                        encoding='utf-8')
        there = {case for name in overlay_files(self.repo)
                 if TEST_SOURCE.match(name) and (self.tree / name).exists()
                 for case in scan_source((self.tree / name).read_text(encoding='utf-8'), name)}
        # Where time travels, UML's console loses nothing, however busy the host is.
        machine = replace(UML, folder='kunit', build=(f'--kunitconfig={path}', *UML.build[1:]))
        return self.suites(machine, [case for case in green_cases(self.repo) if case in there])

    def suites(self, machine: Machine, cases: list[Case]) -> Found:
        """Build a kernel and run the suites."""
        session = Session(self.repo, self.base, machine, self.tree, jobs=self.jobs)
        outcome, log = boot(session, quiet=True)
        if not outcome.built:
            return 0, outcome.error
        verdict = judge(cases, log, read_skip_rules(), session, outcome)
        say(str(verdict))
        return verdict.passed, '; '.join(verdict.lines)

    # The whole

    def whole(self) -> None:
        """What is checked of all topics, in their order."""
        self.reset()
        patches = [patch for paths in write_series(self.repo, self.base).values()
                   for patch in paths[1:]]
        self.git('am', '-q', *patches)
        touched = {name for patch in patches for name in touched_files(patch)}
        ours = [name for name in overlay_files(self.repo) if name in touched]
        self.one('the tree is the one that make run tests', self.same_tree)
        self.one(f'kunit.py run --kunitconfig={KUNITCONFIG_FOLDER}', self.documented)
        self.one('kernel-doc', lambda: self.kernel_doc(ours))
        # The last: 6.12 leaves files in the source tree.
        self.one('htmldocs', lambda: self.html_docs(ours))

    def same_tree(self) -> Found:
        stage = fill_stage(self.repo, self.base, self.folder / 'stage')
        differs = [name for name in sorted(stage.files - {KUNITCONFIG})
                   if not same(stage.path / name, self.tree / name)]
        shutil.rmtree(stage.path)
        return len(stage.files), ', '.join(differs)

    def documented(self) -> Found:
        """The suites, as whoever has the patches and not this repository runs them."""
        machine = Machine('kunit', (f'--kunitconfig={KUNITCONFIG_FOLDER}',), (), 300)
        return self.suites(machine, green_cases(self.repo))

    def kernel_doc(self, files: list[str]) -> Found:
        names = [name for name in files if name.endswith(('.c', '.h'))]
        result = capture(['scripts/kernel-doc', '-none', '-Wall', *names], self.tree)
        return len(names), (result.stdout + result.stderr).strip()

    def html_docs(self, files: list[str]) -> Found:
        """Sphinx on the folders that have pages of the series, with what these include."""
        pages = [name for name in files if re.match(r'Documentation/.*\.rst$', name)]
        if not pages:
            return 0, ''        # make would take all there are
        folders = sorted({os.path.dirname(name).removeprefix('Documentation/') for name in pages})
        output = self.folder / 'htmldocs'
        shutil.rmtree(output, ignore_errors=True)
        result = capture(['make', '-C', self.tree, 'htmldocs', f'BUILDDIR={output}',
                          f'SPHINXDIRS={" ".join(folders)}'], None, kunit_run.environment())
        text = result.stdout + result.stderr
        found = doc_warnings(text, files, self.tree)
        if result.returncode:
            found.append(text.strip().splitlines()[-1])
        found += [f'{name}: there is no page of it' for name in pages
                  if not any(output.rglob(f'{Path(name).stem}.html'))]
        return len(pages), '\n    '.join(found)


def run(options: Options) -> Verdict:
    """The series on each kernel, or on the one that was asked for."""
    total = Verdict()
    for chosen in each_kernel(options):
        try:
            base = find_base(chosen)
            with locked(base):
                total.add(SeriesCheck(REPO, base, options.jobs).run(options.topic)
                          .tell(base.about, base.name))
        except (Failure, OSError) as error:
            failure = as_failure(error)
            total.fail(chosen.kdir or chosen.kver, str(failure), failure.code)
    return total


VERB = Verb('check-series', run, (*BUILD, 'TOPIC'), check=series.check)
