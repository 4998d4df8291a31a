# SPDX-License-Identifier: GPL-2.0-only
"""A report to a finding, or to why it is none."""

from __future__ import annotations

import re
from typing import Callable, Optional

from . import texts
from .blocks import NOISE, Primitive, by_file, find_primitive, is_spinlock_rt
from .circles import judge_circle, say_circle
from .contract import judge_warning
from .finding import (CONTRACT, NO, NONBLOCKING, RECLAIM, Finding, Innocent, Judgement, Unclear,
                      find_callback, may_block, mixed_callbacks, split_trace, stands_in)
from .kinds import (CIRCULAR, HEADLESS, HUNG, LOCKDEP, LOCKUP, OTHER, RECURSION, SCHEDULE, SLEEP,
                    STACK, TASK, TRACE, UNREAPED, WAIT, WARN)
from .report import Report
from .stuck import judge_stuck, judge_unreaped
from .symbols import INVALIDATE, NONBLOCK, RANGE_MAP, REAPER, TLB, Symbol


def judge(report: Report, release: str = '') -> Judgement:
    """`release` is the kernel of the log, as far as that tells it."""
    if report.kind == WARN:
        return judge_warning(report, release)
    return JUDGES[report.kind](report)


def say_back_off(report: Report, core: Optional[Symbol]) -> str:
    """How this callback backs off, as far as the report tells which it is."""
    name = core.base if core else ''
    hlist = 'hlist' in name or any(lock.name == 'srcu' and INVALIDATE.match(lock.where)
                                   for lock in report.held)
    if name.endswith(('range_end', 'finish_pass')):
        return 'leave it to a work item (this is called at the end, and cannot back off)'
    if hlist:
        return 'return -EAGAIN (only from invalidate_range_start(): the end cannot back off)'
    if report.held and core or 'itree' in name:
        return 'return false'
    return 'back off (return -EAGAIN, false from an interval notifier)'


def judge_wait(report: Report) -> Judgement:
    """lockdep: a lock of this sort may not be taken here."""
    nonblock, wanted = report.nonblock, report.wanted
    if nonblock and wanted and wanted.outer > nonblock.inner:
        return judge_call(report)
    if report.cut and not (nonblock and wanted) and not (
            report.held_count is not None and len(report.held) == report.held_count):
        return Unclear(report, report.cut)
    return Innocent(report, 'lockdep tells of a lock that may not be taken under another, which '
                    'is not that of a nonblocking callback.' + stands_in(report))


def judge_recursion(report: Report) -> Judgement:
    wanted = report.wanted
    if not wanted:
        return Unclear(report, report.cut)
    if wanted.name == NONBLOCK:
        return judge_call(report)
    core, path, _ = split_trace(report.trace())
    if wanted.name == RANGE_MAP:
        if core and path and not core.is_release():
            return judge_nested(report, core, path)
        if report.cut:
            return Unclear(report, report.cut)
        return Innocent(report, 'The map is taken again, but no callback is in the call trace: '
                        'that is the annotation of the core.')
    return Innocent(report, f'lockdep tells of "{wanted.name}", taken twice; that is not about '
                    'what a callback may wait for.' + stands_in(report))


def judge_nested(report: Report, core: Symbol, path: list[Symbol]) -> Finding:
    """Mainline's own map, taken again within an invalidation."""
    number, primitive = find_primitive(path)
    inner = next((frame for frame in path if frame.base.endswith('invalidate_range_start')
                  and frame.is_core()), None)
    allocates = not inner
    said = (primitive.said if primitive and primitive.remedy is texts.ALLOCATING
            else 'an allocation') if allocates else 'another invalidation'
    instead = texts.ALLOCATING if allocates else (
        'Do not unmap, fault or copy memory of a process in a callback. Leave it to a work item.')
    path = path[:number + 1] if number is not None else path
    inside = path[:-1] if number is not None else path
    return Finding(report, RECLAIM, find_callback(path, number), may_block(report.trace()),
                   texts.NO_RECLAIM,
                   f'{said}, within the invalidation', path,
                   instead.format(back_off=say_back_off(report, core)),
                   (str(core), *map(str, inside), said),
                   ['lockdep tells it by mainline\'s own map, which is there in each invalidation, '
                    'also in one that may block.'])


