// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

static void spin(struct dev *dev)
{
	spin_lock(&dev->spinlock);
	dev->state++;
	spin_unlock(&dev->spinlock);
}

static void sleep(struct dev *dev)
{
	mutex_lock(&dev->lock);
	dev->state++;
	mutex_unlock(&dev->lock);
}

static const struct dev_funcs funcs = { .flush = spin, .poke = sleep };
static const struct dev_funcs *const table[] = { &funcs };

/* expect: calls_constant_spin clean */
INTERVAL(calls_constant_spin)
{
	table[0]->flush(to_dev(mni));
	return true;
}

/* expect: calls_constant_sleep may-block */
INTERVAL(calls_constant_sleep)
{
	table[0]->poke(to_dev(mni));
	return true;
}

/* expect: calls_by_type_spin clean */
INTERVAL(calls_by_type_spin)
{
	to_dev(mni)->funcs->flush(to_dev(mni));
	return true;
}

/* expect: calls_by_type_sleep may-block */
INTERVAL(calls_by_type_sleep)
{
	to_dev(mni)->funcs->poke(to_dev(mni));
	return true;
}

/* expect: calls_unknown undecided */
INTERVAL(calls_unknown)
{
	to_dev(mni)->hook(to_dev(mni));
	return true;
}

static noinline void apply(struct dev *dev, void (*fn)(struct dev *dev))
{
	fn(dev);
	fn(dev);
}

/* expect: hands_down_spin clean */
INTERVAL(hands_down_spin)
{
	apply(to_dev(mni), spin);
	return true;
}

/* expect: hands_down_sleep may-block */
INTERVAL(hands_down_sleep)
{
	apply(to_dev(mni), sleep);
	return true;
}

/* Tables that are filled while the driver runs */

static struct mmu_interval_notifier_ops late_ops;
static struct mmu_notifier_ops late_range_ops;
static struct {
	int version;
	struct mmu_notifier_ops ops;
} nested;

/* expect: set_late may-block */
static bool set_late(struct mmu_interval_notifier *mni, const struct mmu_notifier_range *range,
		     unsigned long seq)
{
	sleep(to_dev(mni));
	return true;
}

/* expect: set_late_range clean */
static int set_late_range(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	spin(container_of(mn, struct dev, mn));
	return 0;
}

/* expect: set_late_nested always-backs-off */
static int set_late_nested(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	return -EAGAIN;
}

/* expect: set_in_heap may-block */
static bool set_in_heap(struct mmu_interval_notifier *mni, const struct mmu_notifier_range *range,
			unsigned long seq)
{
	sleep(to_dev(mni));
	return true;
}

void set_tables(struct mmu_interval_notifier_ops *heap)
{
	late_ops.invalidate = set_late;
	late_range_ops.invalidate_range_start = set_late_range;
	nested.ops.invalidate_range_start = set_late_nested;
	heap->invalidate = set_in_heap;
}
MODULE_LICENSE("GPL");
