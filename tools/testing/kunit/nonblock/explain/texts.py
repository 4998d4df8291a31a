# SPDX-License-Identifier: GPL-2.0-only
"""What is said to the user."""

from __future__ import annotations

# The guide, and its sections: they are named nowhere else.
GUIDE = 'Documentation/mm/mmu_notifier_nonblock.rst'
SECTIONS = {
    'rule': 'The rule',
    'report': 'The reports',
    'remedy': 'What to do about a report',
}


def section(key: str) -> str:
    return f'{GUIDE}, "{SECTIONS[key]}"'


# Remedies. {back_off} is how the callback backs off.

LOCKING = '''Take it with a trylock if !mmu_notifier_range_blockable(range), and {back_off} if that
fails and the range is one that the notifier has an interest in. Check that first, without the
lock: who backs off from what is none of its business defeats the OOM reaper.'''
ALLOCATING = '''Allocate before, outside of the callback; or with GFP_NOWAIT, and {back_off} if
that fails. GFP_NOFS and GFP_NOIO wait for memory as well. An allocation that may reclaim is wrong
in a call that may block, too: reclaim calls MMU notifiers itself.'''
WORKING = '''Queue the work and do not wait for it; let it take the range from a list that a
spinlock protects. If the callback must not return before the work is done, {back_off}.'''
WAITING = '''Look whether it is over, without waiting (try_wait_for_completion(),
dma_fence_is_signaled(), the condition itself), and {back_off} if it is not; or leave the rest to a
work item that nobody waits for here.'''
GRACE = '''Do not wait for readers: free with call_rcu(), call_srcu() or kfree_rcu(), which return
at once.'''
SLEEPING = '''Do not sleep for the device: poll it for a short time with udelay(), or hand the
rest to a work item, or {back_off}.'''
FAULTING = '''Do not touch user memory here, it may fault and wait for I/O, for memory, or for
mmap_lock. Copy or pin it before, outside of the callback.'''
FREEING = '''Free it elsewhere: put it on a list for a work item, or use vfree_atomic(),
kfree_rcu().'''
DROPPING = '''Do not drop what may be the last reference to the mm here: that tears the mm down,
which takes its locks and calls MMU notifiers. Use mmput_async(), or hold the reference for the time
in which the notifier is registered.'''
REMOVING = '''Do not register, remove or wait for an interval notifier in a callback: that waits
for the invalidation that the callback is a part of. Leave it to a work item.'''
SPINNING_FOR = '''Look at who holds the spinlock, or at the CPU that does not answer: the log should
have its call trace, too.'''
TLB_ONLY = '''Do no more than flush the TLB there, with a spinlock if need be; what else has to be
done is for invalidate_range_start().'''
RELEASING = '''It may wait there, and cannot back off. Look for who holds the lock, or was to
signal, and what that one waits for.'''
UNKNOWN = '''Take locks by trylock and {back_off} if that fails; allocate before, or with
GFP_NOWAIT; leave what has to sleep to a work item, and do not wait for that.'''
KEEPING = '''Release on each way out, also on that of an error, what was taken; do not take in one
callback what its partner is to release.'''
RESCHEDULING = '''Do not offer to be scheduled if !mmu_notifier_range_blockable(range): the range is
then done in one go, or in part, and {back_off}.'''
LOCK_ORDER = '''Do not allocate with {lock} held, nor start an invalidation: allocate before it is
taken, or after it is dropped, or with GFP_NOWAIT. Or do not take {lock} in the callback: a spinlock
that nobody allocates under, or a sequence count, will do for most.'''
ONE_ORDER = '''Break the circle at one of its links: do not take the next lock with {lock} held, or
do not take {lock} in the callback.'''
LOCK_LEAD = '''A lock that leads to {lock} is as bad: what is taken with it held counts, too.'''

# Rules

NO_SLEEP = 'A nonblocking callback may not sleep.'
NO_SLEEP_FOR_TLB = ('arch_invalidate_secondary_tlbs() (invalidate_range() before 6.6) may never '
                    'sleep: it is called where page tables are changed, under a spinlock.')
NO_SLEEPING_LOCK = 'A nonblocking callback may not take a lock that sleeps.'
NO_WAIT_FOR_MEMORY = ('A nonblocking callback may not wait for memory: the OOM reaper calls it to '
                      'get some.')
NO_RECLAIM = ('A callback may not wait for memory in any call: memory reclaim calls MMU notifiers, '
              'and would wait for this one.')
NO_LOCK_OVER_RECLAIM = ('A lock of a callback that invalidates may not be held, directly or '
                        'through others, over an allocation that reclaims, nor over another '
                        'invalidation: these call the callback, which waits for the lock.')
LOCK_CIRCLE = ('Locks are taken in one order. A callback takes its locks within an invalidation, '
               'whatever its caller holds.')
NO_HANG = ('A callback that invalidates has to come to its end without waiting for memory, or for '
           'who waits for an invalidation: nothing can be unmapped meanwhile.')
KEEP_NOTHING = ('A callback leaves the locks, the preemption count, the interrupt state and so on '
                'as they were: its caller would run on under what is left.')
INVALIDATION_ENDS = 'Each invalidation that begins comes to an end.'
BACK_OFF_ONLY_NONBLOCKING = ('A callback may back off only if '
                             '!mmu_notifier_range_blockable(range).')
ONLY_EAGAIN = 'A callback that backs off returns -EAGAIN and no other error.'
NO_END = 'A notifier that has invalidate_range_end() may not back off: nothing tells it.'

# What could have been seen

NOT_SEEN = 'not seen is not the same as not there'
NEVER_CHECKED = ('what interval notifiers do in a nonblocking call is not checked by a kernel '
                 'without the series, and this log does not show that it has it')
NO_VALIDATOR = 'the log has the boot of a kernel without lockdep'


def lockdep_off(line: int, why: str) -> str:
    return (f'lockdep was off from line {line} on ("{why[:60]}"): what it would have reported '
            'after that is not in the log')


def too_old(release: str) -> str:
    return f'Linux {release} does not check callbacks at all: non_block_start() came with 5.4'
