// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lockdep map around MMU notifier callbacks that may not block.
 *
 * include/linux/mmu_notifier_nonblock.h says which deadlock this is about.
 */

#include <linux/init.h>
#include <linux/mmu_notifier_nonblock.h>

/*
 * Inner LD_WAIT_CONFIG makes a sleeping lock taken inside an invalid wait
 * context, and lets a spinlock_t pass, which on PREEMPT_RT is one that sleeps.
 * Outer LD_WAIT_FREE lets reclaim under a raw spinlock be a recursion as well.
 */
struct lockdep_map __mmu_notifier_nonblock_map = {
	.name = "mmu_notifier_nonblock",
	.wait_type_outer = LD_WAIT_FREE,
	.wait_type_inner = LD_WAIT_CONFIG,
};

/* Acquiring the map again says: this waits for what the section holds up. */
void __mmu_notifier_nonblock_might_reclaim(unsigned long ip)
{
	if (lock_is_held(&__mmu_notifier_nonblock_map) != LOCK_STATE_HELD)
		return;

	lock_acquire_exclusive(&__mmu_notifier_nonblock_map, 0, 0, NULL, ip);
	lock_release(&__mmu_notifier_nonblock_map, ip);
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
	lock_map_acquire(&__mmu_notifier_nonblock_map);
	lock_map_release(&__mmu_notifier_nonblock_map);
	lock_map_release(&__mmu_notifier_invalidate_range_start_map);
	return 0;
}
subsys_initcall(mmu_notifier_nonblock_init);
