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
#include <linux/compiler.h>
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
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <trace/events/mmu_notifier.h>
#include <trace/events/printk.h>

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

/* It is about this memory, and nothing below or behind. */
static unsigned long fake_memory;

static bool is_asked_for(const struct mmu_notifier_range *range)
{
	return range->start == fake_memory && PAGE_ALIGNED(range->end);
}

/* The right one */

static int right_start(struct mmu_notifier *subscription,
		       const struct mmu_notifier_range *range)
{
	fake_calls += is_asked_for(range);
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
	if (!is_asked_for(range))
		return true;

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
	fake_memory = kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE | MAP_POPULATE);
	return fake_memory;
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

static void register_range(struct kunit *test, const struct mmu_notifier_ops *ops)
{
	struct mmu_notifier *range = kunit_kzalloc(test, sizeof(*range), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, range);
	kunit_mmu_notifier_register(test, range, ops);
}

static unsigned long map_for_range(struct kunit *test, const struct mmu_notifier_ops *ops)
{
	unsigned long start = map(test);

	register_range(test, ops);
	return start;
}

static void right_range_notifier_passes(struct kunit *test)
{
	unsigned long start = map_for_range(test, &right_ops);

	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, LENGTH);
	KUNIT_EXPECT_FALSE_MSG(test, trace_mmu_notifier_nonblock_enabled(), "it still watches");
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
	const unsigned int users = refcount_read(&current->usage);
	int i;

	for (i = 0; i < 2; i++) {
		kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
		KUNIT_EXPECT_FALSE(test, mutex_trylock(&fake_mutex));
		kunit_mmu_notifier_release(test);
		KUNIT_EXPECT_FALSE(test, mutex_is_locked(&fake_mutex));
	}
	KUNIT_EXPECT_EQ(test, refcount_read(&current->usage), users);
}

/* Who may block waits, and gets the lock in the end. */
static void blockable_pass_gets_held_lock(struct kunit *test)
{
	static const char is_free[] =
		"the lock of kunit_mmu_notifier_hold() is free: a callback slept, or it was held for too long. kunit_mmu_notifier_release() it, and hold it anew.";
	unsigned long start = map_for_interval(test);

	kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
	kunit_mmu_notifier_blockable_pass(test, start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, fake_calls, 1);
	/* It did as it may, and is not to blame for it now. */
	KUNIT_EXPECT_STREQ(test, kunit_mmu_notifier_check_clean(test, start, PAGE_SIZE) ?: "", "");
	/* That it minds the lock, or does not, nothing shows any more. */
	KUNIT_EXPECT_STREQ(test, kunit_mmu_notifier_check_backs_off(test, start, PAGE_SIZE) ?: "",
			   is_free);
	KUNIT_EXPECT_STREQ(test, kunit_mmu_notifier_check_ignores(test, start, PAGE_SIZE) ?: "",
			   is_free);
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
	unsigned long one = kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE | MAP_POPULATE);
	unsigned long start = map_for_interval(test);

	kunit_mmu_notifier_unmap(test, start, LENGTH);
	KUNIT_EXPECT_EQ(test, fake_calls, 1);
	KUNIT_EXPECT_FALSE(test, is_there(start));
	KUNIT_EXPECT_TRUE(test, is_there(one));
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
	return mmu_notifier_range_blockable(range) ? 0 : -EAGAIN;
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
		.advice =
			". Try for it. If another task has it, leave that to a work item, or, unless this ends an invalidation, back off.",
	}, {
		.name = "allocates",
		.ops = { .invalidate_range_start = allocates },
		.check = kunit_mmu_notifier_check_clean,
		.message = "allocates allocates memory at ",
		.place = "kmalloc",
		.advice =
			", and may wait for it. Allocate it before, outside of the callback, or with GFP_NOWAIT, and back off if there is none.",
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
		.advice = ", and has it, or one of its class, already. Take it once.",
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
		.advice =
			", and the log says why. If it has changed what it must leave as it was: put that back on each way out, also on the one that backs off.",
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
		.name = "derefs_with_no_interest",
		.ops = { .invalidate_range_start = derefs },
		.check = kunit_mmu_notifier_check_ignores,
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
		.advice =
			", or is not called for this range. Return -EAGAIN from invalidate_range_start(), false from an interval notifier.",
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
	/* Only a report has the name of the callback. */
	KUNIT_EXPECT_TRUE_MSG(test, has_parts(message, IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP) ?
					      "waits sleeps until another task " :
					      "a callback sleeps until another task ", NULL,
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
 * struct other_test - a test besides this one, with a task of its own
 * @test: its context
 * @code: what that task does
 * @started: it has started
 */
struct other_test {
	struct kunit test;
	void (*code)(struct kunit *test);
	struct completion started;
};

static struct other_test *other_test_begin(struct kunit *test)
{
	struct other_test *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, other);
	kunit_init_test(&other->test, "other test", NULL);
	other->test.status = KUNIT_SUCCESS;
	return other;
}

static int other_test_thread(void *data)
{
	struct other_test *other = data;

	complete(&other->started);
	other->code(&other->test);
	return 0;
}

static void other_test_run(struct kunit *test, struct other_test *other,
			   void (*code)(struct kunit *test))
{
	struct task_struct *task;

	other->code = code;
	init_completion(&other->started);
	task = kthread_create(other_test_thread, other, "kunit_holder");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);
	wake_up_process(task);
	/* Or it would be stopped before it has begun. */
	wait_for_completion(&other->started);
	kthread_stop(task);
	put_task_struct(task);
}

