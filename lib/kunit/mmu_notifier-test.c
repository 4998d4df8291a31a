// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for testing MMU notifiers, see include/kunit/mmu_notifier.h.
 *
 * A driver that is right passes each expectation; one that is wrong fails it, and
 * the message says what it did. That is tested one level below the macros, or it
 * would fail this test.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/test.h>
#include <linux/bug.h>
#include <linux/completion.h>
#include <linux/debug_locks.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/lockdep.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define NR_PAGES	2
#define LENGTH		(NR_PAGES * PAGE_SIZE)

static DEFINE_MUTEX(fake_mutex);
static DEFINE_SEMAPHORE(fake_semaphore, 1);
static DEFINE_SPINLOCK(fake_spinlock);

/* A work item, say, that allocates, so that who waits for it waits for memory */
static struct lockdep_map fake_work = STATIC_LOCKDEP_MAP_INIT("fake_work", &fake_work);

static DEFINE_RAW_SPINLOCK(lock_of_irq);

static void take_in_irq(struct irq_work *work)
{
	raw_spin_lock(&lock_of_irq);
	raw_spin_unlock(&lock_of_irq);
}

/* What lockdep has to know of these two */
static int teach_lockdep(struct kunit_suite *suite)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(take_in_irq);

	irq_work_queue(&work);
	irq_work_sync(&work);

	lock_map_acquire(&fake_work);
	kfree(kmalloc(64, GFP_KERNEL));
	lock_map_release(&fake_work);
	return 0;
}

/* What a fake has begun and not ended, and how often it was called */
static unsigned int fake_under_way, fake_calls;

/* The right one */

static int right_start(struct mmu_notifier *subscription,
		       const struct mmu_notifier_range *range)
{
	fake_calls++;
	fake_under_way++;
	return 0;
}

static void right_end(struct mmu_notifier *subscription,
		      const struct mmu_notifier_range *range)
{
	fake_under_way--;
}

static const struct mmu_notifier_ops right_ops = {
	.invalidate_range_start = right_start,
	.invalidate_range_end = right_end,
};

static bool right_invalidate(struct mmu_interval_notifier *subscription,
			     const struct mmu_notifier_range *range, unsigned long seq)
{
	if (mmu_notifier_range_blockable(range))
		mutex_lock(&fake_mutex);
	else if (!mutex_trylock(&fake_mutex))
		return false;

	fake_calls++;
	mmu_interval_set_seq(subscription, seq);
	mutex_unlock(&fake_mutex);
	return true;
}

static const struct mmu_interval_notifier_ops right_interval_ops = {
	.invalidate = right_invalidate,
};

static void lock_fake_mutex(void *unused)
{
	mutex_lock(&fake_mutex);
}

static void unlock_fake_mutex(void *unused)
{
	mutex_unlock(&fake_mutex);
}

static unsigned long map(struct kunit *test)
{
	fake_calls = 0;
	fake_under_way = 0;
	return kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE | MAP_POPULATE);
}

static unsigned long map_for_interval(struct kunit *test)
{
	struct mmu_interval_notifier *interval = kunit_kzalloc(test, sizeof(*interval),
							       GFP_KERNEL);
	unsigned long start = map(test);

	KUNIT_ASSERT_NOT_NULL(test, interval);
	kunit_mmu_interval_notifier_insert(test, interval, start, PAGE_SIZE,
					   &right_interval_ops);
	return start;
}

static unsigned long map_for_range(struct kunit *test, const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier *range = kunit_kzalloc(test, sizeof(*range), GFP_KERNEL);
	unsigned long start = map(test);

	KUNIT_ASSERT_NOT_NULL(test, range);
	kunit_mmu_notifier_register(test, range, ops);
	return start;
}

static void right_range_notifier_passes(struct kunit *test)
{
	unsigned long start = map_for_range(test, &right_ops);

	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, LENGTH);
	KUNIT_EXPECT_EQ(test, fake_calls, 1);
	KUNIT_EXPECT_MMU_NOTIFIER_PAIRED(test, start, LENGTH, fake_under_way);
	KUNIT_EXPECT_EQ(test, fake_calls, 1 + KUNIT_MMU_NOTIFIER_NR_PASSES);
}

