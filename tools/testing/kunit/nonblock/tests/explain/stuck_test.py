# SPDX-License-Identifier: GPL-2.0-only
"""Tasks and CPUs that hang, on kernels without the series."""

from __future__ import annotations

from nonblock.explain.finding import CORE, NO, NONBLOCKING, RECLAIM, STUCK, YES
from .base import ExplainTest, composed

SLEEPS = ('__schedule+0x3ed/0x1470', 'schedule+0x27/0xf0')
MUTEX = (*SLEEPS, 'schedule_preempt_disabled+0x15/0x30', '__mutex_lock.constprop.0+0x3a2/0x6b0',
         'mydrv_invalidate+0x5c/0x1a8 [mydrv]')
START = '__mmu_notifier_invalidate_range_start+0x1d3/0x230'
SYSCALL = ('do_syscall_64+0x35/0x80', 'entry_SYSCALL_64_after_hwframe+0x63/0xcd')


def trace(*frames: str) -> str:
    return 'Call Trace:\n <TASK>\n' + ''.join(f' {frame}\n' for frame in frames) + ' </TASK>\n'


def hung(*frames: str, task: str = 'python:348') -> str:
    name, _, pid = task.rpartition(':')
    return (f'INFO: task {task} blocked for more than 122 seconds.\n      Not tainted 6.12.1 #1\n'
            f'task:{name:15} state:D stack:0     pid:{pid}    tgid:{pid}    ppid:2      flags:0x0\n'
            + trace(*frames))


def stack(*frames: str) -> str:
    return ''.join(f'[<0>] {frame}\n' for frame in frames)