static void other_test_end(struct kunit *test, struct other_test *other)
{
	kunit_cleanup(&other->test);
	current->kunit_test = test; /* kunit_cleanup() takes the end of one for the end of all. */
}

static void hold_semaphore(struct kunit *other)
{
	kunit_mmu_notifier_hold(other, lock_fake_semaphore, unlock_fake_semaphore, NULL);
}

/* It fails, and the task that took the lock for it releases it. */
static void second_hold_leaves_no_lock(struct kunit *test)
{
	struct other_test *other = other_test_begin(test);

	kunit_mmu_notifier_hold(&other->test, lock_fake_mutex, unlock_fake_mutex, NULL);
	other_test_run(test, other, hold_semaphore);
	KUNIT_EXPECT_EQ(test, other->test.status, KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, down_trylock(&fake_semaphore), 0);
	up(&fake_semaphore);
	kunit_mmu_notifier_release(&other->test);
	other_test_end(test, other);
}

static bool released;

static void wait_for_own_lock(struct kunit *other)
{
	hold_semaphore(other);
	down(&fake_semaphore);
	up(&fake_semaphore);
	released = kunit_mmu_notifier_check_ignores(other, 0, PAGE_SIZE);
	kunit_mmu_notifier_release(other);
}

/* No pass: nobody but the test could release the lock, and it waits. */
static void wait_outside_pass_ends(struct kunit *test)
{
	struct other_test *other = other_test_begin(test);

	other_test_run(test, other, wait_for_own_lock);
	KUNIT_EXPECT_TRUE(test, released);
	KUNIT_EXPECT_EQ(test, other->test.status, KUNIT_FAILURE);
	other_test_end(test, other);
}

/* Wrong uses of the fixtures: the test fails, and does not go on. */

static bool went_on;

static void hold_twice(struct kunit *other)
{
	hold_semaphore(other);
	hold_semaphore(other);
	went_on = true;
}

static void lock_for_long(void *unused)
{
	schedule_timeout_uninterruptible(11 * HZ);
	down(&fake_semaphore);
}

static void hold_what_is_held(struct kunit *other)
{
	kunit_mmu_notifier_hold(other, lock_for_long, unlock_fake_semaphore, NULL);
	went_on = true;
}

