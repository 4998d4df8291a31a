# SPDX-License-Identifier: GPL-2.0-only
"""Tests of locks, files and output that other runs and programs share with us."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

from nonblock.common import LOCK, Failure, lock, write_atomically
from nonblock.options import Options
from nonblock.tests.fixtures import TOP, ScratchTest, write
from nonblock.verbs import clean


class WriteTest(ScratchTest):
    def test_two_at_once(self) -> None:
        """Another one writes the same file between our writing and our renaming."""
        path = self.scratch / 'file'
        replace = Path.replace

        def interrupted(self: Path, target: Path) -> Path:
            with mock.patch.object(Path, 'replace', replace):
                write_atomically(path, 'theirs')
            return replace(self, target)

        with mock.patch.object(Path, 'replace', interrupted):
            write_atomically(path, 'ours')
        self.assertEqual(path.read_text(), 'ours')
        self.assertEqual([each.name for each in self.scratch.glob('file*')], ['file'])

    def test_failure_leaves_nothing(self) -> None:
        (self.scratch / 'folder/below').mkdir(parents=True)
        with self.assertRaises(OSError):
            write_atomically(self.scratch / 'folder', 'text')
        self.assertEqual(list(self.scratch.glob('folder?*')), [])


class CleanTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.build = self.repo / 'build'
        write(self.build, {'one/linux/Makefile': '', 'one/made.json': '', f'one/{LOCK}': '',
                           f'two/{LOCK}': '', 'two/um/linux': '', 'three/linux/Makefile': ''})
        (self.build / 'one/link').symlink_to('linux')

    def clean(self) -> None:
        with mock.patch.object(clean, 'REPO', self.repo):
            clean.run(Options())

    def test_all_goes(self) -> None:
        """But the locks: who waits for one that was removed would have one of its own."""
        for _ in range(2):
            self.clean()
            self.assertEqual({str(path.relative_to(self.build)) for path in
                              self.build.rglob('*') if not path.is_dir()},
                             {f'{name}/{LOCK}' for name in ('one', 'two', 'three')})
        shutil.rmtree(self.build)
        self.clean()

    def test_not_beside_a_run(self) -> None:
        with lock(self.build / 'two' / LOCK, 'build/two'), self.assertRaises(Failure) as caught:
            self.clean()
        self.assertRegex(str(caught.exception), r'^build/two: process \d+ \(.*\) is using it')
        self.assertTrue((self.build / 'one/linux/Makefile').exists())
        self.assertTrue((self.build / 'two/um/linux').exists())


class ClosedPipeTest(ScratchTest):
    def test_no_trace(self) -> None:
        """Who reads the output has seen enough, as `head` has."""
        self.copy_runner()
        with subprocess.Popen([sys.executable, 'tools/testing/kunit/nonblock', 'tree'],
                              cwd=self.repo, env=self.environment(KDIR=str(self.kernel)),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as runner:
            assert runner.stdout and runner.stderr
            runner.stdout.close()
            said = runner.stderr.read().decode()
        self.assertEqual((runner.returncode, said), (128 + signal.SIGPIPE, ''))

    def test_help(self) -> None:
        with subprocess.Popen(['make', '-s', 'help'], cwd=TOP, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as shown:
            assert shown.stdout
            shown.stdout.close()
        self.assertEqual(shown.returncode, 0)

    def test_both_streams(self) -> None:
        self.copy_runner()
        with subprocess.Popen([sys.executable, 'tools/testing/kunit/nonblock', 'tree'],
                              cwd=self.repo, env=self.environment(KDIR=str(self.kernel)),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as runner:
            assert runner.stdout
            runner.stdout.close()
        self.assertEqual(runner.returncode, 128 + signal.SIGPIPE)
