# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the prepared tree, on a small kernel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import unittest
import unittest.mock
from pathlib import Path
from typing import Optional

from nonblock.tree import prepare as tree_module
from nonblock.common import EXIT_TREE, EXIT_USAGE, Failure, take_remarks
from nonblock.tests.fixtures import FOO_C, FOO_PATCH, TOP, ScratchTest, quiet, write
from nonblock.tree.source import Base, from_kdir
from nonblock.tree.prepare import Preparer

HOOKED = FOO_C.replace('int line9;', 'int line9 = 9;')


class TreeTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.base = from_kdir(str(self.kernel), self.repo / 'build')
        self.tree = self.repo / 'build' / self.base.name / 'linux'
        self.output = ''

    @property
    def state(self) -> Path:
        return Preparer(self.repo, self.base).state

    def prepare(self) -> list[str]:
        with quiet() as output:
            try:
                return Preparer(self.repo, self.base).prepare()
            finally:
                self.output = output.getvalue()

    def refuse(self, *parts: str, code: int = EXIT_TREE) -> None:
        with self.assertRaises(Failure) as caught:
            self.prepare()
        self.assertEqual(caught.exception.code, code)
        for part in parts:
            self.assertIn(part, str(caught.exception))

    def read(self, name: str) -> str:
        return (self.tree / name).read_text()

    def contents(self) -> dict[str, str]:
        return {os.path.relpath(path, self.tree): path.read_text()
                for path in self.tree.rglob('*') if path.is_file()}

    def times(self) -> dict[str, int]:
        """The times of all files of the tree."""
        found = {}
        for path in self.tree.rglob('*'):
            if path.is_file():
                found[os.path.relpath(path, self.tree)] = path.stat().st_mtime_ns
        return found

    def changed_since(self, before: dict[str, int]) -> set[str]:
        now = self.times()
        return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}

    def as_package(self, version: str) -> None:
        """Take the kernel for an unpacked Debian package of this version."""
        path = self.scratch / f'linux-source-6.12_{version}'
        self.kernel.rename(path)
        self.kernel = path
        self.base = Base('6.12', path, f'linux-source-6.12 {version}', '6.12.5')
        self.tree = self.repo / 'build/6.12/linux'