static void map_too_much(struct kunit *other)
{
	kunit_mmu_notifier_mmap(other, ULONG_MAX / PAGE_SIZE, MAP_PRIVATE);
	went_on = true;
}

static void register_without_mm(struct kunit *other)
{
	static struct mmu_notifier range;

	kunit_mmu_notifier_register(other, &range, &right_ops);
	went_on = true;
}

static void insert_without_mm(struct kunit *other)
{
	static struct mmu_interval_notifier interval;

	kunit_mmu_interval_notifier_insert(other, &interval, 0, PAGE_SIZE, &right_interval_ops);
	went_on = true;
}

static const struct wrong_use {
	const char *name;
	void (*code)(struct kunit *other);
} wrong_uses[] = {
	{ "hold_twice", hold_twice },
	{ "hold_what_is_held", hold_what_is_held },
	{ "map_too_much", map_too_much },
	{ "register_without_mm", register_without_mm },
	{ "insert_without_mm", insert_without_mm },
};

static void wrong_use_describe(const struct wrong_use *use, char *description)
{
	strscpy(description, use->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(wrong_use, wrong_uses, wrong_use_describe);

static void wrong_use_ends_test(struct kunit *test)
{
	const struct wrong_use *use = test->param_value;
	struct other_test *other = other_test_begin(test);

	went_on = false;
	other_test_run(test, other, use->code);
	KUNIT_EXPECT_EQ(test, other->test.status, KUNIT_FAILURE);
	KUNIT_EXPECT_FALSE(test, went_on);
	other_test_end(test, other);
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

/**
 * struct listener - a message in the log
 * @begin: what it begins with
 * @end: what it ends with
 * @found: how often it came
 */
struct listener {
	const char *begin;
	const char *end;
	unsigned int found;
};

static void listen(void *data, const char *text, size_t length)
{
	struct listener *listener = data;

	listener->found += strnstr(text, listener->begin, length) &&
			   strnstr(text, listener->end, length);
}

static void listen_no_more(void *listener)
{
	unregister_trace_console(listen, listener);
	tracepoint_synchronize_unregister();
}

/* How often @message comes while @fixture fails the other test */
static unsigned int found_in_log(struct kunit *test, const struct listener *message,
				 const struct fixture *fixture, unsigned long start)
{
	struct listener *listener = kunit_kzalloc(test, sizeof(*listener), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, listener);
	*listener = *message;
	KUNIT_ASSERT_EQ(test, 0, register_trace_console(listen, listener));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, listen_no_more, listener));
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, fixture, start), KUNIT_FAILURE);
	KUNIT_EXPECT_TRUE(test, debug_locks);
	return listener->found;
}

static void fixture_claims_report(struct kunit *test)
{
	const struct fixture *fixture = test->param_value;
	static const struct listener nonblock = {
		.begin = "\nallocates_nofs ",
		.end = ", and back off if there is none.",
	};
	static const struct listener blockable = {
		.begin = "\na callback allocates memory at ",
		.end =
			", and reclaim may invalidate again. Allocate it before, outside of the callback, or with GFP_NOWAIT: also where the callback may block.",
	};
	unsigned long start = map_for_range(test, &allocates_nofs_ops);

	KUNIT_EXPECT_EQ(test, found_in_log(test, fixture->may_block ? &blockable : &nonblock,
					   fixture, start), 1);
}

static DEFINE_RAW_SPINLOCK(raw_lock);

static int takes_mutex_in_spinlock(struct mmu_notifier *subscription,
				   const struct mmu_notifier_range *range)
{
	raw_spin_lock(&raw_lock);
	mutex_acquire(&fake_mutex.dep_map, 0, 0, _THIS_IP_);
	mutex_release(&fake_mutex.dep_map, _THIS_IP_);
	raw_spin_unlock(&raw_lock);
	return 0;
}

