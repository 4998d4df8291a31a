# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the hooks, on a small kernel: which variant applies, and what is there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import unittest
from unittest import mock

from nonblock.common import EXIT_MACHINE, Failure
from nonblock.kernel import session
from nonblock.options import Options
from nonblock.tests.fixtures import FOO_C, FOO_PATCH, TOP, diff, quiet, write
from nonblock.tree.hooks import Hook, read_hooks, run_patch, take_back, touched_files
from nonblock.tree.source import Base
from nonblock.tree.prepare import Preparer
from nonblock.tests.prepare_test import HOOKED, TreeTest
from nonblock.verbs import matrix, test


class HookTest(TreeTest):
    def test_failing_hook_leaves_the_tree_alone(self) -> None:
        self.prepare()
        before, contents = self.times(), self.contents()
        write(self.repo, {'hooks/series': 'foo.patch\nbad.patch\n',
                          'hooks/foo.patch': FOO_PATCH.replace('= 9', '= 10'),
                          'hooks/bad.patch': diff('mm/bar.c', 'int baz;\n', 'int bay;\n'),
                          'mm/tests/fake_kunit.c': 'int edited;\n'})
        self.refuse('bad.patch', 'file mm/bar.c; Hunk #1 FAILED at 1', '6.12.5', str(self.kernel),
                    'hooks/VARIANT/bad.patch')
        self.assertEqual(self.changed_since(before), set())
        self.assertEqual(self.contents(), contents)

    def test_what_does_not_fit_is_left_to_be_finished(self) -> None:
        """Of two hunks that which fits is applied; the other one, and the patch, are there."""
        text = FOO_C.replace('int line2;', 'int line2 = 2;').replace('line18;', 'line18 = 18;')
        write(self.repo, {'hooks/bad.patch': diff('mm/foo.c', FOO_C, text),
                          'hooks/series': 'bad.patch\n'})
        old = FOO_C.replace('line17', 'other').replace('line18', 'other')
        write(self.kernel, {'mm/foo.c': old})
        folder = f'build/{self.base.name}/rejected/bad'
        self.refuse(f'{folder}/b has what fits of hooks/bad.patch',
                    'file mm/foo.c; Hunk #2 FAILED at 16')
        rejected = self.repo / folder
        self.assertEqual((rejected / 'a/mm/foo.c').read_text(), old)
        self.assertEqual((rejected / 'b/mm/foo.c').read_text(),
                         old.replace('int line2;', 'int line2 = 2;'))
        self.assertIn('+int line18 = 18;', (rejected / 'b/mm/foo.c.rej').read_text())
        self.assertEqual((rejected / 'bad.patch').read_text(), diff('mm/foo.c', FOO_C, text))
        write(self.kernel, {'mm/foo.c': FOO_C})
        self.prepare()
        self.assertFalse(rejected.parent.exists())

    def test_to_finish_it(self) -> None:
        """As the message says: what comes of it is a variant that applies."""
        write(self.kernel, {'mm/foo.c': FOO_C.replace('line8', 'other').replace('line10', 'some')})
        folder = self.repo / f'build/{self.base.name}/rejected/foo'
        self.refuse(f'output of "diff -ruN a b" in {os.path.relpath(folder, self.repo)}')
        file = folder / 'b/mm/foo.c'
        file.write_text(file.read_text().replace('int line9;', 'int line9 = 99;'))
        (folder / 'b/mm/foo.c.rej').unlink()
        result = subprocess.run(['diff', '-ruN', 'a', 'b'], cwd=folder, capture_output=True,
                                text=True, check=False)
        write(self.repo, {'hooks/mine/foo.patch': f'Subject: foo\n\nText.\n---\n{result.stdout}'})
        self.prepare()
        self.assertIn('int line9 = 99;', self.read('mm/foo.c'))

    def test_the_closest_variant_is_left(self) -> None:
        text = FOO_C.replace('int line2;', 'int line2 = 2;').replace('line18;', 'line18 = 18;')
        write(self.repo, {'hooks/foo.patch': diff('mm/foo.c', 'a\nb\n', 'a\nc\n'),
                          'hooks/near/foo.patch': diff('mm/foo.c', FOO_C, text),
                          'hooks/far/foo.patch': diff('mm/bar.c', 'a\n', 'b\n')
                          + diff('mm/foo.c', 'a\nb\n', 'a\nc\n')})
        write(self.kernel, {'mm/foo.c': 'int line;\n' * 20})
        self.refuse('has what fits of hooks/foo.patch')
        write(self.repo, {'hooks/foo.patch': (self.repo / 'hooks/far/foo.patch').read_text()})
        write(self.kernel, {'mm/foo.c': FOO_C.replace('line17', 'other').replace('line18', 'o')})
        self.refuse('has what fits of hooks/near/foo.patch')

    def test_half_of_it_is_applied(self) -> None:
        write(self.repo, {'hooks/foo.patch': FOO_PATCH + diff('mm/bar.c', 'int bar;\n', 'int;\n')})
        write(self.kernel, {'mm/foo.c': HOOKED})
        self.refuse('file mm/foo.c; Reversed (or previously applied) patch')

    def test_no_such_file_in_the_kernel(self) -> None:
        (self.kernel / 'mm/foo.c').unlink()
        write(self.repo, {'hooks/foo.patch': f'Subject: foo\n\nText.\n---\n{FOO_PATCH}'})
        self.refuse("hooks/foo.patch: can't find file to patch at input line 7; |--- a/mm/foo.c; "
                    '|+++ b/mm/foo.c; No file to patch.  Skipping patch.; 1 out of 1 hunk ignored')

    def test_malformed_hook(self) -> None:
        write(self.repo, {'hooks/foo.patch': FOO_PATCH.replace('+int', '?int')})
        self.refuse('hooks/foo.patch: ', 'patch: **** malformed patch at line')

    def test_hook_missing(self) -> None:
        write(self.repo, {'hooks/series': 'none.patch\n'})
        self.refuse('none.patch')

    def test_hook_on_an_overlay_file(self) -> None:
        write(self.repo, {'hooks/foo.patch': '--- /dev/null\n+++ b/mm/tests/fake_kunit.c\n'
                          '@@ -0,0 +1 @@\n+int new;\n'})
        self.refuse('mm/tests/fake_kunit.c')

    def variants(self, **patches: str) -> str:
        """With these variants (the values assigned to line9), which one is used?"""
        for place, value in patches.items():
            folder = place.removeprefix('v').replace('_', '.') + '/' if place != 'general' else ''
            write(self.repo, {f'hooks/{folder}foo.patch': FOO_PATCH.replace('= 9', f'= {value}')})
        hook = self.prepare()[0]
        applied = f'= {list(patches.values())[0]};' in self.read('mm/foo.c')
        return hook + (' applied' if applied else '')

    def test_general_before_variants(self) -> None:
        self.assertEqual(self.variants(general='1', v6_12='12'), 'hooks/foo.patch applied')
        self.assertNotIn('hook foo.patch', self.output)

    def test_last_variant_that_applies(self) -> None:
        write(self.repo, {'hooks/foo.patch': diff('mm/foo.c', 'x\n', 'y\n'),
                          'hooks/7.4/foo.patch': diff('mm/foo.c', 'x\n', 'y\n')})
        self.assertEqual(self.variants(v7_3='3', v7_2='2'), 'hooks/7.3/foo.patch applied')
        self.assertIn('hook foo.patch: hooks/7.3/foo.patch applies', self.output)

    def test_a_name_that_is_no_version(self) -> None:
        self.assertEqual(self.variants(general='1', rcu='2'), 'hooks/foo.patch applied')
        write(self.repo, {'hooks/foo.patch': diff('mm/foo.c', 'x\n', 'y\n')})
        self.assertEqual(self.variants(rcu='2'), 'hooks/rcu/foo.patch applied')

    def test_a_cover_letter_is_no_variant(self) -> None:
        (self.repo / 'hooks/foo.patch').unlink()
        write(self.repo, {'hooks/cover/foo.patch': FOO_PATCH})
        self.refuse('there is no hooks/foo.patch')

    def test_fuzz(self) -> None:
        write(self.kernel, {'mm/foo.c': FOO_C.replace('int line7;', 'int other;')})
        self.assertEqual(self.variants(general='1'), 'hooks/foo.patch applied')
        self.assertIn('hook foo.patch: hooks/foo.patch applies with fuzz\n', self.output)

    def test_exactly_before_fuzz(self) -> None:
        kernel = FOO_C.replace('int line6;', 'int other;')
        write(self.kernel, {'mm/foo.c': kernel})
        write(self.repo, {'hooks/6.1/foo.patch': diff(
            'mm/foo.c', kernel, kernel.replace('int line9;', 'int line9 = 61;'))})
        self.variants(general='1')
        self.assertIn('= 61;', self.read('mm/foo.c'))

    def test_fuzz_does_not_cross_functions(self) -> None:
        """The end of one function looks like that of any other."""
        code = ''.join(f'int f{number}(void)\n{{\n\tint a = {number};\n\n\treturn a;\n}}\n\n'
                       for number in range(3))
        end = '\treturn a;\n}\n\nint f2'
        patch = diff('mm/foo.c', code, code.replace(end, end.replace('}\n', '}\nEXPORT(f1);\n')))
        self.assertIn('@@ -11,6 +11,7 @@\n', patch)
        write(self.repo, {'hooks/foo.patch': patch.replace('+11,7 @@', '+11,7 @@ int f1(void)')})
        write(self.kernel, {'mm/foo.c': code.replace('int f2(', 'long f2(')})
        self.prepare()
        self.assertIn('applies with fuzz\n', self.output)
        self.assertIn('}\nEXPORT(f1);\n\nlong f2(', self.read('mm/foo.c'))
        shutil.rmtree(self.tree.parent)
        there = code.replace(end, end.replace('}\n', '}\nEXPORT_GPL(f1);\n'))
        write(self.kernel, {'mm/foo.c': there})
        folder = self.repo / f'build/{self.base.name}/rejected/foo'
        self.refuse('Hunk #1 of mm/foo.c is for f1, and fits roughly in f0')
        self.assertEqual((folder / 'b/mm/foo.c').read_text(), there)
        self.assertIn('+EXPORT(f1);', (folder / 'b/mm/foo.c.rej').read_text())

    def test_not_more_than_the_usual_fuzz(self) -> None:
        write(self.kernel, {'mm/foo.c': FOO_C.replace('int line8;', 'int other;')})
        self.refuse('foo.patch', 'file mm/foo.c; Hunk #1 FAILED')

    def test_only_where_it_is_needed(self) -> None:
        """A kernel that has the fix goes on; one that has not, and where it does not fit, fails."""
        write(self.repo, {'hooks/series': '# if mm/none.c or mm/bar.c has int baz: foo.patch\n'})
        self.prepare()
        self.assertEqual(self.read('mm/foo.c'), FOO_C)
        self.assertIn('hook foo.patch: not needed, mm/none.c and mm/bar.c without int baz',
                      self.output)
        write(self.kernel, {'mm/bar.c': 'int baz;\n'})
        self.prepare()
        self.assertEqual(self.read('mm/foo.c'), HOOKED)
        write(self.kernel, {'mm/foo.c': ''})
        self.refuse('hook foo.patch does not apply')

    def test_topics(self) -> None:
        write(self.repo, {'hooks/series': '# topic one\na.patch\n\n# topic two\n'
                          '# files only: c-files.patch\n'
                          '# if a has b c: b.patch\nd.patch # if e or f has g: h\n'
                          'c.patch # why\n# topic three\n'})
        self.assertEqual(read_hooks(self.repo),
                         [Hook('a.patch', 'one'), Hook('c-files.patch', 'two'),
                          Hook('b.patch', 'two', ('a',), 'b c'),
                          Hook('d.patch', 'two', ('e', 'f'), 'g: h'), Hook('c.patch', 'two')])

    def test_topic_of_no_prepared_tree(self) -> None:
        """Nothing of it is in there; what the kernel has of it stays."""
        series = '# topic one\nfoo.patch\n# topic two, in no prepared tree\nbar.patch\n'
        write(self.repo, {'hooks/series': series,
                          'hooks/bar.patch': diff('mm/bar.c', 'int bar;\n', 'int baz;\n')})
        self.assertEqual(read_hooks(self.repo)[1], Hook('bar.patch', 'two', prepared=False))
        for there in ('int bar;\n', 'int baz;\n'):
            write(self.kernel, {'mm/bar.c': there})
            self.prepare()
            self.assertEqual(self.read('mm/bar.c'), there)
            self.assertEqual(self.read('mm/foo.c'), HOOKED)
        self.refuse_all('hook bar.patch does not apply')
        write(self.kernel, {'mm/bar.c': 'int bar;\n'})
        self.refuse_all('mainline.patch does not fit')

    @unittest.skipUnless(shutil.which('quilt'), 'no quilt here')
    def test_quilt(self) -> None:
        """The repository's own series: what it takes no patch from is a comment."""
        result = subprocess.run(['quilt', '--quiltrc', '-', 'series'], cwd=self.scratch, text=True,
                                env={**os.environ, 'QUILT_PATCHES': str(TOP / 'hooks')},
                                check=True, capture_output=True)
        names = result.stdout.split()
        for name in names:
            self.assertFalse(not touched_files(TOP / 'hooks' / name), name)
        for hook in read_hooks(TOP):
            if hook.name not in names and not hook.files:
                self.assertEqual(touched_files(TOP / 'hooks' / hook.name), set(), hook.name)

    def test_series_that_is_wrong(self) -> None:
        for text, message in (('# topic a\nfoo.patch\n# topic b\nbar.patch\n# topic a\n',
                               'hooks/series:5: topic a was there before'),
                              ('foo.patch # if it fits\n', 'hooks/series:1: foo.patch # if it'),
                              ('# if it fits: foo.patch\n',
                               'hooks/series:1: # if it fits: foo.patch: want')):
            write(self.repo, {'hooks/series': text})
            self.refuse(message)

    def test_touched(self) -> None:
        write(self.scratch, {
            'git.patch': 'diff --git a/mm/b.c b/mm/b.c\n--- a/mm/b.c\n'
                         'diff --git a/mm/a.c b/mm/a.c\nnew file mode 100644\n',
            'quilt.patch': '--- /dev/null\n+++ b/mm/a.c\n--- a/mm/b.c\t2020-01-01\n+++ /dev/null\n'
                           '--- a/../c.c\n+++ b/../c.c\n'})
        for name in ('git.patch', 'quilt.patch'):
            self.assertEqual(touched_files(self.scratch / name), {'mm/a.c', 'mm/b.c'}, name)

    def test_full_disk_is_not_the_hooks_fault(self) -> None:
        full = 'patch: **** write error : No space left on device'
        with mock.patch('nonblock.tree.hooks.capture', return_value=subprocess.CompletedProcess(
                [], 2, '', full)), self.assertRaisesRegex(Failure, 'the disk is full') as caught:
            run_patch(self.repo / 'hooks/foo.patch', self.kernel)
        self.assertEqual(caught.exception.code, EXIT_MACHINE)

    def refuse_all(self, message: str) -> None:
        """As make test does: all hooks, and the patch of make matrix last."""
        patch = self.scratch / 'mainline.patch'
        patch.write_text(diff('mm/bar.c', 'int gone;\n', 'int x;\n'))
        with quiet(), mock.patch.object(test, 'REPO', self.repo), \
                mock.patch.object(session, 'REPO', self.repo), \
                mock.patch.object(matrix, 'MAINLINE_PATCH', patch), \
                self.assertRaisesRegex(Failure, message):
            test.hook_tests(Options(kdir=str(self.kernel)))


