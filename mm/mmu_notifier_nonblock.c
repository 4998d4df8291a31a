// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lockdep map around MMU notifier callbacks that may not block.
 *
 * include/linux/mmu_notifier_nonblock.h says which deadlock this is about.
 */

#include <linux/bug.h>
#include <linux/debug_locks.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/mmu_notifier_nonblock.h>
#include <linux/preempt.h>

#include "mmu_notifier_stats.h"

/*
 * Inner LD_WAIT_CONFIG makes a sleeping lock taken inside an invalid wait
 * context, and lets a spinlock_t pass, which on PREEMPT_RT is one that sleeps.
 * Outer LD_WAIT_FREE lets reclaim under a raw spinlock be a recursion as well.
 */
static struct lockdep_map mmu_notifier_nonblock_map = {
	.name = "mmu_notifier_nonblock",
	.wait_type_outer = LD_WAIT_FREE,
	.wait_type_inner = LD_WAIT_CONFIG,
};

#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
static int *non_block_count(void)
{
	return &current->non_block_count;
}
#else
static int *non_block_count(void)
{
	static int always_zero;

	return &always_zero;
}
#endif

static void mmu_notifier_nonblock_read(struct mmu_notifier_nonblock *section)
{
	section->locks = current->lockdep_depth;
	section->preempt_count = preempt_count();
	section->irqs_disabled = irqs_disabled();
	section->non_block = *non_block_count();
}

/*
 * The map names the callback by the address that it is acquired at, so it stays for
 * the next one of the same address. So does what the task holds: a callback that
 * changes that is warned of.
 */
void __mmu_notifier_nonblock_enter(struct mmu_notifier_nonblock *section,
				   const void *callback)
{
	non_block_start();
	if (section->callback == callback)
		return;

	mmu_notifier_nonblock_end(section);
	lock_acquire_exclusive(&mmu_notifier_nonblock_map, 0, 0, NULL,
			       (unsigned long)callback);
	section->callback = callback;
	mmu_notifier_nonblock_read(section);
	mmu_notifier_stats_begin(section);
}

void __mmu_notifier_nonblock_exit(struct mmu_notifier_nonblock *section)
{
	struct mmu_notifier_nonblock now;
	bool same;

	mmu_notifier_nonblock_read(&now);
	/* After a report, lockdep no longer keeps count. */
	if (!debug_locks || lockdep_recursing(current))
		now.locks = section->locks;

	same = now.locks == section->locks &&
	       now.preempt_count == section->preempt_count &&
	       now.irqs_disabled == section->irqs_disabled &&
	       now.non_block == section->non_block;
	if (WARN(!same,
		 "%pS returned with locks %+d, preempt_count %+d, irqs_disabled %+d, non_block %+d\n",
		 section->callback, now.locks - section->locks,
		 now.preempt_count - section->preempt_count,
		 now.irqs_disabled - section->irqs_disabled,
		 now.non_block - section->non_block)) {
		debug_show_held_locks(current);
		/* Or each might_sleep() from here on would be reported. */
		*non_block_count() = section->non_block;
		/* The next one finds what this one left. */
		mmu_notifier_nonblock_read(section);
	}

	mmu_notifier_stats_count(section);
	non_block_end();
}

void __mmu_notifier_nonblock_end(struct mmu_notifier_nonblock *section)
{
	section->callback = NULL;
	lock_release(&mmu_notifier_nonblock_map, _THIS_IP_);
}

/* Acquiring the map again says: this waits for what the section holds up. */
void __mmu_notifier_nonblock_might_reclaim(unsigned long ip)
{
	if (lock_is_held(&mmu_notifier_nonblock_map) != LOCK_STATE_HELD)
		return;

	lock_acquire_exclusive(&mmu_notifier_nonblock_map, 0, 0, NULL, ip);
	lock_release(&mmu_notifier_nonblock_map, ip);
}

/*
 * Teach lockdep that a nonblocking section lies within an invalidation, which
 * each allocation that may reclaim depends on. It would learn that from
 * interval callbacks, but not from the others: they are called within an SRCU
 * read side, which lockdep sees no circle through. Without it, a lock that is
 * held elsewhere across an allocation would pass in these.
 */
static int __init mmu_notifier_nonblock_init(void)
{
	lock_map_acquire(&__mmu_notifier_invalidate_range_start_map);
	lock_map_acquire(&mmu_notifier_nonblock_map);
	lock_map_release(&mmu_notifier_nonblock_map);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	return 0;
}
subsys_initcall(mmu_notifier_nonblock_init);
