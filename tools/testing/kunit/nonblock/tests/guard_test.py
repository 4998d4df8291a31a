# SPDX-License-Identifier: GPL-2.0-only
"""Tests that nothing outlives the runner, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

from nonblock.kernel.kunit_run import descendants
from nonblock.tests.fixtures import ScratchTest, write


def lives(pid: int) -> bool:
    try:
        return ') Z' not in Path(f'/proc/{pid}/stat').read_text(encoding='utf-8')
    except OSError:
        return False


class GuardTest(ScratchTest):
    """A run that is at the boot; its kernel has a session of its own, as UML has."""

    def setUp(self) -> None:
        super().setUp()
        self.copy_runner()
        # The tests themselves may run under nohup.
        self.addCleanup(signal.signal, signal.SIGHUP,
                        signal.signal(signal.SIGHUP, signal.SIG_DFL))

    def end_by(self, end: Callable[[int], None], *wrapper: str) -> int:
        """Start it, end it so, and see the kernel gone and the lock free."""
        env = self.environment(KDIR=str(self.kernel), FAKE='wait', PYTHONUNBUFFERED='1')
        with subprocess.Popen([*wrapper, sys.executable, 'tools/testing/kunit/nonblock', 'run'],
                              cwd=self.repo, env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, start_new_session=True) as runner:
            assert runner.stdout
            kernel = next(int(line.split()[1]) for line in runner.stdout
                          if line.startswith('child '))
            everybody = descendants(runner.pid)
            self.assertIn(kernel, everybody)
            try:
                end(runner.pid)
                status = runner.wait(30)
                deadline = time.monotonic() + 20
                while any(map(lives, everybody)) and time.monotonic() < deadline:
                    time.sleep(0.05)
                self.assertEqual([pid for pid in everybody if lives(pid)], [])
            finally:
                for pid in filter(lives, everybody):
                    os.kill(pid, signal.SIGKILL)
        [lock] = (self.repo / 'build').glob('*/lock')
        subprocess.run(['flock', '-n', lock, 'true'], check=True)
        return status

    def test_closed_terminal(self) -> None:
        self.assertEqual(self.end_by(lambda pid: os.killpg(pid, signal.SIGHUP)), 130)

    def test_terminated(self) -> None:
        self.assertEqual(self.end_by(lambda pid: os.kill(pid, signal.SIGTERM)), 130)

    def test_killed(self) -> None:
        self.assertEqual(self.end_by(lambda pid: os.kill(pid, signal.SIGKILL)), -signal.SIGKILL)

    def test_group_killed(self) -> None:
        self.assertEqual(self.end_by(lambda pid: os.killpg(pid, signal.SIGKILL)),
                         -signal.SIGKILL)

    def test_worker_killed(self) -> None:
        self.assertEqual(self.end_by(lambda pid: os.kill(descendants(pid)[0], signal.SIGKILL)),
                         128 + signal.SIGKILL)

    def test_nohup(self) -> None:
        """It goes on where the signal is ignored, and ends by another."""
        def end(pid: int) -> None:
            os.killpg(pid, signal.SIGHUP)
            time.sleep(0.5)
            self.assertTrue(lives(pid))
            os.kill(pid, signal.SIGTERM)
        self.assertEqual(self.end_by(end, 'nohup'), 130)

    def start_interrupted(self) -> tuple[subprocess.Popen[str], int]:
        """A runner whose worker has been interrupted, and waits for a line; and that worker."""
        script = ('import os, sys, time\n'
                  'from nonblock import guard\n'
                  'def main():\n'
                  '    try:\n'
                  '        print(os.getpid(), flush=True)\n'
                  '        time.sleep(60)\n'
                  '    except KeyboardInterrupt:\n'
                  '        print("first", flush=True)\n'
                  '        sys.stdin.readline()\n'
                  '        return 5\n'
                  'sys.exit(guard.run(main))\n')
        write(self.scratch, {'script.py': script})
        runner = subprocess.Popen(
            [sys.executable, self.scratch / 'script.py'], text=True,
            env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert runner.stdin and runner.stdout
        self.addCleanup(runner.stdin.close)
        self.addCleanup(runner.stdout.close)
        worker = int(runner.stdout.readline())
        runner.terminate()
        self.assertEqual(runner.stdout.readline(), 'first\n')
        return runner, worker

    def test_interrupted_once(self) -> None:
        """What the first interrupt has begun comes to its end, whatever else is sent."""
        runner, worker = self.start_interrupted()
        os.kill(worker, signal.SIGTERM)
        assert runner.stdin
        runner.stdin.write('\n')
        runner.stdin.flush()
        self.assertEqual(runner.wait(30), 5)

    def test_killed_after_an_interrupt(self) -> None:
        runner, worker = self.start_interrupted()
        runner.kill()
        runner.wait(30)
        deadline = time.monotonic() + 20
        while lives(worker) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(lives(worker))

    def test_closed_files(self) -> None:
        for number in range(3):
            result = subprocess.run(
                ['sh', '-c', f'exec "$@" {number}>&-', 'sh', sys.executable,
                 'tools/testing/kunit/nonblock', 'run', '--kver=5.4'], cwd=self.repo,
                env=self.environment(), capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertEqual(result.stderr.startswith('error: KVER=5.4'), number != 2)

    def test_exit_status_and_what_is_left(self) -> None:
        """Its own status is handed on; what it has left behind is ended."""
        script = ('import subprocess, sys\n'
                  'from nonblock import guard\n'
                  'def main():\n'
                  '    child = subprocess.Popen(["sleep", "300"], start_new_session=True)\n'
                  '    print(child.pid, flush=True)\n'
                  '    return 5\n'
                  'sys.exit(guard.run(main))\n')
        write(self.scratch, {'script.py': script})
        result = subprocess.run([sys.executable, self.scratch / 'script.py'], text=True,
                                env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
                                stdout=subprocess.PIPE, timeout=60)
        self.assertEqual(result.returncode, 5)
        self.assertFalse(lives(int(result.stdout)))