class InstallTest(TreeTest):
    def test_hooks_and_overlay(self) -> None:
        self.prepare()
        self.assertEqual(self.read('mm/foo.c'), HOOKED)
        self.assertTrue((self.tree / 'mm/tests/fake_kunit.c').exists())
        self.assertEqual(self.read('mm/tests/.kunitconfig'), 'CONFIG_KUNIT=y\n')
        self.assertIn(f'tree: build/{self.base.name}/linux ({self.kernel}, 1 hooks, 2 files)\n',
                      self.output)

    def test_second_run_touches_nothing(self) -> None:
        self.prepare()
        before = self.times()
        self.prepare()
        self.assertEqual(self.changed_since(before), set())

    def test_an_edit_touches_only_its_file(self) -> None:
        self.prepare()
        before = self.times()
        write(self.repo, {'mm/tests/fake_kunit.c': 'int edited;\n'})
        self.prepare()
        self.assertEqual(self.changed_since(before), {'mm/tests/fake_kunit.c'})
        self.assertIn('1 files', self.output)

    def test_a_changed_hook_touches_only_its_file(self) -> None:
        self.prepare()
        before = self.times()
        write(self.repo, {'hooks/foo.patch': FOO_PATCH.replace('= 9', '= 10')})
        self.prepare()
        self.assertEqual(self.changed_since(before), {'mm/foo.c'})
        self.assertIn('int line9 = 10;', self.read('mm/foo.c'))

    def test_overlay_file_removed(self) -> None:
        self.prepare()
        shutil.rmtree(self.repo / 'mm')
        self.prepare()
        self.assertFalse((self.tree / 'mm/tests').exists())

    def test_hook_removed(self) -> None:
        self.prepare()
        write(self.repo, {'hooks/series': '# none\n'})
        self.prepare()
        self.assertEqual(self.read('mm/foo.c'), FOO_C)

    def test_hook_that_adds_and_one_that_deletes_a_file(self) -> None:
        add = '--- /dev/null\n+++ b/mm/new.c\n@@ -0,0 +1 @@\n+int new;\n'
        delete = '--- a/mm/bar.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-int bar;\n'
        write(self.repo, {'hooks/foo.patch': add + delete})
        self.prepare()
        self.assertEqual(self.read('mm/new.c'), 'int new;\n')
        self.assertFalse((self.tree / 'mm/bar.c').exists())
        write(self.repo, {'hooks/series': ''})
        self.prepare()
        self.assertFalse((self.tree / 'mm/new.c').exists())
        self.assertEqual(self.read('mm/bar.c'), 'int bar;\n')

    def test_editor_files_stay_out(self) -> None:
        write(self.repo, {'mm/a.c~': '', 'mm/a.c.orig': '', 'mm/a.c.rej': '', 'mm/.a.c.swp': ''})
        self.prepare()
        self.assertEqual(sorted(path.name for path in (self.tree / 'mm').iterdir()),
                         ['bar.c', 'foo.c', 'tests'])

    def test_pages_about_the_runner_stay_out(self) -> None:
        write(self.repo, {'Documentation/a.rst': '', 'Documentation/mm/b.rst': ''})
        self.prepare()
        self.assertEqual([path.name for path in (self.tree / 'Documentation').rglob('*.rst')],
                         ['b.rst'])

    def test_executable_bit(self) -> None:
        script = 'tools/testing/selftests/mm/run.sh'
        write(self.repo, {script: '#!/bin/sh\n'})
        self.prepare()
        (self.repo / script).chmod(0o755)
        self.prepare()
        self.assertTrue(os.access(self.tree / script, os.X_OK))

    def test_overlay_file_that_the_kernel_has(self) -> None:
        write(self.kernel, {'mm/tests/fake_kunit.c': ''})
        self.refuse(str(self.kernel), 'mm/tests/fake_kunit.c', 'no hook of the series')
        self.assertFalse(self.tree.exists())

    def test_kunitconfig_at_the_top(self) -> None:
        (self.repo / '.kunitconfig').symlink_to('mm/tests/.kunitconfig')
        write(self.kernel, {'.kunitconfig': 'CONFIG_FOO=y\n', '.gitignore': ''})
        self.prepare()
        self.assertEqual(self.read('.kunitconfig'), 'CONFIG_KUNIT=y\n')

    def test_path_with_a_blank(self) -> None:
        moved = self.scratch / 'a repo'
        self.repo.rename(moved)
        self.repo = moved
        self.refuse('blank or a colon', code=EXIT_USAGE)


class OverlayTest(TreeTest):
    LEFT_OVER = ('foo.o', 'foo.c~', '#foo.c#', '.#foo.c', '.foo.c.swp', '.DS_Store', 'notes.txt',
                 'foo.ko', 'foo.mod', 'foo.mod.c', '.foo.o.cmd', 'modules.order', 'a.out',
                 'foo.c.orig', 'foo.c.rej', 'tags', 'foo (copy).c', '4913', 'foo.patch')

    def test_what_others_leave_there(self) -> None:
        write(self.repo, {f'mm/tests/{name}': '' for name in self.LEFT_OVER})
        self.prepare()
        self.assertEqual(sorted(os.listdir(self.tree / 'mm/tests')),
                         ['.kunitconfig', 'fake_kunit.c'])

    def test_what_is_new_counts(self) -> None:
        names = ['new.c', 'new.h', 'Kconfig', 'Makefile', 'Kbuild', 'config', 'new.rst', 'new.sh',
                 'new-2.c']
        write(self.repo, {f'samples/new/{name}': '' for name in names})
        self.prepare()
        self.assertEqual(sorted(os.listdir(self.tree / 'samples/new')), sorted(names))

    def test_nothing_of_the_repository_is_left_out(self) -> None:
        if not (TOP / '.git').exists():
            self.skipTest('git is not there to tell')
        known = subprocess.run(['git', 'ls-files', *tree_module.OVERLAY], cwd=TOP, text=True,
                               stdout=subprocess.PIPE, check=True).stdout.splitlines()
        self.assertEqual([name for name in known
                          if not tree_module.KINDS.fullmatch(os.path.basename(name))], [])