static void right_interval_notifier_passes(struct kunit *test)
{
	unsigned long start = map_for_interval(test);

	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake_calls, 1);

	kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, start, PAGE_SIZE, fake_calls);
	KUNIT_EXPECT_MMU_NOTIFIER_IGNORES(test, start + PAGE_SIZE, PAGE_SIZE);
	kunit_mmu_notifier_release(test);

	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake_calls, 2);
}

/* The lock is another task's, from hold() to release(). */
static void held_lock_is_held(struct kunit *test)
{
	int i;

	for (i = 0; i < 2; i++) {
		kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
		KUNIT_EXPECT_FALSE(test, mutex_trylock(&fake_mutex));
		kunit_mmu_notifier_release(test);
		KUNIT_EXPECT_FALSE(test, mutex_is_locked(&fake_mutex));
	}
}

/* Who may block waits, and gets the lock in the end. */
static void blockable_pass_gets_held_lock(struct kunit *test)
{
	unsigned long start = map_for_interval(test);

	kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
	kunit_mmu_notifier_blockable_pass(test, start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake_calls, 1);
	/* It did as it may, and is not to blame for it now. */
	KUNIT_EXPECT_STREQ(test, kunit_mmu_notifier_check_clean(test, start, PAGE_SIZE) ?: "", "");
	kunit_mmu_notifier_release(test);
}

static bool is_there(unsigned long address)
{
	char c;

	return !copy_from_user(&c, (void __user *)address, sizeof(c));
}

static void reap_takes_what_is_not_backed_off_from(struct kunit *test)
{
	unsigned long start = map_for_interval(test);

	kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
	KUNIT_EXPECT_FALSE(test, kunit_mmu_notifier_reap(test));
	KUNIT_EXPECT_TRUE(test, is_there(start));
	kunit_mmu_notifier_release(test);

	KUNIT_EXPECT_TRUE(test, kunit_mmu_notifier_reap(test));
	KUNIT_EXPECT_FALSE(test, is_there(start));
}

static void unmap_unmaps(struct kunit *test)
{
	unsigned long start = map_for_interval(test);

	kunit_mmu_notifier_unmap(test, start, LENGTH);
	KUNIT_EXPECT_EQ(test, fake_calls, 1);
	KUNIT_EXPECT_FALSE(test, is_there(start));
}

/* Wrong ones: the callback, and what is said about it */

static int takes_mutex(struct mmu_notifier *subscription,
		       const struct mmu_notifier_range *range)
{
	mutex_lock(&fake_mutex);
	mutex_unlock(&fake_mutex);
	return 0;
}

static int allocates(struct mmu_notifier *subscription,
		     const struct mmu_notifier_range *range)
{
	kfree(kmalloc(64, GFP_KERNEL));
	return 0;
}

static int waits_for_work(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	lock_map_acquire(&fake_work);
	lock_map_release(&fake_work);
	return 0;
}

/* As lockdep sees it, and without a real deadlock */
static int takes_twice(struct mmu_notifier *subscription,
		       const struct mmu_notifier_range *range)
{
	spin_lock(&fake_spinlock);
	spin_acquire(&fake_spinlock.dep_map, 0, 0, _THIS_IP_);
	spin_release(&fake_spinlock.dep_map, _THIS_IP_);
	spin_unlock(&fake_spinlock);
	return 0;
}

static int takes_lock_of_irq(struct mmu_notifier *subscription,
			     const struct mmu_notifier_range *range)
{
	raw_spin_lock(&lock_of_irq);
	raw_spin_unlock(&lock_of_irq);
	return 0;
}

static int sleeps(struct mmu_notifier *subscription,
		  const struct mmu_notifier_range *range)
{
	msleep(50);
	return 0;
}

static int keeps_lock(struct mmu_notifier *subscription,
		      const struct mmu_notifier_range *range)
{
	if (!mmu_notifier_range_blockable(range) && mutex_trylock(&fake_mutex))
		return -EAGAIN;
	return 0;
}

