# SPDX-License-Identifier: GPL-2.0-only
"""From lines of text to clean ones: the kernel's text, when, and who printed it.

What a log went through is taken off again: the console's colours, journald, syslog, LAVA,
Android, a mail's quotes and its folded lines, HTML.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, replace
from typing import Callable, Iterable, Iterator, Optional

from .kinds import INTEREST, is_begun
from .mail import Mail
from .symbols import AT_SYMBOL

# Of a line, what is looked at; and of one that has many, as of a page without line breaks
WIDTH, LONGEST = 2048, 1 << 20

ANSI = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-B0-2]|#033\[[0-9;]*m|[\x01-\x08\x0e-\x1a]')
OCTAL = re.compile(r'#0(?:11|12|15)')                   # rsyslog
TAG = re.compile(r'</?(?:br|pre|span|div|p|code|b|i|td|tr|a|li|font|tt)\b[^<>]{0,300}>', re.I)
YAML = re.compile(r'- \{.*"msg": *"')                    # LAVA
EXPORT = re.compile(r'MESSAGE=(.*)')                     # journalctl -o export
FIELD = re.compile(r'(?:_\w+|PRIORITY|SYSLOG_\w+)=')
STAMPS = re.compile(r'(?<=[^\s>|]) +(?=\[ *[+<]?\d+\.\d{6}>?\] )')   # of a second line, in the same
TIME = r'\d\d:\d\d:\d\d(?:[.,]\d+)?'
ZONE = r'(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?'
KERNEL = r'kernel(?:\[\d+\])?: ?'

# What may stand before the kernel's text. `stamp` is what only a kernel's log has.
PREFIX = re.compile('|'.join((
    r'[>|](?:[ \t]?[>|])*[ \t]?',
    rf'(?:\w{{3}} [ \d]\d (?:\d{{4}} )?{TIME}|\[?\d{{4}}-\d\d-\d\d[T ]{TIME}{ZONE}\]?)(?: |$)'
    rf'(?P<host>[\w.:-]+ {KERNEL})?',
    rf'(?P<bare>[\w.-]+ {KERNEL})',
    rf'\[?{TIME}\]?(?: \|)?[ \t]+',
    r'(?P<cat>\d\d-\d\d ' + TIME + r'\s+\d+\s+\d+ [VDIWEF] kernel\s*: )',       # Android
    r'(?P<log>[VDIWEF][/ ]kernel\s*(?:\(\s*\d+\))?: )',
    r'(?P<facility>(?:kern|user|daemon|syslog)\s*:\w+\s*: ?)',                   # dmesg -x
    r'(?P<level><\d+>) ?',                                                      # dmesg -r
    r'(?P<kmsg>\d+,\d+,\d+,[^;]{0,80};)',
    r'(?P<stamp>\[ *[+<]?(?P<time>\d{1,9}\.\d{0,9})(?:@\d+|,\d+)?>?\]) ?',
    r'(?P<date>\[\w{3} \w{3} [ \d]\d ' + TIME + r' \d{4}\]|\[\w{3}\d\d \d\d:\d\d\]) ?',
    r'\[ *(?P<caller>[TC]\d+)\] ?',
    r'\[pid:(?P<pid>\d+),[^]]{0,40}\] ?', r'\(\d\)\[(?P<mtk>\d+):[^]]{0,20}\] ?',
    r'c\d+ +(?P<exynos>\d+)(?: |$)')))
KMSG_CALLER = re.compile(r'caller=(\w+)')
SIGNS = ('host', 'bare', 'cat', 'log', 'facility', 'kmsg', 'stamp', 'date')
REPLAYED = '** replaying previous printk message **'

# Folded lines of a mail
MODULE_ONLY = re.compile(r'\[\w+\]$')
OPEN_ENDED = re.compile(
    r'(?:\bat:?|\bwith|\bpid:|\bname:|Comm:|PID:|RIP:|^\?|\block|\bcontext|-> #\d+|[({]|\},|\btask|'
    r'\b(?:pc|lr|epc|ra) :|INFO: rcu\w*(?: (?:self-)?detected)?(?: stalls?)?(?: on)?|'
    r'WARNING: (?:.*\.[chSs]:\d+|\[.*\]))$')
ADDRESS = re.compile(r'(?:^|\s)(?:0x)?[0-9a-f]{12,16}$')
OWN_LINE = re.compile(
    r'->|but task|and this task|which |the existing|other info|stack backtrace|Call [Tt]race|'
    r'\*\*\*|RIP:|Modules linked|Hardware name|Workqueue:|Chain exists|'
    r'Possible|CPU|lock\(|<TASK>|#\d+:|--|==|\[<|$')


@dataclass(frozen=True)
class Line:
    number: int
    text: str
    caller: str = ''            # who printed it, with CONFIG_PRINTK_CALLER
    time: Optional[float] = None
    stamped: bool = False       # it has what only a kernel log has
    torn: bool = False          # the log ends within it


def unwrap(raw: str) -> list[str]:
    """The text of a record of a journal, or of LAVA."""
    start = raw.lstrip()
    if start.startswith('{"') and '"MESSAGE"' in raw or YAML.match(start):
        try:
            record = json.loads(start[2:] if start.startswith('- ') else start.rstrip(','))
            message = record.get('MESSAGE', record.get('msg', ''))
        except (ValueError, AttributeError):
            found = re.search(r'"(?:MESSAGE|msg)": ?"((?:[^"\\]|\\.)*)', raw)
            message = found[1] if found else raw
        if isinstance(message, list):
            message = bytes(byte & 255 for byte in message
                            if isinstance(byte, int)).decode('utf-8', 'replace')
        return str(message).split('\n')
    if match := EXPORT.match(raw):
        return [match[1]]
    return [] if FIELD.match(raw) else [raw]


def strip_prefixes(number: int, text: str, torn: bool) -> Line:
    caller, time, stamped = '', None, False
    text = text.strip()
    for _ in range(8):
        match = PREFIX.match(text)
        if not match:
            break
        found = match.groupdict()
        stamped = stamped or any(found[sign] for sign in SIGNS)
        who = found['pid'] or found['mtk'] or found['exynos']
        if found['exynos'] and not stamped:
            break
        if found['kmsg'] and (given := KMSG_CALLER.search(found['kmsg'])):
            who, caller = None, given[1]
        caller = found['caller'] or (f'T{who}' if who else caller)
        time = float(found['time']) if found['time'] else time
        text = text[match.end():].lstrip()
    return Line(number, text.rstrip(), caller, time, stamped, torn)


def clean(number: int, raw: str) -> Iterator[Line]:
    """Take off what is not the kernel's text."""
    torn = not raw.endswith('\n')
    for text in unwrap(raw.rstrip('\r\n')):
        text = text[:LONGEST].replace('\0', '')
        if '\x1b' in text or '#0' in text or not text.isprintable():
            text = OCTAL.sub(' ', ANSI.sub('', text))
        if '&' in text and ';' in text:
            text = html.unescape(text).replace('\xa0', ' ')
        if '<' in text:
            text = TAG.sub('', text)
        for piece in STAMPS.split(text) if ' [' in text else [text]:
            yield strip_prefixes(number, piece[:WIDTH], torn)


