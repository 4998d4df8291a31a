// SPDX-License-Identifier: GPL-2.0-only
/* For kernels that have two-pass notifiers: see Kbuild. */
#include "traits.h"

static void finish_waits(struct mmu_interval_notifier_finish *finish)
{
	dma_fence_wait(to_dev(finish->notifier)->fence, false);
}

static bool start_if_it_may(struct mmu_interval_notifier *mni,
			    const struct mmu_notifier_range *range, unsigned long seq,
			    struct mmu_interval_notifier_finish **finish)
{
	if (!mmu_notifier_range_blockable(range))
		return false;
	*finish = to_dev(mni)->finish;
	return true;
}

/* expect: start_if_it_may always-backs-off */
/* expect: finish_waits clean */
const struct mmu_interval_notifier_ops right_ops = {
	.invalidate_start = start_if_it_may,
	.invalidate_finish = finish_waits,
};

static bool start_always(struct mmu_interval_notifier *mni,
			 const struct mmu_notifier_range *range, unsigned long seq,
			 struct mmu_interval_notifier_finish **finish)
{
	mmu_interval_set_seq(mni, seq);
	*finish = to_dev(mni)->finish;
	return true;
}

static void finish_sleeps(struct mmu_interval_notifier_finish *finish)
{
	mutex_lock(&to_dev(finish->notifier)->lock);
	mutex_unlock(&to_dev(finish->notifier)->lock);
}

/* expect: start_always clean */
/* expect: finish_sleeps may-block */
const struct mmu_interval_notifier_ops wrong_ops = {
	.invalidate_start = start_always,
	.invalidate_finish = finish_sleeps,
};
MODULE_LICENSE("GPL");
