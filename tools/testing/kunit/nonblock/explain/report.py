# SPDX-License-Identifier: GPL-2.0-only
"""One report, which takes its parts from the lines that it is fed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Optional

from .kinds import (CIRCULAR, HEADLESS, HUNG, LOCKDEP, LOCKUP, OTHER, RECURSION, STACK, TASK, TRACE,
                    UNREAPED, WAIT, WARN)
from .symbols import (AT_SYMBOL, BOTTOM, NONBLOCK, POINTER, RETURN, Frame, Lock, Symbol,
                      find_frames, find_link, find_lock, to_symbol)

# How many lines of others may stand between those of a report.
PATIENCE = 40
MOST_FRAMES = 300

HELD = re.compile(r'(?:(\d+) locks? held by (.{1,40})/(\d+):|'
                  r'locks held by (.{1,40})/(\d+): (\d+),)')
NONE_HELD = re.compile(r'no locks held by |INFO: lockdep is turned off')
TRYING = re.compile(r'(\S.{0,40})/(\d+)(?: \[HC.*\])? is trying to (?:acquire(?: lock)?|lock):')
HOLDING = re.compile(r'but task is already holding lock:|and this task is already holding:')
CONTEXT = re.compile(r'in_atomic\(\): \d+, .*?(?:non_block: (\d+), )?pid: (\d+), name: (.+)')
RUNNING = re.compile(r'CPU: \d+ (?:UID: \d+ )?PID: (\d+) Comm: (.{1,40}?) '
                     r'(?:Kdump: loaded )?(?:Not tainted|Tainted:)')
CALL_TRACE = re.compile(r'Call [Tt]race:|^Backtrace:')
# What stands before it is of the interrupt that has found a CPU stuck.
INTERRUPTED = re.compile(r'</(?:IRQ|NMI|SOFTIRQ)>')
CHANGED = re.compile(r' changed (held locks|irqs_disabled\(\)|preempt_count\(\)|'
                     r'pagefault_disabled\(\)|non_block_count|the memalloc scope)$')
# What lockdep says between its parts
BETWEEN = re.compile(r'which lock already|the existing dependency|Chain exists of|Possible unsafe|'
                     r'-->|CPU0|^----|lock\(|\*\*\* DEADLOCK|missing lock nesting|={20}|-{20}|'
                     r'^\S+ #\d+ (?:Not t|T)ainted|^context-|Hardware name|preempt_count: |'
                     r'RCU nest depth|Tainted: \[|^Stack:|^ ?[0-9a-f]{8} [0-9a-f]{8}')
OWNER = re.compile(r'is blocked on an? (.{1,20}?),? (likely (?:last )?(?:owned|held) by task .*|'
                   r'but the .*)|blocked on an? (.{1,20}?) (likely .*)')


@dataclass(frozen=True)
class Refused:
    """What the core says of a callback that returned an error."""
    line: int
    symbol: Symbol
    error: int
    blockable: bool


@dataclass(frozen=True)
class Changed:
    """What the core says that a callback has left otherwise than it was."""
    line: int
    symbol: Symbol
    what: str


@dataclass(frozen=True)
class Link:
    number: int
    lock: str
    frames: list[Symbol] = field(default_factory=list)      # how it was taken, innermost first


@dataclass
class Report:
    kind: str
    headline: str
    line: int
    file: str = ''              # that the headline names
    condition: str = ''         # of a WARN(), if the kernel prints it
    symbol: Optional[Symbol] = None     # likewise
    task: str = ''
    state: str = ''
    seconds: str = ''
    wanted: Optional[Lock] = None
    holding: Optional[Lock] = None
    held: list[Lock] = field(default_factory=list)
    held_count: Optional[int] = None    # how many it says there are
    links: list[Link] = field(default_factory=list)
    non_block: Optional[int] = None
    pointer: Optional[Symbol] = None    # where the CPU was
    back: Optional[Symbol] = None       # where it would have returned to
    refused: Optional[Refused] = None   # the core's line before it
    changed: Optional[Changed] = None   # likewise, or behind it
    warns: int = 0                      # how many WARNs there were after that line, this included
    back_offs: list[Refused] = field(default_factory=list)  # so far in the log
    frames: list[Frame] = field(default_factory=list)       # innermost first
    owner: str = ''             # of the lock that the task waits for
    rt: bool = False
    section: str = ''           # what comes next: 'wanted', 'holding', 'links', 'trace'
    ended: bool = False
    foreign: int = 0            # lines of others since its own last one
    dropped: bool = False
    mixed: bool = False         # with the lines of another, which cannot be told apart
    cut: str = ''               # what is missing

    @property
    def nonblock(self) -> Optional[Lock]:
        return next((lock for lock in self.held if lock.name == NONBLOCK),
                    self.holding if self.holding and self.holding.name == NONBLOCK else None)

    def trace(self) -> list[Symbol]:
        """The frames that can be trusted, or if there are none, what looks like them."""
        sure = [frame.symbol for frame in self.frames if frame.sure]
        found = sure or [frame.symbol for frame in self.frames
                         if int(frame.symbol.offset or '1', 16)]
        if self.pointer and self.kind == LOCKUP:
            rest = found[1:] if found and found[0].base == self.pointer.base else found
            # A leaf has no frame of its caller.
            back = [self.back] if self.back and self.back.base != self.pointer.base and not any(
                symbol.base == self.back.base for symbol in rest[:3]) else []
            return [self.pointer, *back, *rest]
        return found

    @property
    def guessed(self) -> bool:
        return bool(self.frames) and not any(frame.sure for frame in self.frames)

    def feed(self, text: str) -> bool:
        """Take one more line. Whether it was a part of the report."""
        self.foreign += bool(text)
        mine = self._lock(text) or self._trace(text) or self._word(text)
        if mine:
            self.foreign = 0
        return mine

    def _lock(self, text: str) -> bool:
        if found := find_lock(text):
            number, lock = found
            # The number tells this list from another that is mixed with it.
            if number is not None:
                if number == len(self.held) - 1 and self.held[-1].name == lock.name:
                    self.held[-1] = lock        # once more, for a function that is inlined
                elif number == len(self.held) and (self.held_count is None
                                                   or number < self.held_count):
                    self.held.append(lock)
                else:
                    return False
            elif self.section in ('wanted', 'holding'):
                setattr(self, self.section, lock)
            else:
                return False
            return True
        if match := HELD.search(text) if ' held by ' in text else None:
            if self.held_count is not None or (self.task and not
                                               self.task.endswith(find_task(text))):
                return False
            self.held_count, self.task = int(match[1] or match[6]), find_task(text)
            return True
        if NONE_HELD.search(text) and self.held_count is None:
            self.held_count = 0
            return True
        return False

    def _trace(self, text: str) -> bool:
        if CALL_TRACE.search(text):
            self.ended = bool(self.frames)      # then it is another
            self.section = 'trace'
            return not self.ended
        if '</TASK>' in text and self.section == 'trace':
            self.ended = True
        elif self.kind == LOCKUP and INTERRUPTED.search(text):
            self.frames = []
        elif link := find_link(text):
            self.links.append(Link(*link))
            self.section = 'links'
        elif self.kind == LOCKUP and not self.pointer and (match := POINTER.search(text)):
            self.pointer = to_symbol(match)
        elif self.kind == LOCKUP and not self.back and (match := RETURN.search(text)):
            self.back = to_symbol(match)
        elif frames := find_frames(text, self.section in ('trace', 'links')):
            if self.section == 'links' and self.links:
                taken = self.links[-1].frames
                taken += [frame.symbol for frame in frames][:MOST_FRAMES - len(taken)]
            elif not self.ended and (self.section == 'trace' or self.kind in (STACK, TASK, HUNG)):
                if len(frames) == 2 and self.frames and \
                        self.frames[-1].symbol.base == frames[0].symbol.base:
                    frames = frames[1:]
                self.frames += frames[:MOST_FRAMES - len(self.frames)]
            else:
                return False
        else:
            return False
        return True

    def _word(self, text: str) -> bool:
        if self.kind == WARN and (found := find_changed(text, self.line)):
            self.changed = found
        elif match := CONTEXT.search(text):
            self.non_block = int(match[1]) if match[1] else None
            self.task = f'{match[3]}/{match[2]}'
        elif match := TRYING.search(text):
            self.task, self.section = f'{match[1]}/{match[2]}', 'wanted'
        elif HOLDING.search(text):
            self.section = 'holding'
        elif RUNNING.search(text):
            self.task = self.task or find_task(text)
            self.rt = self.rt or 'PREEMPT_RT' in text
        elif match := OWNER.search(text):
            self.owner = f'{match[1] or match[3]}, {match[2] or match[4]}'
        elif '---[ end trace' in text:
            self.ended = True
        elif text.endswith(('stack backtrace:', 'might help us debug this:', 'is:')):
            self.section = ''
        else:
            return bool(BETWEEN.search(text)) and not self.ended
        return True

    def has_end(self) -> bool:
        """Where nothing marks the end of a trace, it is where other lines follow."""
        return self.ended or bool(self.frames and (self.foreign or self.mixed or BOTTOM.fullmatch(
            self.frames[-1].symbol.base)))

    def close(self, why: str) -> None:
        """No line can follow: say what is missing, if something is."""
        if self.dropped:
            self.cut = 'the kernel dropped lines of it'
        elif self.kind in (OTHER, LOCKDEP, UNREAPED, STACK, TRACE):
            self.cut = ''
        elif self.kind == HEADLESS:
            self.cut = 'its beginning is not in the log'
        elif self.kind in (CIRCULAR, RECURSION, WAIT) and not self.wanted:
            self.cut = f'{why} before the lock that is wanted'
        elif self.held_count is not None and len(self.held) < self.held_count:
            self.cut = f'{why} in its list of held locks'
        elif not self.frames and not (self.kind in (CIRCULAR, RECURSION) and self.foreign) \
                and not (self.kind == WARN and self.refused) and not self.pointer:
            self.cut = f'{why} before its call trace'
        elif self.frames and not self.has_end():
            self.cut = f'{why} in its call trace'


def find_changed(text: str, line: int) -> Optional[Changed]:
    match = CHANGED.search(text)
    symbol = to_symbol(AT_SYMBOL.search(text[:match.start()])) if match else None
    return Changed(line, symbol, match[1]) if match and symbol else None


def find_task(text: str) -> str:
    """Whose held locks follow, or whose trace."""
    if match := HELD.search(text) if ' held by ' in text else None:
        return f'{match[2] or match[4]}/{match[3] or match[5]}'
    if match := RUNNING.search(text) if 'PID: ' in text else None:
        return f'{match[2]}/{match[1]}'
    if match := CONTEXT.search(text) if 'in_atomic()' in text else None:
        return f'{match[3]}/{match[2]}'
    return ''
