// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test MMU notifiers, see include/kunit/mmu_notifier.h.
 *
 * KUnit tears down in another task, while the one of the test exits and lets go
 * of the mm; a subscription pins what it needs of that.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/oom.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#include "mmu_notifier-impl.h"

static void kunit_mmu_notifier_put_mm(void *data)
{
	mmput(data);
}

/**
 * kunit_mmu_notifier_mmap() - map anonymous memory in the mm of the test
 * @test: the test context
 * @nr_pages: how much
 * @flags: MAP_PRIVATE or MAP_SHARED, and MAP_POPULATE if the memory shall be there
 *
 * Fails the test, and ends it, if that is not possible.
 *
 * Context: The task that runs @test, where it may sleep.
 *
 * Return: the address.
 */
unsigned long kunit_mmu_notifier_mmap(struct kunit *test, unsigned long nr_pages,
				      unsigned long flags)
{
	unsigned long start = kunit_vm_mmap(test, NULL, 0, nr_pages * PAGE_SIZE,
					    PROT_READ | PROT_WRITE,
					    MAP_ANONYMOUS | flags, 0);

	KUNIT_ASSERT_NE(test, start, 0);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_VALUE(start), "vm_mmap: %pe", (void *)start);

	/* It goes after the subscriptions that come now, so that its end calls nobody. */
	mmget(current->mm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_mmu_notifier_put_mm,
							   current->mm));
	return start;
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_mmap);

static void kunit_mmu_notifier_unregister(void *data)
{
	struct mmu_notifier *subscription = data;

	mmu_notifier_unregister(subscription, subscription->mm);
}

/**
 * kunit_mmu_notifier_register() - have callbacks called until the test ends
 * @test: the test context
 * @subscription: to be subscribed to the mm of the test
 * @ops: the callbacks
 *
 * Fails the test, and ends it, if that is not possible.
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_notifier_register(struct kunit *test, struct mmu_notifier *subscription,
				 const struct mmu_notifier_ops *ops)
{
	KUNIT_ASSERT_NOT_NULL_MSG(test, current->mm, "kunit_mmu_notifier_mmap() comes first");
	subscription->ops = ops;
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(subscription, current->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_mmu_notifier_unregister,
							   subscription));
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_register);

/* Do not wait for the end of the test. */
void kunit_mmu_notifier_unregister_now(struct kunit *test, struct mmu_notifier *subscription)
{
	kunit_release_action(test, kunit_mmu_notifier_unregister, subscription);
}

static void interval_remove_action(void *data)
{
	mmu_interval_notifier_remove(data);
}

/**
 * kunit_mmu_interval_notifier_insert() - likewise, of an interval notifier
 * @test: the test context
 * @subscription: to be subscribed to the mm of the test
 * @start: the first address that it wants to know about
 * @length: and how many bytes from there
 * @ops: the callbacks
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_interval_notifier_insert(struct kunit *test,
					struct mmu_interval_notifier *subscription,
					unsigned long start, unsigned long length,
					const struct mmu_interval_notifier_ops *ops)
{
	KUNIT_ASSERT_NOT_NULL_MSG(test, current->mm, "kunit_mmu_notifier_mmap() comes first");
	KUNIT_ASSERT_EQ(test, 0, mmu_interval_notifier_insert(subscription, current->mm,
							      start, length, ops));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, interval_remove_action,
							   subscription));
}
EXPORT_SYMBOL_GPL(kunit_mmu_interval_notifier_insert);

/**
 * kunit_mmu_interval_notifier_remove() - do not wait for the end of the test
 * @test: the test context
 * @subscription: given to kunit_mmu_interval_notifier_insert()
 *
 * Context: May sleep: waits for the end of invalidations.
 */
void kunit_mmu_interval_notifier_remove(struct kunit *test,
					struct mmu_interval_notifier *subscription)
{
	kunit_release_action(test, interval_remove_action, subscription);
}
EXPORT_SYMBOL_GPL(kunit_mmu_interval_notifier_remove);

/* A lock that another task holds */

enum kunit_mmu_notifier_in { NO_PASS, NONBLOCKING_PASS, BLOCKABLE_PASS, PASS_MASK };

/**
 * struct kunit_mmu_notifier_holder - another task, which holds a lock
 * @resource: by which the test finds it
 * @test: the test context
 * @tester: the task of the test
 * @task: the other one
 * @lock: takes the lock
 * @unlock: releases it
 * @data: for these two
 * @held: @lock has returned
 * @pass: in which @tester calls notifiers, and in the upper bits a count, so that no two
 *	are the same
 * @slept_in: the pass in which @tester slept, so that the lock was released
 * @expired: it was released because nobody else did it in time
 */
