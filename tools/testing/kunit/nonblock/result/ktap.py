# SPDX-License-Identifier: GPL-2.0-only
"""The one reader of test results in a kernel log, of any of those who print them.

KUnit prints KTAP, maybe with a time stamp: suites at indent 0, cases at 4, parameters at 8.
The kselftest harness prints TAP, and the name of each test as it begins. A log may have both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterable, Iterator, Optional

from nonblock.kernel import sanitizer

PASSED, FAILED, SKIPPED = 'passed', 'failed', 'skipped'
LONGEST = 200                   # lines of a report that are kept


@dataclass
class Result:
    path: tuple[str, ...]       # suite, case and parameter; or the name of a test
    status: str
    reason: str = ''            # of a skip, or the first failed expectation
    message: str = ''           # what is printed after that
    report: str = ''            # of one that failed: all that was printed since it began
    reported: Optional[str] = None      # what KUNIT_EXPECT_REPORT() saw last

    @property
    def name(self) -> str:
        return self.path[-1]

    def __str__(self) -> str:
        return '.'.join(self.path[:2]) + ''.join(f':{name}' for name in self.path[2:])


@dataclass
class TestLog:
    results: list[Result] = field(default_factory=list)     # of KTAP
    tests: list[Result] = field(default_factory=list)       # of the harness
    open: list[str] = field(default_factory=list)   # suite and case without a result yet
    open_test: str = ''                             # the same of the harness
    planned: Optional[int] = None                   # by the harness
    lost: list[str] = field(default_factory=list)   # results that are not in the log
    panic: str = ''
    rest: str = ''              # all that was printed since the last result
    sanitizer: list[str] = field(default_factory=list)      # headlines of KASAN, KCSAN

    def of(self, depth: int) -> Iterator[Result]:
        """1: suites, 2: cases, 3: parameters."""
        return (result for result in self.results if len(result.path) == depth)


HEADER = re.compile(r'(.*)KTAP version 1$|TAP version 13$')
PLAN = re.compile(r'1\.\.(\d+)$')
RUN = re.compile(r'#  RUN +(\S+) \.\.\.$')
SUBTEST = re.compile(r'( *)# Subtest: (.*)$')
RESULT = re.compile(r'( *)(ok|not ok) (\d+)(?: -)? (.*?)(?: # (SKIP|XFAIL)? ?(.*))?$')
REASON = re.compile(r' *# [^:]+: ((?:EXPECTATION|ASSERTION) FAILED at \S+|try timed out|'
                    r'failed to init.*|internal error.*)|'
                    r'# (\S+\.[ch]:\d+:[^:]*:.*|\w+: Test .*)')
REPORTED = re.compile(r' *# [^:]+: reported: (.*)$')
TOTALS = re.compile(r'# Totals: pass:\d+ fail:\d+ skip:\d+ total:(\d+)$')
PANIC = re.compile(r'(Kernel panic - not syncing.*|BUG: .*|Oops.*|.*Segfault.*)')


class KtapReader:
    """Goes through the lines once."""

    def __init__(self) -> None:
        self.log = TestLog()
        self.tap = False            # the harness
        self.prefix: Optional[int] = None       # a time stamp's width
        self.last = 0               # number of a parameter
        self.count = 0              # of a suite: parameters, and cases without
        self.forget()

    def forget(self) -> None:
        self.reason, self.message = '', list[str]()
        self.reported: Optional[str] = None
        self.lines: list[str] = []

    def read(self, line: str) -> None:
        log = self.log
        if (found := PANIC.search(line)) and not log.panic.startswith('Kernel panic'):
            log.panic = found[1]
        if found := sanitizer.HEADLINE.search(line):
            log.sanitizer.append(found[1])
        if header := HEADER.match(line):
            if header[1] is None:
                self.tap = True
            elif self.prefix is None:
                self.prefix = len(header[1])
        elif self.tap or self.prefix is not None:
            self.inside(line, line[self.prefix or 0:])

    def inside(self, line: str, text: str) -> None:
        """text: without the time stamp, of which the harness has none."""
        log = self.log
        self.lines.append(line)
        if match := RUN.match(line):
            self.forget()
            log.open_test = match[1]
        elif self.tap and log.planned is None and (match := PLAN.match(line)):
            log.planned = int(match[1])
        elif match := REASON.match(text):
            self.reason = self.reason or match[1] or match[2]
        elif match := REPORTED.match(text):
            self.reported = match[1]
        elif match := SUBTEST.match(text):
            depth = 1 if len(match[1]) <= 4 else 2
            if log.open[depth - 1:]:
                log.lost.append(f'{".".join(log.open)}: the result')
            log.open[depth - 1:] = [match[2]]
            if depth == 2:
                self.last = 0
            else:
                self.count = 0
        elif (match := RESULT.match(line)) and match[4] == log.open_test:
            log.tests.append(self.result((match[4],), match))
            log.open_test = ''
        elif match := RESULT.match(text):
            self.ktap(match)
        elif match := TOTALS.match(text):
            if int(match[1]) > self.count:
                log.lost.append(f'{"".join(log.open[:1])}: {int(match[1]) - self.count} of '
                                f'{match[1]} results')
        elif self.reason and text.strip():
            self.message.append(text.strip())

    def ktap(self, match: re.Match[str]) -> None:
        log, depth = self.log, min(len(match[1]) // 4, 2)
        outer = (*log.open, '', '')[:depth]
        if depth == 2:
            if int(match[3]) > self.last + 1:
                log.lost.append(f'{".".join(outer)}: results {self.last + 1} to '
                                f'{int(match[3]) - 1}')
            self.count += int(match[3]) - self.last
            self.last = int(match[3])
        elif depth == 1 and log.open[1:] != [match[4]]:
            self.count += 1
        log.results.append(self.result((*outer, match[4]), match))
        del log.open[depth:]

    def result(self, path: tuple[str, ...], match: re.Match[str]) -> Result:
        """And begin the next one."""
        status = FAILED if match[2] != 'ok' else SKIPPED if match[5] else PASSED
        why = (match[6] or '').strip() or (self.reason if status == FAILED else '')
        found = Result(path, status, why, ' '.join(self.message), reported=self.reported)
        if status == FAILED:
            found.report = self.rest()
        self.forget()
        return found

    def rest(self) -> str:
        return '\n'.join(self.lines[-LONGEST:])


def parse_log(lines: Iterable[str]) -> TestLog:
    reader = KtapReader()
    for line in lines:
        reader.read(line.rstrip())
    reader.log.rest = reader.rest()
    return reader.log
