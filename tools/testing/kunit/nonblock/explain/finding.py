# SPDX-License-Identifier: GPL-2.0-only
"""What a report comes to: a finding, or what else it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from .blocks import NOISE
from .report import Report
from .symbols import REAPER, Symbol

# What it is
NONBLOCKING, RECLAIM, STUCK, REFUSAL, CONTRACT, BACKED_OFF, CORE = (
    'nonblocking callback that blocks', 'deadlock through reclaim or an invalidation',
    'callback that does not come to its end', 'the opposite mistake: it backs off where it may not',
    'broken contract', 'back-offs that kept the OOM reaper from its work', "the core's own")
NO, YES, MAYBE = ('no: it was a nonblocking call', 'yes: it was a call that may block',
                  'not told by the log')


def may_block(frames: list[Symbol]) -> str:
    """Two callers of an invalidation may not block."""
    if not frames:
        return MAYBE
    return NO if any(REAPER.fullmatch(frame.base) for frame in frames) else YES


@dataclass
class Finding:
    report: Report
    what: str
    callback: Optional[Symbol]
    may_block: str
    rule: str
    did: str
    path: list[Symbol]          # from the callback to what it called
    instead: str
    key: tuple[str, ...]        # of the same call, whatever reported it
    notes: list[str] = field(default_factory=list)
    others: list[Report] = field(default_factory=list)      # the first that tell of it, too
    again: int = 0              # how many there are
    candidates: list[Symbol] = field(default_factory=list)  # if lines of two are mixed
    section: str = 'remedy'
    role: str = 'callback'      # or 'caller' of the core


@dataclass
class Innocent:
    """A report that blames no callback, and why."""
    report: Report
    why: str


@dataclass
class Unclear:
    report: Report
    why: str


Judgement = Finding | Innocent | Unclear


def split_trace(frames: list[Symbol]) -> tuple[Optional[Symbol], list[Symbol], list[Symbol]]:
    """The core's frame nearest to the place; what it called, outermost first; and its callers."""
    core = next((number for number, frame in enumerate(frames) if frame.is_core()), None)
    if core is None:
        return None, [], list(frames)
    path: list[Symbol] = []
    for frame in reversed(frames[:core]):
        if not NOISE.fullmatch(frame.base) and not (path and path[-1].name == frame.name):
            path.append(frame)
    return frames[core], path, frames[core + 1:]


def find_callback(path: list[Symbol], number: Optional[int]) -> Optional[Symbol]:
    """What the core called: not a primitive, whose caller has no frame."""
    return path[0] if path and number != 0 else None


def mixed_callbacks(frames: list[Symbol]) -> list[Symbol]:
    """Of several mixed traces: what may be the callbacks, those next to the core."""
    path = split_trace(frames)[1]
    return list(dict.fromkeys(path))[:2]


def stands_in(report: Report) -> str:
    """For an innocent report: which callback stands in its trace."""
    core, path, _ = split_trace(report.trace())
    if core and path:
        return (f' {path[0].called}, a callback, stands in its call trace: that alone is no '
                'reason to blame it.')
    return ''