struct kunit_mmu_notifier_holder {
	struct kunit_resource resource;
	struct kunit *test;
	struct task_struct *tester;
	struct task_struct *task;
	void (*lock)(void *data);
	void (*unlock)(void *data);
	void *data;
	struct completion held;
	unsigned int pass;
	enum kunit_mmu_notifier_in slept_in;
	bool expired;
};

/* How long a lock is held, in jiffies: who waits for it outside of a pass would not end. */
#define KUNIT_MMU_NOTIFIER_HOLD		(10 * HZ)

#define KUNIT_MMU_NOTIFIER_HOLDER "mmu_notifier_holder"

static struct kunit_mmu_notifier_holder *kunit_mmu_notifier_find_holder(struct kunit *test)
{
	struct kunit_resource *resource =
		kunit_find_named_resource(test, KUNIT_MMU_NOTIFIER_HOLDER);
	struct kunit_mmu_notifier_holder *holder;

	if (!resource)
		return NULL;
	holder = resource->data;
	kunit_put_resource(resource);
	/* It is about this task's passes only. */
	return holder->tester == current ? holder : NULL;
}

static void kunit_mmu_notifier_set_pass(struct kunit *test, enum kunit_mmu_notifier_in pass)
{
	struct kunit_mmu_notifier_holder *holder = kunit_mmu_notifier_find_holder(test);

	if (holder) {
		/* Pairs with kunit_mmu_notifier_tester_sleeps_in(). */
		smp_store_release(&holder->pass, (holder->pass | PASS_MASK) + 1 + pass);
	}
}

/* If that is for the lock, it sleeps for ever. Not for a spinlock of PREEMPT_RT's. */
static enum kunit_mmu_notifier_in
kunit_mmu_notifier_tester_sleeps_in(struct kunit_mmu_notifier_holder *holder)
{
	/* Pairs with kunit_mmu_notifier_set_pass(): who is in that pass is on the run queue. */
	unsigned int pass = smp_load_acquire(&holder->pass);

	if (READ_ONCE(holder->tester->on_rq) ||
	    !(READ_ONCE(holder->tester->__state) & TASK_NORMAL))
		return NO_PASS;
	/* It may have slept after that pass, or before it. */
	smp_rmb();
	return READ_ONCE(holder->pass) == pass ? pass & PASS_MASK : NO_PASS;
}

static int kunit_mmu_notifier_hold_until_stopped(void *data)
{
	struct kunit_mmu_notifier_holder *holder = data;
	enum kunit_mmu_notifier_in pass = NO_PASS;
	unsigned long end;

	holder->lock(holder->data);
	end = jiffies + KUNIT_MMU_NOTIFIER_HOLD;
	complete(&holder->held);
	while (!kthread_should_stop() && pass == NO_PASS && !holder->expired) {
		schedule_timeout_idle(1);
		pass = kunit_mmu_notifier_tester_sleeps_in(holder);
		WRITE_ONCE(holder->expired, time_after(jiffies, end));
	}
	WRITE_ONCE(holder->slept_in, pass);
	holder->unlock(holder->data);

	while (!kthread_should_stop())
		schedule_timeout_idle(1);
	return 0;
}

static void kunit_mmu_notifier_stop_holder(struct kunit_resource *resource)
{
	struct kunit_mmu_notifier_holder *holder = resource->data;

	if (!IS_ERR_OR_NULL(holder->task))
		kthread_stop(holder->task);
	put_task_struct(holder->tester);
	if (holder->expired)
		KUNIT_FAIL(holder->test,
			   "the lock was held for %d s, and has been free since: kunit_mmu_notifier_release() it before you wait for it",
			   KUNIT_MMU_NOTIFIER_HOLD / HZ);
}