def judge_sleep(report: Report) -> Judgement:
    """might_sleep() or the scheduler."""
    frames = report.trace()
    core, path, callers = split_trace(frames)
    nonblock = report.nonblock
    if not core and not nonblock and (tlb := judge_tlb(report, frames)):
        return tlb
    if report.kind == SLEEP and report.non_block == 0 and not nonblock:
        return Innocent(report, 'It is not about a nonblocking section (non_block: 0): it sleeps '
                        'with a spinlock held, or with interrupts or preemption off.'
                        + stands_in(report))
    if is_spinlock_rt(frames, report.file) and (core or nonblock):
        return Innocent(report, 'A spinlock may be taken in a nonblocking callback. That it sleeps '
                        'on PREEMPT_RT is that kernel\'s own, as is the report; there is nothing '
                        'to do in the driver.' + stands_in(report))
    if not core and not nonblock:
        if report.cut or not frames:
            return Unclear(report, report.cut or 'it has no call trace')
        return Innocent(report, 'Another part of the kernel may not block there (a section of its '
                        'own, between non_block_start() and non_block_end()).'
                        if report.kind == SCHEDULE or report.non_block else
                        'It is not about a nonblocking section.')
    if core and core.is_release() and not nonblock:
        return Innocent(report, 'A notifier is released there, which may block.'
                        + stands_in(report))
    if report.kind == SLEEP and report.non_block is None and not nonblock and not any(
            REAPER.fullmatch(frame.base) for frame in callers):
        return Unclear(report, 'the line with "non_block:" is missing, which tells whether the '
                       'call may block')
    return judge_call(report)


def judge_tlb(report: Report, frames: list[Symbol]) -> Optional[Finding]:
    """A callback for a TLB, which never may sleep."""
    core = next((number for number, frame in enumerate(frames) if TLB.fullmatch(frame.base)), None)
    inner = [frame for frame in reversed(frames[:core or 0]) if not NOISE.fullmatch(frame.base)]
    number, primitive = find_primitive(inner)
    if core is None or not inner or is_spinlock_rt(frames, report.file):
        return None
    inner = inner[:number + 1] if number is not None else inner
    did = primitive.said if primitive else f'might_sleep() at {report.file}'
    return Finding(report, CONTRACT, find_callback(inner, number), 'no: it runs under the spinlock '
                   'of a page table', texts.NO_SLEEP_FOR_TLB, did, inner, texts.TLB_ONLY,
                   ('tlb', str(frames[core]), did, *map(str, inner[:1])))


def judge_call(report: Report) -> Finding:
    """A nonblocking callback that does what may block."""
    core, path, _ = split_trace(report.trace())
    number, primitive = find_primitive(path)
    lock = report.wanted if report.wanted and report.wanted.name != NONBLOCK else None
    if primitive is None:
        # Inlined, or without a frame: then where it was reported must do.
        primitive = by_file(report.file) if report.kind == SLEEP else None
        if primitive is None and report.kind == WAIT:
            primitive = Primitive('', 'a lock that sleeps', texts.LOCKING)
        if primitive is None and report.kind == RECURSION:
            primitive = Primitive('', 'an allocation', texts.ALLOCATING)
    elif number is not None:
        path = path[:number + 1]
    remedy = primitive.remedy if primitive else texts.UNKNOWN
    said = primitive.said if primitive else \
        f'might_sleep() at {report.file}' if report.file else 'what is not known'
    nonblock = report.nonblock
    named = nonblock.at if nonblock else None
    callback = named or (find_callback(path, number) if not nonblock else None)
    notes = []
    if nonblock and not named:
        notes.append(f'The kernel printed the callback as {nonblock.where}: it has no '
                     'CONFIG_KALLSYMS.')
    elif not named and callback and not report.mixed:
        notes.append('The list of held locks does not name the callback: lockdep is off, or the '
                     'kernel has no annotation. The call trace does, unless the callback ends in '
                     'a call of another function.')
    rule = say_rule(report, remedy)
    if lock:
        said = (said if primitive else 'a lock') + f', of "{lock.name}"' + (
            '' if report.kind == WAIT else f' at {lock.where}')
    notes += say_circle(report)
    inner = path[:-1] if number is not None else path
    key = (str(core), *map(str, inner), primitive.said if primitive else said) if path else \
        (report.kind, str(callback), said)
    if report.guessed and path:
        notes.append('Each frame of the call trace has a "?": it is what lay on the stack, and '
                     'may show functions that were not called here.')
    finding = Finding(report, NONBLOCKING, callback, NO, rule, said, path,
                      remedy.format(back_off=say_back_off(report, core)), key, notes)
    if report.mixed and not named:
        finding.candidates = mixed_callbacks(report.trace())
        finding.callback, finding.path = None, []
        finding.key = ('mixed', report.task, *map(str, finding.candidates))
        finding.notes.append('Lines of several reports are mixed, and nothing tells them apart: '
                             'the frames are not one call path.')
    return finding


