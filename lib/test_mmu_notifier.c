// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/test_mmu_notifier: fake MMU notifiers on the memory of a process.
 *
 * With them, tests in user space let a callback back off, or block, on the way
 * of a real OOM kill or process_mrelease(2). The ioctls are described in
 * test_mmu_notifier_uapi.h.
 *
 * A notifier lives until it is removed, or its file is closed: before or after
 * the mm that it watches is gone, by any process.
 */

#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "test_mmu_notifier_uapi.h"

/**
 * struct fake - a notifier
 * @kind: which callbacks it has
 * @start: the first address that it watches
 * @end: the one behind the last
 * @behaviour: what it does in a nonblocking invalidation
 * @back_offs_left: for TEST_MMU_NOTIFIER_BACK_OFF; negative: without end
 * @calls: of its first and its second callback, each blockable and not
 * @back_offs: how often it backed off
 * @range: its subscription, if it is of a RANGE kind
 * @interval: likewise, of the others
 */
struct fake {
	enum test_mmu_notifier_kind kind;
	unsigned long start;
	unsigned long end;
	enum test_mmu_notifier_behaviour behaviour;
	atomic_t back_offs_left;
	atomic64_t calls[2][2];
	atomic64_t back_offs;
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
#ifdef MMU_NOTIFIER_TWO_PASS
	/** @finish: what invalidate_start hands to invalidate_finish */
	struct mmu_interval_notifier_finish finish;
	/** @finish_blockable: for it, whether the invalidation may block */
	bool finish_blockable;
#endif
};

/**
 * struct fake_file - an open file
 * @lock: serializes the ioctls; not taken in callbacks
 * @fakes: by their id
 * @holds: whether it holds &contended
 */
struct fake_file {
	struct mutex lock;	/* @fakes, @holds */
	struct fake *fakes[TEST_MMU_NOTIFIER_MAX];
	bool holds;
};

/* A lock that a process may hold in user space. Hence a semaphore */
static DEFINE_SEMAPHORE(contended, 1);

/* Behaviour */

static bool can_back_off(enum test_mmu_notifier_behaviour behaviour)
{
	return behaviour == TEST_MMU_NOTIFIER_BACK_OFF ||
	       behaviour == TEST_MMU_NOTIFIER_TRYLOCK;
}

static void allocate(gfp_t gfp)
{
	kfree(kmalloc(64, gfp));
}

static void do_wrong(enum test_mmu_notifier_behaviour behaviour)
{
	static DECLARE_WAIT_QUEUE_HEAD(queue);
	static DEFINE_MUTEX(mutex);

	switch (behaviour) {
	case TEST_MMU_NOTIFIER_MUTEX:
		mutex_lock(&mutex);
		mutex_unlock(&mutex);
		break;
	case TEST_MMU_NOTIFIER_ALLOC:
		allocate(GFP_KERNEL);
		break;
	case TEST_MMU_NOTIFIER_ALLOC_NOFS:
		allocate(GFP_NOFS);
		break;
	case TEST_MMU_NOTIFIER_WAIT:
		wait_event(queue, true);
		break;
	case TEST_MMU_NOTIFIER_SLEEP:
		msleep(50);
		break;
	default:
		break;
	}
}

static bool wants_to_back_off(struct fake *fake)
{
	switch (READ_ONCE(fake->behaviour)) {
	case TEST_MMU_NOTIFIER_BACK_OFF:
		return atomic_read(&fake->back_offs_left) < 0 ||
		       atomic_dec_if_positive(&fake->back_offs_left) >= 0;
	case TEST_MMU_NOTIFIER_TRYLOCK:
		if (down_trylock(&contended))
			return true;
		up(&contended);
		return false;
	default:
		return false;
	}
}

static bool has_second_callback(const struct fake *fake)
{
	return fake->kind == TEST_MMU_NOTIFIER_RANGE_END ||
	       fake->kind == TEST_MMU_NOTIFIER_TWO_PASS;
}