/**
 * kunit_mmu_notifier_hold() - let another task hold a lock
 * @test: the test context
 * @lock: takes the lock, which must be one that sleeps, such as a mutex
 * @unlock: releases it
 * @data: for these two
 *
 * The lock is held on return, and until kunit_mmu_notifier_release() or the end of
 * the test. Should a callback sleep in the meantime, for the lock or for anything
 * else, then the lock is released, so that the test does not hang. It fails if that
 * callback may not block. After 10 seconds the lock is released as well, and the test
 * fails; so it does if @lock takes as long. One lock at a time.
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_notifier_hold(struct kunit *test, void (*lock)(void *data),
			     void (*unlock)(void *data), void *data)
{
	struct kunit_mmu_notifier_holder *holder;

	holder = kunit_kzalloc(test, sizeof(*holder), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, holder);
	holder->test = test;
	holder->tester = current;
	holder->lock = lock;
	holder->unlock = unlock;
	holder->data = data;
	init_completion(&holder->held);
	KUNIT_ASSERT_EQ_MSG(test, 0,
			    kunit_add_named_resource(test, NULL, kunit_mmu_notifier_stop_holder,
						     &holder->resource,
						     KUNIT_MMU_NOTIFIER_HOLDER, holder),
			    "a lock is held already: kunit_mmu_notifier_release() it first");

	/* It may die in a pass. */
	get_task_struct(holder->tester);
	holder->task = kthread_run(kunit_mmu_notifier_hold_until_stopped, holder, "kunit_holder");
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(holder->task), "kthread_run: %pe", holder->task);
	KUNIT_ASSERT_NE_MSG(test, 0, wait_for_completion_timeout(&holder->held,
								 KUNIT_MMU_NOTIFIER_HOLD),
			    "no lock for %d s: somebody has it already", KUNIT_MMU_NOTIFIER_HOLD / HZ);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_hold);

/**
 * kunit_mmu_notifier_release() - let the other task release its lock
 * @test: the test context
 *
 * It is released on return.
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_notifier_release(struct kunit *test)
{
	KUNIT_EXPECT_EQ_MSG(test, 0,
			    kunit_destroy_named_resource(test, KUNIT_MMU_NOTIFIER_HOLDER),
			    "no lock is held: kunit_mmu_notifier_hold() one first");
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_release);

/* Was it released because the test slept in a pass that may not block? */
bool kunit_mmu_notifier_was_waited_for(struct kunit *test)
{
	struct kunit_mmu_notifier_holder *holder = kunit_mmu_notifier_find_holder(test);

	return holder && READ_ONCE(holder->slept_in) == NONBLOCKING_PASS;
}

/* Was it released although the test has not done so? */
bool kunit_mmu_notifier_was_released(struct kunit *test)
{
	struct kunit_mmu_notifier_holder *holder = kunit_mmu_notifier_find_holder(test);

	return holder && (READ_ONCE(holder->slept_in) || READ_ONCE(holder->expired));
}

/* Passes */

/* How long an invalidation of others may take, in jiffies */
#define KUNIT_MMU_NOTIFIER_WAIT		(HZ / 20)

/*
 * Each pass leaves the collision state of the mm as it was: whoever waits for an
 * invalidation that nobody ends will wait forever, and so would the end of this
 * test, so mend it once it has failed.
 */
static void kunit_mmu_notifier_expect_state(struct kunit *test,
					    const struct mmu_notifier_state *before)
{
	struct mmu_notifier_state state = {};
	struct mmu_notifier_range nothing;
	long more;
	int i;

	/* On another CPU, memory may be migrated just now. */
	for (i = 0; i < KUNIT_MMU_NOTIFIER_WAIT; i++) {
		mmu_notifier_read_state(current->mm, &state);
		if (state.active_ranges == before->active_ranges)
			break;
		schedule_timeout_uninterruptible(1);
	}
	KUNIT_EXPECT_EQ_MSG(test, state.active_ranges, before->active_ranges,
			    "the pass is over, but its range is still being invalidated");
	/* Within another invalidation, they wait for the end of that. */
	if (!before->active_ranges)
		KUNIT_EXPECT_EQ_MSG(test, state.seq & 1, 0,
				    "mmu_interval_read_begin() and mmu_interval_notifier_remove() wait for a pass that is over");

	mmu_notifier_range_init(&nothing, KUNIT_MMU_NOTIFY, MMU_NOTIFIER_RANGE_BLOCKABLE,
				current->mm, TASK_SIZE - PAGE_SIZE, TASK_SIZE);
	more = state.active_ranges - before->active_ranges;
	for (; more > 0; more--)
		mmu_notifier_invalidate_range_end(&nothing);
	for (; more < 0; more++)
		mmu_notifier_invalidate_range_start(&nothing);
}