class HungTest(ExplainTest):
    def test_process_mrelease(self) -> None:
        self.answer(hung(*MUTEX, START, '__oom_reap_task_mm+0x114/0x1a0',
                         '__do_sys_process_mrelease+0x1/0x2', *SYSCALL))
        finding, = self.found.findings
        self.assertEqual((finding.what, finding.may_block), (NONBLOCKING, NO))

    def test_call_that_may_block(self) -> None:
        self.assert_explained(hung(*MUTEX, START, 'unmap_vmas+0x162/0x170', *SYSCALL),
                              'callback mydrv_invalidate()', 'Look for who holds the lock')
        finding, = self.found.findings
        self.assertEqual((finding.what, finding.may_block), (STUCK, YES))
        self.assertIn('in a nonblocking call back off', finding.instead)

    def test_release(self) -> None:
        """It may wait, and there is nothing to back off from."""
        self.answer(hung(*MUTEX[:-1], 'mydrv_release+0x5c/0x1a8 [mydrv]',
                         '__mmu_notifier_release+0x50/0x100', 'exit_mmap+0x30/0x300', *SYSCALL))
        finding, = self.found.findings
        self.assertTrue(finding.instead.startswith('It may wait there, and cannot back off.'))

    def test_in_reclaim(self) -> None:
        self.assert_explained(hung(*MUTEX, START, 'try_to_unmap_one+0x7fb/0x900',
                                   'shrink_folio_list+0x885/0xe80', 'kswapd+0x1/0x2'),
                              'Memory reclaim waits for it (shrink_folio_list()')
        self.assertEqual(self.found.findings[0].what, RECLAIM)

    def test_the_kernel_names_the_owner(self) -> None:
        log = hung(*MUTEX, START, 'unmap_vmas+0x162/0x170', *SYSCALL).replace(
            'Call Trace', 'INFO: task python:348 is blocked on a mutex likely owned by task '
            'worker:77.\nCall Trace')
        self.assert_explained(log, 'The kernel says: mutex, likely owned by task worker:77')

    def test_last_reference_dropped_in_a_callback(self) -> None:
        self.assert_explained(hung(
            *SLEEPS, 'rwsem_down_write_slowpath+0x24b/0x4c0', 'exit_mmap+0xbc/0x1a0',
            'mmput+0x5a/0x140', 'mydrv_invalidate+0x2b/0x40 [mydrv]',
            'mn_itree_invalidate+0x72/0x1', START, 'try_to_unmap_one+0x10fa/0x1400',
            'compact_zone+0x29d/0x590'),
            'callback mydrv_invalidate()', 'waits: mmput()', 'Use mmput_async()')

    def test_last_reference_dropped_under_the_lock(self) -> None:
        self.assert_explained(hung(
            *MUTEX, '__mmu_notifier_release+0x1a4/0x200', 'exit_mmap+0x1bc/0x200',
            'mmput+0x5f/0x140', 'mydrv_fault+0x21b/0x580 [mydrv]', 'kthread+0x12a/0x150'),
            'callback mydrv_invalidate()', 'mydrv_fault() [mydrv] has dropped the last reference',
            'Use mmput_async()')

    def test_with_tasks_of_old_kernels(self) -> None:
        log = ('INFO: task oom_reaper:61 blocked for more than 120 seconds.\n'
               'oom_reaper      D    0    61      2 0x80004000\n' + trace(
                   *MUTEX, START, 'oom_reap_task_mm+0x1/0x2', 'kthread+0x1/0x2'))
        self.assertEqual(self.callbacks(log), ['mydrv_invalidate'])
        self.assertEqual(self.callbacks(log.replace('D    0    61', 'D14408    61')),
                         ['mydrv_invalidate'])

    def test_sysrq_w(self) -> None:
        log = 'sysrq: Show Blocked State\n' + hung(
            *MUTEX, START, 'unmap_vmas+0x162/0x170', *SYSCALL).split('Not tainted 6.12.1 #1\n')[1]
        self.assertEqual(self.callbacks(log), ['mydrv_invalidate'])
        self.assert_innocent(log.replace('state:D', 'state:S'), 'does not wait for a lock')

    def test_proc_pid_stack(self) -> None:
        self.assert_explained(stack('mydrv_invalidate+0x3e/0xa0 [mydrv]', START,
                                    'unmap_vmas+0x184/0x190', *SYSCALL),
                              'callback mydrv_invalidate()', 'leaves out the functions of locks')
        two = stack('pipe_read+0x1/0x2', *SYSCALL) + '\n$ cat /proc/7/stack\n' + stack(
            'mydrv_invalidate+0x3e/0xa0 [mydrv]', START, *SYSCALL)
        self.assertEqual(self.callbacks(two), ['mydrv_invalidate'])

    def test_call_trace_alone(self) -> None:
        frames = (*MUTEX, START, 'unmap_vmas+0x184/0x190', *SYSCALL)
        for log in (trace(*frames), ''.join(f' {frame}\n' for frame in frames)):
            self.assertEqual(self.callbacks(log), ['mydrv_invalidate'])
        might_sleep = ('dump_stack_lvl+0x1/0x2', '__might_resched+0x1/0x2', *frames[3:])
        self.answer(trace(*might_sleep))
        self.assertEqual((self.found.findings, self.found.status), ([], 2))
        self.assertEqual(self.callbacks(trace(*might_sleep[:5], 'oom_reaper+0x1/0x2')),
                         ['mydrv_invalidate'])
        self.assert_innocent(trace('dump_stack_lvl+0x1/0x2', *frames[3:]),
                             'who printed it is not in the log', 'mydrv_invalidate() [mydrv], a '
                             'callback, stands in its call trace')

    def test_crash_utility(self) -> None:
        log = ('PID: 17  TASK: ffff887644fe5e20  CPU: 26  COMMAND: "app"\n'
               ' #0 [ffff888f4a6e38b0] __schedule at ffffffff81059bdb\n'
               ' #1 [ffff888f4a6e3910] __mutex_lock at ffffffff811057c2\n'
               ' #2 [ffff888f4a6e39e0] mydrv_invalidate at ffffffffa05058b0 [mydrv]\n'
               ' #3 [ffff888f4a6e39f8] __mmu_notifier_invalidate_range_start at ffffffff8168f888\n'
               ' #4 [ffff888f4a6e3a20] unmap_vmas at ffffffff8102e93b\n')
        other = log.replace('mydrv_invalidate', 'pipe_read').replace(
            '__mmu_notifier_invalidate_range_start', 'vfs_read')
        self.assertEqual(self.callbacks(other + log + other), ['mydrv_invalidate'])
        crashed = log.replace('__schedule', 'machine_kexec')
        self.assert_innocent(crashed, 'a CPU that crashed')
        # What stands between the frames does not make two stacks of one.
        self.assert_innocent(crashed.replace(
            ' #2', '    [exception RIP: mydrv_zap+87]\n    RIP: ffffffffa075fb37  CS: 0010\n #2'))

    def test_something_else(self) -> None:
        self.assert_innocent(hung(*SLEEPS, 'io_schedule+0x16/0x40', 'wait_on_page_bit+0x11c/0x200',
                                  *SYSCALL), 'waits for something else than a notifier')
        self.assert_innocent(stack('pipe_read+0x1/0x2', *SYSCALL))


