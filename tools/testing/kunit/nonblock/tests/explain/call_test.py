# SPDX-License-Identifier: GPL-2.0-only
"""Reports of the series: callback, rule, call and what to do instead."""

from __future__ import annotations

from nonblock.explain.blocks import PRIMITIVES, find_primitive
from nonblock.explain.symbols import Symbol
from .base import ExplainTest, recorded


class CallTest(ExplainTest):
    def test_sleeping_lock(self) -> None:
        for name in ('mutex', 'mutex-6.12'):
            with self.subTest(name):
                self.assert_explained(
                    recorded(name), 'report 1, line 2: BUG: sleeping function called',
                    'the same call, line', 'BUG: Invalid wait context',
                    'callback fake_invalidate(), built in; run by oom_reaper/1',
                    'may block no: it was a nonblocking call',
                    'may not take a lock that sleeps', 'did mutex_lock(), of "mutex"',
                    'trylock', 'return false if that fails', '1 finding about')
                self.assertEqual(self.found.status, 1)

    def test_allocation(self) -> None:
        self.assert_explained(
            recorded('allocation'), 'callback fake_range_start()', 'may not wait for memory',
            'did kmalloc() fake_range_start+0x42/0x60 behave+0x183/0x200 '
            '__kmalloc_cache_noprof+0x60/0x510', 'GFP_NOWAIT, and return -EAGAIN',
            '1 finding about')

    def test_end_cannot_back_off(self) -> None:
        # Its own frame is not on the stack, as it ends in a call: the held locks name it.
        self.assert_explained(recorded('range_end'), 'callback fake_range_end()',
                              'GFP_NOWAIT, and leave it to a work item',
                              'cannot back off', '1 finding about')
        self.assertNotIn('does not name the callback', self.explain(recorded('range_end')))

    def test_preempt_rt(self) -> None:
        # There the core's inner function is not inlined.
        self.assert_explained(
            recorded('rt'), 'report 1, line 1: BUG: sleeping function called from invalid context '
            'at kernel/locking/rtmutex_api.c', 'BUG: Invalid wait context',
            'callback fake_range_start()', 'did mutex_lock(), of "mutex" '
            'fake_range_start+0x12/0x20 fake_called+0x6d/0xa0', 'and return -EAGAIN',
            '1 finding about')
        self.assertNotIn('mn_invalidate_range_start', self.explain(recorded('rt')))

    def test_sleep(self) -> None:
        self.assert_explained(recorded('sleep'), 'callback fake_invalidate()', 'may not sleep',
                              'did msleep()', 'udelay()')

    def test_circle(self) -> None:
        self.assert_explained(
            recorded('circular'), 'callback fake_range_start()',
            'of "held_by_allocator" at act_held_by_allocator+0x33/0x50',
            'The circle: held_by_allocator -> fs_reclaim -> mmu_notifier_invalidate_range_start '
            '-> mmu_notifier_nonblock -> held_by_allocator')

    def test_work_that_allocates(self) -> None:
        self.assert_explained(recorded('flush_work'), 'did flush_work() or its like, of '
                              '"allocating_work"', 'Queue the work and do not wait for it')

    def test_circle_that_another_task_closes(self) -> None:
        self.assert_explained(
            recorded('other_side'), 'callback not in the log', 'What a nonblocking callback takes '
            '("lock#3")', 'another task, kunit_try_catch/1956',
            'Do not allocate with "lock#3" held')

    def test_callback_in_how_a_link_was_learned(self) -> None:
        # UML has no stack traces there; other machines do.
        link = '-> #3 (lock#3){+.+.}-{2:2}:\n'
        log = recorded('other_side')
        self.assertEqual(log.count(link), 1)
        self.assert_explained(
            log.replace(link, link + '       lock_acquire+0xd0/0x2f0\n'
                        '       driver_invalidate+0x33/0x50 [driver]\n'
                        '       __mmu_notifier_invalidate_range_start+0x120/0x6a0\n'),
            'callback driver_invalidate(), in module driver')

    def test_return_with_a_lock(self) -> None:
        found = ('callback fake_range_start()', 'its return, with held locks changed',
                 'Release on each way out')
        log = recorded('changed')
        self.assert_explained(log, *found)
        # Where a WARN() is a trap, the message comes first.
        begin, warning, message, rest = log.split('\n', 3)
        self.assertIn('changed held locks', message)
        trap = '\n'.join((begin, message, warning, rest))
        self.assert_explained(trap, *found)
        self.assert_explained(
            (trap * 2).replace('fake_range_start+0x0/0x60 changed held locks',
                               'other_end+0x0/0x60 [driver] changed the memalloc scope', 1),
            'callback other_end(), in module driver', 'with the memalloc scope changed', *found)

    def test_refusal_of_a_blockable_call(self) -> None:
        self.assert_explained(
            recorded('refused'), 'callback fake_failing_start()', 'may back off only if '
            '!mmu_notifier_range_blockable(range)', 'its return of -11 (-EAGAIN) in a blockable '
            'call')

    def test_module(self) -> None:
        for suffix in (' [driver]', ' [driver 0123456789abcdef]'):
            with self.subTest(suffix):
                log = recorded('mutex').replace('fake_invalidate+0x0/0x60',
                                                'fake_invalidate+0x0/0x60' + suffix)
                self.assert_explained(log, 'callback fake_invalidate(), in module driver;')

    def test_lockdep_off(self) -> None:
        # As might_sleep() reports it after the first report: only the trace names the callback.
        log = recorded('allocation')
        self.assert_explained(log[log.index('BUG: sleeping'):], 'callback fake_range_start()',
                              'did kmalloc()', 'does not name the callback')

    def test_no_symbols(self) -> None:
        log = recorded('mutex').replace('fake_invalidate+0x0/0x60', '0xffffffffc0123456')
        self.assert_explained(log, 'callback 0xffffffffc0123456; run by', 'no CONFIG_KALLSYMS')

    def test_a_trylock_is_not_what_blocks(self) -> None:
        frames = [Symbol('mydrv_invalidate'), Symbol('down_read_trylock'), Symbol('msleep')]
        self.assertEqual(find_primitive(frames[:2]), (None, None))
        number, primitive = find_primitive(frames)
        self.assertEqual((number, primitive and primitive.said), (2, 'msleep()'))

    def test_every_remedy_can_be_printed(self) -> None:
        for primitive in PRIMITIVES:
            self.assertNotIn('{', primitive.remedy.format(back_off='back off'))

    def test_reports_are_counted(self) -> None:
        self.assert_explained(recorded('sleep') + recorded('allocation'), 'report 1, line 2:',
                              'report 2, line 53:', '2 findings about')
        self.assert_explained(recorded('sleep') * 9, 'the same call, 5 more times',
                              '1 finding about')