static int may_sleep(struct mmu_notifier *subscription,
		     const struct mmu_notifier_range *range)
{
	might_sleep();
	return 0;
}

static int returns_einval(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range) ? 0 : -EINVAL;
}

static int backs_off(struct mmu_notifier *subscription,
		     const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range) ? 0 : -EAGAIN;
}

static int warns(struct mmu_notifier *subscription,
		 const struct mmu_notifier_range *range)
{
	WARN(1, "this is odd\n");
	return 0;
}

static int derefs(struct mmu_notifier *subscription,
		  const struct mmu_notifier_range *range)
{
	lockdep_rcu_suspicious(__FILE__, __LINE__, "there is no rcu_read_lock()");
	return 0;
}

static void end(struct mmu_notifier *subscription,
		const struct mmu_notifier_range *range)
{
}

/* What a callback has kept. To lockdep it is free since the end of the expectation. */
static void give_back(void)
{
	lockdep_off();
	mutex_unlock(&fake_mutex);
	lockdep_on();
}

/**
 * struct wrong - a driver that fails an expectation
 * @name: for the name of the test
 * @ops: its callbacks
 * @check: of the expectation
 * @after: to be called when the pass is over, or NULL
 * @message: what the message begins with
 * @place: what it contains further on, or NULL
 * @advice: what it ends with
 * @warned_of: does the kernel tell by a WARN()?
 */
struct wrong {
	const char *name;
	struct mmu_notifier_ops ops;
	const char *(*check)(struct kunit *test, unsigned long start, unsigned long length);
	void (*after)(void);
	const char *message;
	const char *place;
	const char *advice;
	bool warned_of;
};

static const struct wrong wrongs[] = {
	{
		.name = "takes_mutex",
		.ops = { .invalidate_range_start = takes_mutex },
		.check = kunit_mmu_notifier_check_clean,
		.message = "takes_mutex takes fake_mutex, a lock that sleeps, at ",
		.place = "takes_mutex+",
		.advice = " a work item, or, unless this ends an invalidation, back off.",
	}, {
		.name = "allocates",
		.ops = { .invalidate_range_start = allocates },
		.check = kunit_mmu_notifier_check_clean,
		.message = "allocates allocates memory at ",
		.place = "kmalloc",
		.advice = " or with GFP_NOWAIT, and back off if there is none.",
	}, {
		.name = "waits_for_work",
		.ops = { .invalidate_range_start = waits_for_work },
		.check = kunit_mmu_notifier_check_clean,
		.message = "waits_for_work waits for fake_work at ",
		.place = "waits_for_work+",
		.advice = " not waited for, or, unless this ends an invalidation, back off.",
	}, {
		.name = "takes_twice",
		.ops = { .invalidate_range_start = takes_twice },
		.check = kunit_mmu_notifier_check_clean,
		.message = "takes_twice takes fake_spinlock at ",
		.place = "takes_twice+",
		.advice = ", and has it already. Take it once.",
	}, {
		.name = "takes_lock_of_irq",
		.ops = { .invalidate_range_start = takes_lock_of_irq },
		.check = kunit_mmu_notifier_check_clean,
		.message = "expected nothing, got inconsistent lock state",
		.advice = "; ",
	}, {
		.name = "sleeps",
		.ops = { .invalidate_range_start = sleeps },
		.check = kunit_mmu_notifier_check_clean,
		.message = "sleeps sleeps, or calls what may.",
		.advice = " not waited for, or, unless this ends an invalidation, back off.",
	}, {
		.name = "may_sleep",
		.ops = { .invalidate_range_start = may_sleep },
		.check = kunit_mmu_notifier_check_clean,
		.message = "may_sleep sleeps, or calls what may.",
		.advice = " not waited for, or, unless this ends an invalidation, back off.",
	}, {
		.name = "keeps",
		.ops = { .invalidate_range_start = keeps_lock },
		.check = kunit_mmu_notifier_check_backs_off,
		.after = give_back,
		.message = "keeps_lock makes a WARN() at mn_",
		.advice = " on each way out, also on the one that backs off.",
		.warned_of = true,
	}, {
		.name = "returns_einval",
		.ops = { .invalidate_range_start = returns_einval },
		.check = kunit_mmu_notifier_check_backs_off,
		.message = "returns_einval returns -EINVAL.",
		.advice = " Back off with -EAGAIN.",
		.warned_of = true,
	}, {
		.name = "backs_off_with_end",
		.ops = { .invalidate_range_start = backs_off, .invalidate_range_end = end },
		.check = kunit_mmu_notifier_check_backs_off,
		.message = "backs_off backs off, but its notifier has an invalidate_range_end()",
		.advice = " Have none, or do not back off.",
		.warned_of = true,
	}, {
		.name = "warns",
		.ops = { .invalidate_range_start = warns },
		.check = kunit_mmu_notifier_check_clean,
		.message = "warns makes a WARN() at ",
		.place = "warns+",
		.advice = " on each way out, also on the one that backs off.",
		.warned_of = true,
	}, {
		.name = "derefs",
		.ops = { .invalidate_range_start = derefs },
		.check = kunit_mmu_notifier_check_clean,
		.message = "expected nothing, got suspicious RCU usage",
		.advice = "; ",
	}, {
		.name = "backs_off_with_no_need",
		.ops = { .invalidate_range_start = backs_off },
		.check = kunit_mmu_notifier_check_clean,
		.message = "backs_off backs off, and the OOM reaper goes without the range.",
		.advice = " Do the work if nothing is in the way.",
	}, {
		.name = "backs_off_with_no_interest",
		.ops = { .invalidate_range_start = backs_off },
		.check = kunit_mmu_notifier_check_ignores,
		.message = "backs_off backs off from a range that it has no interest in",
		.advice = " the range is one of the driver's, or subscribe to that only.",
	}, {
		.name = "does_not_back_off",
		.ops = { .invalidate_range_start = right_start },
		.check = kunit_mmu_notifier_check_backs_off,
		.message = "no callback backs off: ",
		.advice = " false from an interval notifier.",
	},
};

