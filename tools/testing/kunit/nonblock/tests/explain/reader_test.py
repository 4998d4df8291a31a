# SPDX-License-Identifier: GPL-2.0-only
"""What a log went through is taken off again, and changes no answer."""

from __future__ import annotations

import base64
import bz2
import functools
import gzip
import html
import io
import json
import lzma
import quopri
import re
import shutil
import subprocess
import time
import unittest
from random import Random
from typing import Callable
from unittest import mock

from nonblock.common import EXIT_USAGE, Failure

from nonblock.explain.symbols import find_frames
from nonblock.explain.unpack import Unpacker
from .base import DATA, ExplainTest, clean_lines, composed, find_reports, recorded

Change = Callable[[int, str], str]
CIRCLE = 'circle-through-reclaim.log'
# Without time stamps: all logs of our own kernels, and one of each kind of others'
LOGS = {**{path.stem: recorded(path.stem) for path in sorted(DATA.glob('*.log'))},
        **{name: re.sub(r'(?m)^\[ *\d+\.\d+\] ?', '', composed(name)) for name in (
            CIRCLE, 'mutex-arm64.log', 'hung-reaper.log', 'warn-with-condition.log',
            'recursion-range-start-map.log', 'riscv-powerpc-s390.log')}}
INNOCENT = ('another_lock', 'another_mutex', 'two_cpus')


def stamp(number: int) -> str:
    return f'[{number / 1e3 + 5:12.6f}] '


PREFIXES: dict[str, Change] = {
    'time': lambda number, line: stamp(number) + line,
    'caller': lambda number, line: f'{stamp(number).rstrip()}[   T13] {line}',
    'CPU': lambda number, line: f'{stamp(number)}[   C3] {line}',
    'level': lambda number, line: f'<{number % 8}>{line}',
    'level and time': lambda number, line: f'<4>{stamp(number)}{line}',
    'level, blank and time': lambda number, line: f'<4> {stamp(number)}{line}',
    'facility': lambda number, line: f'kern  :err   : {stamp(number)}{line}',
    'time of day': lambda number, line: f'[Wed Nov 25 07:08:{number % 60:02} 2026] {line}',
    'delta': lambda number, line: f'[  +0.{number:06}] {line}',
    'reltime': lambda number, line: f'[Nov25 07:{number % 60:02}] {line}',
    'journal': lambda number, line: f'Nov 25 07:08:{number % 60:02} my-host kernel: {line}',
    'journal and time': lambda number, line: f'Nov  5 07:08:{number % 60:02} host kernel: '
                                             f'{stamp(number)}{line}',
    'journal, ISO': lambda number, line: f'2026-11-25T07:08:{number % 60:02}+0100 h kernel: {line}',
    'journal, micro': lambda number, line: f'2026-11-25T07:08:01.{number:06}+00:00 h kernel: '
                                           f'{line}',
    'journal, monotonic': lambda number, line: f'{stamp(number)}host kernel: {line}',
    'kmsg': lambda number, line: f'4,{number},{number * 7},-;{line}',
    'kmsg, caller': lambda number, line: f'4,{number},{number * 7},-,caller=T13;{line}',
    'logcat': lambda number, line: f'11-25 07:08:01.{number:03}     0     0 W kernel  : {line}',
    'logcat, brief': lambda number, line: f'W/kernel  (    0): {line}',
    'Android': lambda number, line: f'{stamp(number)}[pid:123,cpu1,oom_reaper]{line}',
    'MediaTek': lambda number, line: f'<4>{stamp(number)}(1)[61:oom_reaper]{line}',
    'Exynos': lambda number, line: f'{stamp(number)}c3    61 {line}',
    'console log': lambda number, line: f'2026-11-25T07:08:09.123456Z {stamp(number)}{line}',
    'clock': lambda number, line: f'[07:08:{number % 60:02}] {line}',
    'quoted': lambda number, line: f'> {line}',
    'quoted four deep': lambda number, line: f'>>>> {stamp(number)}{line}',
    'quoted apart': lambda number, line: f'> > | {line}',
    'commit message': lambda number, line: f'    | {line}',
    'Markdown': lambda number, line: f'    {line}',
    'carriage return': lambda number, line: line.replace('\n', '\r\r\n'),
    'another log': lambda number, line: f'2026/11/25 machine-1 | {line}',
    'colour': lambda number, line: f'\x1b[32m{stamp(number)}\x1b[0m\x1b[33m{line[:3]}\x1b[0m'
                                   f'\x1b[1m{line[3:]}',
}
SUFFIXES: dict[str, str] = {'blank': ' ', 'tab': '\t', 'colour': '\x1b[0m', 'tag': '<br>',
                            'return': '\r'}


