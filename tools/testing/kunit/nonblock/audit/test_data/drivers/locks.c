// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

DEFINE_STATIC_PERCPU_RWSEM(percpu_rwsem);

/* expect: takes_mutex may-block */
INTERVAL(takes_mutex)
{
	mutex_lock(&to_dev(mni)->lock);
	mmu_interval_set_seq(mni, seq);
	mutex_unlock(&to_dev(mni)->lock);
	return true;
}

/* expect: tries_mutex may-back-off */
INTERVAL(tries_mutex)
{
	if (!mmu_notifier_range_blockable(range)) {
		if (!mutex_trylock(&to_dev(mni)->lock))
			return false;
	} else {
		mutex_lock(&to_dev(mni)->lock);
	}
	mmu_interval_set_seq(mni, seq);
	mutex_unlock(&to_dev(mni)->lock);
	return true;
}

/* expect: tries_then_sleeps may-block */
INTERVAL(tries_then_sleeps)
{
	if (!mutex_trylock(&to_dev(mni)->lock))
		return false;
	down_read(&to_dev(mni)->rwsem);
	up_read(&to_dev(mni)->rwsem);
	mutex_unlock(&to_dev(mni)->lock);
	return true;
}

/* expect: spins clean */
INTERVAL(spins)
{
	spin_lock(&to_dev(mni)->spinlock);
	mmu_interval_set_seq(mni, seq);
	spin_unlock(&to_dev(mni)->spinlock);
	return true;
}

#define LOCK_DEVICE(dev) do { (dev)->state++; mutex_lock(&(dev)->lock); } while (0)

/* expect: hides_lock_in_macro may-block */
INTERVAL(hides_lock_in_macro)
{
	LOCK_DEVICE(to_dev(mni));
	mutex_unlock(&to_dev(mni)->lock);
	return true;
}

/* expect: takes_percpu_rwsem may-block */
INTERVAL(takes_percpu_rwsem)
{
	percpu_down_read(&percpu_rwsem);
	percpu_up_read(&percpu_rwsem);
	return true;
}

/* expect: tries_percpu_rwsem may-back-off */
INTERVAL(tries_percpu_rwsem)
{
	if (!percpu_down_read_trylock(&percpu_rwsem))
		return false;
	mmu_interval_set_seq(mni, seq);
	percpu_up_read(&percpu_rwsem);
	return true;
}

/* expect: guards_mutex may-block */
INTERVAL(guards_mutex)
{
	guard(mutex)(&to_dev(mni)->lock);
	mmu_interval_set_seq(mni, seq);
	return true;
}

/* expect: guards_spinlock clean */
RANGE(guards_spinlock)
{
	struct dev *dev = container_of(mn, struct dev, mn);

	scoped_guard(spinlock, &dev->spinlock)
		dev->state++;
	return 0;
}

/* expect: range_takes_rwsem may-block */
RANGE(range_takes_rwsem)
{
	struct dev *dev = container_of(mn, struct dev, mn);

	if (range->start >= dev->end || range->end <= dev->start)
		return 0;
	down_write(&dev->rwsem);
	dev->state++;
	up_write(&dev->rwsem);
	return 0;
}

/* expect: range_backs_off_at_once always-backs-off */
RANGE(range_backs_off_at_once)
{
	struct dev *dev = container_of(mn, struct dev, mn);

	if (!mmu_notifier_range_blockable(range))
		return -EAGAIN;
	mutex_lock(&dev->lock);
	dev->state++;
	mutex_unlock(&dev->lock);
	return 0;
}

/* expect: range_backs_off_if_interested always-backs-off */
RANGE(range_backs_off_if_interested)
{
	struct dev *dev = container_of(mn, struct dev, mn);

	if (range->start >= dev->end || range->end <= dev->start)
		return 0;
	if (!mmu_notifier_range_blockable(range))
		return -EAGAIN;
	mutex_lock(&dev->lock);
	dev->state++;
	mutex_unlock(&dev->lock);
	return 0;
}

static void end_takes_mutex(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct dev *dev = container_of(mn, struct dev, mn);

	mutex_lock(&dev->lock);
	dev->state--;
	mutex_unlock(&dev->lock);
}

/* expect: end_takes_mutex may-block */
const struct mmu_notifier_ops end_ops = { .invalidate_range_end = end_takes_mutex };
MODULE_LICENSE("GPL");