/* It may wait for the mutex, and must not back off: a callback that holds a spinlock is wrong. */
static void blockable_pass_gives_no_advice(struct kunit *test)
{
	static const struct mmu_notifier_ops ops = {
		.invalidate_range_start = takes_mutex_in_spinlock,
	};
	static const struct fixture fixture = { .call = kunit_mmu_notifier_blockable_pass };
	static const struct listener listener = {
		.begin = "\nexpected nothing, got invalid wait context; ",
		.end = "raw_lock",
	};
	unsigned long start = map_for_range(test, &ops);

	KUNIT_EXPECT_EQ(test, found_in_log(test, &listener, &fixture, start), 1);
}

/* A lock stays another task's, whatever has run in between, and who waits for it gets it. */

static void lock_is_held_after_fixture(struct kunit *test)
{
	const struct fixture *fixture = test->param_value;
	unsigned long start = map_for_range(test, &right_ops);

	kunit_mmu_notifier_hold(test, lock_fake_mutex, unlock_fake_mutex, NULL);
	fixture->call(test, start, LENGTH);
	/* The other task looks whether this one sleeps. */
	schedule_timeout_uninterruptible(3);
	KUNIT_EXPECT_FALSE(test, mutex_trylock(&fake_mutex));
	kunit_mmu_notifier_release(test);
}

static void wait_in_fixture_ends(struct kunit *test)
{
	const struct fixture *fixture = test->param_value;
	unsigned long start = map_for_range(test, &waits_ops);
	struct kunit_report_scope *scope;

	kunit_mmu_notifier_hold(test, lock_fake_semaphore, unlock_fake_semaphore, NULL);
	scope = kunit_report_scope_begin(test);
	fixture->call(test, start, LENGTH);
	kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_EQ(test, down_trylock(&fake_semaphore), 0);
	up(&fake_semaphore);
	kunit_mmu_notifier_release(test);
}

/* The mm lasts as long as the test that has memory in it. */

static int mm_users;

static void map_more(struct kunit *test, unsigned long start, unsigned long length)
{
	kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE);
	KUNIT_EXPECT_EQ(test, atomic_read(&current->mm->mm_users), mm_users + 1);
}

static void mmap_lets_go_of_mm(struct kunit *test)
{
	static const struct fixture fixture = { .call = map_more };
	unsigned long start = map(test);

	mm_users = atomic_read(&current->mm->mm_users);
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_SUCCESS);
	KUNIT_EXPECT_EQ(test, atomic_read(&current->mm->mm_users), mm_users);
}

static void unmap_nowhere(struct kunit *test, unsigned long start, unsigned long length)
{
	kunit_mmu_notifier_unmap(test, start + 1, length);
}

static void failed_unmap_fails_test(struct kunit *test)
{
	static const struct fixture fixture = { .call = unmap_nowhere };

	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, map(test)), KUNIT_FAILURE);
}

/* There is nothing to claim then. */
static void fixture_works_with_lockdep_off(struct kunit *test)
{
	const struct fixture *fixture = test->param_value;
	unsigned long start = map_for_range(test, &right_ops);
	enum kunit_status status;

	if (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_PREEMPTION))
		kunit_skip(test, "lockdep goes off for other tasks as well");

	schedule_timeout_uninterruptible(1);
	debug_locks = 0;
	status = call_as_other_test(test, fixture, start);
	debug_locks = 1;
	KUNIT_EXPECT_EQ(test, status, KUNIT_SUCCESS);
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
		/* Twice, as a reaper of two VMAs */
		KUNIT_EXPECT_EQ(current->kunit_test, 0,
				__mmu_notifier_invalidate_range_start(&again));
		KUNIT_EXPECT_EQ(current->kunit_test, 0,
				__mmu_notifier_invalidate_range_start(&again));
	}
	return 0;
}

/* What it is mended with */
static struct mmu_notifier_range mended;

