# SPDX-License-Identifier: GPL-2.0-only
"""What a whole log comes to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from . import texts
from .contract import RETURNS, judge_refused
from .finding import BACKED_OFF, CORE, Finding, Innocent, Unclear
from .finder import Log
from .judge import judge
from .kinds import CIRCULAR, SLEEP, WAIT, WARN
from .report import Refused, Report

# A log may have thousands: what is kept of them is bounded.
MOST = 200
FEW = 3


@dataclass
class Seen:
    """Reports of one sort that blame no callback."""
    headline: str
    why: str
    lines: list[int] = field(default_factory=list)
    count: int = 0


class Answer:
    def __init__(self, name: str):
        self.name = name
        self.findings: list[Finding] = []
        self.more = 0               # findings beyond those that are kept
        self.unclear: list[Unclear] = []
        self.seen: list[Seen] = []
        self.unsaid: list[str] = []         # why what is not seen may be there
        self.back_offs: list[Refused] = []  # of those that are not blamed
        self.blamed_back_offs: list[Refused] = []
        self.lines = 0
        self.trouble = ''
        self._merged: dict[tuple[str, ...], Finding] = {}
        self._kinds: dict[tuple[str, str], Seen] = {}
        self._warned: set[int] = set()
        self._series = False

    def take(self, report: Report, release: str) -> None:
        self._series = self._series or bool(report.nonblock or report.changed)
        if report.refused:
            self._warned.add(report.refused.line)
        judgement = judge(report, release)
        if isinstance(judgement, Finding):
            self._find(judgement)
        elif isinstance(judgement, Unclear):
            self.unclear = (self.unclear + [judgement])[:MOST]
        else:
            self._see(judgement)

    def _see(self, innocent: Innocent) -> None:
        headline = re.sub(r'\d+', 'N', innocent.report.headline)
        key = headline[:80], innocent.why
        seen = self._kinds.get(key)
        if seen is None:
            if len(self.seen) >= MOST:
                return
            seen = self._kinds[key] = Seen(innocent.report.headline[:120], innocent.why)
            self.seen.append(seen)
        seen.count += 1
        seen.lines = (seen.lines + [innocent.report.line])[:3]

    def _find(self, finding: Finding) -> None:
        """One for each call: lockdep and might_sleep() may both report it, and time and again."""
        first = None if finding.report.cut else self._merged.get(finding.key)
        if first is None:
            if len(self.findings) >= MOST:
                self.more += 1
                return
            self.findings.append(finding)
            if not finding.report.cut:
                self._merged[finding.key] = finding
            return
        first.again += 1
        first.others = (first.others + [finding.report])[:FEW]
        nonblock, before = finding.report.nonblock, first.report.nonblock
        if nonblock and nonblock.at and not (before and before.at):
            # What names the callback is worth more.
            finding.others = [first.report, *first.others[:-1]][:FEW]
            finding.again = first.again
            self.findings[self.findings.index(first)] = finding
            self._merged[finding.key] = finding
        elif finding.report.kind == CIRCULAR != first.report.kind:
            first.notes += [note for note in finding.notes if note.startswith('The circle')
                            and note not in first.notes]
        elif finding.report.kind == WAIT and first.report.kind == SLEEP:
            first.rule, first.did = finding.rule, finding.did

    def finish(self, log: Log, lines: int, trouble: str) -> None:
        self.lines, self.trouble = lines, trouble
        for refused in log.refused:
            if (refused.blockable or refused.error != -11) and refused.line not in self._warned:
                report = Report(WARN, 'callback failed', refused.line, refused=refused)
                self._find(judge_refused(report, refused, RETURNS))
        self.findings.sort(key=lambda finding: finding.report.line)
        self.seen.sort(key=lambda seen: seen.lines[0])
        blamed = {symbol.base for finding in self.findings if finding.what not in (CORE, BACKED_OFF)
                  for symbol in [finding.callback, *finding.candidates] if symbol}
        for refused in log.refused:
            if not refused.blockable and refused.error == -11:
                (self.blamed_back_offs if refused.symbol.base in blamed
                 else self.back_offs).append(refused)
        self._connect(log)
        self._say_unsaid(log)

    def _connect(self, log: Log) -> None:
        """Who waits for an invalidation, and who does not end one."""
        inside = [(number, finding) for number, finding in enumerate(self.findings, 1)
                  if finding.key[0] == 'stuck' and finding.callback]
        backed = next((one for one in log.refused if not one.blockable), None)
        for finding in self.findings:
            if finding.key[0] == 'waiter':
                if inside:
                    number, other = inside[0]
                    assert other.callback
                    finding.notes.append(f'Report {number} is about {other.callback.called}, which '
                                         'is in an invalidation and does not come to its end.')
                elif backed:
                    finding.notes.append(f'{backed.symbol.called} backed off in line '
                                         f'{backed.line}, after which a kernel without the fix '
                                         'leaves the invalidation open.')
        if inside:
            number, other = inside[0]
            assert other.callback
            for seen in self.seen:
                if 'unable to reap' in seen.headline:
                    seen.why = f'The OOM reaper gave up; report {number} is about ' \
                        f'{other.callback.called}, which holds it up.'

    def _say_unsaid(self, log: Log) -> None:
        if log.off:
            self.unsaid.append(texts.lockdep_off(log.off, log.why_off))
        elif log.booted and not log.lockdep and self.lines - log.booted > 100:
            self.unsaid.append(texts.NO_VALIDATOR)
        match = re.match(r'(\d+)\.(\d+)', log.release)
        if match and (int(match[1]), int(match[2])) < (5, 4):
            self.unsaid.append(texts.too_old(log.release))
        elif not self._series:
            self.unsaid.append(texts.NEVER_CHECKED)

    @property
    def status(self) -> int:
        """0 nothing found, 1 found, 2 could not be told."""
        if self.findings:
            return 1
        return 2 if self.unclear or self.trouble else 0