static void wrong_describe(const struct wrong *wrong, char *description)
{
	strscpy(description, wrong->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(wrong, wrongs, wrong_describe);

/* @first begins with the callback, which a module's name may follow. */
static bool begins_with(const char *message, const char *first)
{
	size_t name = strcspn(first, " ");

	if (strncmp(message, first, name))
		return false;

	message += name;
	first += name;
	if (str_has_prefix(message, " [")) {
		message = strchr(message, ']');
		if (!message)
			return false;
		message++;
	}
	return !strncmp(message, first, strlen(first));
}

static bool has_parts(const char *message, const char *first, const char *middle,
		      const char *last)
{
	size_t length = message ? strlen(message) : 0;

	return message && begins_with(message, first) && (!middle || strstr(message, middle)) &&
	       length >= strlen(last) && !strcmp(message + length - strlen(last), last);
}

static void skip_without_bug(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "no WARN() without CONFIG_BUG");
}

static void wrong_is_explained(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	unsigned long start;
	const char *message;

	if (!IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP) && strstr(wrong->name, "sleep"))
		kunit_skip(test, "msleep() has no lock; needs CONFIG_DEBUG_ATOMIC_SLEEP");
	if (wrong->warned_of)
		skip_without_bug(test);

	start = map_for_range(test, &wrong->ops);
	message = wrong->check(test, start, LENGTH);
	if (wrong->after)
		wrong->after();
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_TRUE_MSG(test, has_parts(message, wrong->message, wrong->place,
					      wrong->advice),
			      "%s", message);
}

/* A lock that lockdep does not know: the test neither hangs nor passes. */

static void lock_fake_semaphore(void *unused)
{
	down(&fake_semaphore);
}

static void unlock_fake_semaphore(void *unused)
{
	up(&fake_semaphore);
}

static int waits(struct mmu_notifier *subscription, const struct mmu_notifier_range *range)
{
	down(&fake_semaphore);
	up(&fake_semaphore);
	return 0;
}

static const struct mmu_notifier_ops waits_ops = {
	.invalidate_range_start = waits,
};

