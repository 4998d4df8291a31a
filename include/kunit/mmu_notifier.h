/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KUnit API to test MMU notifiers: subscribe to the mm of the test, and have it
 * invalidated.
 *
 * The mm is that of the task that runs the test, as kunit_vm_mmap() makes it.
 */
#ifndef _KUNIT_MMU_NOTIFIER_H
#define _KUNIT_MMU_NOTIFIER_H

#include <linux/mmu_notifier.h>
#include <linux/types.h>

struct kunit;

/**
 * struct mmu_notifier_state - the interval notifiers' collision state of an mm
 * @has_interval: @mm has, or once had, an interval notifier
 * @active_ranges: number of ranges that are being invalidated
 * @seq: invalidation sequence, odd while an interval notifier is in one of
 *	 these ranges
 */
struct mmu_notifier_state {
	bool has_interval;
	unsigned long active_ranges;
	unsigned long seq;
};

void mmu_notifier_read_state(struct mm_struct *mm,
			     struct mmu_notifier_state *state);

/**
 * struct mmu_notifier_stats - what a callback did in nonblocking passes
 * @calls: how often it was called
 * @back_offs: how often it then backed off
 * @reports: in how many calls the kernel made a report; also one that a test expects
 * @longest_ns: the longest time between call and return
 */
struct mmu_notifier_stats {
	u64 calls;
	u64 back_offs;
	u64 reports;
	u64 longest_ns;
};

/* Needs CONFIG_MMU_NOTIFIER_STATS. */
void mmu_notifier_read_stats(const void *callback, struct mmu_notifier_stats *stats);

/* The event of the passes below. Others come when the mm goes away. */
#define KUNIT_MMU_NOTIFY	MMU_NOTIFY_CLEAR

unsigned long kunit_mmu_notifier_mmap(struct kunit *test, unsigned long nr_pages,
				      unsigned long flags);
void kunit_mmu_notifier_register(struct kunit *test, struct mmu_notifier *subscription,
				 const struct mmu_notifier_ops *ops);
void kunit_mmu_interval_notifier_insert(struct kunit *test,
					struct mmu_interval_notifier *subscription,
					unsigned long start, unsigned long length,
					const struct mmu_interval_notifier_ops *ops);
void kunit_mmu_interval_notifier_remove(struct kunit *test,
					struct mmu_interval_notifier *subscription);

int kunit_mmu_notifier_nonblock_pass(struct kunit *test, unsigned long start,
				     unsigned long length);
void kunit_mmu_notifier_blockable_pass(struct kunit *test, unsigned long start,
				       unsigned long length);

#endif /* _KUNIT_MMU_NOTIFIER_H */