static int ends_early(struct mmu_notifier *subscription,
		      const struct mmu_notifier_range *range)
{
	struct mmu_notifier_range early = *range;

	mended = *range;
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
	{ "begins_again_reap", { .invalidate_range_start = begins_again }, reap },
	{ "begins_again_blockable", { .invalidate_range_start = begins_again },
	  kunit_mmu_notifier_blockable_pass },
	{ "ends_early_nonblock", { .invalidate_range_start = ends_early }, nonblock_pass },
	{ "ends_early_reap", { .invalidate_range_start = ends_early }, reap },
	{ "ends_early_blockable", { .invalidate_range_start = ends_early },
	  kunit_mmu_notifier_blockable_pass },
};

static void odd_describe(const struct odd *odd, char *description)
{
	strscpy(description, odd->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(odd, odds, odd_describe);

/* The core counts only where interval notifiers are. */
static unsigned long map_for_both(struct kunit *test, const struct mmu_notifier_ops *ops)
{
	unsigned long start = map_for_interval(test);

	register_range(test, ops);
	return start;
}

/* A fixture that does not mend it fails its test here, which then comes to its end. */
static void expect_no_active_range(struct kunit *test)
{
	struct mmu_notifier_state state;
	struct mmu_notifier_range range;
	int i;

	mmu_notifier_read_state(current->mm, &state);
	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, current->mm,
				TASK_SIZE - PAGE_SIZE, TASK_SIZE);
	/* begins_again() does it twice. */
	for (i = 0; i < 2 && (long)state.active_ranges > i; i++)
		mmu_notifier_invalidate_range_end(&range);
	if ((long)state.active_ranges < 0)
		mmu_notifier_invalidate_range_start(&range);
	KUNIT_ASSERT_EQ(test, state.active_ranges, 0);
	KUNIT_ASSERT_EQ(test, state.seq & 1, 0);
}

static void odd_state_is_mended(struct kunit *test)
{
	const struct odd *odd = test->param_value;
	const struct fixture fixture = { .call = odd->call };
	unsigned long start = map_for_both(test, &odd->ops);

	odd_core = true;
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_FAILURE);
	expect_no_active_range(test);
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_SUCCESS);
}

/* One end too many is made up for at the end of the address space. */
static void mended_where_nothing_is(struct kunit *test)
{
	static const struct mmu_notifier_ops ops = { .invalidate_range_start = ends_early };
	static const struct fixture fixture = { .call = nonblock_pass };
	unsigned long start = map_for_both(test, &ops);

	odd_core = true;
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_FAILURE);
	expect_no_active_range(test);
	KUNIT_EXPECT_EQ(test, mended.event, KUNIT_MMU_NOTIFY);
	KUNIT_EXPECT_EQ(test, mended.start, TASK_SIZE - PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, mended.end, TASK_SIZE);
	KUNIT_EXPECT_EQ(test, mended.flags, MMU_NOTIFIER_RANGE_BLOCKABLE);
}

static void ends_and_begins(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	struct mmu_notifier_range again = *range;

	if (odd_core) {
		odd_core = false;
		lockdep_off();
		__mmu_notifier_invalidate_range_end(&again);
		KUNIT_EXPECT_EQ(current->kunit_test, 0,
				__mmu_notifier_invalidate_range_start(&again));
		lockdep_on();
	}
}

/* As many ranges as before, but whoever waits for the interval waits on. */
static void odd_sequence_fails(struct kunit *test)
{
	static const struct mmu_notifier_ops ops = { .invalidate_range_end = ends_and_begins };
	static const struct fixture fixture = { .call = kunit_mmu_notifier_blockable_pass };
	unsigned long start = map_for_both(test, &ops);

	odd_core = true;
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_FAILURE);
	/* The next one mends it. */
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_SUCCESS);
}

