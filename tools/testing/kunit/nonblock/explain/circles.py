# SPDX-License-Identifier: GPL-2.0-only
"""lockdep's circles: which callback takes which lock, and where that is held, link by link.

In a chain, link N is a lock that was taken with that of link N - 1 held; link 0 is the lock
that is wanted now, with the last one held.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from . import texts
from .blocks import LOCKS, NOISE, find_primitive
from .finding import (CONTRACT, MAYBE, NO, NONBLOCKING, RECLAIM, YES, Finding, Innocent, Judgement,
                      Unclear, find_callback, may_block, split_trace)
from .report import Report
from .symbols import NONBLOCK, RANGE_MAP, RECLAIM as RECLAIM_MAP, Symbol

# What is taught to lockdep once, so that a circle is seen whoever comes first
PRIMED = re.compile(r'dma_resv_lockdep|__dma_fence_might_wait|\w*_taints_mutex|'
                    r'fs_reclaim_taints_\w+|might_lock\w*|i915_gem_shrinker_\w+')
# What stands nearer than who allocates, faults or unmaps
PLUMBING = re.compile(
    r'(__)?k[mz]alloc\w*|(__)?kmem_cache_\w+|(__)?kv?m?alloc\w*|slab_\w+|___?slab\w*|'
    r'(__)?fs_reclaim_\w+|might_alloc|(__)?alloc_\w+|prepare_alloc\w*|get_page_from\w*|'
    r'(__)?vmalloc\w*|kasan_\w+|__?kasan\w*|stack_depot\w*|(__)?might_fault|kstrdup\w*|'
    r'kvasprintf\w*|'
    r'(__)?lru_\w+|down_\w+|pcpu_alloc\w*|kmemdup\w*|(__)?folio_alloc\w*|xas_\w+|__xa_\w+|'
    r'(__)?get_user_\w+|(__)?copy_(from|to)_\w+|mempool_\w+|shrink_\w+|do_shrink\w*|try_to_free\w*')


@dataclass(frozen=True)
class Dependency:
    """A lock that was taken with another held."""
    number: int
    lock: str
    held: str
    frames: list[Symbol]
    core: Optional[Symbol]
    path: list[Symbol]          # what the core called, outermost first

    @property
    def in_callback(self) -> bool:
        return bool(self.core and self.path and not self.core.is_release())

    @property
    def in_release(self) -> bool:
        return bool(self.core and self.path and self.core.is_release())

    @property
    def primed(self) -> bool:
        return any(PRIMED.fullmatch(frame.base) for frame in self.frames) or (
            self.lock in (RANGE_MAP, RECLAIM_MAP) and self.held in (RANGE_MAP, RECLAIM_MAP))

    def who(self) -> Optional[Symbol]:
        """Who takes it: the innermost that is no allocator and no lock, a driver's if there is."""
        own = [frame for frame in self.frames if not NOISE.fullmatch(frame.base)
               and not LOCKS.fullmatch(frame.base) and not PLUMBING.fullmatch(frame.base)
               and not frame.is_core()]
        return next((frame for frame in own if frame.module), own[0] if own else None)

    def said(self) -> str:
        """In plain words."""
        who = self.who()
        name = who.called if who else 'somebody'
        where = f'link #{self.number}: '
        if self.in_callback or self.in_release:
            kind = 'when a notifier is released' if self.in_release else 'in an invalidation'
            return f'{where}{self.path[0].called} takes "{self.lock}" {kind}' + (
                f', with "{self.held}" held' if self.held != RANGE_MAP else '')
        if self.primed:
            return (f'{where}"{self.lock}" after "{self.held}": the kernel teaches lockdep at boot '
                    'that it comes to this')
        held = f'with "{self.held}" held'
        if not self.frames:
            return f'{where}"{self.lock}" is taken {held}'
        if self.lock in (RANGE_MAP, RECLAIM_MAP):
            return f'{where}{name} {self._reclaims()} {held}'
        return f'{where}{name} takes "{self.lock}" {held}'

    def _reclaims(self) -> str:
        bases = [frame.base for frame in self.frames]
        for function, said in (
                ('mmu_interval_notifier_remove', 'removes an interval notifier, which waits for '
                 'invalidations,'),
                ('mmu_interval_notifier_insert', 'registers an interval notifier'),
                ('__mmu_notifier_register', 'registers a notifier')):
            if any(function in base for base in bases):
                return said
        if any('fs_reclaim_acquire' in base or 'might_alloc' in base for base in bases):
            _, primitive = find_primitive(list(reversed(self.frames)))
            what = primitive.said if primitive and primitive.remedy is texts.ALLOCATING else ''
            return 'allocates' + (f' ({what})' if what and what != 'an allocation' else '')
        return 'invalidates memory of a process'


