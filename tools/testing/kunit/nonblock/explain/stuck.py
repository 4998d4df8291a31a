# SPDX-License-Identifier: GPL-2.0-only
"""Tasks that hang, and CPUs that do: in a callback, or in a wait for one."""

from __future__ import annotations

import re

from . import texts
from .blocks import NOISE, find_primitive
from .finding import (BACKED_OFF, CORE, NO, NONBLOCKING, RECLAIM, STUCK, YES, Finding, Innocent,
                      Judgement, Unclear, find_callback, mixed_callbacks, split_trace, stands_in)
from .kinds import HUNG, LOCKUP, STACK, TASK
from .report import Report
from .symbols import REAPER, Symbol

WAITERS = re.compile(r'mmu_interval_read_begin|mmu_interval_notifier_remove|'
                     r'mmu_notifier_unregister|mmu_notifier_synchronize')
# Callers of an invalidation that show that memory is being reclaimed, or moved to make room
RECLAIMERS = re.compile(r'shrink_\w+|try_to_free_\w+|kswapd|balance_pgdat|do_try_to_free_pages|'
                        r'evict_folios|(try_to_)?compact_\w+|__alloc_pages\w*|alloc_pages\w*')
UNREAPABLE = ('The OOM reaper gave up after its ten tries. ')


def who_says(report: Report) -> str:
    task = f'{report.task}' if report.task else 'a task'
    if report.kind == LOCKUP:
        since = f' for {report.seconds} s' if report.seconds else ''
        return f'the CPU does not get out of it{since} ({task})'
    if report.kind == HUNG:
        return f'{task} waits in it for more than {report.seconds} s'
    return f'{task} is in it'


def judge_stuck(report: Report) -> Judgement:
    frames = report.trace()
    core, path, callers = split_trace(frames)
    if report.kind == STACK and frames and re.match('machine_kexec|crash_|__crash', frames[0].base):
        return Innocent(report, 'The stack of a CPU that crashed, or was stopped by a crash.'
                        + stands_in(report))
    if report.kind == TASK and report.state not in ('D', ''):
        return Innocent(report, 'A task that does not wait for a lock, or an event that cannot be '
                        'interrupted.')
    waiter = next((number for number, frame in enumerate(frames)
                   if WAITERS.fullmatch(frame.base)), None)
    if core and path:
        position = frames.index(core)
        if waiter is None or waiter < position or not core.is_release():
            return judge_callback(report, core, path, callers)
    if waiter is not None:
        return judge_waiter(report, frames, waiter)
    if report.cut and not (report.kind == HUNG and len(frames) > 3):
        return Unclear(report, report.cut)
    what = {LOCKUP: 'A CPU is busy with something else than a notifier.',
            STACK: 'The stack of a task that has nothing to do with notifiers.'}.get(
                report.kind, 'A task waits for something else than a notifier.')
    return Innocent(report, what + stands_in(report))


def judge_callback(report: Report, core: Symbol, path: list[Symbol],
                   callers: list[Symbol]) -> Finding:
    number, primitive = find_primitive(path)
    nonblocking = any(REAPER.fullmatch(frame.base) for frame in callers) or \
        report.task.startswith('oom_reaper/')
    callback, notes = find_callback(path, number), []
    spins = report.kind == LOCKUP
    if primitive:
        said = primitive.said
        path = path[:(number or 0) + 1]
    elif spins:
        said = 'what it does itself'
    elif report.kind == STACK:
        said = 'a lock or an event'
        notes.append('/proc/PID/stack leaves out the functions of locks.')
    else:
        said = 'what the call trace does not show'
    remedy = primitive.remedy if primitive else texts.UNKNOWN
    if spins and not primitive:
        remedy = ('Let it do less at a time, or {back_off}; look for a loop that does not end, and '
                  'for a lock that is taken and dropped again.')
    if nonblocking:
        what, rule, may_block = NONBLOCKING, texts.NO_SLEEP, NO
        if spins:
            rule = 'A nonblocking callback comes to its end, or backs off, at once.'
        notes.append('It is the OOM reaper, or process_mrelease(2), that hangs: the machine is out '
                     'of memory, and nobody else frees this.')
    elif core.is_release():
        what, may_block = STUCK, 'yes: its notifier is being released'
        rule = 'The release of a notifier, too, comes to an end.'
        if dropped := dropper(callers):
            notes.append(f'{dropped.called} has dropped the last reference to the mm (mmput()), so '
                         'that the mm is torn down there, with the locks that it or its callers '
                         'hold.')
            remedy = texts.DROPPING
        elif '{back_off}' in remedy:
            remedy = texts.RELEASING
    else:
        reclaims = next((frame for frame in callers if RECLAIMERS.fullmatch(frame.base)), None)
        what, may_block = (RECLAIM if reclaims else STUCK), YES
        rule = texts.NO_HANG
        if reclaims:
            notes.append(f'Memory reclaim waits for it ({reclaims.called} is in the call trace): '
                         'it may wait for nobody who waits for memory.')
        else:
            notes.append('It may wait here; but what it waits for does not come. Look for who '
                         'holds the lock, or was to wake it, and what that one waits for.')
        if primitive and primitive.remedy is texts.LOCKING:
            notes.append(f'In a nonblocking call the same {primitive.said} would hang the OOM '
                         'reaper, unless it is a trylock there.')
    if report.owner:
        notes.append(f'The kernel says: {report.owner}')
    verb = 'spins: ' if spins else 'waits: '
    finding = Finding(report, what, callback, may_block, rule, f'{verb}{said}; {who_says(report)}',
                      path, remedy.format(back_off='back off' if nonblocking else
                                          'in a nonblocking call back off'),
                      ('stuck', callback.base if callback else '', said, str(nonblocking)), notes)
    if report.mixed:
        finding.candidates, finding.callback = mixed_callbacks(report.trace()), None
        finding.notes.append('Lines of several reports are mixed: the frames are not one call '
                             'path.')
    return finding


