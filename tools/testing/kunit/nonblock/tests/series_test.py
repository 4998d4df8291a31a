# SPDX-License-Identifier: GPL-2.0-only
"""Tests of make series: what git am makes of it, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from pathlib import Path
from unittest import mock

from nonblock.common import EXIT_TREE, EXIT_USAGE, Failure
from nonblock.kernel import session
from nonblock.options import Options
from nonblock.tests.fixtures import FOO_C, FOO_PATCH, TOP, ScratchTest, diff, quiet, snapshot, write
from nonblock.tree.hooks import candidates, read_hooks
from nonblock.tree.series import (ALL, FILES, NOBODY, read_files, read_message, read_topics,
                                  write_series)
from nonblock.tree.source import from_kdir
from nonblock.tree.prepare import overlay_files
from nonblock.verbs import series as verb

# At the end of what foo.patch changes at the begin
THREE = diff('mm/foo.c', FOO_C, FOO_C.replace('int line17;', 'int line17 = 17;'))

MAINTAINERS = r'''
print "Some One <one\@example.org> (maintainer:MEMORY (MANAGEMENT))\n";
print "Some Two <two\@example.org> (reviewer:MEMORY (MANAGEMENT))\n";
print "linux-mm\@kvack.org (open list:MEMORY (MANAGEMENT))\n";
print "Three <three\@example.org> (supporter:" . scalar(@ARGV) . ")\n";
'''

HOOKS = {
    'hooks/series': '# topic one\nold.patch\nfoo.patch\n'
                    '# if mm/foo.c has something: none.patch\n# topic two\nfiles.patch\n'
                    '# topic three\nthree.patch\n',
    'hooks/three.patch': 'Subject: mm: change foo once more\n\nMore.\n---\n' + THREE,
    'hooks/foo.patch': f'Subject: mm: change foo\n\nBecause.\n# not a comment\n---\n{FOO_PATCH}',
    'hooks/files.patch': 'Subject: mm: test foo\n\nFiles alone.\n---\n',
    'hooks/6.12/old.patch': 'Subject: mm: change bar\n\nOld.\n---\n--- a/mm/bar.c\n+++ b/mm/bar.c\n'
                            '@@ -1 +1 @@\n-int bar;\n+int bar = 1;\n',
    'hooks/none.patch': 'Subject: no\n\nNo.\n---\n',
    'hooks/files': 'files.patch\n\tmm/tests/\n',
    'hooks/cover/one': 'Subject: mm: foo\nDate: Sat, 1 Jan 2022 00:00:00 +0000\n\nAll of it.\n',
    'hooks/cover/two': 'Subject: mm: test\nDate: Sun, 2 Jan 2022 00:00:00 +0000\n'
                       'Depends: one\n\nTests.\n',
    # On no other
    'hooks/cover/three': 'Subject: mm: bar\nDate: Mon, 3 Jan 2022 00:00:00 +0000\n\nAlone.\n',
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

    def series(self, topic: str = '') -> Path:
        with quiet() as output:
            self.written = write_series(self.repo, self.base, topic)
        self.output = output.getvalue()
        return self.repo / 'build' / self.base.name / 'series'

    def contents(self, topic: str = '') -> dict[str, bytes]:
        top = self.series(topic)
        return {os.path.relpath(path, top): path.read_bytes() for path in top.rglob('*.*')}

    def cover(self, topic: str, alone: bool = True) -> str:
        self.series(topic if alone else '')
        return self.written[topic][0].read_text()

    def refuse(self, *parts: str, topic: str = '', code: int = EXIT_TREE) -> None:
        with quiet(), self.assertRaises(Failure) as caught:
            write_series(self.repo, self.base, topic)
        self.assertEqual(caught.exception.code, code)
        for part in parts:
            self.assertIn(part, str(caught.exception))

    def git(self, *arguments: str) -> str:
        # In a hook of git, and in its rebase --exec, GIT_DIR names the repository we are in.
        env = {key: value for key, value in os.environ.items()
               if key not in ('GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE')}
        return subprocess.run(['git', *arguments], cwd=self.kernel, check=True, text=True,
                              capture_output=True, env=env).stdout


class WriteTest(SeriesTest):
    def begin(self) -> None:
        self.git('init', '-q', '.')
        self.git('add', '-A')
        self.git('commit', '-qm', 'base')

    def test_names(self) -> None:
        self.series()
        self.assertEqual({topic: [path.name for path in paths]
                          for topic, paths in self.written.items()}, {
            'one': ['0000-cover-letter.patch', '0001-mm-change-bar.patch',
                    '0002-mm-change-foo.patch'],
            'two': ['0000-cover-letter.patch', '0001-mm-test-foo.patch'],
            'three': ['0000-cover-letter.patch', '0001-mm-change-foo-once-more.patch']})

    def test_git_am_of_all(self) -> None:
        path = self.series()
        self.begin()
        self.git('am', '-q', '--empty=drop', str(path / ALL))
        self.assertEqual(self.git('log', '--format=%s|%b|%an|%ae|%at', '-4'),
                         'mm: change foo once more|More.\n|A Sender|sender@example.org|'
                         '1641168000\n'
                         'mm: test foo|Files alone.\n|A Sender|sender@example.org|1641081600\n'
                         'mm: change foo|Because.\n# not a comment\n|A Sender|sender@example.org|'
                         '1640995200\n'
                         'mm: change bar|Old.\n|A Sender|sender@example.org|1640995200\n')
        self.assertEqual(self.git('show', '--stat=80', '--format=', 'HEAD~1').splitlines()[-1],
                         ' 2 files changed, 12 insertions(+)')
        for name in overlay_files(self.repo):
            self.assertEqual((self.kernel / name).read_bytes(), (self.repo / name).read_bytes())
        self.assertIn('int line9 = 9;', (self.kernel / 'mm/foo.c').read_text())

    def test_one_topic_alone(self) -> None:
        """It applies without those that it does not depend on."""
        self.assertIn('for Linux 6.12.5.\n', self.cover('three'))
        self.begin()
        self.git('am', '-q', '--empty=drop', *map(str, self.written['three']))
        self.assertEqual(self.git('log', '--format=%s').splitlines(),
                         ['mm: change foo once more', 'base'])

    def test_one_topic_on_another(self) -> None:
        path = self.series('two')
        self.assertEqual(sorted(os.listdir(path)), ['all.mbox', 'one', 'two'])
        self.assertIn('for Linux 6.12.5, with these applied before: one.\n', self.cover('two'))
        self.begin()
        self.git('am', '-q', str(path / 'all.mbox'))
        self.assertEqual(self.git('log', '--format=%s').splitlines(),
                         ['mm: test foo', 'mm: change foo', 'mm: change bar', 'base'])

    def test_what_is_said(self) -> None:
        with quiet() as output, mock.patch.object(verb, 'REPO', self.repo), \
                mock.patch.object(session, 'REPO', self.repo):
            verb.run(Options(kdir=str(self.kernel), topic='three'))
        self.assertEqual([line.rpartition('/series/')[2] for line in
                          output.getvalue().splitlines()[1:]], [
            'three: 1 patches and a cover letter', '    0001-mm-change-foo-once-more.patch',
            f'On Linux 6.12.5 ({self.kernel}), all of it, in its order:', 'all.mbox'])

    def test_depends_on_what_others_depend_on(self) -> None:
        cover = 'Subject: mm: bar\nDate: Mon, 3 Jan 2022 00:00:00 +0000\nDepends: two\n\nText.\n'
        write(self.repo, {'hooks/cover/three': cover})
        self.assertIn('applied before: one, two.\n', self.cover('three'))

    def test_a_topic_that_is_missing_below(self) -> None:
        write(self.repo, {'hooks/three.patch': 'Subject: mm: change bar\n\nMore.\n---\n' + diff(
            'mm/bar.c', 'int bar = 1;\n', 'int bar = 2;\n')})
        self.series()
        self.refuse('topic three, on no other: hook three.patch does not apply', topic='three')

    def test_topic_that_is_not_for_this_kernel(self) -> None:
        write(self.repo, {'hooks/series': '# topic one\n# if mm/foo.c has something: none.patch\n'
                          '# topic two\nfiles.patch\n'})
        self.series()
        self.assertEqual(list(self.written), ['two'])
        self.assertIn('topic one: nothing in it is for', self.output)
        self.assertIn('for Linux 6.12.5.\n', self.cover('two'))

    def test_topic_unknown(self) -> None:
        self.refuse('TOPIC=four', 'one, two, three', topic='four', code=EXIT_USAGE)
        self.assertFalse((self.repo / 'build').exists())

    def test_recipients(self) -> None:
        """In the cover letter alone; the script gets all patches."""
        write(self.kernel, {'scripts/get_maintainer.pl': MAINTAINERS})
        self.assertIn('To: Some One <one@example.org>,\n Three <three@example.org>\n'
                      'Cc: Some Two <two@example.org>,\n linux-mm@kvack.org\n'
                      'Subject: [PATCH 0/2] mm: foo\n', self.cover('one'))
        self.assertNotIn('one@example.org', self.written['one'][1].read_text())

    def test_no_recipients(self) -> None:
        self.assertNotIn('\nTo: ', self.cover('one'))
        self.assertIn('get_maintainer.pl: Can\'t open perl script', self.output)
        write(self.kernel, {'scripts/get_maintainer.pl': 'die "no idea\\n";\n'})
        self.assertNotIn('\nTo: ', self.cover('one'))
        self.assertIn('get_maintainer.pl: no idea: no To: and Cc:', self.output)

    def test_the_same_again_whatever_the_configuration(self) -> None:
        before = self.contents()
        write(self.scratch, {'.gitconfig': '[diff]\n\tnoprefix = true\n\tcontext = 1\n'
                                           '[format]\n\tsignature = me\n\tsubjectPrefix = X\n'})
        os.environ['GIT_COMMITTER_DATE'] = '2001-01-01T00:00:00Z'
        self.assertEqual(self.contents(), before)

    def test_cover_letter(self) -> None:
        text = self.cover('one', alone=False)
        self.assertIn('Subject: [PATCH 0/2] mm: foo\n\nAll of it.\n\n'
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
        self.refuse('already has mm/tests/fake_kunit.c')

    def test_a_hook_that_does_not_apply_leaves_the_old_series(self) -> None:
        before = self.contents()
        write(self.kernel, {'mm/foo.c': ''})
        self.refuse('hook foo.patch does not apply')
        path = self.repo / 'build' / self.base.name / 'series'
        self.assertEqual({os.path.relpath(one, path): one.read_bytes()
                          for one in path.rglob('*.*')}, before)

    def test_hook_without_a_text(self) -> None:
        write(self.repo, {'hooks/files.patch': 'Subject: mm: test foo\n---\n'})
        self.refuse('hooks/files.patch', 'Subject:')

    def test_cover_letter_that_is_wrong(self) -> None:
        good = HOOKS['hooks/cover/two']
        for text, parts in ((good.replace('Date', 'X-Date'), 'want a Date:'),
                            (good.replace('one', 'three'), 'Depends: three: no topic'),
                            (good.replace('one', 'two'), 'Depends: two: no topic'),
                            (good.replace('Subject', 'X'), 'want "Subject: ...')):
            with self.subTest(text=text):
                write(self.repo, {'hooks/cover/two': text})
                self.refuse('hooks/cover/two', parts)
        (self.repo / 'hooks/cover/two').unlink()
        self.refuse('has topic two', 'hooks/cover/two')

    def test_hook_of_no_topic(self) -> None:
        write(self.repo, {'hooks/series': 'foo.patch\n# topic two\nfiles.patch\n'})
        self.refuse('foo.patch is in no topic')


class FilesTest(SeriesTest):
    def refuse_files(self, text: str, *parts: str) -> None:
        write(self.repo, {FILES: text})
        self.refuse(FILES, *parts)

    def test_nobody_brings_it(self) -> None:
        self.refuse_files('files.patch\n\tmm/tests/fake_kunit.c\n', 'mm/tests/.kunitconfig',
                          'which hook')

    def test_there_is_no_such_file(self) -> None:
        for name in ('mm/none.c', 'mm/none/'):
            self.refuse_files(f'files.patch\n\tmm/tests/\n\t{name}\n', name, 'no such file')

    def test_folder_without_a_slash(self) -> None:
        self.refuse_files('files.patch\n\tmm/tests\n', 'which hook brings mm/tests/')

    def test_a_file_is_taken_out_of_its_folder(self) -> None:
        write(self.repo, {FILES: 'foo.patch\n\tmm/tests/\nfiles.patch\n\tmm/tests/fake_kunit.c\n'})
        self.assertEqual(read_files(self.repo), {'foo.patch': ['mm/tests/.kunitconfig'],
                                                 'files.patch': ['mm/tests/fake_kunit.c']})

    def test_hook_that_is_not_in_the_series(self) -> None:
        self.refuse_files('bar.patch\n\tmm/tests/\n', 'no such hook: bar.patch')


class RepositoryTest(unittest.TestCase):
    """The repository's own hooks and files."""

    def test_each_file_is_brought_once(self) -> None:
        files = read_files(TOP)
        self.assertEqual(sorted(name for names in files.values() for name in names),
                         overlay_files(TOP))

    def test_each_file_is_in_maintainers(self) -> None:
        """By the entry of the series, as get_maintainer.pl would find it."""
        text = ''.join(path.read_text(encoding='utf-8')
                       for path in (TOP / 'hooks').glob('maintainers-*.patch'))
        places = re.findall(r'(?m)^\+F:\t(.*)$', text)
        self.assertEqual([name for name in overlay_files(TOP) if not any(
            name.startswith(place) if place.endswith('/') else Path(name).match(place)
            for place in places)], [])

    def test_each_topic_has_a_cover_letter(self) -> None:
        for topic in read_topics(TOP).values():
            self.assertLessEqual(len(topic.subject), 75)
        self.assertEqual(sorted(path.name for path in (TOP / 'hooks/cover').iterdir()),
                         sorted(read_topics(TOP)))

    def test_each_hook_has_a_message(self) -> None:
        for hook in read_hooks(TOP):
            for patch in candidates(TOP, hook.name):
                with self.subTest(patch=patch.name):
                    subject, _, body = read_message(patch)
                    self.assertLessEqual(len(subject), 75)
                    self.assertNotIn('Signed-off-by', body)
