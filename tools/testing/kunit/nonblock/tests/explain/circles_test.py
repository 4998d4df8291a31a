# SPDX-License-Identifier: GPL-2.0-only
"""lockdep's circles on kernels without the series. The fake driver is mydrv."""

from __future__ import annotations

import re
from typing import Iterable

from nonblock.explain.finding import CONTRACT, NO, RECLAIM, YES
from .base import ExplainTest

RANGE_MAP = 'mmu_notifier_invalidate_range_start'
CALLBACK = ('__mutex_lock+0x1ac/0x1470', 'mydrv_invalidate+0x52/0x140 [mydrv]',
            '__mmu_notifier_invalidate_range_start+0x3a1/0x740', 'unmap_vmas+0x162/0x170')
BOOT = ('fs_reclaim_acquire+0x6d/0xd0', '__kmalloc_cache_noprof+0x34/0x760',
        'workqueue_init+0x88/0x318', 'kernel_init_freeable+0x134/0x28f', 'kernel_init+0x16/0x130')
FENCE = ('__dma_fence_might_wait+0x74/0xc0', 'dma_resv_lockdep+0x1f4/0x2f4',
         'do_one_initcall+0x104/0x2bc', 'kernel_init+0x30/0x134')
ALLOCATES = ('fs_reclaim_acquire+0xa1/0xd0', '__kmalloc_cache_noprof+0x60/0x510',
             'mydrv_grow+0x61/0x1c0 [mydrv]', 'mydrv_ioctl+0x188/0x300 [mydrv]')


def lock(name: str, at: str) -> str:
    return f'ffff8881084be2f0 ({name}){{+.+.}}-{{4:4}}, at: {at}\n'


def circle(*links: tuple[str, Iterable[str]], holding: str = '') -> str:
    """In lockdep's order: the highest number first. Link 0 is what is wanted."""
    wanted, stack = links[-1]
    held = holding or links[0][0]
    text = ('WARNING: possible circular locking dependency detected\n6.18.9 #12 Not tainted\n'
            'worker/2207 is trying to acquire lock:\n' + lock(wanted, 'f+0x52/0x140 [mydrv]') +
            '\nbut task is already holding lock:\n' + lock(held, 'g+0x5/0x170') +
            '\nwhich lock already depends on the new lock.\n\n'
            'the existing dependency chain (in reverse order) is:\n')
    for number, (name, frames) in zip(range(len(links) - 1, -1, -1), links):
        text += f'\n-> #{number} ({name}){{+.+.}}-{{4:4}}:\n' + ''.join(
            f'       {frame}\n' for frame in frames)
    text += ('\nother info that might help us debug this:\n\nstack backtrace:\n'
             'CPU: 2 UID: 1000 PID: 2207 Comm: worker Not tainted 6.18.9 #12\nCall Trace:\n'
             ' <TASK>\n dump_stack_lvl+0x5d/0x80\n')
    return text + ''.join(f' {frame}\n' for frame in stack) + ' </TASK>\n'