/* Returns false if it backs off. */
static bool behave(struct fake *fake, bool second)
{
	if (!second && wants_to_back_off(fake)) {
		atomic64_inc(&fake->back_offs);
		return false;
	}
	if (second == has_second_callback(fake))
		do_wrong(READ_ONCE(fake->behaviour));
	return true;
}

static bool fake_first_callback(struct fake *fake, bool blockable)
{
	atomic64_inc(&fake->calls[0][blockable]);
	return blockable || behave(fake, false);
}

static void fake_second_callback(struct fake *fake, bool blockable)
{
	atomic64_inc(&fake->calls[1][blockable]);
	if (!blockable)
		behave(fake, true);
}

/* Callbacks. Those for a range are called for all of the mm. */

static bool fake_overlaps(const struct fake *fake, const struct mmu_notifier_range *range)
{
	return range->start < fake->end && fake->start < range->end;
}

static int fake_range_start(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	struct fake *fake = container_of(subscription, struct fake, range);

	if (!fake_overlaps(fake, range))
		return 0;
	return fake_first_callback(fake, mmu_notifier_range_blockable(range)) ? 0 : -EAGAIN;
}

static void fake_range_end(struct mmu_notifier *subscription,
			   const struct mmu_notifier_range *range)
{
	struct fake *fake = container_of(subscription, struct fake, range);

	if (fake_overlaps(fake, range))
		fake_second_callback(fake, mmu_notifier_range_blockable(range));
}

static const struct mmu_notifier_ops fake_range_ops = {
	.invalidate_range_start = fake_range_start,
};

static const struct mmu_notifier_ops fake_range_end_ops = {
	.invalidate_range_start = fake_range_start,
	.invalidate_range_end = fake_range_end,
};

static bool fake_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range,
			    unsigned long seq)
{
	struct fake *fake = container_of(subscription, struct fake, interval);

	if (!fake_first_callback(fake, mmu_notifier_range_blockable(range)))
		return false;

	mmu_interval_set_seq(subscription, seq);
	return true;
}

static const struct mmu_interval_notifier_ops fake_interval_ops = {
	.invalidate = fake_invalidate,
};

#ifdef MMU_NOTIFIER_TWO_PASS
/* Two invalidations at a time share @finish: the second has to do without. */
static bool fake_invalidate_start(struct mmu_interval_notifier *subscription,
				  const struct mmu_notifier_range *range,
				  unsigned long seq,
				  struct mmu_interval_notifier_finish **finish)
{
	struct fake *fake = container_of(subscription, struct fake, interval);

	if (!fake_invalidate(subscription, range, seq))
		return false;
	if (cmpxchg(&fake->finish.notifier, NULL, subscription))
		return true;

	fake->finish_blockable = mmu_notifier_range_blockable(range);
	*finish = &fake->finish;
	return true;
}

static void fake_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct fake *fake = container_of(finish, struct fake, finish);

	fake_second_callback(fake, fake->finish_blockable);
	/* Pairs with cmpxchg(): the next may overwrite finish_blockable. */
	smp_store_release(&finish->notifier, NULL);
}

static const struct mmu_interval_notifier_ops fake_two_pass_ops = {
	.invalidate_start = fake_invalidate_start,
	.invalidate_finish = fake_invalidate_finish,
};
#else
#define fake_two_pass_ops fake_interval_ops
#endif

/* Subscriptions */

static int fake_subscribe(struct fake *fake)
{
	unsigned long length = fake->end - fake->start;

	switch (fake->kind) {
	case TEST_MMU_NOTIFIER_RANGE:
		fake->range.ops = &fake_range_ops;
		return mmu_notifier_register(&fake->range, current->mm);
	case TEST_MMU_NOTIFIER_RANGE_END:
		fake->range.ops = &fake_range_end_ops;
		return mmu_notifier_register(&fake->range, current->mm);
	case TEST_MMU_NOTIFIER_INTERVAL:
		return mmu_interval_notifier_insert(&fake->interval, current->mm, fake->start,
						    length, &fake_interval_ops);
	case TEST_MMU_NOTIFIER_TWO_PASS:
		return mmu_interval_notifier_insert(&fake->interval, current->mm, fake->start,
						    length, &fake_two_pass_ops);
	}
	return -EINVAL;
}