class HandEditTest(TreeTest):
    def setUp(self) -> None:
        super().setUp()
        take_remarks()          # of other tests

    def remarks(self) -> list[str]:
        return [re.sub(r'kept: (.*)\. Remove .*', r'\1', text.rpartition(', and ')[2])
                for text in take_remarks()]

    def test_kept_with_a_remark(self) -> None:
        self.prepare()
        self.assertEqual(self.remarks(), [])
        write(self.tree, {'mm/foo.c': 'by hand\n'})
        self.prepare()
        self.assertEqual(self.read('mm/foo.c'), 'by hand\n')
        self.assertEqual(self.remarks(), ['mm/foo.c'])

    def test_file_that_no_hook_touches(self) -> None:
        """In a tree that is not compared with its source each time, too."""
        self.as_package('6.12.5-1')
        os.utime(self.kernel / 'mm/bar.c', (1, 1))
        self.prepare()
        self.prepare()
        self.assertEqual(self.remarks(), [])
        write(self.tree, {'mm/bar.c': 'by hand\n'})
        (self.tree / 'Kconfig').unlink()
        self.prepare()
        self.assertEqual(self.remarks(), ['Kconfig, mm/bar.c'])

    def test_touched_only(self) -> None:
        self.as_package('6.12.5-1')
        self.prepare()
        os.utime(self.tree / 'mm/bar.c', (1, 1))
        self.prepare()
        self.assertEqual(self.remarks(), [])

    def test_conflict(self) -> None:
        self.prepare()
        write(self.tree, {'mm/foo.c': 'by hand\n'})
        write(self.repo, {'hooks/foo.patch': FOO_PATCH.replace('= 9', '= 10'),
                          'mm/tests/fake_kunit.c': 'int edited;\n'})
        before = self.times()
        self.refuse('mm/foo.c was edited by hand', 'remove build/')
        self.assertEqual(self.changed_since(before), set())

    def test_the_same_edit_in_both(self) -> None:
        self.prepare()
        write(self.tree, {'mm/tests/fake_kunit.c': 'int edited;\n'})
        write(self.repo, {'mm/tests/fake_kunit.c': 'int edited;\n'})
        self.prepare()
        self.assertNotIn('by hand', self.output)

    def test_conflict_with_a_newer_base(self) -> None:
        self.prepare()
        write(self.tree, {'mm/bar.c': 'by hand\n'})
        os.utime(self.tree / 'mm/bar.c', (1, 1))
        write(self.kernel, {'mm/bar.c': 'int newer;\n'})
        self.refuse('mm/bar.c was edited by hand')
        self.assertEqual(self.read('mm/bar.c'), 'by hand\n')

    def test_prepared_by_another_version(self) -> None:
        """Nothing tells what was edited, so that it is copied anew."""
        self.prepare()
        write(self.tree, {'mm/foo.c': 'other\n', 'mm/strange.c': ''})
        self.state.unlink()
        self.prepare()
        self.assertEqual(self.read('mm/foo.c'), HOOKED)
        self.assertFalse((self.tree / 'mm/strange.c').exists())

    def test_start_afresh(self) -> None:
        self.prepare()
        write(self.tree, {'mm/foo.c': 'by hand\n'})
        shutil.rmtree(self.tree)
        self.prepare()
        self.assertEqual(self.read('mm/foo.c'), HOOKED)
        self.assertNotIn('by hand', self.output)


