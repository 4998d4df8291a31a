// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long invalidations take, and allocations: make bench. Loaded into a kernel with
 * the annotation and into one without, so it uses nothing that only one of them has.
 *
 * What is measured runs in batches, and the median of them counts: a timer interrupt
 * then makes no difference to what is short.
 */

#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/spinlock.h>

#define NR_BATCHES	31
#define NR_MAX		4096
#define RANGE_START	PAGE_SIZE
#define RANGE_SIZE	PAGE_SIZE

/* These are not exported to modules, so whoever loads this says where they are. */
static unsigned long map, start, end;
module_param(map, ulong, 0);
MODULE_PARM_DESC(map, "address of __mmu_notifier_invalidate_range_start_map");
module_param(start, ulong, 0);
MODULE_PARM_DESC(start, "address of __mmu_notifier_invalidate_range_start()");
module_param(end, ulong, 0);
MODULE_PARM_DESC(end, "address of __mmu_notifier_invalidate_range_end()");

struct bench_notifier {
	spinlock_t lock;
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
};

static int compare(const void *a, const void *b)
{
	return cmp_int(*(const u64 *)a, *(const u64 *)b);
}

/* In hundredths of a nanosecond, as floating point is not for kernels */
static void measure(const char *name, void (*once)(unsigned int flags), unsigned int flags,
		    unsigned int batch)
{
	u64 ns[NR_BATCHES], since;
	unsigned int i, j;

	once(flags);
	for (i = 0; i < NR_BATCHES; i++) {
		since = ktime_get_ns();
		for (j = 0; j < batch; j++)
			once(flags);
		ns[i] = ktime_get_ns() - since;
		cond_resched();
	}
	sort(ns, NR_BATCHES, sizeof(ns[0]), compare, NULL);
	ns[0] = div_u64(ns[NR_BATCHES / 2] * 100, batch);
	pr_info("bench: %s %llu.%02llu\n", name, div_u64(ns[0], 100), ns[0] % 100);
}

/* Allocations */

static void allocate(unsigned int flags)
{
	kfree(kmalloc(64, GFP_KERNEL));
}

static void measure_allocations(void)
{
	static DEFINE_MUTEX(mutex);

	measure("kmalloc", allocate, 0, 500);
	mutex_lock(&mutex);
	measure("kmalloc_under_mutex", allocate, 0, 500);
	mutex_unlock(&mutex);
}

/* Invalidations: each callback takes one spinlock. */

static int bench_range_start(struct mmu_notifier *range, const struct mmu_notifier_range *unused)
{
	struct bench_notifier *notifier = container_of(range, struct bench_notifier, range);

	spin_lock(&notifier->lock);
	spin_unlock(&notifier->lock);
	return 0;
}

static const struct mmu_notifier_ops range_ops = {
	.invalidate_range_start = bench_range_start,
};

static bool bench_invalidate(struct mmu_interval_notifier *interval,
			     const struct mmu_notifier_range *unused, unsigned long seq)
{
	struct bench_notifier *notifier = container_of(interval, struct bench_notifier, interval);

	spin_lock(&notifier->lock);
	mmu_interval_set_seq(interval, seq);
	spin_unlock(&notifier->lock);
	return true;
}

static const struct mmu_interval_notifier_ops interval_ops = {
	.invalidate = bench_invalidate,
};

/* What mmu_notifier_invalidate_range_start() and _nonblock() do, and then _end() */
static void invalidate(unsigned int flags)
{
	int (*range_start)(struct mmu_notifier_range *range) = (void *)start;
	void (*range_end)(struct mmu_notifier_range *range) = (void *)end;
	struct lockdep_map *start_map = (void *)map;
	struct mmu_notifier_range range;
	int ret;

	mmu_notifier_range_init(&range, MMU_NOTIFY_UNMAP, 0, current->mm, RANGE_START,
				RANGE_START + RANGE_SIZE);
	range.flags = flags;
	lock_map_acquire(start_map);
	ret = range_start(&range);
	lock_map_release(start_map);
	if (!ret)
		range_end(&range);
}

static int subscribe(struct bench_notifier *notifier, bool interval)
{
	spin_lock_init(&notifier->lock);
	if (interval)
		return mmu_interval_notifier_insert(&notifier->interval, current->mm, RANGE_START,
						    RANGE_SIZE, &interval_ops);
	notifier->range.ops = &range_ops;
	return mmu_notifier_register(&notifier->range, current->mm);
}

static void unsubscribe(struct bench_notifier *notifier, bool interval)
{
	if (interval)
		mmu_interval_notifier_remove(&notifier->interval);
	else
		mmu_notifier_unregister(&notifier->range, current->mm);
}

static int measure_passes(struct bench_notifier *notifiers, unsigned int count, bool interval)
{
	const char *kind = interval ? "interval" : "range";
	/* About as long, however many: less than a tick, where that is possible */
	unsigned int batch = max(256 / count, 1U), nr;
	char name[32];
	int ret = 0;

	for (nr = 0; nr < count && !ret; nr++)
		ret = subscribe(&notifiers[nr], interval);
	if (!ret) {
		snprintf(name, sizeof(name), "%s_blockable_%u", kind, count);
		measure(name, invalidate, MMU_NOTIFIER_RANGE_BLOCKABLE, batch);
		snprintf(name, sizeof(name), "%s_nonblocking_%u", kind, count);
		measure(name, invalidate, 0, batch);
	} else {
		nr--;		/* that one did not subscribe */
	}
	while (nr--)
		unsubscribe(&notifiers[nr], interval);
	return ret;
}

static int __init bench_init(void)
{
	struct bench_notifier *notifiers;
	unsigned int count;
	int ret = 0;

	if (!map || !start || !end || !current->mm)
		return -EINVAL;
	notifiers = kvcalloc(NR_MAX, sizeof(*notifiers), GFP_KERNEL);
	if (!notifiers)
		return -ENOMEM;

	measure_allocations();
	/* Ranges first: that an mm had interval notifiers is remembered. */
	for (count = 1; count <= NR_MAX && !ret; count *= 16)
		ret = measure_passes(notifiers, count, false);
	for (count = 1; count <= NR_MAX && !ret; count *= 16)
		ret = measure_passes(notifiers, count, true);

	kvfree(notifiers);
	return ret;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
}
module_exit(bench_exit);

MODULE_DESCRIPTION("How long MMU notifier invalidations take");
MODULE_LICENSE("GPL");