static void fake_free(struct fake *fake)
{
	if (fake->kind == TEST_MMU_NOTIFIER_RANGE || fake->kind == TEST_MMU_NOTIFIER_RANGE_END)
		mmu_notifier_unregister(&fake->range, fake->range.mm);
	else
		mmu_interval_notifier_remove(&fake->interval);
	kfree(fake);
}

/* ioctls */

static int check_behaviour(const struct test_mmu_notifier *arg,
			   enum test_mmu_notifier_kind kind)
{
	if (arg->behaviour > TEST_MMU_NOTIFIER_SLEEP)
		return -EINVAL;
	if (arg->count && arg->behaviour != TEST_MMU_NOTIFIER_BACK_OFF)
		return -EINVAL;
	if (arg->count > INT_MAX)
		return -EINVAL;
	/* The core has no way to tell who failed, when it calls range_end. */
	if (kind == TEST_MMU_NOTIFIER_RANGE_END && can_back_off(arg->behaviour))
		return -EINVAL;
	return 0;
}

static int check_add(const struct test_mmu_notifier *arg)
{
	if (arg->kind > TEST_MMU_NOTIFIER_TWO_PASS || arg->id)
		return -EINVAL;
#ifndef MMU_NOTIFIER_TWO_PASS
	if (arg->kind == TEST_MMU_NOTIFIER_TWO_PASS)
		return -EOPNOTSUPP;
#endif
	if (!arg->length || arg->start >= TASK_SIZE || arg->length > TASK_SIZE - arg->start)
		return -EINVAL;
	return check_behaviour(arg, arg->kind);
}

static void fake_set(struct fake *fake, const struct test_mmu_notifier *arg)
{
	atomic_set(&fake->back_offs_left, arg->count ?: -1);
	WRITE_ONCE(fake->behaviour, arg->behaviour);
}

static long fake_add(struct fake_file *file, void __user *user)
{
	struct test_mmu_notifier arg;
	struct fake *fake;
	int ret;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	ret = check_add(&arg);
	if (ret)
		return ret;
	while (arg.id < TEST_MMU_NOTIFIER_MAX && file->fakes[arg.id])
		arg.id++;
	if (arg.id == TEST_MMU_NOTIFIER_MAX)
		return -ENOSPC;

	fake = kzalloc(sizeof(*fake), GFP_KERNEL);
	if (!fake)
		return -ENOMEM;
	fake->kind = arg.kind;
	fake->start = arg.start;
	fake->end = arg.start + arg.length;
	fake_set(fake, &arg);
	ret = fake_subscribe(fake);
	if (ret) {
		kfree(fake);
		return ret;
	}
	if (copy_to_user(user, &arg, sizeof(arg))) {
		fake_free(fake);
		return -EFAULT;
	}
	file->fakes[arg.id] = fake;
	return 0;
}

static struct fake *fake_find(struct fake_file *file, u64 id)
{
	return id < TEST_MMU_NOTIFIER_MAX ? file->fakes[id] : NULL;
}

static long fake_change(struct fake_file *file, void __user *user)
{
	struct test_mmu_notifier arg;
	struct fake *fake;
	int ret;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	fake = fake_find(file, arg.id);
	if (!fake)
		return -ENOENT;
	ret = check_behaviour(&arg, fake->kind);
	if (!ret)
		fake_set(fake, &arg);
	return ret;
}

static long fake_remove(struct fake_file *file, u32 __user *user)
{
	struct fake *fake;
	u32 id;

	if (get_user(id, user))
		return -EFAULT;
	fake = fake_find(file, id);
	if (!fake)
		return -ENOENT;

	file->fakes[id] = NULL;
	fake_free(fake);
	return 0;
}