def read_steps(report: Report) -> list[Dependency]:
    """By number: from the lock that is wanted to the one that is held."""
    links = sorted({link.number: link for link in report.links}.values(),
                   key=lambda link: link.number)
    if not links and report.wanted and report.holding:
        frames = report.trace()
        core, path, _ = split_trace(frames)
        return [Dependency(0, report.wanted.name, report.holding.name, frames, core, path)]
    steps = []
    for index, link in enumerate(links):
        frames = link.frames
        if not index and not frames:
            frames = report.trace()
        core, path, _ = split_trace(frames)
        held = links[index - 1].lock if index or len(links) > 1 else \
            report.holding.name if report.holding else ''
        if not index and report.holding:
            held = report.holding.name
        steps.append(Dependency(link.number, link.lock, held, frames, core, path))
    return steps


def say_circle(report: Report) -> list[str]:
    links = [link.lock for link in reversed(report.links)]
    return ['The circle: ' + ' -> '.join([*links, links[0]])] if links else []


def judge_circle(report: Report) -> Judgement:
    steps = read_steps(report)
    names = [step.lock for step in steps] + [
        lock.name for lock in (report.wanted, report.holding) if lock]
    if NONBLOCK in names:
        return judge_other_side(report, steps)
    if kept := judge_kept(report):
        return kept
    callbacks = [step for step in steps if step.in_callback]
    if callbacks:
        return judge_cycle(report, steps, callbacks)
    if taken := judge_without_stacks(report, steps):
        return taken
    if report.cut and not (report.wanted and report.holding and len(steps) > 1):
        return Unclear(report, report.cut)
    if any(not step.frames for step in steps):
        return Unclear(report, 'call traces of its links are missing, or cannot be read')
    if RANGE_MAP in names:
        return Innocent(report, 'The notifiers\' map is only a link of the circle, as each '
                        'allocation that reclaims takes it; no lock of the circle was taken in a '
                        'callback.' + say_primed(steps))
    released = next((step for step in steps if step.in_release), None)
    if released:
        return Innocent(report, f'{released.path[0].called} takes "{released.lock}" when its '
                        'notifier is released, which may block; the circle is one of locks.')
    return Innocent(report, 'The circle has nothing to do with notifiers.')


def say_primed(steps: list[Dependency]) -> str:
    primed = [step.lock for step in steps
              if step.primed and step.lock not in (RANGE_MAP, RECLAIM_MAP)]
    return f' "{primed[0]}" follows it as the kernel says so at boot.' if primed else ''