class CircleTest(ExplainTest):
    def test_lock_that_is_held_over_an_allocation(self) -> None:
        self.assert_explained(
            circle((RANGE_MAP, BOOT), ('fs_reclaim', ALLOCATES), ('&a->lock', CALLBACK)),
            'mutex_lock(), of "&a->lock", taken in an invalidation; mydrv_grow() [mydrv] allocates '
            '(kmalloc()) with "&a->lock" held (link #1)')
        finding, = self.found.findings
        self.assertEqual((finding.what, finding.may_block), (RECLAIM, YES))
        self.assertNotIn('A lock that leads to', self.explain(circle(
            (RANGE_MAP, BOOT), ('fs_reclaim', ALLOCATES), ('&a->lock', CALLBACK))))

    def test_the_other_task_closes_it(self) -> None:
        """The allocation comes last: the callback is in how a link was learned."""
        self.assert_explained(
            circle(('&a->lock', CALLBACK), (RANGE_MAP, BOOT), ('fs_reclaim', ALLOCATES)),
            'callback mydrv_invalidate(), in module mydrv', 'mydrv_grow() [mydrv] allocates')

    def test_removal_of_a_notifier_under_the_lock_of_its_callback(self) -> None:
        removes = ('mmu_interval_notifier_remove+0x2e/0x190', 'mydrv_close+0x10/0x20 [mydrv]')
        self.assert_explained(
            circle(('&a->lock', CALLBACK), (RANGE_MAP, removes)),
            'callback mydrv_invalidate()', 'mydrv_close() [mydrv] removes an interval notifier, '
            'which waits for invalidations, with "&a->lock" held (link #0)')

    def test_mmap_lock_under_the_lock_of_a_callback(self) -> None:
        faults = ('__might_fault+0x68/0x90', 'mydrv_read+0x5f/0xb0 [mydrv]')
        unmaps = ('change_protection+0x802/0xab0', 'mprotect_fixup+0x187/0x2d0')
        self.assert_explained(
            circle(('&a->lock', CALLBACK), (RANGE_MAP, unmaps), ('&mm->mmap_lock', faults)),
            'callback mydrv_invalidate()', 'link #0: mydrv_read() [mydrv] takes "&mm->mmap_lock" '
            'with "&a->lock" held', 'link #1: change_protection() invalidates memory')

    def test_the_last_of_several_locks_of_a_callback(self) -> None:
        second = ('__mutex_lock+0x1ac/0x1470', 'mydrv_stop+0x2/0x140 [mydrv]', *CALLBACK[1:])
        faults = ('__might_fault+0x68/0x90', 'mydrv_read+0x5f/0xb0 [mydrv]')
        unmaps = ('change_protection+0x802/0xab0', 'mprotect_fixup+0x187/0x2d0')
        self.assert_explained(
            circle(('&dqm->lock', second), ('&a->lock', CALLBACK), (RANGE_MAP, unmaps),
                   ('&mm->mmap_lock', faults)),
            'mutex_lock(), of "&dqm->lock", taken in an invalidation',
            'also link #2: mydrv_invalidate() [mydrv] takes "&a->lock" in an invalidation')

    def test_a_drivers_own_locks(self) -> None:
        """No map in the circle: but it is closed in a callback."""
        second = ('__mutex_lock+0x1ac/0x1470', 'mydrv_stop+0x2/0x140 [mydrv]', *CALLBACK[1:])
        other = ('__mutex_lock+0x1ac/0x1470', 'mydrv_ioctl+0x188/0x300 [mydrv]')
        self.assert_explained(
            circle(('&p->lock', other), ('&q->lock', second), holding='&p->lock'),
            'callback mydrv_invalidate()', 'Locks are taken in one order', CONTRACT,
            'Break the circle at one of its links',
            'mydrv_invalidate+0x52/0x140 [mydrv] mydrv_stop+0x2/0x140 [mydrv] __mutex_lock')

    def test_in_the_reaper(self) -> None:
        reaper = (*CALLBACK[:3], '__oom_reap_task_mm+0x114/0x1a0', 'oom_reaper+0x130/0x588')
        self.answer(circle((RANGE_MAP, BOOT), ('fs_reclaim', ALLOCATES), ('&a->lock', reaper)))
        self.assertEqual(self.found.findings[0].may_block, NO)

    def test_a_lock_that_is_kept_between_two_callbacks(self) -> None:
        log = ('WARNING: possible circular locking dependency detected\n'
               'qemu/3069 is trying to acquire lock:\n' +
               lock(RANGE_MAP, '__mmu_notifier_invalidate_range_end+0x5/0x190') +
               'but task is already holding lock:\n' +
               lock('&k->slots', 'mydrv_notifier_range_start+0x36d/0x4f0 [mydrv]') +
               'which lock already depends on the new lock.\nThis is what I saw.\n')
        self.assert_explained(log, 'callback mydrv_notifier_range_start()',
                              '"&k->slots", taken in one callback and held until its partner')
        self.assertEqual(self.found.findings[0].what, CONTRACT)

    def test_excerpt_with_the_two_locks_only(self) -> None:
        log = ('worker/2207 is trying to acquire lock:\n' +
               lock('&a->lock', 'mydrv_invalidate+0x5b/0x550 [mydrv]') +
               '\nbut task is already holding lock:\n' + lock(RANGE_MAP, 'unmap_vmas+0x7b/0x1a0') +
               '\nwhich lock already depends on the new lock.\n\nThis is what I saw.\n')
        self.assert_explained(log, 'callback mydrv_invalidate()', 'the callback may be a function '
                              'that calls it')

    def test_names_only(self) -> None:
        """As commit messages shorten it."""
        log = ('WARNING: possible circular locking dependency detected\nkswapd0/268 is trying to '
               'acquire lock:\n (&a->lock){+.+.}, at: mydrv_invalidate\n'
               'but task is already holding lock:\n'
               f' ({RANGE_MAP}){{+.+.}}, at: try_to_unmap_one\n\nDo not do that.\n')
        self.assertEqual(self.callbacks(log), ['mydrv_invalidate'])
        log = circle((RANGE_MAP, BOOT), ('fs_reclaim', ALLOCATES), ('&a->lock', CALLBACK))
        self.assertEqual(self.callbacks(re.sub(r'\+0x\w+/0x\w+', '', log)), ['mydrv_invalidate'])

    def test_prose_within(self) -> None:
        """As an answer cuts a quoted report."""
        log = circle((RANGE_MAP, BOOT), ('fs_reclaim', ALLOCATES), ('&a->lock', CALLBACK))
        quoted = re.sub('(?m)^', '> ', log)
        cut = quoted.replace('>        __mmu_notifier', '\nSo I think that\nthis can wait.\n\n' * 5
                             + '>        __mmu_notifier')
        self.assertNotEqual(cut, quoted)
        self.assertEqual(self.essence(cut), self.essence(log))

    def test_old_kernels(self) -> None:
        log = circle((RANGE_MAP, BOOT), ('fs_reclaim', ALLOCATES), ('&a->lock', CALLBACK))
        self.assertEqual(self.essence(log.replace('-{4:4}', '')), self.essence(log))