def dropper(callers: list[Symbol]) -> Symbol | None:
    """Who called mmput(), if that is not the exit of a process."""
    for number, frame in enumerate(callers[:-1]):
        if frame.base in ('mmput', '__mmput'):
            above = callers[number + 1]
            if above.base == 'mmput':
                continue
            return None if re.fullmatch(r'do_exit|exit_mm|exec_mmap|begin_new_exec|mmput_async_fn|'
                                        r'process_one_work', above.base) else above
    return None


def judge_waiter(report: Report, frames: list[Symbol], position: int) -> Finding:
    """It is not at fault: an invalidation does not end, or a callback does not return."""
    waiter = frames[position]
    caller = next((frame for frame in frames[position + 1:] if not NOISE.fullmatch(frame.base)),
                  None)
    by = f', called by {caller.called}' if caller else ''
    callbacks = waiter.base in ('mmu_notifier_unregister', 'mmu_notifier_synchronize')
    what_for = 'all callbacks that run to return' if callbacks else 'an invalidation to end'
    instead = ('Look for the task that is in an invalidation (its stack has '
               '__mmu_notifier_invalidate_range_start() and a callback): '
               '`echo w > /proc/sysrq-trigger` shows all that wait.')
    if not callbacks:
        instead += (' If there is none: a kernel without the fix of mn_itree_inv_end() leaves the '
                    'invalidation open for good after a callback backed off with -EAGAIN. That is '
                    'the core\'s, and no driver\'s.')
    return Finding(report, CORE, None, YES, texts.INVALIDATION_ENDS,
                   f'{waiter.called} waits for {what_for}{by}; {who_says(report)}',
                   frames[position:position + 4], instead, ('waiter', waiter.base), section='rule')


def judge_unreaped(report: Report) -> Judgement:
    """The OOM reaper gave up: because callbacks backed off, or for want of mmap_lock."""
    frames = report.trace()
    core, path, callers = split_trace(frames)
    if core and path and not core.is_release():
        finding = judge_callback(report, core, path, callers)
        finding.notes.append(UNREAPABLE + 'The call trace is that of the process that it could '
                             'not reap.')
        return finding
    names = list(dict.fromkeys(one.symbol for one in report.back_offs))
    if not names:
        return Innocent(report, UNREAPABLE + 'The log has no back-off of a callback before it; the '
                        'usual reason is somebody who holds mmap_lock for writing.')
    lines = ', '.join([*(str(one.line) for one in report.back_offs[:5]),
                       *(['...'] if report.back_offs[5:] else [])])
    finding = Finding(report, BACKED_OFF, names[0] if len(names) == 1 else None, NO,
                      'Backing off is allowed, but not for free: who backs off from a range that '
                      'it has no interest in, or again and again, defeats the OOM reaper.',
                      f'back-offs before it (line {lines})',
                      [], 'Look at the range first, and back off only from one that the notifier '
                      'has an interest in. Make the time short for which the lock is held.',
                      ('unreaped', *map(str, names)), [UNREAPABLE.strip()])
    if len(names) > 1:
        finding.candidates = names
    return finding