def judge_cycle(report: Report, steps: list[Dependency], callbacks: list[Dependency]) -> Finding:
    """The lock of the callback that the circle goes on from, and where that is held."""
    count = len(steps)
    taken = next((step for index, step in enumerate(steps) if step.in_callback
                  and not steps[(index + 1) % count].in_callback), callbacks[0])
    start = steps.index(taken)
    rest = [steps[(start + number) % count] for number in range(1, count)]
    rest = [step for step in rest if not step.in_callback]
    closes = next((step for step in rest if not step.primed and step.lock in (
        RANGE_MAP, RECLAIM_MAP)), None)
    through = bool(closes) or RANGE_MAP in [step.lock for step in steps]
    number, primitive = find_primitive(taken.path)
    callback = find_callback(taken.path, number)
    path = taken.path[:number + 1] if number is not None else taken.path
    notes = [step.said() for step in rest]
    sleeps = primitive is not None and primitive.remedy is texts.LOCKING
    notes += [f'also {step.said()}' for step in callbacks if step is not taken]
    if sleeps:
        notes.append(f'In a nonblocking call the same {primitive.said if primitive else "lock"} '
                     'would sleep, unless it is a trylock there.')
    lock = f'"{taken.lock}"'
    instead = (texts.LOCK_ORDER if through else texts.ONE_ORDER).format(lock=lock)
    if closes and closes.held != taken.lock:
        instead += ' ' + texts.LOCK_LEAD.format(lock=lock)
    what = f'"{taken.lock}", taken in an invalidation'
    if sleeps and primitive:
        what = f'{primitive.said}, of {what}'
    if closes and (who := closes.who()):
        what += f'; {who.called} {closes.said().split(who.called, 1)[-1].strip()} ' \
                f'(link #{closes.number})'
    return Finding(report, RECLAIM if through else CONTRACT, callback, may_block(taken.frames),
                   texts.NO_LOCK_OVER_RECLAIM if through else texts.LOCK_CIRCLE, what, path,
                   instead, ('circle', *(step.lock for step in steps)), notes + say_circle(report))


def judge_kept(report: Report) -> Optional[Finding]:
    """A callback that leaves a lock held until its partner releases it, across the core's map."""
    wanted, holding = report.wanted, report.holding
    core = wanted.at if wanted else None
    if not (wanted and holding and holding.at and core and wanted.name == RANGE_MAP and
            core.is_core() and re.search('invalidate|notifier', holding.at.name)):
        return None
    return Finding(report, CONTRACT, holding.at, YES, texts.KEEP_NOTHING,
                   f'"{holding.name}", taken in one callback and held until its partner is called; '
                   f'{core.called} comes between', [holding.at], texts.KEEPING,
                   ('kept', str(holding.at), holding.name), say_circle(report))


def judge_without_stacks(report: Report, steps: list[Dependency]) -> Optional[Finding]:
    """An excerpt may have no more than the two locks: one is taken within an invalidation."""
    wanted, holding = report.wanted, report.holding
    if not (wanted and wanted.at and holding and holding.name == RANGE_MAP) or any(
            step.frames for step in steps) or report.frames or wanted.name == RANGE_MAP:
        return None
    where = 'That is where the lock was taken; the callback may be a function that calls it: the ' \
        'call trace is not in the log.'
    return Finding(report, RECLAIM, wanted.at, MAYBE, texts.NO_LOCK_OVER_RECLAIM,
                   f'"{wanted.name}", taken in an invalidation', [wanted.at],
                   texts.LOCK_ORDER.format(lock=f'"{wanted.name}"'),
                   ('circle', wanted.name, str(wanted.at)),
                   [where, *(step.said() for step in steps if step.number), *say_circle(report)])


def judge_other_side(report: Report, steps: list[Dependency]) -> Finding:
    """The map of the series is in the chain, and another task closed the circle."""
    paths = [split_trace(link.frames)[1] for link in report.links]
    path: list[Symbol] = next((one for one in paths if one), [])
    names = [one.lock for one in reversed(steps)]
    # The circle goes on from the callback to what that takes.
    taken = names[(names.index(NONBLOCK) - 1) % len(names)] if NONBLOCK in names else '?'
    wanted = f'"{report.wanted.name}" at {report.wanted.where}' if report.wanted else 'another lock'
    held = f', with "{report.holding.name}" held' if report.holding else ''
    return Finding(report, NONBLOCKING, path[0] if path else None, NO,
                   f'What a nonblocking callback takes ("{taken}") may not be held by anybody who '
                   'waits for memory, nor for what waits for memory.',
                   f'another task, {report.task}, not the callback: it takes {wanted}{held}',
                   path,
                   f'Do not allocate with "{taken}" held: allocate before that is taken, or with '
                   'GFP_NOWAIT. Or do not take it in the callback.',
                   ('circle', wanted, held, *names), say_circle(report))