class WaiterTest(ExplainTest):
    """A wait for an invalidation: who waits is not at fault."""

    REMOVES = hung(*SLEEPS, 'mmu_interval_notifier_remove+0x15e/0x190',
                   'mydrv_close+0x1/0x2 [mydrv]', *SYSCALL, task='client:77')

    def test_alone(self) -> None:
        self.assert_explained(
            self.REMOVES, 'callback not in the log; run by client/77',
            'mmu_interval_notifier_remove() waits for an invalidation to end, called by '
            'mydrv_close() [mydrv]', 'leaves the invalidation open for good')
        self.assertEqual(self.found.findings[0].what, CORE)
        self.assertEqual(self.found.status, 1)

    def test_read_begin(self) -> None:
        self.assert_explained(self.REMOVES.replace('mmu_interval_notifier_remove',
                                                   'mmu_interval_read_begin'),
                              'mmu_interval_read_begin() waits for an invalidation to end')

    def test_after_a_back_off(self) -> None:
        self.assert_explained('other_range_start+0x0/0x10 [other] callback failed with -11 in '
                              'non-blockable context.\n' + self.REMOVES,
                              'other_range_start() [other] backed off in line 1')
        self.assertEqual([finding.callback for finding in self.found.findings], [None])

    def test_with_the_callback_that_does_not_end(self) -> None:
        log = self.REMOVES + hung(*MUTEX, START, 'unmap_vmas+0x162/0x170', *SYSCALL)
        self.assert_explained(log, 'Report 2 is about mydrv_invalidate() [mydrv], which is in an '
                              'invalidation and does not come to its end')

    def test_unregistration(self) -> None:
        self.assert_explained(hung(*SLEEPS, '__synchronize_srcu+0x1/0x2',
                                   'mmu_notifier_unregister+0x8f/0xd0',
                                   'mydrv_close+0x1/0x2 [mydrv]', *SYSCALL),
                              'mmu_notifier_unregister() waits for all callbacks that run to '
                              'return')

    def test_in_a_callback(self) -> None:
        """Then it waits for itself."""
        self.assert_explained(hung(*SLEEPS, 'mmu_interval_notifier_remove+0x15e/0x190',
                                   'mydrv_invalidate+0x5c/0x1a8 [mydrv]', START,
                                   'unmap_vmas+0x162/0x170', *SYSCALL),
                              'callback mydrv_invalidate()', 'the callback is a part of')