class AppliedTest(TreeTest):
    """A tree that has the series, or some of it."""

    def setUp(self) -> None:
        super().setUp()
        # The second hook changes what is next to the first one's.
        later = HOOKED.replace('int line10;', 'int line10 = 10;')
        write(self.repo, {'hooks/series': 'foo.patch\nbar.patch\nlater.patch\nmessage.patch\n',
                          'hooks/bar.patch': diff('mm/bar.c', 'int bar;\n', 'int bar = 1;\n'),
                          'hooks/later.patch': diff('mm/foo.c', HOOKED, later),
                          'hooks/message.patch': 'Subject: files\n\nText.\n---\n'})
        self.prepare()
        self.pristine = Base('pristine', self.scratch / 'pristine', 'it', '6.12.5')
        shutil.copytree(self.kernel, self.pristine.path)
        shutil.rmtree(self.kernel)
        shutil.copytree(self.tree, self.kernel)
        shutil.rmtree(self.tree.parent)

    def test_whole(self) -> None:
        hooks = self.prepare()
        self.assertIn(f'{self.kernel} has the series already: it is taken as it is\n', self.output)
        self.assertEqual(self.contents(), {os.path.relpath(path, self.kernel): path.read_text()
                                           for path in self.kernel.rglob('*') if path.is_file()})
        self.assertEqual(hooks, ['hooks/foo.patch', 'hooks/bar.patch', 'hooks/later.patch'])

    def test_by_a_variant(self) -> None:
        """It does not matter which one was applied, and what has moved around it."""
        (self.repo / 'hooks/6.12').mkdir()
        (self.repo / 'hooks/bar.patch').rename(self.repo / 'hooks/6.12/bar.patch')
        write(self.repo, {'hooks/bar.patch': diff('mm/bar.c', 'int x;\n', 'int y;\n')})
        write(self.kernel, {'mm/foo.c': 'int more;\n' + (self.kernel / 'mm/foo.c').read_text()})
        self.assertIn('hooks/6.12/bar.patch', self.prepare())
        self.assertIn('has the series already: it is taken as it is\n', self.output)

    def test_changed_since(self) -> None:
        write(self.kernel, {'mm/tests/fake_kunit.c': 'int mine;\n', 'mm/bar.c': 'int bar = 2;\n'})
        self.prepare()
        self.assertIn('taken as it is\n', self.output)
        self.assertEqual(self.read('mm/tests/fake_kunit.c'), 'int mine;\n')
        self.assertEqual(self.read('mm/bar.c'), 'int bar = 2;\n')

    def test_a_part(self) -> None:
        """One hook and none of the files: the others come on top."""
        (self.kernel / 'mm/tests/fake_kunit.c').unlink()
        (self.kernel / 'mm/tests/.kunitconfig').unlink()
        write(self.kernel, {'mm/bar.c': 'int bar;\n', 'mm/foo.c': HOOKED})
        self.prepare()
        self.assertIn('has already: foo.patch; and 0 files', self.output)
        self.assertIn('int line10 = 10;', self.read('mm/foo.c'))
        self.assertEqual(self.read('mm/bar.c'), 'int bar = 1;\n')
        self.assertTrue((self.tree / 'mm/tests/fake_kunit.c').exists())

    def test_a_part_that_is_only_for_some_kernels(self) -> None:
        """What it looks for is gone where it is applied; it stays applied."""
        (self.kernel / 'mm/tests/.kunitconfig').unlink()
        write(self.repo, {'hooks/series': 'foo.patch # if mm/foo.c has int line9;\nbar.patch\n'
                          'later.patch\nmessage.patch\n'})
        self.assertIn('hooks/foo.patch', self.prepare())
        self.assertIn('has already: foo.patch', self.output)
        self.assertIn('int line9 = 9;', self.read('mm/foo.c'))

    def test_a_part_of_the_files(self) -> None:
        (self.kernel / 'mm/tests/.kunitconfig').unlink()
        write(self.kernel, {'mm/tests/fake_kunit.c': 'int mine;\n'})
        self.prepare()
        self.assertEqual(self.read('mm/tests/fake_kunit.c'), 'int mine;\n')
        self.assertTrue((self.tree / 'mm/tests/.kunitconfig').exists())

    def test_some_topics(self) -> None:
        """As make bench wants it: the others are taken back."""
        write(self.repo, {'hooks/series': '# topic one\nfoo.patch\n# topic two\nlater.patch\n'
                          '# topic one-more\nbar.patch\n'})
        with quiet():
            Preparer(self.repo, self.base, 'one').prepare()
        self.assertEqual(self.read('mm/foo.c'), HOOKED)
        self.assertEqual(self.read('mm/bar.c'), 'int bar = 1;\n')
        with quiet():
            Preparer(self.repo, self.base, 'one-').prepare()
        self.assertEqual(self.read('mm/foo.c'), FOO_C)
        self.assertEqual(self.read('mm/bar.c'), 'int bar = 1;\n')

    def test_pristine(self) -> None:
        hooks = read_hooks(self.repo)
        self.assertEqual(take_back(self.repo, hooks, self.pristine.path), {})