class TlbTest(ExplainTest):
    def test_sleep_where_page_tables_are_changed(self) -> None:
        log = recorded('mutex-6.12')
        log = log[:log.index('=====')].replace('non_block: 1', 'non_block: 0').replace(
            '(mmu_notifier_nonblock)', '(something)').replace(
            '__mmu_notifier_invalidate_range_start+',
            '__mmu_notifier_arch_invalidate_secondary_tlbs+')
        self.assert_explained(log, 'callback fake_invalidate()', 'did mutex_lock()',
                              'it runs under the spinlock of a page table')


class InnocentTest(ExplainTest):
    """Reports that are not about what a nonblocking callback does."""

    def test_another_mutex(self) -> None:
        self.assert_innocent(recorded('another_mutex'), 'line 3: BUG: Invalid wait context',
                             'not that of a nonblocking callback')

    def test_another_lock_in_a_nonblocking_callback(self) -> None:
        log = recorded('another_lock')
        self.assertIn('(mmu_notifier_nonblock)', log)
        self.assert_innocent(log, '"fake_spinlock", taken twice',
                             'takes_twice(), a callback, stands in its call trace')

    def test_a_spinlock_under_a_raw_one_in_a_callback(self) -> None:
        log = recorded('mutex').replace('(mutex){....}-{4:4}', '(lock){....}-{3:3}')
        self.assert_innocent(log[log.index('====='):])

    def test_spinlock_on_preempt_rt(self) -> None:
        log = recorded('mutex')
        log = log[:log.index('=====')].replace('__mutex_lock+', 'rt_spin_lock+')
        self.assert_innocent(log, 'PREEMPT_RT', 'nothing to do in the driver')

    def test_rwlock_on_preempt_rt(self) -> None:
        log = recorded('mutex')
        log = log[:log.index('=====')].replace('__mutex_lock+', 'rt_write_lock+').replace(
            'kernel/locking/mutex.c:623', 'kernel/locking/spinlock_rt.c:241')
        self.assert_innocent(log, 'PREEMPT_RT', 'nothing to do in the driver')

    def test_another_section_that_may_not_block(self) -> None:
        self.assert_innocent(recorded('two_cpus'), 'between non_block_start() and non_block_end()')
        log = recorded('mutex-6.12')
        log = log[:log.index('=====')].replace('mmu_notifier', 'pwm')
        self.assertIn('non_block: 1', log)
        self.assert_innocent(log, 'between non_block_start() and non_block_end()')

    def test_atomic_context_in_a_callback(self) -> None:
        log = recorded('mutex-6.12')
        log = log[:log.index('=====')].replace('non_block: 1', 'non_block: 0').replace(
            '(mmu_notifier_nonblock)', '(something)')
        self.assert_innocent(log, '(non_block: 0)', 'a callback, stands in its call trace')

    def test_core_annotates_itself(self) -> None:
        log = recorded('another_lock').replace('(fake_spinlock)',
                                               '(mmu_notifier_invalidate_range_start)')
        log = log[:log.index('Call Trace')] + (
            'Call Trace:\n __lock_acquire+0x1/0x2\n'
            ' __mmu_notifier_invalidate_range_end+0x3c/0x360\n'
            ' __oom_reap_task_mm+0x3fa/0x490\n kthread+0x1/0x2\n')
        self.assert_innocent(log, 'that is the annotation of the core')

    def test_back_offs(self) -> None:
        line = '[    1.000000] start+0x0/0x10 callback failed with -11 in non-blockable context.\n'
        self.assert_innocent(line * 3, '3 back-offs, allowed as such')

    def test_all_locks_of_the_system(self) -> None:
        log = recorded('mutex')
        held = [line for line in log.splitlines() if line.startswith(' #')][:3]
        self.assert_innocent('\n'.join(['Showing all locks held in the system:',
                                        '3 locks held by oom_reaper/12:', *held, '']))

    def test_crash_in_a_callback(self) -> None:
        log = recorded('mutex-6.12')
        log = log[:log.index('=====')].replace(
            'BUG: sleeping function called from invalid context at ../linux/kernel/locking/mutex.c'
            ':586', 'BUG: kernel NULL pointer dereference, address: 0000000000000008')
        self.assert_innocent(log, 'A crash.', 'a callback, stands in its call trace')
