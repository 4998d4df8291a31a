/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lockdep annotation for MMU notifier callbacks that may not block.
 *
 * The OOM reaper and process_mrelease(2) invalidate memory while the system
 * cannot make any. They call mmu_notifier_invalidate_range_start_nonblock(),
 * and each callback must then finish without sleeping or back off (-EAGAIN,
 * false from an interval notifier). A callback that sleeps anyway can wait
 * for the very memory that its caller is about to free:
 *
 *	OOM reaper			driver thread
 *	----------			-------------
 *					mutex_lock(&driver->lock)
 *	invalidate_range_start_nonblock()
 *	  driver_invalidate()		kmalloc(GFP_KERNEL)
 *	    mutex_lock(&driver->lock)	  waits for the OOM reaper
 *
 * That takes an OOM kill at the wrong moment, so ordinary tests never see
 * it. Lockdep does, each time that such a callback runs.
 */
#ifndef _LINUX_MMU_NOTIFIER_NONBLOCK_H
#define _LINUX_MMU_NOTIFIER_NONBLOCK_H

#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>

#ifdef CONFIG_MMU_NOTIFIER

/**
 * struct mmu_notifier_nonblock - the callbacks of a pass, which may not block
 *
 * On the stack of the caller, who gives it to mmu_notifier_nonblock_begin(), and
 * should declare it __uninitialized, so that a pass that may block does not pay for
 * INIT_STACK_ALL_ZERO. Has the callback that the map is held for, and what the task
 * held when it was called, and must hold when it returns. Empty without
 * CONFIG_LOCKDEP.
 */
struct mmu_notifier_nonblock {
#ifdef CONFIG_LOCKDEP
	/* private: */
	const void *callback;		/* NULL: the map is not held */
	int locks;
	int preempt_count;
	int irqs_disabled;
	int non_block;
#endif
#ifdef CONFIG_MMU_NOTIFIER_STATS
	/* private: */
	struct mmu_notifier_stats_row *row;
	u64 since_ns;
	bool lockdep_looks;
	bool warned;
#endif
};

#ifdef CONFIG_LOCKDEP
void __mmu_notifier_nonblock_enter(struct mmu_notifier_nonblock *section,
				   const void *callback);
void __mmu_notifier_nonblock_exit(struct mmu_notifier_nonblock *section);
void __mmu_notifier_nonblock_end(struct mmu_notifier_nonblock *section);
#else
static inline void
__mmu_notifier_nonblock_enter(struct mmu_notifier_nonblock *section,
			      const void *callback)
{
	non_block_start();
}

static inline void
__mmu_notifier_nonblock_exit(struct mmu_notifier_nonblock *section)
{
	non_block_end();
}
#endif

/**
 * mmu_notifier_nonblock_begin - begin a pass over callbacks
 * @section: of the pass, to be initialized
 *
 * Context: Any.
 */
static inline void
mmu_notifier_nonblock_begin(struct mmu_notifier_nonblock *section)
{
#ifdef CONFIG_LOCKDEP
	section->callback = NULL;
#endif
}

/**
 * mmu_notifier_nonblock_end - end a pass over callbacks, or interrupt it
 * @section: given to mmu_notifier_nonblock_begin()
 *
 * To be called before anything that may block, another pass, or the release of a
 * lock that was taken before the pass. More callbacks may follow.
 *
 * Context: That of mmu_notifier_nonblock_enter().
 */
static inline void
mmu_notifier_nonblock_end(struct mmu_notifier_nonblock *section)
{
#ifdef CONFIG_LOCKDEP
	if (section->callback)
		__mmu_notifier_nonblock_end(section);
#endif
}

