# SPDX-License-Identifier: GPL-2.0-only
"""What all parts of the runner need: errors, progress, locks, other programs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import IO, Iterator, Mapping, Optional, Sequence

# Exit codes. --help promises them.
EXIT_FAILED = 1         # a test failed
EXIT_USAGE = 2          # bad option or input; argparse uses 2 as well
EXIT_TREE = 3           # a hook or an overlay file does not fit the tree
EXIT_SOURCE = 4         # the kernel source could not be fetched or unpacked
EXIT_BUILD = 5          # the kernel did not build
EXIT_HANG = 6           # the kernel hung or crashed
EXIT_MACHINE = 7        # disk full, no permission, missing package
EXIT_INTERRUPTED = 130
EXIT_CODES = """exit codes:
  0  everything passed
  1  a test failed, or did not run
  2  bad option or input
  3  a hook or a file of the suites does not fit the tree
  4  the kernel source could not be downloaded or unpacked
  5  the kernel did not build
  6  the kernel hung or crashed
  7  this machine: disk full, no permission, a missing package
  130  interrupted; the next run goes on from there
  141  whoever read the output is gone"""

REPO = Path(__file__).resolve().parents[4]

LOCK = 'lock'           # in each folder of build/


class Failure(Exception):
    """A foreseeable trouble: a message for the user and an exit code."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


def as_failure(error: Failure | OSError) -> Failure:
    if isinstance(error, Failure):
        return error
    way_out = {errno.ENOSPC: ' Free some space and run it again; it goes on from here.',
               errno.EACCES: ' Who owns it?',
               errno.EROFS: ' Clone it to where you may write.'}.get(error.errno or 0, '')
    return Failure(EXIT_MACHINE, f'{error.filename or "writing"}: {error.strerror}.{way_out}')


def user_path(name: str, text: str) -> Path:
    """The path that this option gives, links followed, whether anything is there or not."""
    try:
        path = Path(text).expanduser().resolve()
        path.exists()
        return path
    except OSError as error:
        raise Failure(EXIT_USAGE, f'{name}={text}: {error.strerror}') from None
    except (RuntimeError, ValueError) as error:
        raise Failure(EXIT_USAGE, f'{name}={text}: {error}') from None


def say(text: str) -> None:
    # Flushed, so that it keeps its place among other programs' output.
    print(text, flush=True)


_remarks: list[str] = []


def remark(text: str) -> None:
    """Say it, and again beside the verdict."""
    say(text)
    _remarks.append(text)


def take_remarks() -> list[str]:
    found = list(dict.fromkeys(_remarks))
    _remarks.clear()
    return found


def hush() -> None:
    """Who reads the output has seen enough, as `head` has: no more is said, at exit either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)


def as_table(rows: list[list[str]]) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join([f'{row[0]:{widths[0]}}', *(
        f'{text:>{width}}' for text, width in zip(row[1:], widths[1:]))]).rstrip() for row in rows)


class Progress:
    """A line every ten seconds."""

    def __init__(self, label: str):
        self._label = label
        self._start = self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() >= self._last + 10

    def update(self, text: str) -> None:
        if self.due():
            self._last = time.monotonic()
            say(f'{self._label}: {text}, {self._last - self._start:.0f} s')


def holder_of(file: IO[str]) -> str:
    """Who has the lock, by what it wrote there."""
    file.seek(0)
    return file.read().strip() or 'another run'


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Hold an flock; while another run has it, say so and wait. The file is never removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'a+', encoding='utf-8') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f'waiting for {what}: {holder_of(file)} is using it ...')
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f'process {os.getpid()} ({" ".join(sys.argv[1:]) or "tests"})')
        file.flush()
        try:
            yield
        finally:
            # An old name must not be shown to the next one who waits.
            file.truncate(0)


def write_atomically(path: Path, text: str) -> None:
    # Two runs may write the same file of the cache.
    temporary = path.with_name(f'.{uuid.uuid4().hex}.new')
    try:
        temporary.write_text(text, encoding='utf-8')
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def tool_failure(code: int, what: str, stderr: str) -> Failure:
    """The Failure for a program that failed with this on its stderr."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    full = [line for line in lines if 'No space left on device' in line]
    if full:
        return Failure(EXIT_MACHINE, f'{what}: the disk is full ({full[0].strip()}). '
                       'Free some space and run it again; it goes on from here.')
    return Failure(code, f'{what} failed:\n    ' + '\n    '.join(lines[-5:] or ['(no message)']))


def capture(command: Sequence[str | Path], cwd: Optional[Path] = None,
            env: Optional[Mapping[str, str]] = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end without input; its output is text."""
    try:
        return subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors='surrogateescape',
                              check=False)
    except FileNotFoundError as error:
        raise Failure(EXIT_MACHINE, f'{error.filename}: not found. '
                      'tools/testing/kunit/nonblock/packages.sh installs what is needed.') from None