/* A pass in an interval may be within an invalidation of other memory. */
static void pass_within_another_is_right(struct kunit *test)
{
	static const struct fixture within[] = {
		{ .call = nonblock_pass },
		{ .call = kunit_mmu_notifier_blockable_pass },
		{ .call = reap },
	};
	unsigned long start = map_for_interval(test);
	struct mmu_notifier_range outer;
	struct mmu_notifier_state state;
	int i;

	mmu_notifier_range_init(&outer, KUNIT_MMU_NOTIFY, 0, current->mm,
				TASK_SIZE - PAGE_SIZE, TASK_SIZE);
	mmu_notifier_invalidate_range_start(&outer);
	for (i = 0; i < ARRAY_SIZE(within); i++) {
		KUNIT_EXPECT_EQ(test, call_as_other_test(test, &within[i], start), KUNIT_SUCCESS);
		mmu_notifier_read_state(current->mm, &state);
		KUNIT_EXPECT_EQ(test, state.active_ranges, 1);
	}
	mmu_notifier_invalidate_range_end(&outer);
}

/* State */

static void mm_without_notifiers_is_idle(struct kunit *test)
{
	struct mmu_notifier_state state = { .active_ranges = 1, .seq = 1 };

	map(test);
	mmu_notifier_read_state(current->mm, &state);
	KUNIT_EXPECT_EQ(test, state.active_ranges, 0);
	KUNIT_EXPECT_EQ(test, state.seq, 0);
}

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

static const char * const unpaired[KUNIT_MMU_NOTIFIER_NR_PASSES] = {
	[KUNIT_MMU_NOTIFIER_ENDED] = "after a nonblocking pass. ",
	[KUNIT_MMU_NOTIFIER_UNWOUND] =
		"after a nonblocking pass in which another notifier backed off. ",
};

#define UNDO	". Undo in invalidate_range_end() what each invalidate_range_start() did."

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
		KUNIT_ASSERT_EQ(test, !!message, !!unpaired[pass]);
		if (!message)
			continue;
		KUNIT_EXPECT_TRUE_MSG(test, has_parts(message, "under_way was 0, and is 1 after ",
						      unpaired[pass], UNDO), "%s", message);
	}
}

/* What an expectation finds fails the test that has it. */

static int backs_off_half_done(struct mmu_notifier *subscription,
			       const struct mmu_notifier_range *range)
{
	fake_calls++;
	return backs_off(subscription, range);
}

static const struct mmu_notifier_ops half_done_ops = {
	.invalidate_range_start = backs_off_half_done,
};

static void expect_clean(struct kunit *test, unsigned long start, unsigned long length)
{
	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, length);
}

static void expect_ignored(struct kunit *test, unsigned long start, unsigned long length)
{
	KUNIT_EXPECT_MMU_NOTIFIER_IGNORES(test, start, length);
}

static void expect_undone(struct kunit *test, unsigned long start, unsigned long length)
{
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, start, length, fake_calls);
}

static void expect_paired(struct kunit *test, unsigned long start, unsigned long length)
{
	KUNIT_EXPECT_MMU_NOTIFIER_PAIRED(test, start, length, fake_under_way);
}

static const struct unmet {
	struct fixture expectation;
	const struct mmu_notifier_ops *ops;
} unmet[] = {
	{ .expectation = { .name = "clean", .call = expect_clean }, .ops = &backs_off_ops },
	{ .expectation = { .name = "ignores", .call = expect_ignored }, .ops = &backs_off_ops },
	{ .expectation = { .name = "backs_off", .call = expect_undone }, .ops = &half_done_ops },
	{ .expectation = { .name = "paired", .call = expect_paired }, .ops = &unpaired_ops },
};

static void unmet_describe(const struct unmet *unmet, char *description)
{
	strscpy(description, unmet->expectation.name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(unmet, unmet, unmet_describe);

static void unmet_expectation_fails_test(struct kunit *test)
{
	const struct unmet *unmet = test->param_value;
	unsigned long start = map_for_range(test, unmet->ops);

	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &unmet->expectation, start),
			KUNIT_FAILURE);
}

