/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KUnit tests of MMU notifiers need of the core.
 */
#ifndef _KUNIT_MMU_NOTIFIER_H
#define _KUNIT_MMU_NOTIFIER_H

struct mm_struct;

/**
 * struct mmu_notifier_state - the interval notifiers' collision state of an mm
 * @active_ranges: number of ranges that are being invalidated
 * @seq: invalidation sequence, odd while an interval notifier is in one of
 *	 these ranges
 */
struct mmu_notifier_state {
	unsigned long active_ranges;
	unsigned long seq;
};

void mmu_notifier_read_state(struct mm_struct *mm,
			     struct mmu_notifier_state *state);

#endif /* _KUNIT_MMU_NOTIFIER_H */