/**
 * kunit_mmu_notifier_nonblock_pass() - invalidate as the OOM reaper does
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 *
 * Calls the callbacks of all subscribers: start and, if none of them backs off,
 * end. Fails the test if the core then has not put back the collision state of
 * the mm. Nothing else may invalidate memory of the mm of the test meanwhile, a
 * work item that migrates its pages for example, as the state is of all of them.
 *
 * Context: The task that runs @test. Calls the callbacks in a section that may
 * not block.
 *
 * Return: 0, or what mmu_notifier_invalidate_range_start_nonblock() returned:
 * -EAGAIN if a callback has backed off.
 */
int kunit_mmu_notifier_nonblock_pass(struct kunit *test, unsigned long start,
				     unsigned long length)
{
	struct kunit_report_scope *scope;
	struct mmu_notifier_state before = {};
	struct mmu_notifier_range range;
	int ret;

	scope = kunit_mmu_notifier_guard_begin(test);
	kunit_mmu_notifier_set_pass(test, NONBLOCKING_PASS);
	mmu_notifier_read_state(current->mm, &before);
	/* The flag is the core's to set and to clear. */
	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, MMU_NOTIFIER_RANGE_BLOCKABLE,
				current->mm, start, start + length);
	ret = mmu_notifier_invalidate_range_start_nonblock(&range);
	if (!ret)
		mmu_notifier_invalidate_range_end(&range);
	kunit_mmu_notifier_set_pass(test, NO_PASS);
	kunit_mmu_notifier_expect_state(test, &before);
	kunit_mmu_notifier_guard_end(test, scope);
	return ret;
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_nonblock_pass);

/**
 * kunit_mmu_notifier_blockable_pass() - invalidate as munmap(2) does
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 *
 * As kunit_mmu_notifier_nonblock_pass(), but the callbacks may block, and must
 * not back off.
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_notifier_blockable_pass(struct kunit *test, unsigned long start,
				       unsigned long length)
{
	struct kunit_report_scope *scope;
	struct mmu_notifier_state before = {};
	struct mmu_notifier_range range;

	scope = kunit_mmu_notifier_guard_begin(test);
	kunit_mmu_notifier_set_pass(test, BLOCKABLE_PASS);
	mmu_notifier_read_state(current->mm, &before);
	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, current->mm, start,
				start + length);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
	kunit_mmu_notifier_set_pass(test, NO_PASS);
	kunit_mmu_notifier_expect_state(test, &before);
	kunit_mmu_notifier_guard_end(test, scope);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_blockable_pass);

/**
 * kunit_mmu_notifier_reap() - reap the mm of the test as the OOM reaper does
 * @test: the test context
 *
 * Takes away the private memory that no callback backs off from; it cannot be
 * faulted in again. Fails the test if the core then has not put back the collision
 * state, as kunit_mmu_notifier_nonblock_pass() does.
 *
 * Context: The task that runs @test, where it may sleep.
 *
 * Return: true if no callback backed off.
 */
bool kunit_mmu_notifier_reap(struct kunit *test)
{
	struct kunit_report_scope *scope;
	struct mmu_notifier_state before = {};
	bool ret;

	scope = kunit_mmu_notifier_guard_begin(test);
	mmap_read_lock(current->mm);
	kunit_mmu_notifier_set_pass(test, NONBLOCKING_PASS);
	mmu_notifier_read_state(current->mm, &before);
	ret = __oom_reap_task_mm(current->mm);
	kunit_mmu_notifier_set_pass(test, NO_PASS);
	mmap_read_unlock(current->mm);
	kunit_mmu_notifier_expect_state(test, &before);
	kunit_mmu_notifier_guard_end(test, scope);
	return ret;
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_reap);

/**
 * kunit_mmu_notifier_unmap() - unmap memory of the test as munmap(2) does
 * @test: the test context
 * @start: what kunit_mmu_notifier_mmap() returned, or a page behind that
 * @length: in bytes
 *
 * Context: The task that runs @test, where it may sleep; the callbacks may, too.
 */
void kunit_mmu_notifier_unmap(struct kunit *test, unsigned long start, unsigned long length)
{
	struct kunit_report_scope *scope;
	int ret;

	scope = kunit_mmu_notifier_guard_begin(test);
	kunit_mmu_notifier_set_pass(test, BLOCKABLE_PASS);
	ret = vm_munmap(start, length);
	kunit_mmu_notifier_set_pass(test, NO_PASS);
	kunit_mmu_notifier_guard_end(test, scope);
	KUNIT_EXPECT_EQ_MSG(test, ret, 0, "vm_munmap: %pe", ERR_PTR(ret));
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_unmap);

#ifdef IMPORT_NS_STRING
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
#else
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
#endif
