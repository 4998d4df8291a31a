/* SPDX-License-Identifier: GPL-2.0-only */
/* Each callback says what the audit has to say of it: "expect: FUNCTION VERDICT". */
#include <linux/dma-fence.h>
#include <linux/gfp.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu-rwsem.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct dev;

struct dev_funcs {
	void (*flush)(struct dev *dev);
	void (*poke)(struct dev *dev);
};

struct dev {
	struct mmu_interval_notifier mni;
	struct mmu_notifier mn;
	struct mmu_interval_notifier_finish *finish;
	const struct dev_funcs *funcs;
	void (*hook)(struct dev *dev);
	struct mutex lock;
	struct rw_semaphore rwsem;
	spinlock_t spinlock;
	struct work_struct work;
	struct dma_fence *fence;
	wait_queue_head_t wait;
	unsigned long start, end;
	struct list_head list;
	void *command;
	int state;
};

#define to_dev(notifier) container_of(notifier, struct dev, mni)

#define INTERVAL(name)							\
static bool name(struct mmu_interval_notifier *mni,			\
		 const struct mmu_notifier_range *range, unsigned long seq);	\
const struct mmu_interval_notifier_ops name##_ops = { .invalidate = name };	\
static bool name(struct mmu_interval_notifier *mni,			\
		 const struct mmu_notifier_range *range, unsigned long seq)

#define RANGE(name)							\
static int name(struct mmu_notifier *mn, const struct mmu_notifier_range *range);	\
const struct mmu_notifier_ops name##_ops = { .invalidate_range_start = name };	\
static int name(struct mmu_notifier *mn, const struct mmu_notifier_range *range)

bool helper_may_wait(const struct mmu_notifier_range *range);
void helper_sleeps(struct dev *dev);
void helper_spins(struct dev *dev);
void helper_of_each(struct dev *dev);
void *helper_allocates(size_t size, gfp_t gfp);
void helper_locks_if(struct dev *dev, bool wait);