static void wait_for_held_lock_is_explained(struct kunit *test)
{
	unsigned long start = map_for_range(test, &waits_ops);
	const char *message;

	kunit_mmu_notifier_hold(test, lock_fake_semaphore, unlock_fake_semaphore, NULL);
	message = kunit_mmu_notifier_check_backs_off(test, start, LENGTH);
	kunit_mmu_notifier_release(test);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_TRUE_MSG(test, has_parts(message, "waits sleeps until another task ", NULL,
					      " back off."), "%s", message);
}

/* And one that it knows */

static const struct mmu_notifier_ops takes_mutex_ops = {
	.invalidate_range_start = takes_mutex,
};

static void wait_for_held_mutex_ends(struct kunit *test)
{
	unsigned long start = map_for_range(test, &takes_mutex_ops);
	const char *message;

	kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
	message = kunit_mmu_notifier_check_backs_off(test, start, LENGTH);
	kunit_mmu_notifier_release(test);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_TRUE_MSG(test, has_parts(message, "takes_mutex takes fake_mutex, ", NULL,
					      " back off."), "%s", message);
}

/**
 * struct second_hold - a test with two tasks that hold locks
 * @test: its context
 * @started: the second task has started
 */
struct second_hold {
	struct kunit test;
	struct completion started;
};

static int second_hold_thread(void *data)
{
	struct second_hold *second = data;

	complete(&second->started);
	kunit_mmu_notifier_hold(&second->test, lock_fake_semaphore, unlock_fake_semaphore, NULL);
	return 0;
}

/* It fails, and the task that took the lock for it releases it. */
static void second_hold_leaves_no_lock(struct kunit *test)
{
	struct second_hold *second = kunit_kzalloc(test, sizeof(*second), GFP_KERNEL);
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, second);
	kunit_init_test(&second->test, "second hold", NULL);
	second->test.status = KUNIT_SUCCESS;
	init_completion(&second->started);
	kunit_mmu_notifier_hold(&second->test, lock_fake_mutex, unlock_fake_mutex, NULL);

	task = kthread_create(second_hold_thread, second, "kunit_holder");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);
	wake_up_process(task);
	/* Or it would be stopped before it has begun. */
	wait_for_completion(&second->started);
	kthread_stop(task);
	put_task_struct(task);

	KUNIT_EXPECT_EQ(test, second->test.status, KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, down_trylock(&fake_semaphore), 0);
	up(&fake_semaphore);
	kunit_mmu_notifier_release(&second->test);
	kunit_cleanup(&second->test);
	current->kunit_test = test; /* kunit_cleanup() takes the end of one for the end of all. */
}

/* Which callback it was */

static int also_backs_off(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range) ? 0 : -EAGAIN;
}

static const struct mmu_notifier_ops backs_off_ops = {
	.invalidate_range_start = backs_off,
};

static const struct mmu_notifier_ops also_backs_off_ops = {
	.invalidate_range_start = also_backs_off,
};

static const struct mmu_notifier_ops backs_off_with_end_ops = {
	.invalidate_range_start = backs_off,
	.invalidate_range_end = end,
};

/* The last to subscribe is the first to be called. */
static void first_to_back_off_is_named(struct kunit *test)
{
	struct mmu_notifier *also = kunit_kzalloc(test, sizeof(*also), GFP_KERNEL);
	unsigned long start = map_for_range(test, &backs_off_ops);
	const char *message;

	KUNIT_ASSERT_NOT_NULL(test, also);
	kunit_mmu_notifier_register(test, also, &also_backs_off_ops);
	message = kunit_mmu_notifier_check_clean(test, start, LENGTH);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_TRUE_MSG(test, begins_with(message, "also_backs_off backs off, and "),
			      "%s", message);
}

/* For a pass to be unwound, a notifier of the expectation's own backs off. */
static void own_back_off_is_not_named(struct kunit *test)
{
	unsigned long start;
	const char *message;

	skip_without_bug(test);

	start = map_for_range(test, &backs_off_with_end_ops);
	message = kunit_mmu_notifier_check_pass(test, start, LENGTH, KUNIT_MMU_NOTIFIER_UNWOUND);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_TRUE_MSG(test, begins_with(message, "backs_off backs off, but "),
			      "%s", message);
}