class InnocentTest(ExplainTest):
    def test_a_primed_link(self) -> None:
        takes = ('__mutex_lock+0xcc/0x3c8', 'mydrv_run+0xec/0x178 [mydrv]', 'kthread+0xf0/0x100')
        self.assert_innocent(
            circle(('&gpu->lock', takes), ('dma_fence_map', FENCE), (RANGE_MAP, BOOT),
                   ('fs_reclaim', ALLOCATES), ('&qos->lock', takes)),
            "The notifiers' map is only a link of the circle", '"dma_fence_map" follows it')

    def test_no_notifier_at_all(self) -> None:
        takes = ('__mutex_lock+0xcc/0x3c8', 'mydrv_run+0xec/0x178 [mydrv]')
        self.assert_innocent(circle(('&a->lock', takes), ('&b->lock', takes)),
                             'The circle has nothing to do with notifiers')

    def test_links_that_cannot_be_read(self) -> None:
        self.answer(circle(('&a->lock', ['?']), ('&b->lock', ['mydrv_run+0xec/0x178 [mydrv]'])))
        self.assertEqual((self.found.findings, self.found.status), ([], 2))

    def test_release_of_a_notifier(self) -> None:
        release = ('__mutex_lock+0xcc/0x3c8', 'mydrv_release+0xec/0x178 [mydrv]',
                   '__mmu_notifier_release+0x50/0x100', 'exit_mmap+0x30/0x300')
        takes = ('__mutex_lock+0xcc/0x3c8', 'mydrv_run+0xec/0x178 [mydrv]')
        self.assert_innocent(circle(('&a->lock', takes), ('&b->lock', release)),
                             'when its notifier is released, which may block')

    def test_another_report_of_lockdep(self) -> None:
        log = ('WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected\n'
               'syz-executor.0/13441 [HC0[0]:SC0[0]:HE0:SE1] is trying to acquire:\n' +
               lock(RANGE_MAP, 'fs_reclaim_acquire+0xb0/0x150') + 'Call Trace:\n'
               ' fs_reclaim_acquire+0xb0/0x150\n mempool_alloc+0x1/0x2\n kthread+0x1/0x2\n')
        self.assert_innocent(log, 'lockdep tells of something else')
        self.assert_innocent(log + 'done\n' * 50 + 'Chain exists of:\n  a --> b --> c\n')

    def test_recursion_without_a_callback(self) -> None:
        log = ('WARNING: possible recursive locking detected\na/1 is trying to acquire lock:\n' +
               lock(RANGE_MAP, 'f+0x1/0x2') + 'but task is already holding lock:\n' +
               lock(RANGE_MAP, 'f+0x1/0x2') + 'Call Trace:\n f+0x1/0x2\n kthread+0x1/0x2\n')
        self.assert_innocent(log, 'that is the annotation of the core')