/* Within the pass if that is unwound, and otherwise after it */
static unsigned long active_in_end;
static bool odd_in_end;

static void note_active(struct mmu_notifier *subscription,
			const struct mmu_notifier_range *range)
{
	struct mmu_notifier_state state;

	mmu_notifier_read_state(range->mm, &state);
	active_in_end = state.active_ranges;
	odd_in_end = state.seq & 1;
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
		KUNIT_EXPECT_EQ(test, odd_in_end, pass == KUNIT_MMU_NOTIFIER_UNWOUND);
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

/* Outside of an expectation it fails nothing: it is in the log. */
static void warning_is_left_to_log(struct kunit *test)
{
	static const struct fixture fixture = { .call = nonblock_pass };
	unsigned long start;

	skip_without_bug(test);

	start = map_for_range(test, &warns_ops);
	KUNIT_EXPECT_EQ(test, call_as_other_test(test, &fixture, start), KUNIT_SUCCESS);
}

static void warn_behind_callback(void *data, const struct mmu_notifier_range *range,
				 const void *callback, int ret, u64 since)
{
	WARN(1, "this is odd\n");
	/* Or gcc makes a tail call of it on arm, and the WARN() is in the caller. */
	barrier();
}

static void warn_no_more(void *unused)
{
	unregister_trace_mmu_notifier_nonblock(warn_behind_callback, NULL);
	tracepoint_synchronize_unregister();
}

static void warning_of_nobody_is_explained(struct kunit *test)
{
	unsigned long start;
	const char *message;

	skip_without_bug(test);

	start = map_for_range(test, &right_ops);
	KUNIT_ASSERT_EQ(test, 0, register_trace_mmu_notifier_nonblock(warn_behind_callback, NULL));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, warn_no_more, NULL));
	message = kunit_mmu_notifier_check_clean(test, start, LENGTH);
	kunit_release_action(test, warn_no_more, NULL);
	KUNIT_EXPECT_TRUE_MSG(test, has_parts(message, "there was a WARN() at ",
					      "warn_behind_callback", " The log says why."),
			      "%s", message);
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
	KUNIT_CASE_SLOW(wait_outside_pass_ends),
	KUNIT_CASE_PARAM(wrong_use_ends_test, wrong_use_gen_params),
	KUNIT_CASE_PARAM(fixture_claims_report, fixture_gen_params),
	KUNIT_CASE(blockable_pass_gives_no_advice),
	KUNIT_CASE_PARAM(lock_is_held_after_fixture, fixture_gen_params),
	KUNIT_CASE_PARAM(wait_in_fixture_ends, fixture_gen_params),
	KUNIT_CASE_PARAM(fixture_works_with_lockdep_off, fixture_gen_params),
	KUNIT_CASE(mmap_lets_go_of_mm),
	KUNIT_CASE(failed_unmap_fails_test),
	KUNIT_CASE_PARAM(fixture_leaves_report_to_expectation, fixture_gen_params),
	KUNIT_CASE(fixture_tells_of_kept_lock),
	KUNIT_CASE_PARAM(odd_state_is_mended, odd_gen_params),
	KUNIT_CASE(mended_where_nothing_is),
	KUNIT_CASE(odd_sequence_fails),
	KUNIT_CASE(pass_within_another_is_right),
	KUNIT_CASE(first_to_back_off_is_named),
	KUNIT_CASE(own_back_off_is_not_named),
	KUNIT_CASE(mm_without_notifiers_is_idle),
	KUNIT_CASE(half_done_is_explained),
	KUNIT_CASE(missing_end_is_explained),
	KUNIT_CASE_PARAM(unmet_expectation_fails_test, unmet_gen_params),
	KUNIT_CASE(unwound_pass_is_unwound),
	KUNIT_CASE(warning_in_any_pass_is_explained),
	KUNIT_CASE(warning_is_left_to_log),
	KUNIT_CASE(warning_of_nobody_is_explained),
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