/* Outside of an expectation: the test fails, and lockdep stays on for the next one. */

static int allocates_nofs(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	kfree(kmalloc(64, GFP_NOFS));
	return 0;
}

static const struct mmu_notifier_ops allocates_nofs_ops = {
	.invalidate_range_start = allocates_nofs,
};

static void reap(struct kunit *test, unsigned long start, unsigned long length)
{
	kunit_mmu_notifier_reap(test);
}

static void nonblock_pass(struct kunit *test, unsigned long start, unsigned long length)
{
	kunit_mmu_notifier_nonblock_pass(test, start, length);
}

static const struct fixture {
	const char *name;
	void (*call)(struct kunit *test, unsigned long start, unsigned long length);
	bool may_block;
} fixtures[] = {
	{ .name = "unmap", .call = kunit_mmu_notifier_unmap, .may_block = true },
	{ .name = "blockable_pass", .call = kunit_mmu_notifier_blockable_pass, .may_block = true },
	{ .name = "nonblock_pass", .call = nonblock_pass },
	{ .name = "reap", .call = reap },
};

static void fixture_describe(const struct fixture *fixture, char *description)
{
	strscpy(description, fixture->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(fixture, fixtures, fixture_describe);

/* As @test is not to fail, it is another one's fixture for a moment. */
static enum kunit_status call_as_other_test(struct kunit *test, const struct fixture *fixture,
					    unsigned long start)
{
	struct kunit *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, other);
	kunit_init_test(other, "other test", NULL);
	other->status = KUNIT_SUCCESS;
	current->kunit_test = other;
	fixture->call(other, start, LENGTH);
	kunit_cleanup(other);
	current->kunit_test = test;
	return other->status;
}

static void fixture_claims_report(struct kunit *test)
{
	const struct fixture *fixture = test->param_value;
	unsigned long start = map_for_range(test, &allocates_nofs_ops);

	KUNIT_EXPECT_EQ(test, call_as_other_test(test, fixture, start), KUNIT_FAILURE);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* An expectation around it comes first. */
static void fixture_leaves_report_to_expectation(struct kunit *test)
{
	const struct fixture *fixture = test->param_value;
	unsigned long start = map_for_range(test, &allocates_nofs_ops);

	KUNIT_EXPECT_REPORT(test, fixture->may_block ? KUNIT_REPORT_RECURSION :
			    KUNIT_REPORT_RECURSION | KUNIT_REPORT_MIGHT_SLEEP, NULL, NULL,
			    fixture->call(test, start, LENGTH));
}

static void takes_and_keeps(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	mutex_lock(&fake_mutex);
}

/* Nothing is reported, and it is wrong all the same. */
static void fixture_tells_of_kept_lock(struct kunit *test)
{
	static const struct mmu_notifier_ops ops = { .invalidate_range_end = takes_and_keeps };
	static const struct fixture fixture = { .call = kunit_mmu_notifier_blockable_pass };
	unsigned long start = map_for_range(test, &right_ops);

	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_SUCCESS);
	map_for_range(test, &ops);
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_FAILURE);
	give_back();
}

/*
 * A core that leaves a pass open, or ends one twice: the fixture fails the test, and
 * mends the state, or the end of the test would hang. A callback does it here, once.
 */

static bool odd_core;

static int begins_again(struct mmu_notifier *subscription,
			const struct mmu_notifier_range *range)
{
	struct mmu_notifier_range again;

	if (odd_core) {
		odd_core = false;
		/* Where nobody is interested, for nothing to be reported */
		mmu_notifier_range_init(&again, KUNIT_MMU_NOTIFY, MMU_NOTIFIER_RANGE_BLOCKABLE,
					range->mm, TASK_SIZE - PAGE_SIZE, TASK_SIZE);
		KUNIT_EXPECT_EQ(current->kunit_test, 0,
				__mmu_notifier_invalidate_range_start(&again));
	}
	return 0;
}