class BaseTest(TreeTest):
    def test_build_products_are_no_source(self) -> None:
        write(self.kernel, {'mm/foo.o': '', '.config': '', 'include/generated/autoconf.h': ''})
        self.prepare()
        for name in ('mm/foo.o', '.config', 'include/generated'):
            self.assertFalse((self.tree / name).exists(), name)

    def test_change_in_the_users_tree(self) -> None:
        self.prepare()
        before = self.times()
        write(self.kernel, {'mm/bar.c': 'int newer;\n', 'mm/added.c': ''})
        os.utime(self.kernel / 'mm/bar.c', (1, 1))
        (self.kernel / 'include/linux/mmu_notifier.h').unlink()
        self.prepare()
        self.assertEqual(self.changed_since(before),
                         {'mm/bar.c', 'mm/added.c', 'include/linux/mmu_notifier.h'})
        # Old as it is there, here it is new: make would not see it otherwise.
        self.assertGreater((self.tree / 'mm/bar.c').stat().st_mtime, 1)
        self.prepare()
        self.assertNotIn('changed there', self.output)

    def test_change_below_a_hook(self) -> None:
        self.prepare()
        write(self.kernel, {'mm/foo.c': FOO_C.replace('int line19;', 'int line19 = 1;')})
        before = self.times()
        self.prepare()
        self.assertEqual(self.changed_since(before), {'mm/foo.c'})
        self.assertEqual(self.read('mm/foo.c'), HOOKED.replace('int line19;', 'int line19 = 1;'))

    def test_touched_but_the_same(self) -> None:
        self.prepare()
        before = self.times()
        os.utime(self.kernel / 'mm/bar.c')
        self.prepare()
        self.assertEqual(self.changed_since(before), set())

    def test_newer_package(self) -> None:
        self.as_package('6.12.5-1')
        self.prepare()
        before = self.times()
        shutil.copytree(self.kernel, self.scratch / 'next')
        self.kernel = self.scratch / 'next'
        write(self.kernel, {'mm/bar.c': 'int newer;\n'})
        self.as_package('6.12.6-1')
        self.prepare()
        self.assertEqual(self.changed_since(before), {'mm/bar.c'})
        self.assertIn('6.12.6-1', self.output)


class InterruptTest(TreeTest):
    def interrupt(self, function: str, after: int) -> None:
        """Prepare, and interrupt when the function is called the n-th time."""
        real = getattr(tree_module, function)
        calls = 0

        def wrapper(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == after:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        with unittest.mock.patch.object(tree_module, function, wrapper):
            with self.assertRaises(KeyboardInterrupt):
                self.prepare()

    def fresh(self) -> dict[str, str]:
        shutil.rmtree(self.tree.parent)
        self.prepare()
        return self.contents()

    def finish(self, wanted: Optional[dict[str, str]] = None) -> None:
        """The next run makes the tree what a fresh one would be."""
        self.prepare()
        self.assertNotIn('by hand', self.output)
        left = {path.name for path in self.tree.parent.iterdir()}
        self.assertEqual(left, {'linux', self.state.name, 'stage'})
        self.assertEqual(self.contents(), wanted or self.fresh())

    def test_first_copy(self) -> None:
        self.interrupt('capture', 1)
        self.assertFalse(self.tree.exists())
        self.finish()

    def test_half_a_copy_is_not_believed(self) -> None:
        write(self.tree.with_name('linux.tmp'), {'mm/foo.c': 'half', 'mm/strange.c': ''})
        self.finish()

    def test_install_at_every_step(self) -> None:
        self.prepare()
        write(self.repo, {'hooks/foo.patch': FOO_PATCH.replace('= 9', '= 10'),
                          'mm/tests/fake_kunit.c': 'int edited;\n',
                          'lib/more.c': 'int more;\n'})
        write(self.kernel, {'mm/bar.c': 'int newer;\n', 'mm/added.c': ''})
        steps = 0
        with unittest.mock.patch.object(tree_module, 'copy', wraps=tree_module.copy) as copy:
            shutil.copytree(self.repo, self.scratch / 'saved', copy_function=shutil.copy2)
            self.prepare()
            steps = copy.call_count
        self.assertGreater(steps, 5)
        wanted = self.fresh()
        for step in range(1, steps + 1):
            with self.subTest(step=step):
                shutil.rmtree(self.repo)
                shutil.copytree(self.scratch / 'saved', self.repo, copy_function=shutil.copy2)
                self.interrupt('copy', step)
                self.finish(wanted)

    def test_a_file_that_came_and_went(self) -> None:
        self.prepare()
        write(self.kernel, {'mm/added.c': '', 'mm/more.c': ''})
        self.interrupt('copy', 5)       # three files were staged; this is more.c
        self.assertTrue((self.tree / 'mm/added.c').exists())
        self.assertFalse((self.tree / 'mm/more.c').exists())
        (self.kernel / 'mm/added.c').unlink()
        self.finish()

    def test_before_the_state_is_saved(self) -> None:
        self.interrupt('write_atomically', 2)
        self.assertTrue(self.tree.exists())
        self.finish()

    def test_damaged_state(self) -> None:
        self.prepare()
        write(self.tree.parent, {self.state.name: '{"base":'})
        self.finish()
