# SPDX-License-Identifier: GPL-2.0-only
"""Tests of make series: what git am makes of it, and what is refused."""

from __future__ import annotations

import os
import subprocess
import unittest
from pathlib import Path
from unittest import mock

from common import EXIT_TREE, Failure
from fixtures import FOO_PATCH, TOP, ScratchTest, quiet, snapshot, write
from hooks import candidates, read_series
from series import COVER, FILES, NOBODY, read_files, read_message, write_series
from source import from_kdir
from tree import overlay_files

HOOKS = {
    'hooks/series': '# topic one\nold.patch\nfoo.patch\n'
                    'none.patch # if mm/foo.c has something\n# topic two\nfiles.patch\n',
    'hooks/foo.patch': f'Subject: mm: change foo\n\nBecause.\n# not a comment\n---\n{FOO_PATCH}',
    'hooks/files.patch': 'Subject: mm: test foo\n\nFiles alone.\n---\n',
    'hooks/6.12/old.patch': 'Subject: mm: change bar\n\nOld.\n---\n--- a/mm/bar.c\n+++ b/mm/bar.c\n'
                            '@@ -1 +1 @@\n-int bar;\n+int bar = 1;\n',
    'hooks/none.patch': 'Subject: no\n\nNo.\n---\n',
    'hooks/files': 'files.patch\n\tmm/tests/\n',
    'hooks/cover-letter': 'Subject: mm: foo\nDate: Sat, 1 Jan 2022 00:00:00 +0000\n\nAll of it.\n',
}


class SeriesTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        write(self.repo, HOOKS)
        patch = mock.patch.dict(os.environ, {
            'HOME': str(self.scratch), 'XDG_CONFIG_HOME': str(self.scratch),
            'GIT_CONFIG_NOSYSTEM': '1', 'GIT_AUTHOR_NAME': 'A Sender',
            'GIT_AUTHOR_EMAIL': 'sender@example.org', 'GIT_COMMITTER_NAME': 'Another',
            'GIT_COMMITTER_EMAIL': 'another@example.org'})
        patch.start()
        self.addCleanup(patch.stop)
        self.base = from_kdir(str(self.kernel), self.repo / 'build')

    def series(self) -> Path:
        with quiet():
            return write_series(self.repo, self.base)

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.series().iterdir()}

    def refuse(self, *parts: str) -> None:
        with self.assertRaises(Failure) as caught:
            self.series()
        self.assertEqual(caught.exception.code, EXIT_TREE)
        for part in parts:
            self.assertIn(part, str(caught.exception))

    def git(self, *arguments: str) -> str:
        # In a hook of git, and in its rebase --exec, GIT_DIR names the repository we are in.
        env = {key: value for key, value in os.environ.items()
               if key not in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE')}
        return subprocess.run(['git', *arguments], cwd=self.kernel, check=True, text=True,
                              capture_output=True, env=env).stdout


class WriteTest(SeriesTest):
    def test_git_am(self) -> None:
        path = self.series()
        self.assertEqual(sorted(patch.name for patch in path.iterdir()), [
            '0000-cover-letter.patch', '0001-mm-change-bar.patch', '0002-mm-change-foo.patch',
            '0003-mm-test-foo.patch'])
        self.git('init', '-q', '.')
        self.git('add', '-A')
        self.git('commit', '-qm', 'base')
        self.git('am', '-q', '--empty=drop', *map(str, sorted(path.iterdir())))
        self.assertEqual(self.git('log', '--format=%s|%b|%an|%ae|%at', '-2', 'HEAD~1'),
                         'mm: change foo|Because.\n# not a comment\n|A Sender|sender@example.org|'
                         '1640995200\n'
                         'mm: change bar|Old.\n|A Sender|sender@example.org|1640995200\n')
        self.assertEqual(self.git('show', '--stat=80', '--format=', 'HEAD').splitlines()[-1],
                         ' 2 files changed, 12 insertions(+)')
        for name in overlay_files(self.repo):
            self.assertEqual((self.kernel / name).read_bytes(), (self.repo / name).read_bytes())
        self.assertIn('int line9 = 9;', (self.kernel / 'mm/foo.c').read_text())

    def test_the_same_again_whatever_the_configuration(self) -> None:
        before = self.contents()
        write(self.scratch, {'.gitconfig': '[diff]\n\tnoprefix = true\n\tcontext = 1\n'
                                           '[format]\n\tsignature = me\n\tsubjectPrefix = X\n'})
        os.environ['GIT_COMMITTER_DATE'] = '2001-01-01T00:00:00Z'
        self.assertEqual(self.contents(), before)

    def test_cover_letter(self) -> None:
        text = self.contents()['0000-cover-letter.patch'].decode()
        self.assertIn('Subject: [PATCH 0/3] mm: foo\n\nAll of it.\n\n'
                      'These patches are for Linux 6.12.5.\n', text)
        self.assertIn('From: A Sender <sender@example.org>\n'
                      'Date: Sat, 1 Jan 2022 00:00:00 +0000\n', text)

    def test_nobody_signs(self) -> None:
        self.assertFalse([name for name, text in self.contents().items()
                          if b'Signed-off-by' in text])

    def test_sender_unknown(self) -> None:
        for name in ('GIT_AUTHOR_NAME', 'GIT_AUTHOR_EMAIL'):
            del os.environ[name]
        for text in self.contents().values():
            self.assertIn(f'\nFrom: {NOBODY}\n', text.decode())

    def test_tree_is_only_read(self) -> None:
        before = snapshot(self.kernel)
        self.series()
        self.assertEqual(snapshot(self.kernel), before)

    def test_tree_that_has_it_already(self) -> None:
        write(self.kernel, {'mm/tests/fake_kunit.c': ''})
        self.refuse('mm/tests/fake_kunit.c', 'no hook of the series')

    def test_a_hook_that_does_not_apply_leaves_the_old_series(self) -> None:
        before = self.contents()
        write(self.kernel, {'mm/foo.c': ''})
        self.refuse('hook foo.patch does not apply')
        path = self.repo / 'build' / self.base.name / 'series'
        self.assertEqual({one.name: one.read_bytes() for one in path.iterdir()}, before)

    def test_hook_without_a_text(self) -> None:
        write(self.repo, {'hooks/files.patch': 'Subject: mm: test foo\n---\n'})
        self.refuse('hooks/files.patch', 'Subject:')

    def test_cover_letter_without_a_date(self) -> None:
        write(self.repo, {COVER: 'Subject: mm: foo\n\nAll of it.\n'})
        self.refuse(COVER, 'Date:')


class FilesTest(SeriesTest):
    def refuse_files(self, text: str, *parts: str) -> None:
        write(self.repo, {FILES: text})
        self.refuse(FILES, *parts)

    def test_nobody_brings_it(self) -> None:
        self.refuse_files('files.patch\n\tmm/tests/fake_kunit.c\n', 'mm/tests/.kunitconfig',
                          'which hook')

    def test_there_is_no_such_file(self) -> None:
        self.refuse_files('files.patch\n\tmm/none.c\n', ':2: mm/none.c', 'no such file')

    def test_folder_without_a_slash(self) -> None:
        self.refuse_files('files.patch\n\tmm/tests\n', ':2: mm/tests', 'a folder ends in "/"')

    def test_two_bring_it(self) -> None:
        self.refuse_files('foo.patch\n\tmm/tests/\nfiles.patch\n\tmm/\n',
                          ':4: mm/', 'foo.patch brings mm/tests/.kunitconfig already')

    def test_a_file_is_taken_out_of_its_folder(self) -> None:
        write(self.repo, {FILES: 'foo.patch\n\tmm/tests/\nfiles.patch\n\tmm/tests/fake_kunit.c\n'})
        self.assertEqual(read_files(self.repo), {'foo.patch': ['mm/tests/.kunitconfig'],
                                                 'files.patch': ['mm/tests/fake_kunit.c']})

    def test_hook_that_is_not_in_the_series(self) -> None:
        self.refuse_files('bar.patch\n\tmm/tests/\n', ':1: bar.patch', 'no such hook')

    def test_hook_named_twice(self) -> None:
        self.refuse_files('foo.patch\nfoo.patch\n\tmm/tests/\n', ':2: foo.patch', 'before')

    def test_file_of_no_hook(self) -> None:
        self.refuse_files('\tmm/tests/\n', ':1: mm/tests/', 'which hook')

    def test_missing(self) -> None:
        (self.repo / FILES).unlink()
        self.refuse(FILES, 'is missing')


class RepositoryTest(unittest.TestCase):
    """The repository's own hooks and files."""

    def test_each_file_is_brought_once(self) -> None:
        files = read_files(TOP)
        self.assertEqual(sorted(name for names in files.values() for name in names),
                         overlay_files(TOP))

    def test_each_hook_has_a_message(self) -> None:
        for hook in read_series(TOP):
            for patch in candidates(TOP, hook):
                with self.subTest(patch=patch.name):
                    subject, _, body = read_message(patch)
                    self.assertLessEqual(len(subject), 75)
                    self.assertNotIn('Signed-off-by', body)
