// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

static bool wait_anyway;
module_param(wait_anyway, bool, 0444);

static void lock_and_count(struct dev *dev)
{
	mutex_lock(&dev->lock);
	dev->state++;
	mutex_unlock(&dev->lock);
}

/* expect: for_other_event clean */
INTERVAL(for_other_event)
{
	if (range->event == MMU_NOTIFY_MIGRATE)
		lock_and_count(to_dev(mni));
	return true;
}

/* The event is one of these in one kernel, and the other in another. */
/* expect: for_own_event may-block */
INTERVAL(for_own_event)
{
	if (range->event == MMU_NOTIFY_CLEAR || range->event == MMU_NOTIFY_UNMAP)
		lock_and_count(to_dev(mni));
	return true;
}

/* expect: if_blockable clean */
INTERVAL(if_blockable)
{
	if (mmu_notifier_range_blockable(range))
		lock_and_count(to_dev(mni));
	return true;
}

/* expect: might_sleep_if_blockable clean */
INTERVAL(might_sleep_if_blockable)
{
	might_sleep_if(mmu_notifier_range_blockable(range));
	return true;
}

/* expect: might_sleep_always may-block */
INTERVAL(might_sleep_always)
{
	might_sleep();
	return true;
}

/* expect: reads_flags clean */
INTERVAL(reads_flags)
{
	if (range->flags & MMU_NOTIFIER_RANGE_BLOCKABLE)
		lock_and_count(to_dev(mni));
	return true;
}

/* expect: copies_range always-backs-off */
INTERVAL(copies_range)
{
	struct mmu_notifier_range copy = *range;

	copy.end = min(copy.end, to_dev(mni)->end);
	if (!mmu_notifier_range_blockable(&copy))
		return false;
	lock_and_count(to_dev(mni));
	return copy.start < copy.end;
}

/* expect: copies_and_changes may-block */
INTERVAL(copies_and_changes)
{
	struct mmu_notifier_range copy = *range;

	copy.flags |= MMU_NOTIFIER_RANGE_BLOCKABLE;
	if (!mmu_notifier_range_blockable(&copy))
		return false;
	lock_and_count(to_dev(mni));
	return true;
}

static bool is_idle(struct dev *dev)
{
	return !dev->state;
}

/* expect: returns_early may-back-off */
INTERVAL(returns_early)
{
	struct dev *dev = to_dev(mni);
	bool wait = mmu_notifier_range_blockable(range);

	if (!dev)
		return true;
	if (is_idle(dev))
		return true;
	if (wait) {
		lock_and_count(dev);
		return true;
	}
	if (dev->state > 3)
		return false;
	dev->state = 0;
	return true;
}

/* expect: by_parameter may-block */
INTERVAL(by_parameter)
{
	if (mmu_notifier_range_blockable(range) || wait_anyway)
		lock_and_count(to_dev(mni));
	return true;
}

/* expect: inverted always-backs-off */
INTERVAL(inverted)
{
	bool cannot_wait = !mmu_notifier_range_blockable(range);

	if (!cannot_wait)
		lock_and_count(to_dev(mni));
	return !cannot_wait;
}

static noinline int work_on(struct dev *dev, int depth, bool wait)
{
	if (depth > dev->state)
		return 0;
	if (wait)
		lock_and_count(dev);
	return work_on(dev, depth + 1, wait) + work_on(dev, depth + 2, wait);
}

/* expect: recurses clean */
INTERVAL(recurses)
{
	work_on(to_dev(mni), 0, mmu_notifier_range_blockable(range));
	return true;
}

/* expect: recurses_and_locks may-block */
INTERVAL(recurses_and_locks)
{
	work_on(to_dev(mni), 0, true);
	return true;
}
MODULE_LICENSE("GPL");