def goes_on(last: Line, line: Line) -> bool:
    """Whether a line is the rest of the one before it, which a mailer has folded."""
    if line.stamped or not line.text or OWN_LINE.match(line.text):
        return False
    if MODULE_ONLY.match(line.text):
        match = AT_SYMBOL.search(last.text)
        return bool(match and not match['module'] and match.end() >= len(last.text) - 1)
    if line.text.startswith('(') and ADDRESS.search(last.text):
        return True             # the name of a lock
    return bool(OPEN_ENDED.search(last.text)) or is_begun(last.text)


class Reader:
    """Clean lines. What cannot matter is counted and left out, unless it is wanted."""

    def __init__(self, raw: Iterable[str], wanted: Callable[[], bool] = lambda: True):
        self._mail = Mail(raw)
        self._wanted = wanted
        self.stamped = False

    @property
    def count(self) -> int:
        return self._mail.count

    def __iter__(self) -> Iterator[Line]:
        """The lines, without those that were broken off to be printed again."""
        last: Optional[Line] = None
        folded = 0
        for line in self._clean():
            self.stamped = self.stamped or line.stamped
            if line.text == REPLAYED:
                last = None
            elif last and folded < 3 and goes_on(last, line):
                last = replace(last, text=f'{last.text} {line.text}', torn=line.torn)
                folded += 1
            else:
                if last:
                    yield last
                last, folded = line, 0
        if last:
            yield last

    def _clean(self) -> Iterator[Line]:
        for number, raw in self._mail.lines():
            # The beginning tells what sort of file it is.
            if number < 1000 or self._wanted() or INTEREST.search(raw) or not raw.endswith('\n'):
                yield from clean(number, raw)