class WrappingTest(ExplainTest):
    @functools.cached_property
    def wanted(self) -> dict[str, list[tuple[str, ...]]]:
        return {name: self.essence(log) for name, log in LOGS.items()}

    def unchanged(self, change: Change) -> None:
        for name, log in LOGS.items():
            wanted = self.wanted[name]
            self.assertEqual(bool(wanted), name not in INNOCENT)
            changed = ''.join(change(number, line) for number, line in
                              enumerate(log.splitlines(keepends=True)))
            with self.subTest(log=name):
                self.assertEqual(self.essence(changed), wanted)

    def test_prefixes(self) -> None:
        for name, change in PREFIXES.items():
            with self.subTest(prefix=name):
                self.unchanged(change)

    def test_suffixes(self) -> None:
        for name, suffix in SUFFIXES.items():
            with self.subTest(suffix=name):
                self.unchanged(lambda _, line: line.rstrip('\n') + suffix + '\n')

    def test_prefix_and_suffix(self) -> None:
        for name in ('time', 'journal', 'quoted', 'Android'):
            with self.subTest(prefix=name):
                self.unchanged(lambda number, line:
                               PREFIXES[name](number, line.rstrip('\n') + ' \r\n'))

    def test_html(self) -> None:
        self.unchanged(lambda _, line: html.escape(line))
        self.unchanged(lambda number, line: f'<span class="l">{html.escape(stamp(number) + line)}'
                       .replace('  ', ' &nbsp;').replace('\n', '</span><br>\n'))

    def test_journal_as_json(self) -> None:
        self.unchanged(lambda number, line: json.dumps(
            {'__REALTIME_TIMESTAMP': str(number), '_HOSTNAME': 'h', 'MESSAGE': line.rstrip('\n'),
             'PRIORITY': '4', '_TRANSPORT': 'kernel'}) + '\n')

    def test_journal_as_json_of_bytes(self) -> None:
        self.unchanged(lambda _, line:
                       json.dumps({'MESSAGE': [*line.rstrip('\n').encode()]}) + '\n')

    def test_journal_as_json_of_one_record(self) -> None:
        log = recorded('mutex')
        self.assertEqual(self.essence(json.dumps({'MESSAGE': log}) + '\n'), self.essence(log))

    def test_journal_export(self) -> None:
        self.unchanged(lambda number, line: f'__CURSOR=s={number}\n_TRANSPORT=kernel\nPRIORITY=4\n'
                       f'MESSAGE={line}\n')

    def test_journal_export_with_many_fields(self) -> None:
        fields = ''.join(f'_FIELD_{number}=x\n' for number in range(50))
        self.unchanged(lambda _, line: f'{fields}MESSAGE={line}\n')

    def test_two_lines_in_one(self) -> None:
        lines = composed('mutex-arm64.log').splitlines()
        merged = ''.join(f'{first} {second}\n' for first, second in zip(lines[::2], lines[1::2]))
        self.assertEqual(self.essence(merged), self.essence(composed('mutex-arm64.log')))

    def test_all_lines_in_one(self) -> None:
        log = composed(CIRCLE)
        self.assertEqual(self.callbacks(log.replace('\n', ' ') + '\n'), self.callbacks(log))

    def test_a_time_alone(self) -> None:
        """Before lines that have no blank, as docker logs -t has it."""
        frames = ('[<0>] mydrv_invalidate+0x3e/0xa0 [mydrv]\n\n'
                  '[<0>] __mmu_notifier_invalidate_range_start+0x1d3/0x230\n')
        log = re.sub('(?m)^', '2026-11-25T07:08:12.123456789Z ', frames)
        self.assertEqual(self.callbacks(log), ['mydrv_invalidate'])

    def test_lava(self) -> None:
        self.unchanged(lambda number, line: '- ' + json.dumps(
            {'dt': '2026-11-25T07:08:12', 'lvl': 'target', 'msg': stamp(number) + line.rstrip()})
            + '\n')

    def test_rsyslog_escapes(self) -> None:
        self.unchanged(lambda number, line: f'Nov 25 07:08:01 h kernel: {stamp(number)}#011{line}')

    def test_quoted_printable(self) -> None:
        for name, log in LOGS.items():
            with self.subTest(name):
                mail = b'Content-Transfer-Encoding: quoted-printable\n\n' + \
                    quopri.encodestring(log.encode())
                self.assertNotEqual(mail, log)
                self.assertEqual(self.essence(mail), self.essence(log))

    def test_base64(self) -> None:
        for name, log in LOGS.items():
            with self.subTest(name):
                mail = b'Subject: x\nContent-Transfer-Encoding: base64\nX-List: y\n\n' + \
                    base64.encodebytes(log.encode()) + b'\n--\nAn archive\n'
                self.assertEqual(self.essence(mail), self.essence(log))

    def test_folded_mail(self) -> None:
        """As a mailer folds lines, at blanks, with and without one at the end."""
        for blank in (' ', ''):
            for name in (CIRCLE, 'mutex-arm64.log', 'hung-reaper.log', 'warn-with-condition.log'):
                log = composed(name)
                folded = re.sub(r'(?m)^(?=.{73})(.{30,72}) (?=\S)(.+)$', rf'\1{blank}\n\2', log)
                self.assertNotEqual(folded, log)
                quoted = re.sub('(?m)^', '> ', folded)
                with self.subTest(name, blank=blank):
                    self.assertEqual(self.essence(quoted), self.essence(log))

    def test_excerpt_in_prose(self) -> None:
        log = LOGS['mutex-arm64.log']
        self.assertEqual(self.essence(f'Hello,\n\nI see this:\n\n```\n{log}```\n\nAny idea?\n'),
                         self.essence(log))

    def test_decoded_frames(self) -> None:
        """As scripts/decode_stacktrace.sh leaves them."""
        log = re.sub(r'(?m)^ (\w+)\+0x\w+/0x\w+( \[\w+\])?( \(C\))?$',
                     lambda match: f' {match[1]} (./mm/a.c:12 (discriminator 3))'
                     + (match[2] or '').replace('[', '').replace(']', ''),
                     LOGS['mutex-arm64.log'])
        self.assertNotIn('+0x5c/0x1a8', log)
        self.assertEqual(self.callbacks(log), ['mydrv_range_start'])

    def test_inlined_frames(self) -> None:
        """As syzbot shows them."""
        log = re.sub(r'(?m)^ (\w+\+0x\w+/0x\w+)( \[\w+\])?( \(C\))?$', r' \1\2 mm/a.c:12',
                     LOGS['mutex-arm64.log']).replace(
            ' mn_hlist_invalidate_range_start+0x11c/0x2e0 mm/a.c:12\n',
            ' mn_hlist_invalidate_range_start mm/mmu_notifier.c:493 [inline]\n')
        self.assertIn('[inline]', log)
        self.assertEqual(self.callbacks(log), ['mydrv_range_start'])
        self.assertEqual(find_frames('WARNING: mm/a.c:12 at f mm/a.c:12 [inline]'), [])


