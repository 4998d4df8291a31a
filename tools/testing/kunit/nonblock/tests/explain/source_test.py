# SPDX-License-Identifier: GPL-2.0-only
"""What is looked for is what the kernels print, and where the guide is pointed to, it is."""

from __future__ import annotations

import re
import tempfile
import unittest
from pathlib import Path

from nonblock.tests.fixtures import TOP
from nonblock.tree.source import cache_dir

from nonblock.explain import texts
from nonblock.explain.contract import CHECKS
from nonblock.explain.judge import JUDGES
from nonblock.explain.kinds import (INTEREST, KINDS, KNOWN, OTHER, WARN,
                                    Known, find_kind, known, reworded)
from nonblock.explain.symbols import INVALIDATE, NONBLOCK, RANGE_MAP, RELEASE
from .base import TREES

SOURCES = sorted(path for path in cache_dir().glob('linux-source-*')
                 if (path / 'mm/mmu_notifier.c').is_file())


def version_of(tree: Path) -> tuple[int, int]:
    text = (tree / 'Makefile').read_text(encoding='utf-8')
    numbers = [re.search(rf'(?m)^{name} = (\d+)', text) for name in ('VERSION', 'PATCHLEVEL')]
    major, minor = (int(match[1]) if match else 0 for match in numbers)
    return major, minor


class SourceTest(unittest.TestCase):
    def test_prepared_trees_print_it(self) -> None:
        if not TREES:
            self.skipTest('no prepared tree in build/: `make tree` prepares one')
        for tree in TREES:
            with self.subTest(str(tree)):
                self.assertEqual(reworded(tree), [])

    def test_debians_sources_print_it(self) -> None:
        if not SOURCES:
            self.skipTest(f'no kernel source in {cache_dir()}: `make tree` fetches one')
        for tree in SOURCES:
            with self.subTest(str(tree)):
                self.assertEqual(reworded(tree), [])

    def test_the_lines_of_the_checks(self) -> None:
        found = {version_of(tree): tree for tree in SOURCES}
        if not any(check.lines.get(version) for check in CHECKS for version in found):
            self.skipTest(f'no kernel source in {cache_dir()} whose lines are known')
        for version, tree in found.items():
            lines = (tree / 'mm/mmu_notifier.c').read_text(encoding='utf-8').splitlines()
            for check in CHECKS:
                if number := check.lines.get(version):
                    with self.subTest(check.name, version=version):
                        self.assertIn(check.condition, lines[number - 1])

    def test_no_check_is_missing(self) -> None:
        for tree in SOURCES:
            source = (tree / 'mm/mmu_notifier.c').read_text(encoding='utf-8')
            with self.subTest(str(tree)):
                for warn in re.findall(r'WARN_ON.*', source):
                    self.assertTrue(any(check.condition in warn for check in CHECKS), warn)

    def test_the_core_is_known(self) -> None:
        """Each function of the core that calls a callback which invalidates, or releases."""
        for tree in (*SOURCES, *TREES):
            source = (tree / 'mm/mmu_notifier.c').read_text(encoding='utf-8')
            source = re.sub(r'/\*.*?\*/', '', source, flags=re.DOTALL)
            for body in re.split(r'\n(?=\w[^;]*?\w+\([^;]*?\)\n\{)', source):
                name = re.match(r'[^(]*?(\w+)\(', body)
                if name and re.search(r'->(?:invalidate(?:_range_start|_range_end|_start|_finish)?|'
                                      r'release)\(', body):
                    with self.subTest(f'{tree}: {name[1]}'):
                        self.assertTrue(INVALIDATE.fullmatch(name[1]) or
                                        RELEASE.fullmatch(name[1]))

    def test_a_kernel_that_rewords_it_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(len(reworded(Path(folder))), len(KNOWN))
            file = Path(folder) / 'mm/oom_kill.c'
            file.parent.mkdir()
            file.write_text('pr_info("oom_reaper: unable to reap pid:%d (%s)\\n"', encoding='utf-8')
            self.assertEqual(len(reworded(Path(folder))), len(KNOWN) - 1)

    def test_alternatives(self) -> None:
        self.assertEqual(known('a.c|b.c', 'x', 'y'),
                         [Known(('a.c', 'b.c'), 'x'), Known(('a.c', 'b.c'), 'y')])

    def test_each_kind_is_known(self) -> None:
        """No kind of report is without a text of the kernel that begins it."""
        format = re.compile(r'%[-+#.*\d]*(?:ll|l|z|h)?(?:p[a-zA-Z]*|[a-zA-Z])')
        examples = {format.sub('1', one.text).replace('1:1 b', 'a:1 b') for one in KNOWN}
        told = {text: found[0].name for text in [
            *examples, 'INFO: task a:1 blocked for more than 1 seconds.', 'task:a state:D pid:1',
            'WARNING: CPU: 1 PID: 1 at mm/a.c:1 f+0x1/0x2'] if (found := find_kind(text))}
        names = {kind.name for kind, _ in KINDS}
        self.assertEqual(names - {OTHER} - set(told.values()), set(),
                         'no text of KNOWN begins one of these, or HEADLINE does not let it pass')
        self.assertEqual(names - {WARN} - set(JUDGES), set(), 'nobody in JUDGES judges these')
        # Or a long log is not searched for it
        for text in told:
            self.assertRegex(text, INTEREST)

    def test_the_series_has_the_map(self) -> None:
        for name in (NONBLOCK, RANGE_MAP):
            found = [path for top in ('hooks', 'mm') for path in sorted((TOP / top).rglob('*'))
                     if path.is_file() and name in path.read_text(encoding='utf-8')]
            self.assertTrue(found, name)


class GuideTest(unittest.TestCase):
    def test_sections_are_in_the_guide(self) -> None:
        guide = (TOP / texts.GUIDE).read_text(encoding='utf-8')
        for key, title in texts.SECTIONS.items():
            with self.subTest(key):
                self.assertRegex(guide, rf'(?m)^{re.escape(title)}\n[=~-]{{{len(title)}}}$')
                self.assertIn(title, texts.section(key))
