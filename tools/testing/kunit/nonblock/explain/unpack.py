# SPDX-License-Identifier: GPL-2.0-only
"""From the bytes of a file to lines of text."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import shutil
import subprocess
import threading
import zlib
from typing import IO, Iterator, cast

from nonblock.common import EXIT_MACHINE, EXIT_USAGE, Failure

# A line of a report is far shorter. What has no lines is not read into memory at once.
LONGEST = 16384
HEAD = 4096


class Unpacker:
    """The lines of a file. What is wrong with it is in `trouble` afterwards."""

    def __init__(self, file: IO[bytes], name: str):
        self.name = name
        self.trouble = ''
        self._file = file if isinstance(file, io.BufferedReader) else \
            io.BufferedReader(cast(io.RawIOBase, file))

    def lines(self) -> Iterator[str]:
        try:
            stream = self._unpacked(self._file)
            head = stream.peek(HEAD)[:HEAD]
            # Lines end with "\n", or all with "\r"; then None has them as "\n".
            newline = None if b'\r' in head and b'\n' not in head else '\n'
            text = io.TextIOWrapper(stream, self._encoding(head), 'replace', newline=newline)
            try:
                yield from self._bounded(text)
            finally:
                text.detach()       # Who opened the file closes it.
        except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            self.trouble = f'it is damaged or cut off ({error})'
        except UnicodeError as error:
            self.trouble = f'it is not what it begins like ({error})'

    @staticmethod
    def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
        while line := text.readline(LONGEST):
            whole = line
            while len(whole) == LONGEST and not whole.endswith('\n'):
                whole = text.readline(LONGEST)
            yield line if line.endswith('\n') or not whole.endswith('\n') else line + '\n'

    def _unpacked(self, file: io.BufferedReader) -> io.BufferedReader:
        head = file.peek(HEAD)[:HEAD]
        if head.startswith(b'\x1f\x8b'):
            packed: io.IOBase = gzip.GzipFile(fileobj=file)
        elif head.startswith(b'\xfd7zXZ\0'):
            packed = lzma.LZMAFile(file)
        elif head.startswith(b'BZh'):
            packed = bz2.BZ2File(file)
        elif head.startswith(b'\x28\xb5\x2f\xfd'):
            packed = self._zstd(file)
        else:
            self._refuse(head)
            return file
        return io.BufferedReader(cast(io.RawIOBase, packed))

    def _zstd(self, file: io.BufferedReader) -> io.IOBase:
        """By the program: Python knows it from 3.14 on."""
        if not shutil.which('zstd'):
            raise Failure(EXIT_MACHINE, f'{self.name} is packed with zstd, which is not here: '
                          'install it, or unpack the file elsewhere')
        process = subprocess.Popen(['zstd', '-dcq'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        assert process.stdin and process.stdout

        def feed(target: IO[bytes]) -> None:
            try:
                with target:
                    shutil.copyfileobj(file, target)
            except OSError:
                pass            # It ended; its status says why.

        threading.Thread(target=feed, args=(process.stdin,), daemon=True).start()
        return ZstdStream(process)

    def _refuse(self, head: bytes) -> None:
        for magic, what, way_out in (
                (b'\x7fELF', 'an ELF file', 'A kernel is given as VMLINUX=, beside the log.'),
                (b'PK\3\4', 'a zip archive', 'Unpack it first.'),
                (b'\x89PNG', 'a picture', 'Give the text.'), (b'\xff\xd8\xff', 'a picture',
                                                              'Give the text.'),
                (b'%PDF', 'a PDF file', 'Give the text.')):
            if head.startswith(magic):
                raise Failure(EXIT_USAGE, f'{self.name} is not text but {what}. {way_out}')
        if not self._encoding(head).startswith('utf-16') and head.count(0) > len(head) // 10 + 1:
            raise Failure(EXIT_USAGE, f'{self.name} is not text: it has zero bytes. If it is '
                          'packed, unpack it first.')

    @staticmethod
    def _encoding(head: bytes) -> str:
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return 'utf-16'
        half = max(len(head) // 2, 1)
        if head[1::2].count(0) > half * 0.8 and not head[::2].count(0):
            return 'utf-16-le'
        if head[::2].count(0) > half * 0.8 and not head[1::2].count(0):
            return 'utf-16-be'
        return 'utf-8-sig'


class ZstdStream(io.RawIOBase):
    """What zstd prints; that it fails is an error like that of the other formats."""

    def __init__(self, process: subprocess.Popen[bytes]):
        super().__init__()
        self._process = process

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:   # type: ignore[override]
        assert self._process.stdout
        data = self._process.stdout.read(len(buffer))
        if not data and self._process.wait():
            raise EOFError('zstd cannot unpack it')
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            assert self._process.stdout
            self._process.stdout.close()
            self._process.wait()
        super().close()