class LockupTest(ExplainTest):
    def test_architectures(self) -> None:
        log = composed('softlockup.log')
        for line in ('pc : mydrv_invalidate+0x33/0x80 [mydrv]',
                     'NIP [c00800000019b3d4] mydrv_invalidate+0x33/0x80 [mydrv]',
                     'epc : mydrv_invalidate+0x33/0x80 [mydrv]',
                     'PC is at mydrv_invalidate+0x33/0x80 [mydrv]',
                     'Krnl PSW : 0704c00180000000 00000249 (mydrv_invalidate+0x33/0x80 [mydrv])'):
            with self.subTest(line):
                self.assertEqual(self.callbacks(log.replace(
                    'RIP: 0010:mydrv_invalidate+0x33/0x80 [mydrv]', line)), ['mydrv_invalidate'])

    def test_other_detectors(self) -> None:
        log = composed('softlockup.log')
        headline = 'watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [oom_reaper:61]'
        for other in ('watchdog: Watchdog detected hard LOCKUP on cpu 3',
                      'rcu: INFO: rcu_preempt self-detected stall on CPU',
                      'rcu: INFO: rcu_sched detected stalls on CPUs/tasks:',
                      'rcu: INFO: rcu_sched \nself-detected stall on CPU',
                      'rcu: INFO: rcu_sched detected \nstalls on CPUs/tasks:',
                      'watchdog: BUG: soft lockup - CPU#3 stuck for 26s!'):
            with self.subTest(other):
                self.assertEqual(self.callbacks(log.replace(headline, other)),
                                 ['mydrv_invalidate'])

    def test_the_interrupt_that_found_it(self) -> None:
        log = composed('softlockup.log')
        interrupt = ('<IRQ>\n[  501.1] dump_stack_lvl+0x44/0x5b\n[  501.1] '
                     'hrtimer_interrupt+0xe5/0x250\n[  501.1] </IRQ>\n[  501.1] <TASK>\n')
        other = log.replace('<TASK>\n', interrupt)
        self.assertNotEqual(other, log)
        self.assertEqual(self.essence(other), self.essence(log))

    def test_a_leaf_has_no_frame_of_its_caller(self) -> None:
        log = ('watchdog: BUG: soft lockup - CPU#62 stuck for 23s! [ksmd:1559]\n'
               'pc : native_queued_spin_lock_slowpath+0x1d8/0x2e0\n'
               'lr : mydrv_range_start+0x108/0x13c\nCall trace:\n'
               ' native_queued_spin_lock_slowpath+0x1d8/0x2e0\n'
               ' mn_hlist_invalidate_range_start+0x50/0x70\n'
               ' __mmu_notifier_invalidate_range_start+0x64/0x8c\n kthread+0x134/0x138\n')
        self.assertEqual(self.callbacks(log), ['mydrv_range_start'])
        self.assertEqual(self.callbacks(log.replace('lr : ', 'lr :\n')), ['mydrv_range_start'])
        self.assertEqual(self.callbacks(log.replace('lr : mydrv', 'x : mydrv')), [None])

    def test_a_stall_with_the_state_of_the_task(self) -> None:
        log = ('rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n'
               'task:oom_reaper      state:R  running task     stack:0     pid:61    ppid:2\n'
               + trace('mydrv_invalidate+0x1/0x2 [mydrv]', START, 'oom_reaper+0x1/0x2'))
        self.assertEqual(self.callbacks(log), ['mydrv_invalidate'])

    def test_folded(self) -> None:
        log = ('2023-07-20T14:15:39-04:00 host kernel: watchdog: BUG: soft \nlockup - CPU#28 stuck '
               'for 26s! [app:3301]\n2023-07-20T14:15:39-04:00 host kernel: RIP: \n'
               '0010:mydrv_invalidate+0x4e/0x90 [mydrv]\n2023-07-20T14:15:39-04:00 host kernel: '
               'Call Trace:\n2023-07-20T14:15:39-04:00 host kernel: \n'
               '__mmu_notifier_invalidate_range_start+0x132/0x1d0\n'
               '2023-07-20T14:15:39-04:00 host kernel: ? \nother+0x3fd/0x520 [other]\n'
               '2023-07-20T14:15:39-04:00 host kernel: do_syscall_64+0x42/0xc0\n')
        self.assertEqual(self.callbacks(log), ['mydrv_invalidate'])

    def test_a_spinlock_that_another_holds(self) -> None:
        log = composed('softlockup.log').replace(
            'RIP: 0010:mydrv_invalidate+0x33/0x80 [mydrv]',
            'RIP: 0010:native_queued_spin_lock_slowpath+0x66/0x2a0').replace(
            '<TASK>\n', '<TASK>\n _raw_spin_lock+0x1/0x2\n mydrv_invalidate+0x33/0x80 [mydrv]\n')
        self.assert_explained(log, 'callback mydrv_invalidate()', 'who holds the spinlock')

    def test_something_else(self) -> None:
        self.assert_innocent(composed('softlockup.log').split('[  501')[0].replace(
            '__mmu_notifier_invalidate_range_start', 'f').replace('mydrv_invalidate', 'g'),
            'busy with something else')


class UnreapedTest(ExplainTest):
    LINE = 'oom_reaper: unable to reap pid:900 (victim)\n'
    BACK_OFF = ('mydrv_range_start+0x0/0x1a8 [mydrv] callback failed with -11 in non-blockable '
                'context.\n')

    def test_back_offs_before_it(self) -> None:
        self.assert_explained(self.BACK_OFF * 10 + self.LINE,
                              'callback mydrv_range_start(), in module mydrv; not reaped: '
                              'victim/900',
                              '10 back-offs, allowed as such',
                              'back-offs before it (line 1, 2, 3, 4, 5, ...)', 'defeats the OOM')

    def test_of_two_callbacks(self) -> None:
        self.assert_explained(self.BACK_OFF + self.BACK_OFF.replace('mydrv', 'other') + self.LINE,
                              'one of mydrv_range_start(), in module mydrv; other_range_start()')

    def test_without(self) -> None:
        self.assert_innocent(self.LINE, 'who holds mmap_lock for writing')

    def test_back_offs_after_it(self) -> None:
        self.assert_innocent(self.LINE + self.BACK_OFF, 'no back-off of a callback before it')

    def test_the_victim_itself_hangs_in_a_callback(self) -> None:
        log = self.LINE + ('task:victim          state:D stack:0     pid:900    ppid:2 flags:0x0\n'
                           + trace(*MUTEX, START, 'unmap_vmas+0x162/0x170', *SYSCALL))
        self.assert_explained(log, 'callback mydrv_invalidate()', 'gave up after its ten tries')
