# SPDX-License-Identifier: GPL-2.0-only
"""For make check-series: what the kernel's own tools say of a patch, and of the whole series."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Callable, Iterable

from nonblock.kernel import kunit_run
from nonblock.common import EXIT_BUILD, capture, say
from nonblock.kernel.kbuild import ERROR, PROBE, Config, read_warnings
from nonblock.kernel.kconfig import as_config, read_config
from nonblock.kernel.machine import Machine
from nonblock.kernel.session import Session
from nonblock.verbs.series_build import CONFIGS, Checkout, SeriesBuilder
from nonblock.tree.source import Base
from nonblock.tree.prepare import KUNITCONFIG, fill_stage, overlay_files, same
from nonblock.result.verdict import (TEST_SOURCE, Case, SkipRule, Verdict, judge, scan_source)
from nonblock.verbs.run import boot

KUNITCONFIG_FOLDER = 'mm/tests'
SELFTEST = 'mm/mmu_notifier'


# What checkpatch.pl asks for that would be wrong: its types, the files, and why

WAIVED = (
    ('FILE_PATH_CHANGES', '.*', 'that each file is in MAINTAINERS is checked itself'),
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


# A kernel with all patches applied

# How many things a check has looked at, and what is wrong with them
Found = tuple[int, str]


class Checks:
    """What can be checked of a kernel in git, and what came of it."""

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
        self.sources: set[str] = set()      # of the kernel, that the patches touch

    def note(self, what: str, trouble: str, code: int = EXIT_BUILD) -> bool:
        self.verdict.note(f'{self.base.name}: {what}', trouble, code)
        if trouble:
            say(self.verdict.lines[-1])
        return not trouble

    def present(self) -> list[str]:
        return [name for name in sorted(self.sources) if (self.tree / name).exists()]

    def whole(self, every: list[str]) -> None:
        ours = [name for name in every if name in overlay_files(self.repo)]
        checks: tuple[tuple[str, Callable[[], Found]], ...] = (
            ('the tree is the one that make run tests', self.same_tree),
            (f'kunit.py run --kunitconfig={KUNITCONFIG_FOLDER}', self.documented),
            ('kernel-doc', lambda: self.kernel_doc(ours)),
            ('sparse', self.sparse),
            ('MAINTAINERS', lambda: self.maintainers(ours)),
            ('selftests', self.selftests),
            # The last: 6.12 leaves files in the source tree.
            ('htmldocs', lambda: self.html_docs(ours)),
        )
        for what, check in checks:
            self.one(what, check)

    def one(self, what: str, check: Callable[[], Found]) -> None:
        say(f'== {self.base.name}: {what}')
        try:
            count, trouble = check()
            if self.note(what, trouble or ('' if count else 'has looked at nothing')):
                say(f'ok: {count} looked at')
        except Skipped as reason:
            self.verdict.skip(f'{self.base.name}: {what}', str(reason))
            say(f'SKIPPED {self.base.name}: {what}: {reason}')

    def same_tree(self) -> Found:
        stage = fill_stage(self.repo, self.base, self.checkout.folder / 'stage')
        differs = [name for name in sorted(stage.files - {KUNITCONFIG})
                   if not same(stage.path / name, self.tree / name)]
        shutil.rmtree(stage.path)
        return len(stage.files), ', '.join(differs)

    def documented(self) -> Found:
        """The suites, as whoever has the patches and not this repository runs them."""
        return self.suites(False)

    def suites(self, topic: bool) -> Found:
        """Build a kernel and run the suites; of a topic, those that are there by then."""
        folder, cases = KUNITCONFIG_FOLDER, self.cases
        if topic:
            folder = str(self.write_kunitconfig())
            there = {case for name in overlay_files(self.repo)
                     if TEST_SOURCE.match(name) and (self.tree / name).exists()
                     for case in scan_source((self.tree / name).read_text(encoding='utf-8'), name)}
            cases = [case for case in cases if case in there]
        session = Session(self.repo, self.base,
                          Machine('kunit', (f'--kunitconfig={folder}',), (), 300), self.tree,
                          jobs=self.jobs)
        outcome, log = boot(session, quiet=True)
        if not outcome.built:
            return 0, outcome.error
        verdict = judge(cases, log, self.rules, session, outcome)
        say(str(verdict))
        return verdict.passed, '; '.join(verdict.lines)

    def write_kunitconfig(self) -> Path:
        """Of the suites' options those that the tree has by now, and one suite that it has."""
        symbols = self.checkout.symbols()
        if 'KUNIT_MMU_NOTIFIER_TEST' not in symbols:
            symbols.discard(PROBE)
        wanted = read_config(self.repo / KUNITCONFIG_FOLDER / KUNITCONFIG)
        path = self.checkout.folder / 'topic.config'
        path.write_text(as_config({name: value for name, value in wanted.items()
                                   if name in symbols} | {'LIST_KUNIT_TEST': 'y'}),
                        encoding='utf-8')
        return path

    def kernel_doc(self, files: list[str]) -> Found:
        names = [name for name in files if name.endswith(('.c', '.h'))]
        result = capture(['scripts/kernel-doc', '-none', '-Wall', *names], self.tree)
        return len(names), (result.stdout + result.stderr).strip()

    def sparse(self) -> Found:
        """What is new compared to the tree without the series, in files that it has."""
        # mm/mmu_notifier.c is there without the series, too, where KVM is.
        builder = next(each for each in self.builders if 'KVM' in each.config.options)
        if trouble := builder.configure(self.checkout.symbols()):
            return 0, trouble

        def find(objects: list[str]) -> set[str]:
            _, output = builder.make('--keep-going', 'C=2', 'CHECK=sparse', *objects)
            return sparse_warnings(output, self.tree)

        objects = builder.objects(self.present())
        found = find(objects)
        with self.checkout.without_series():
            found -= find(builder.objects(self.present()))
        return len(objects), '\n    '.join(sorted(found))

    def maintainers(self, files: list[str]) -> Found:
        section = self.checkout.git('diff', 'pristine', '--', 'MAINTAINERS')
        title = re.search(r'^\+([A-Z][^:\n]+)$', section, re.MULTILINE)
        if not title:
            return 0, 'the series adds no entry'
        result = capture(['perl', 'scripts/get_maintainer.pl', '--self-test=sections'], self.tree)
        wrong = [line for line in result.stdout.splitlines() if title[1] in line]
        for name in files:
            found = capture(['perl', 'scripts/get_maintainer.pl', '--no-git', '--no-git-fallback',
                             '--sections', '-f', name], self.tree)
            if title[1] not in found.stdout:
                wrong.append(f'{name} is in no entry of the series')
        return len(files), '\n    '.join(wrong)

    def selftests(self) -> Found:
        output = self.checkout.folder / 'selftests'
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        result = capture(['make', '-C', self.tree / 'tools/testing/selftests',
                          f'TARGETS={SELFTEST}', f'O={output}'], None, kunit_run.environment())
        text = result.stdout + result.stderr
        programs = list((output / 'kselftest' / SELFTEST).glob('*'))
        if result.returncode:
            return len(programs), text.strip()
        warnings = sorted(read_warnings(text, self.tree))
        return len(programs), '; '.join(': '.join(one) for one in warnings)

    def html_docs(self, files: list[str]) -> Found:
        """Sphinx on the folders that have pages of the series, with what these include."""
        pages = [name for name in files if re.match(r'Documentation/.*\.rst$', name)]
        if not pages:
            return 0, ''        # make would take all there are
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
        return len(pages), '\n    '.join(found)