class UnpackTest(ExplainTest):
    def test_packed(self) -> None:
        log = recorded('mutex')
        wanted = self.essence(log)
        packers: dict[str, Callable[[bytes], bytes]] = {
            'gzip': gzip.compress, 'xz': lzma.compress,
            'bzip2': lambda data: bz2.compress(data, 1)}      # in small blocks
        if shutil.which('zstd'):
            packers['zstd'] = lambda data: subprocess.run(['zstd', '-qc'], input=data, check=True,
                                                          stdout=subprocess.PIPE).stdout
        for name, pack in packers.items():
            with self.subTest(name):
                packed = pack(log.encode())
                self.assertEqual(self.essence(packed), wanted)
                noise = Random(1).randbytes(200_000).hex(sep='\n', bytes_per_sep=30)
                large = pack(log.encode() + noise.encode())
                self.explain(large[:len(large) * 3 // 4])
                self.assertIn('damaged or cut off', self.lines[-1])

    def test_damaged_with_nothing_in_it(self) -> None:
        with self.assertRaisesRegex(Failure, r'^\S.*: it is damaged or cut off \([^()]*\)$'):
            self.answer(gzip.compress(recorded('mutex').encode())[:12])

    def test_without_zstd(self) -> None:
        with mock.patch('shutil.which', return_value=None):
            with self.assertRaisesRegex(Failure, 'packed with zstd, which is not here'):
                self.answer(b'\x28\xb5\x2f\xfd')

    def test_utf_16(self) -> None:
        log = recorded('mutex')
        for encoding in ('utf-16', 'utf-16-le', 'utf-16-be'):
            with self.subTest(encoding):
                self.assertEqual(self.essence(log.encode(encoding)), self.essence(log))

    def test_carriage_returns_alone(self) -> None:
        log = recorded('mutex')
        self.assertEqual(self.essence(log.replace('\n', '\r').encode()), self.essence(log))

    def test_utf_8_with_a_mark(self) -> None:
        log = recorded('mutex')
        self.assertEqual(self.essence(log.encode('utf-8-sig')), self.essence(log))

    def test_what_is_no_text(self) -> None:
        for data, message in ((b'\x7fELF\0\0\0\n' * 99, 'an ELF file. A kernel is given as'),
                              (b'PK\3\4' + bytes(99), 'a zip archive'),
                              (b'\n\0\0\0\0ab' * 99, 'it has zero bytes'),
                              (b'%PDF-1.4', 'a PDF file')):
            with self.subTest(message), self.assertRaisesRegex(Failure, message) as caught:
                self.answer(data)
            self.assertEqual(caught.exception.code, EXIT_USAGE)

    def test_an_elf_file_is_not_read(self) -> None:
        class Endless(io.RawIOBase):
            total = 0

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: bytearray) -> int:   # type: ignore[override]
                self.total += len(buffer)
                buffer[:4] = b'\x7fELF'
                return len(buffer)

        file = Endless()
        with self.assertRaisesRegex(Failure, 'ELF'):
            list(Unpacker(file, 'vmlinux').lines())     # type: ignore[arg-type]
        self.assertLess(file.total, 1 << 20)

    def test_garbage(self) -> None:
        garbage = bytes(range(256)) * 3
        log = recorded('mutex').encode()
        self.assert_explained(garbage + b'\n' + log + garbage, '1 finding about')

    def test_bad_bytes_in_a_report(self) -> None:
        log = recorded('mutex').encode().replace(b'Stack:', b'\xff\xfe\x00Stack:')
        self.assertEqual(self.essence(log), self.essence(recorded('mutex')))

    def test_base64_is_said_to_be_none(self) -> None:
        with self.assertRaisesRegex(Failure, 'does not look like a kernel log'):
            self.answer(base64.encodebytes(recorded('mutex').encode()))


class LineTest(unittest.TestCase):
    def test_time_and_caller(self) -> None:
        line, = clean_lines('<4>[   12.345678][  T99] text\n')
        self.assertEqual((line.text, line.time, line.caller, line.stamped),
                         ('text', 12.345678, 'T99', True))

    def test_what_is_the_kernels_is_left(self) -> None:
        for text in ('[<0>] f+0x1/0x2 [m]', '-> #0 (a){+.+.}-{4:4}:', '<TASK>', '#0: 0 (a){}',
                     '[ BUG: Invalid wait context ]', 'BUG: a', '---[ end trace 0 ]---'):
            self.assertEqual([line.text for line in clean_lines(text + '\n')], [text])

    def test_a_separator_is_not_folded(self) -> None:
        log = '=' * 76 + '\nWARNING: x\n'
        self.assertEqual([line.text for line in clean_lines(log)], ['=' * 76, 'WARNING: x'])

    def test_lines_that_are_not_wanted_are_counted(self) -> None:
        log = recorded('sleep') + 'something else happened\n' * 5000 + recorded('sleep')
        reports, _ = find_reports(log)
        self.assertEqual([report.line for report in reports],
                         [2, 5002 + recorded('sleep').count('\n')])


class SizeTest(ExplainTest):
    def seconds(self, log: bytes) -> float:
        start = time.process_time()
        self.answer(log)
        return time.process_time() - start

    def test_linear(self) -> None:
        block = recorded('mutex').encode() + b'[    1.000000] something else happened\n' * 900
        short, long = self.seconds(block * 5), self.seconds(block * 50)
        self.assertEqual(len(self.found.findings), 1)
        # Ten times as much; quadratic, it would be a hundred.
        self.assertLess(long, 30 * short + 0.5)

    def test_constant_memory(self) -> None:
        """However many reports of different calls there are, a bounded number is kept."""
        log = recorded('sleep')
        many = ''.join(log.replace('behave', f'behave{number}') for number in range(220))
        self.assert_explained(many, '220 findings about', '20 of them not shown')
        self.assertEqual(len(self.found.findings), 200)

    def test_no_lines_at_all(self) -> None:
        self.assert_explained(recorded('mutex').encode() + b'a (' * 10_000_000,
                              '1 finding about MMU notifiers in 113 lines')

    def test_lines_that_nearly_match(self) -> None:
        for nearly in (b'0 (' * 600 + b')){}-{1:1' + b'}, at: ' * 30 + b'\n',
                       b'a.b.' * 500 + b'+0x1/0x2 [' + b'm' * 900 + b'\n',
                       b'> ' * 900 + b'BUG: ' + b'INFO: task ' * 90 + b'\n',
                       b'(' * 2000 + b'a.c:1' * 90 + b')\n'):
            with self.subTest(nearly[:20]):
                self.assertLess(self.seconds(recorded('mutex').encode() + nearly * 20), 8)