def say_rule(report: Report, remedy: str) -> str:
    if report.kind == WAIT:
        return texts.NO_SLEEPING_LOCK
    if report.kind == RECURSION or remedy is texts.ALLOCATING:
        return texts.NO_WAIT_FOR_MEMORY
    if report.kind == CIRCULAR and report.wanted:
        return ('A nonblocking callback may not depend on an allocation through others: '
                f'"{report.wanted.name}" is held elsewhere by who waits for memory.')
    return texts.NO_SLEEP


def judge_chain(report: Report) -> Judgement:
    if report.holding and report.holding.name == NONBLOCK:
        return judge_call(report)
    wanted, holding = report.wanted, report.holding
    if wanted and holding and wanted.name == holding.name == RANGE_MAP and not report.links:
        return judge_recursion(report)      # an excerpt without its headline
    return judge_circle(report)


def judge_headless(report: Report) -> Judgement:
    return judge_call(report)


def judge_trace(report: Report) -> Judgement:
    """Excerpts may have no more; then the trace itself tells why it was printed."""
    frames = report.trace()
    core, path, callers = split_trace(frames)
    if frames and re.fullmatch(r'__schedule|schedule|__switch_to', frames[0].base):
        return judge_stuck(report)
    if core and path and not core.is_release() and not is_spinlock_rt(frames, '') and any(
            re.fullmatch(r'_{2,3}might_(sleep|resched)', frame.base) for frame in frames):
        if any(REAPER.fullmatch(frame.base) for frame in callers):
            return judge_call(report)
        return Unclear(report, 'the lines before the call trace are missing, which tell whether '
                       'the call may block')
    return Innocent(report, 'A call trace without a report: who printed it is not in the log.'
                    + stands_in(report))


def judge_other(report: Report) -> Judgement:
    headline = report.headline
    if report.cut and report.kind == OTHER:
        return Unclear(report, report.cut)
    if report.kind == LOCKDEP:
        return Innocent(report, 'lockdep tells of something else than a callback that waits.'
                        + stands_in(report))
    if 'locks held in the system' in headline:
        return Innocent(report, 'A list of all locks.')
    what = 'A crash' if any(word in headline for word in (
        'NULL', 'Oops', 'general prot', 'Unable to', 'panic', 'KASAN', 'Internal')) else \
        'A report of something else'
    return Innocent(report, f'{what}.' + stands_in(report))


JUDGES: dict[str, Callable[[Report], Judgement]] = {
    WAIT: judge_wait, RECURSION: judge_recursion, CIRCULAR: judge_chain, LOCKDEP: judge_other,
    SLEEP: judge_sleep, SCHEDULE: judge_sleep, HUNG: judge_stuck, LOCKUP: judge_stuck,
    TASK: judge_stuck, STACK: judge_stuck, TRACE: judge_trace,
    UNREAPED: judge_unreaped, OTHER: judge_other, HEADLESS: judge_headless}