static int ends_early(struct mmu_notifier *subscription,
		      const struct mmu_notifier_range *range)
{
	struct mmu_notifier_range early = *range;

	if (odd_core) {
		odd_core = false;
		lockdep_off();
		__mmu_notifier_invalidate_range_end(&early);
		lockdep_on();
	}
	return 0;
}

static const struct odd {
	const char *name;
	struct mmu_notifier_ops ops;
	void (*call)(struct kunit *test, unsigned long start, unsigned long length);
} odds[] = {
	{ "begins_again_nonblock", { .invalidate_range_start = begins_again }, nonblock_pass },
	{ "begins_again_blockable", { .invalidate_range_start = begins_again },
	  kunit_mmu_notifier_blockable_pass },
	{ "ends_early_nonblock", { .invalidate_range_start = ends_early }, nonblock_pass },
	{ "ends_early_blockable", { .invalidate_range_start = ends_early },
	  kunit_mmu_notifier_blockable_pass },
};

static void odd_describe(const struct odd *odd, char *description)
{
	strscpy(description, odd->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(odd, odds, odd_describe);

static void odd_state_is_mended(struct kunit *test)
{
	const struct odd *odd = test->param_value;
	const struct fixture fixture = { .call = odd->call };
	struct mmu_notifier *range = kunit_kzalloc(test, sizeof(*range), GFP_KERNEL);
	struct mmu_notifier_state before, after;
	unsigned long start = map_for_interval(test);

	KUNIT_ASSERT_NOT_NULL(test, range);
	kunit_mmu_notifier_register(test, range, &odd->ops);
	mmu_notifier_read_state(current->mm, &before);
	odd_core = true;
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_FAILURE);
	mmu_notifier_read_state(current->mm, &after);
	KUNIT_EXPECT_EQ(test, after.active_ranges, before.active_ranges);
	KUNIT_EXPECT_EQ(test, after.seq & 1, before.seq & 1);
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_SUCCESS);
}

/* State */

static void half_done_is_explained(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, kunit_mmu_notifier_check_undone(test, "nr", 1, 1));
	KUNIT_EXPECT_TRUE(test, has_parts(kunit_mmu_notifier_check_undone(test, "nr", 3, 2),
					  "nr was 3, and is 2 after the back-off. ", NULL,
					  "or undo what was."));
}

static void blockable_end(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	if (mmu_notifier_range_blockable(range))
		fake_under_way--;
}

static const struct mmu_notifier_ops unpaired_ops = {
	.invalidate_range_start = right_start,
	.invalidate_range_end = blockable_end,
};

static const struct {
	bool differs;
	const char *after;
} unpaired[KUNIT_MMU_NOTIFIER_NR_PASSES] = {
	[KUNIT_MMU_NOTIFIER_ENDED] = { true, "after a nonblocking pass." },
	[KUNIT_MMU_NOTIFIER_UNWOUND] = { true,
		"after a nonblocking pass in which another notifier backed off." },
	[KUNIT_MMU_NOTIFIER_BLOCKABLE] = { false },
};

static void missing_end_is_explained(struct kunit *test)
{
	unsigned long start = map_for_range(test, &unpaired_ops);
	const char *message;
	int pass;

	for (pass = 0; pass < KUNIT_MMU_NOTIFIER_NR_PASSES; pass++) {
		fake_under_way = 0;
		message = kunit_mmu_notifier_check_pass(test, start, LENGTH, pass);
		KUNIT_EXPECT_STREQ(test, message ?: "", "");
		message = kunit_mmu_notifier_check_paired(test, "under_way", 0, fake_under_way,
							  pass);
		KUNIT_ASSERT_EQ(test, !!message, unpaired[pass].differs);
		if (message)
			KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, unpaired[pass].after),
						  "%s", message);
	}
}

/* Within the pass if that is unwound, and otherwise after it */
static unsigned long active_in_end;

static void note_active(struct mmu_notifier *subscription,
			const struct mmu_notifier_range *range)
{
	struct mmu_notifier_state state;

	mmu_notifier_read_state(range->mm, &state);
	active_in_end = state.active_ranges;
}

