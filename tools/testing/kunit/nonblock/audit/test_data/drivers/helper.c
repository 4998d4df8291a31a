// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

bool helper_may_wait(const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range);
}

void helper_sleeps(struct dev *dev)
{
	mutex_lock(&dev->lock);
	dev->state++;
	mutex_unlock(&dev->lock);
}

void helper_spins(struct dev *dev)
{
	spin_lock(&dev->spinlock);
	dev->state++;
	spin_unlock(&dev->spinlock);
}

/* Another module has one of this name: see twin_helper.c. */
void helper_of_each(struct dev *dev)
{
	helper_spins(dev);
}

void *helper_allocates(size_t size, gfp_t gfp)
{
	return kzalloc(size, gfp);
}

void helper_locks_if(struct dev *dev, bool wait)
{
	if (wait)
		helper_sleeps(dev);
}