static long fake_read(struct fake_file *file, void __user *user)
{
	struct test_mmu_notifier_counts counts;
	struct fake *fake;

	if (copy_from_user(&counts, user, sizeof(counts)))
		return -EFAULT;
	fake = fake_find(file, counts.id);
	if (!fake)
		return -ENOENT;

	counts.starts = atomic64_read(&fake->calls[0][true]);
	counts.ends = atomic64_read(&fake->calls[1][true]);
	counts.nonblock_starts = atomic64_read(&fake->calls[0][false]);
	counts.nonblock_ends = atomic64_read(&fake->calls[1][false]);
	counts.back_offs = atomic64_read(&fake->back_offs);
	return copy_to_user(user, &counts, sizeof(counts)) ? -EFAULT : 0;
}

static long hold(struct fake_file *file)
{
	if (down_trylock(&contended))
		return -EBUSY;
	file->holds = true;
	return 0;
}

static long release(struct fake_file *file)
{
	if (!file->holds)
		return -EPERM;
	file->holds = false;
	up(&contended);
	return 0;
}

static DECLARE_WAIT_QUEUE_HEAD(lingering);
static atomic_t nr_wakes;

static long linger(u32 __user *user)
{
	int nr = atomic_read(&nr_wakes);
	u32 ms;

	if (get_user(ms, user))
		return -EFAULT;
	if (ms > TEST_MMU_NOTIFIER_LINGER_MAX)
		return -EINVAL;
	wait_event_timeout(lingering, atomic_read(&nr_wakes) != nr, msecs_to_jiffies(ms));
	return 0;
}

static long wake_lingering(void)
{
	atomic_inc(&nr_wakes);
	wake_up_all(&lingering);
	return 0;
}

static long test_mmu_notifier_ioctl(struct file *filp, unsigned int command,
				    unsigned long arg)
{
	struct fake_file *file = filp->private_data;
	void __user *user = (void __user *)arg;
	long ret = -ENOTTY;

	/* Without the lock: the other ioctls go on. */
	if (command == TEST_MMU_NOTIFIER_LINGER)
		return linger(user);
	if (command == TEST_MMU_NOTIFIER_WAKE)
		return wake_lingering();

	if (mutex_lock_interruptible(&file->lock))
		return -ERESTARTSYS;
	switch (command) {
	case TEST_MMU_NOTIFIER_ADD:
		ret = fake_add(file, user);
		break;
	case TEST_MMU_NOTIFIER_SET:
		ret = fake_change(file, user);
		break;
	case TEST_MMU_NOTIFIER_REMOVE:
		ret = fake_remove(file, user);
		break;
	case TEST_MMU_NOTIFIER_READ:
		ret = fake_read(file, user);
		break;
	case TEST_MMU_NOTIFIER_HOLD:
		ret = hold(file);
		break;
	case TEST_MMU_NOTIFIER_RELEASE:
		ret = release(file);
		break;
	}
	mutex_unlock(&file->lock);
	return ret;
}

static int test_mmu_notifier_open(struct inode *inode, struct file *filp)
{
	struct fake_file *file;

	/* It hangs machines if it is told to. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;

	file = kzalloc(sizeof(*file), GFP_KERNEL);
	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int test_mmu_notifier_release(struct inode *inode, struct file *filp)
{
	struct fake_file *file = filp->private_data;
	unsigned int i;

	release(file);
	for (i = 0; i < TEST_MMU_NOTIFIER_MAX; i++) {
		if (file->fakes[i])
			fake_free(file->fakes[i]);
	}
	mutex_destroy(&file->lock);
	kfree(file);
	return 0;
}

static const struct file_operations test_mmu_notifier_fops = {
	.owner = THIS_MODULE,
	.open = test_mmu_notifier_open,
	.release = test_mmu_notifier_release,
	.unlocked_ioctl = test_mmu_notifier_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice test_mmu_notifier_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "test_mmu_notifier",
	.fops = &test_mmu_notifier_fops,
	.mode = 0600,
};

module_misc_device(test_mmu_notifier_device);

MODULE_DESCRIPTION("Fake MMU notifiers on the memory of a process");
MODULE_LICENSE("GPL");