static const struct mmu_notifier_ops note_active_ops = {
	.invalidate_range_start = right_start,
	.invalidate_range_end = note_active,
};

static void unwound_pass_is_unwound(struct kunit *test)
{
	struct mmu_notifier *range = kunit_kzalloc(test, sizeof(*range), GFP_KERNEL);
	unsigned long start = map_for_interval(test);
	int pass;

	KUNIT_ASSERT_NOT_NULL(test, range);
	kunit_mmu_notifier_register(test, range, &note_active_ops);
	for (pass = 0; pass < KUNIT_MMU_NOTIFIER_NR_PASSES; pass++) {
		active_in_end = ULONG_MAX;
		KUNIT_EXPECT_NULL(test, kunit_mmu_notifier_check_pass(test, start, LENGTH, pass));
		KUNIT_EXPECT_EQ(test, active_in_end, pass == KUNIT_MMU_NOTIFIER_UNWOUND);
		/* What backed off for it has gone. */
		KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, LENGTH);
	}
}

static const struct mmu_notifier_ops warns_ops = {
	.invalidate_range_start = warns,
};

static void warning_in_any_pass_is_explained(struct kunit *test)
{
	unsigned long start;
	int pass;

	skip_without_bug(test);

	start = map_for_range(test, &warns_ops);
	for (pass = 0; pass < KUNIT_MMU_NOTIFIER_NR_PASSES; pass++)
		KUNIT_EXPECT_NOT_NULL(test,
				      kunit_mmu_notifier_check_pass(test, start, LENGTH, pass));
}

static void lock_in_nonblocking_pass_is_explained(struct kunit *test)
{
	unsigned long start = map_for_range(test, &takes_mutex_ops);
	int pass;

	for (pass = 0; pass < KUNIT_MMU_NOTIFIER_NR_PASSES; pass++)
		KUNIT_EXPECT_EQ(test, pass == KUNIT_MMU_NOTIFIER_BLOCKABLE,
				!kunit_mmu_notifier_check_pass(test, start, LENGTH, pass));
}

static struct kunit_case kunit_mmu_notifier_cases[] = {
	KUNIT_CASE(right_range_notifier_passes),
	KUNIT_CASE(right_interval_notifier_passes),
	KUNIT_CASE(held_lock_is_held),
	KUNIT_CASE(blockable_pass_gets_held_lock),
	KUNIT_CASE(reap_takes_what_is_not_backed_off_from),
	KUNIT_CASE(unmap_unmaps),
	KUNIT_CASE_PARAM(wrong_is_explained, wrong_gen_params),
	KUNIT_CASE(wait_for_held_lock_is_explained),
	KUNIT_CASE(wait_for_held_mutex_ends),
	KUNIT_CASE(second_hold_leaves_no_lock),
	KUNIT_CASE_PARAM(fixture_claims_report, fixture_gen_params),
	KUNIT_CASE_PARAM(fixture_leaves_report_to_expectation, fixture_gen_params),
	KUNIT_CASE(fixture_tells_of_kept_lock),
	KUNIT_CASE_PARAM(odd_state_is_mended, odd_gen_params),
	KUNIT_CASE(first_to_back_off_is_named),
	KUNIT_CASE(own_back_off_is_not_named),
	KUNIT_CASE(half_done_is_explained),
	KUNIT_CASE(missing_end_is_explained),
	KUNIT_CASE(unwound_pass_is_unwound),
	KUNIT_CASE(warning_in_any_pass_is_explained),
	KUNIT_CASE(lock_in_nonblocking_pass_is_explained),
	{}
};

static struct kunit_suite kunit_mmu_notifier_suite = {
	.name = "kunit_mmu_notifier",
	.suite_init = teach_lockdep,
	.test_cases = kunit_mmu_notifier_cases,
};

kunit_test_suite(kunit_mmu_notifier_suite);

#ifdef IMPORT_NS_STRING
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
#else
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
#endif
MODULE_DESCRIPTION("KUnit tests for testing MMU notifiers");
MODULE_LICENSE("GPL");
