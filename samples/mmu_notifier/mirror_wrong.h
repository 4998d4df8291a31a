/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SAMPLE_MIRROR_WRONG_H
#define _SAMPLE_MIRROR_WRONG_H

#include <linux/mmu_notifier.h>

extern const struct mmu_interval_notifier_ops mirror_waits_for_lock;
extern const struct mmu_interval_notifier_ops mirror_allocates;
extern const struct mmu_interval_notifier_ops mirror_waits_for_work;
extern const struct mmu_interval_notifier_ops mirror_watches_everything;
extern const struct mmu_interval_notifier_ops mirror_keeps_lock;
extern const struct mmu_interval_notifier_ops mirror_does_half;

/**
 * struct mirror_resume - lets the device go on when an invalidation has ended
 * @notifier: tells when that is
 * @mirror: the page table
 * @nr: how often it went on
 */
struct mirror_resume {
	struct mmu_notifier notifier;
	struct mirror *mirror;
	unsigned int nr;
};

extern const struct mmu_notifier_ops mirror_resume_ops;

#endif /* _SAMPLE_MIRROR_WRONG_H */
