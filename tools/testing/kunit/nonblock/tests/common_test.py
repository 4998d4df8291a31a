# SPDX-License-Identifier: GPL-2.0-only
"""Tests of locks, files and output that other runs and programs share with us."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

from nonblock.common import LOCK, Failure, clean, lock, write_atomically
from nonblock.tests.fixtures import ScratchTest, quiet, write


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
        write(self.build, {'one/linux/Makefile': '', f'one/{LOCK}': '', f'two/{LOCK}': '',
                           'two/um/linux': '', 'file': ''})

    def test_all_goes(self) -> None:
        clean(self.build)
        self.assertFalse(self.build.exists())
        clean(self.build)

    def test_not_beside_a_run(self) -> None:
        with lock(self.build / 'two' / LOCK, 'build/two'), self.assertRaises(Failure) as caught:
            clean(self.build)
        self.assertRegex(str(caught.exception), r'^build/two: process \d+ \(.*\) is using it')
        self.assertTrue((self.build / 'one/linux/Makefile').exists())
        self.assertTrue((self.build / 'two/um/linux').exists())

    def test_removed_under_one_who_waits(self) -> None:
        """The lock of a removed folder is no lock: who has waited for it takes the new one."""
        path = self.build / 'one' / LOCK
        taken, go = threading.Event(), threading.Event()

        def wait_for_it() -> None:
            with lock(path, 'build/one'):
                taken.set()
                go.wait(10)

        with open(path, 'a+', encoding='utf-8') as old, quiet() as output:
            fcntl.flock(old, fcntl.LOCK_EX)
            waiting = threading.Thread(target=wait_for_it)
            waiting.start()
            while 'waiting for build/one' not in output.getvalue():
                pass
            path.unlink()
            fcntl.flock(old, fcntl.LOCK_UN)
            self.assertTrue(taken.wait(10))
        with open(path, 'a+', encoding='utf-8') as new, self.assertRaises(BlockingIOError):
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
        go.set()
        waiting.join()


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

    def test_both_streams(self) -> None:
        self.copy_runner()
        with subprocess.Popen([sys.executable, 'tools/testing/kunit/nonblock', 'tree'],
                              cwd=self.repo, env=self.environment(KDIR=str(self.kernel)),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as runner:
            assert runner.stdout
            runner.stdout.close()
        self.assertEqual(runner.returncode, 128 + signal.SIGPIPE)