/**
 * mmu_notifier_nonblock_enter - begin a callback that may not block
 * @section: given to mmu_notifier_nonblock_begin()
 * @range: the range that the callback is called for
 * @callback: the callback's address, so that a report can name it
 *
 * To be called right before each callback of a pass. Does nothing if @range
 * may block. Otherwise lockdep reports, until mmu_notifier_nonblock_end(),
 *
 * - each sleeping lock that has a wait type, as "Invalid wait context": the map's
 *   inner wait type is LD_WAIT_CONFIG, that of spinlock_t. Hence raw_spinlock_t and
 *   spinlock_t (on PREEMPT_RT as well), RCU and all trylocks are accepted;
 * - each allocation that may enter direct reclaim, as "possible recursive
 *   locking", see mmu_notifier_nonblock_might_reclaim();
 * - each lockdep map without a wait type that is held elsewhere across such an
 *   allocation, for example that of a work item that is waited for, as
 *   "possible circular locking dependency";
 *
 * and the list of held locks shows @callback as the place where
 * mmu_notifier_nonblock was acquired. What sleeps without a lock, or on one
 * without a wait type, like percpu_rw_semaphore, is reported by might_sleep() and
 * by the scheduler, given CONFIG_DEBUG_ATOMIC_SLEEP.
 *
 * Context: That of the callback. Passes do not nest.
 *
 * Cost: one acquisition of a lockdep map in a nonblocking pass for each run of
 * notifiers that have the same callback: a driver may have thousands in an mm.
 * Without CONFIG_LOCKDEP what non_block_start() costs; nothing without
 * CONFIG_DEBUG_ATOMIC_SLEEP.
 */
static inline void
mmu_notifier_nonblock_enter(struct mmu_notifier_nonblock *section,
			    const struct mmu_notifier_range *range,
			    const void *callback)
{
	if (unlikely(!mmu_notifier_range_blockable(range)))
		__mmu_notifier_nonblock_enter(section, callback);
}

/**
 * mmu_notifier_nonblock_exit - end a callback that may not block
 * @section: given to mmu_notifier_nonblock_enter()
 * @range: the range that was given to mmu_notifier_nonblock_enter()
 *
 * With lockdep, warns if the callback returned with more or fewer locks, a
 * different preemption count or interrupt state, or more or fewer calls of
 * non_block_start() than of non_block_end(): its caller would have to pay for
 * that, far away from the callback.
 *
 * Context: That of mmu_notifier_nonblock_enter().
 */
static inline void
mmu_notifier_nonblock_exit(struct mmu_notifier_nonblock *section,
			   const struct mmu_notifier_range *range)
{
	if (unlikely(!mmu_notifier_range_blockable(range)))
		__mmu_notifier_nonblock_exit(section);
}

#ifdef CONFIG_MMU_NOTIFIER_STATS
void __mmu_notifier_nonblock_back_off(const struct mmu_notifier_nonblock *section);
#else
static inline void
__mmu_notifier_nonblock_back_off(const struct mmu_notifier_nonblock *section)
{
}
#endif

/**
 * mmu_notifier_nonblock_back_off - the callback that has just ended backed off
 * @section: given to mmu_notifier_nonblock_exit()
 * @range: likewise
 *
 * For the count in /sys/kernel/debug/mmu_notifier/callbacks.
 *
 * Context: That of mmu_notifier_nonblock_enter().
 *
 * Cost: nothing without CONFIG_MMU_NOTIFIER_STATS.
 */
static inline void
mmu_notifier_nonblock_back_off(const struct mmu_notifier_nonblock *section,
			       const struct mmu_notifier_range *range)
{
	if (unlikely(!mmu_notifier_range_blockable(range)))
		__mmu_notifier_nonblock_back_off(section);
}

#endif /* CONFIG_MMU_NOTIFIER */

#if defined(CONFIG_LOCKDEP) && defined(CONFIG_MMU_NOTIFIER)

void __mmu_notifier_nonblock_might_reclaim(unsigned long ip);

/**
 * mmu_notifier_nonblock_might_reclaim - check an allocation for direct reclaim
 * @ip: address of the allocation, for the report
 *
 * Tells lockdep that an allocation here may enter direct reclaim. In a callback
 * of a nonblocking pass, this is reported as recursion on the
 * mmu_notifier_nonblock map: GFP_NOFS and GFP_NOIO wait for memory just as
 * GFP_KERNEL does. Elsewhere it need not add a dependency: a nonblocking
 * section nests within __mmu_notifier_invalidate_range_start_map, as lockdep
 * learns at boot, and fs_reclaim_acquire() takes that for each such allocation.
 *
 * Context: Any.
 *
 * Cost: with lockdep one test of the task's lock depth, and only under a lock
 * a look at the locks held. Nothing without lockdep.
 */
static inline void mmu_notifier_nonblock_might_reclaim(unsigned long ip)
{
	if (current->lockdep_depth)
		__mmu_notifier_nonblock_might_reclaim(ip);
}

#else

static inline void mmu_notifier_nonblock_might_reclaim(unsigned long ip)
{
}

#endif

#endif /* _LINUX_MMU_NOTIFIER_NONBLOCK_H */
