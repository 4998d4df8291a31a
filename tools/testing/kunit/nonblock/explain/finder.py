# SPDX-License-Identifier: GPL-2.0-only
"""From clean lines to reports, of several CPUs at once, and what else the log tells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterable, Iterator, Optional

from .contract import FUNCTIONS
from .kinds import (CIRCULAR, HEADLESS, HUNG, LOCKDEP, LOCKUP, OTHER, RECURSION, SLEEP,
                    STACK, TASK, TRACE, UNREAPED, WAIT, WARN, find_kind)
from .reader import Line
from .report import (CALL_TRACE, CONTEXT, PATIENCE, TRYING, Changed, Refused, Report,
                     find_changed, find_task)
from .symbols import AT_SYMBOL, NONBLOCK, POINTER, find_frames, find_link, find_lock, to_symbol

REFUSED = re.compile(r'callback failed with (-?\d+) in (non-)?blockable context')
DROPPED = re.compile(r'\*\* \d+ printk messages dropped \*\*')
BANNER = 'Linux version '
RELEASE = re.compile(r'(?:Not tainted|Tainted: [A-Z ]+?) (\d+\.\d+\S*)|'
                     r'(?:^|\s)(\d+\.\d+\.\S+) #\d+.* (?:Not tainted|Tainted)')
BEGINNING = re.compile(r'={20,}|-+\[ cut here \]-+')
VALIDATOR = 'Lock dependency validator: '
NO_LOCKDEP = ('INFO: lockdep is turned off', 'Disabling lock debugging due to kernel taint',
              'turning off the locking correctness validator')
# Of /proc/PID/stack, and of the crash utility
STACK_LINE = re.compile(r'\[<0>\] |#\d+ \[[0-9a-f]+\] \w+ at ')
MISSING = '(its first line is missing)'
MOST_WAITING = 4
MOST_REFUSED = 1000


@dataclass
class Log:
    """What a log tells apart from its reports."""
    lines: int = 0
    is_kernels: bool = False
    banner: str = ''            # "Linux version ..."
    release: str = ''
    booted: int = 0             # where the kernel began, if that is in the log
    lockdep: int = 0            # where it says that it has lockdep
    off: int = 0                # where lockdep was turned off
    why_off: str = ''
    rt: bool = False
    refused: list[Refused] = field(default_factory=list)
    last: str = ''


class Finder:
    """Lines of several CPUs are told from each other by the caller that CONFIG_PRINTK_CALLER
    prints, or else by the tasks that the lines name. Where nothing tells, they are `mixed`."""

    def __init__(self) -> None:
        self.log = Log()
        self._open: dict[str, list[Report]] = {}    # by caller: several if they are mixed
        self._waiting: dict[str, list[Report]] = {}     # likewise: those that may go on
        self._refused: dict[str, tuple[Refused, int]] = {}  # with the WARNs that it had
        self._changed: dict[str, Changed] = {}
        self._done: list[Report] = []
        self._last = ''             # the kind of the latest report that had a headline

    def busy(self) -> bool:
        return bool(self._open)

    def reports(self, lines: Iterable[Line]) -> Iterator[Report]:
        line = Line(0, '')
        for line in lines:
            self._take(line)
            yield from self._finished()
        for caller in [*self._open]:
            self._close(caller, 'the log ends')
        yield from self._finished()
        # Some reports end as they begin.
        if BEGINNING.fullmatch(line.text) and not (line.text[0] == '=' and self._last == OTHER):
            yield Report(OTHER, line.text, line.number, cut='the log ends in it')

    def _finished(self) -> list[Report]:
        done, self._done = self._done, []
        return done

    def _take(self, line: Line) -> None:
        log, text, caller = self.log, line.text, line.caller
        log.is_kernels = log.is_kernels or line.stamped
        self._note(line)
        current = self._open.get(caller)
        if DROPPED.search(text):
            for reports in self._open.values():
                for report in reports:
                    report.dropped = report.dropped or not (report.has_end() or
                                                            report.kind in (OTHER, UNREAPED))
        elif match := REFUSED.search(text):
            symbol = to_symbol(AT_SYMBOL.search(text[:match.start()]))
            if symbol and len(log.refused) < MOST_REFUSED:
                refused = Refused(line.number, symbol, int(match[1]), not match[2])
                self._refused[caller] = refused, 0
                log.refused.append(refused)
                log.is_kernels = True
        elif (changed := find_changed(text, line.number)) and not (
                current and current[-1].kind == WARN and not current[-1].frames):
            self._changed[caller] = changed     # of the WARN that follows
        elif (found := self._headline(line)) and not self._absorbed(found, current):
            self._begin(found, caller)
        elif found:
            pass
        elif current and not self._over(line, current):
            self._feed(line, current)
        elif headless := self._headless(line):
            self._begin(headless, caller)
            self._feed(line, self._open[caller])

    def _note(self, line: Line) -> None:
        """What else the log tells."""
        log, text = self.log, line.text
        if not log.banner and BANNER in text:
            log.banner, log.is_kernels = text[text.find(BANNER):], True
            log.booted = line.number
            log.release = (log.banner.split() + ['', '', ''])[2]
        if not log.release and 'ainted' in text and (match := RELEASE.search(text)):
            log.release = match[1] or match[2]
        if VALIDATOR in text:
            log.lockdep = log.lockdep or line.number
        if not log.off and any(sign in text for sign in NO_LOCKDEP):
            log.off, log.why_off = line.number, text
        log.rt = log.rt or 'PREEMPT_RT' in text

    def _headline(self, line: Line) -> Optional[Report]:
        found = find_kind(line.text)
        if not found:
            return None
        kind, match = found
        groups = match.groupdict()
        report = Report(kind.name, match[0].strip(), line.number, groups.get('file') or '',
                        groups.get('condition') or '', state=groups.get('state') or '',
                        seconds=groups.get('seconds') or '', rt=self.log.rt)
        if groups.get('pid'):
            report.task = f'{groups["comm"].strip()}/{groups["pid"]}'
        if kind.name == WARN:
            report.symbol = to_symbol(match)
            changed = self._changed.pop(line.caller, None)
            if changed and line.number - changed.line <= PATIENCE:
                report.changed = changed
            refused, warns = self._refused.get(line.caller, (None, 0))
            if refused and line.number - refused.line <= 4 * PATIENCE and \
                    report.file.rpartition(':')[0].endswith('mm/mmu_notifier.c'):
                report.refused, report.warns = refused, warns + 1
                self._refused[line.caller] = refused, warns + 1
        if kind.name == UNREAPED:
            report.back_offs = [one for one in self.log.refused if not one.blockable]
        if line.torn and kind.name == OTHER:
            report.cut = 'the log ends in its first line'
        if kind.name in (WAIT, RECURSION, CIRCULAR, LOCKDEP) and 'RCU' not in report.headline \
                and not self.log.off:
            self.log.off, self.log.why_off = line.number, report.headline
        self.log.is_kernels = True
        return report

    @staticmethod
    def _absorbed(found: Report, current: Optional[list[Report]]) -> bool:
        """The state of a task is a part of the report that it is hung, or cannot be reaped."""
        if not current:
            return False
        last = current[-1]
        if found.kind == WARN and last.kind == WARN and not last.frames and \
                found.file == last.file and last.foreign == 0 and last.section == '':
            last.symbol = found.symbol      # once more, for a function that is inlined
            return True
        if found.kind == TASK and last.kind in (HUNG, UNREAPED, LOCKUP) and not last.frames:
            last.state = found.state
            if last.kind == LOCKUP:
                last.task = found.task
            return True
        if found.headline.startswith('INFO: task') and 'blocked on' in found.headline:
            for report in current:
                report.feed(found.headline)
            return True
        return False

    def _over(self, line: Line, current: list[Report]) -> bool:
        """Whether a part of another report, without its first line, comes after these."""
        if not all(report.kind in (STACK, TRACE) or report.has_end() for report in current):
            return False
        headless = self._headless(line)
        return bool(headless and headless.kind in (CIRCULAR, WAIT, SLEEP)
                    and not (current[0].links and find_link(line.text)))

    def _headless(self, line: Line) -> Optional[Report]:
        """A part of a report whose beginning is not there: excerpts have such."""
        text, kind = line.text, ''
        if match := TRYING.search(text):
            kind = WAIT if 'trying to lock' in match[0] else CIRCULAR
        elif find_link(text) or ('Chain exists of:' in text and self._last != LOCKDEP):
            kind = CIRCULAR
        elif CONTEXT.search(text):
            kind = SLEEP
        elif (found := find_lock(text)) and found[0] is not None and found[1].name == NONBLOCK:
            kind = HEADLESS
        elif STACK_LINE.search(text) and find_frames(text):
            kind = STACK
        elif CALL_TRACE.search(text) or find_frames(text):
            kind = TRACE
        elif (match := POINTER.search(text)) and match['name'] in FUNCTIONS:
            return Report(WARN, f'{MISSING} {text}', line.number, 'mm/mmu_notifier.c:0',
                          symbol=to_symbol(match))
        if not kind:
            return None
        self.log.is_kernels = True
        headline = text if kind in (STACK, TRACE) else f'{MISSING} {text}'
        return Report(kind, headline, line.number, rt=self.log.rt,
                      section='trace' if kind == TRACE else '')

    def _begin(self, report: Report, caller: str) -> None:
        for other in self._open.pop(caller, []):
            other.close('another report begins')
            waiting = self._waiting.setdefault(caller, [])
            if other.cut and not other.mixed and other.kind not in (OTHER, STACK, TRACE) \
                    and len(waiting) < MOST_WAITING:
                waiting.append(other)
            else:
                self._done.append(other)
        self._open[caller] = [report]
        if report.kind not in (STACK, TRACE):
            self._last = report.kind

    def _close(self, caller: str, why: str) -> None:
        for report in self._open.pop(caller, []):
            report.close(why)
            self._done.append(report)
        self._done += self._waiting.pop(caller, [])

    def _feed(self, line: Line, current: list[Report]) -> None:
        text, caller = line.text, line.caller
        if len(current) == 1:
            current = self._switch(text, caller, current[0])
            if self._another_trace(line, current[0]):
                return
        mine = [report.feed(text) for report in current]
        if line.torn and not any(mine):
            for report in current:
                report.foreign = 0      # That may have been a part of it.
        if all(report.foreign > PATIENCE for report in current):
            self._close(caller, 'other lines follow')

    def _switch(self, text: str, caller: str, report: Report) -> list[Report]:
        """Another report of the same caller goes on, or is mixed with this one."""
        waiting = self._waiting.get(caller)
        if not waiting:
            return [report]
        if CALL_TRACE.search(text) and report.section == 'trace' and not report.frames:
            together = [other for other in waiting if not other.frames]
            if together:
                return self._mix(caller, [report, *together])
        task = find_task(text)
        other = next((other for other in waiting if task and task != report.task and
                      (other.task == task or not other.task)), None)
        if not other:
            return [report]
        waiting.remove(other)
        report.close('another report goes on')
        (waiting if report.cut else self._done).append(report)
        other.cut = ''
        self._open[caller] = [other]
        return [other]

    def _mix(self, caller: str, reports: list[Report]) -> list[Report]:
        for report in reports:
            report.mixed, report.section, report.cut = True, 'trace', ''
        self._waiting[caller] = [other for other in self._waiting[caller]
                                 if not any(other is report for report in reports)]
        self._open[caller] = reports
        return reports

    def _another_trace(self, line: Line, report: Report) -> bool:
        """After its end: that of another CPU, or of nobody knows what."""
        stack = bool(STACK_LINE.search(line.text))
        begins = CALL_TRACE.search(line.text) or (stack and report.kind != STACK)
        if report.kind == STACK and stack:      # crash shows registers between its frames
            begins = '#0 [' in line.text or (bool(report.foreign) and '[<0>]' in line.text)
        if report.kind == LOCKUP and report.ended and POINTER.search(line.text):
            begins = True
        if not begins or not report.frames or not (
                report.ended or report.foreign or report.kind == STACK):
            return False
        kind = STACK if stack else LOCKUP if report.kind == LOCKUP else TRACE
        headline = line.text if kind != LOCKUP else f'{report.headline} (the trace of another CPU)'
        new = Report(kind, headline, line.number, rt=report.rt)
        new.feed(line.text)
        report.close('another report begins')
        self._done.append(report)
        self._open[line.caller] = [new]
        return True
