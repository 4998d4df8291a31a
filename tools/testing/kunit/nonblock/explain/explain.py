# SPDX-License-Identifier: GPL-2.0-only
"""From the logs to the text or the JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import IO, Iterator, Sequence

from nonblock.common import EXIT_USAGE, REPO, Failure, say

from . import places, show
from .answer import Answer
from .finder import Finder
from .reader import Reader
from .unpack import Unpacker

STDIN = 'standard input'


def watched(lines: Iterator[str], name: str) -> Iterator[str]:
    """With a word now and then, if it takes long."""
    start = last = time.monotonic()
    for number, line in enumerate(lines):
        if number % 65536 == 65535 and time.monotonic() - last >= 5:
            last = time.monotonic()
            print(f'{name}: {number + 1} lines read, {last - start:.0f} s', file=sys.stderr,
                  flush=True)
        yield line


def explain(file: IO[bytes], name: str) -> tuple[Answer, Finder]:
    unpacker, finder, answer = Unpacker(file, name), Finder(), Answer(name)
    reader = Reader(watched(unpacker.lines(), name), finder.busy)
    for report in finder.reports(reader):
        answer.take(report, finder.log.release)
    answer.finish(finder.log, reader.count, unpacker.trouble)
    if not reader.count:
        raise Failure(EXIT_USAGE, f'{name}: {unpacker.trouble}' if unpacker.trouble else
                      f'{name} is empty')
    if not finder.log.is_kernels and not reader.stamped:
        raise Failure(EXIT_USAGE, f'{name} does not look like a kernel log: none of its '
                      f'{reader.count} lines has a time stamp, a "Linux version", a report or a '
                      'call trace. Give what `dmesg` or `journalctl -k` prints, or what was on the '
                      'console.' + (f' And {unpacker.trouble}.' if unpacker.trouble else ''))
    return answer, finder


def open_log(path: str) -> IO[bytes]:
    if path == '-':
        if sys.stdin.isatty():
            raise Failure(EXIT_USAGE, 'no log: give LOG=dmesg.txt, or pipe one in: '
                          'dmesg | make explain')
        return sys.stdin.buffer
    try:
        return open(path, 'rb')
    except OSError as error:
        raise Failure(EXIT_USAGE, f'LOG={path}: {error.strerror}') from None


def run(paths: Sequence[str], as_json: bool = False, vmlinux: str = '', modules: str = '',
        kdir: str = '') -> int:
    places.check_modules(modules)
    status, answers = 0, []
    for path in paths or ['-']:
        try:
            with open_log(path) as file:
                answer, finder = explain(file, STDIN if path == '-' else path)
            place = places.locate(vmlinux, modules, kdir, REPO, finder.log.banner,
                                  show.symbols_of(answer))
        except (Failure, OSError) as error:
            if len(paths) < 2 and isinstance(error, Failure):
                raise
            text = str(error) if isinstance(error, Failure) else \
                f'LOG={path}: {error.strerror or error}'
            print(f'error: {text}', file=sys.stderr, flush=True)
            status = EXIT_USAGE
            continue
        answers.append(answer)
        status = max(status, answer.status)
        if not as_json:
            if len(paths) > 1:
                say(f'== {path}')
            say('\n'.join(show.show(answer, place)))
    if as_json:
        say(json.dumps([show.as_json(answer) for answer in answers], indent=2))
    return status
