// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of MMU notifiers of one mm that several CPUs use at once.
 *
 * Threads that are bound to the CPUs invalidate the mm of the test, read what an
 * interval notifier guards, subscribe and unsubscribe. Where who comes first
 * matters, completions decide it. On a single CPU the threads take turns.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/debug_locks.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "mmu_notifier_fake_kunit.h"

/* Then a thread has got stuck, and the test fails. */
#define TIMEOUT		(120 * HZ)

/* Threads */

/**
 * struct helper - a thread that helps a test
 * @test: the test; fails if the thread makes a report
 * @mm: its mm, which the thread uses
 * @code: what the thread does
 * @data: for @code
 * @task: the thread
 * @done: it has done it
 */
struct helper {
	struct kunit *test;
	struct mm_struct *mm;
	void (*code)(void *data);
	void *data;
	struct task_struct *task;
	struct completion done;
};

static int helper_thread(void *data)
{
	struct helper *helper = data;

	kthread_use_mm(helper->mm);
	current->kunit_test = helper->test;
	helper->code(helper->data);
	current->kunit_test = NULL;
	kthread_unuse_mm(helper->mm);
	complete(&helper->done);
	return 0;
}

/* One that is stuck is left to itself: who waits for it would get stuck, too. */
static void helper_stop(void *data)
{
	struct helper *helper = data;

	if (!try_wait_for_completion(&helper->done))
		return;
	kthread_stop(helper->task);
	put_task_struct(helper->task);
	mmput(helper->mm);
	kfree(helper);
}

static const struct cpumask *cpu_of(unsigned int nr)
{
	return cpumask_of(cpumask_nth(nr % num_online_cpus(), cpu_online_mask));
}

/* Helpers with successive numbers are on different CPUs, if there are so many. */
static struct helper *helper_start(struct kunit *test, unsigned int nr,
				   void (*code)(void *data), void *data)
{
	struct helper *helper = kzalloc(sizeof(*helper), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, helper);
	helper->test = test;
	helper->mm = current->mm;
	helper->code = code;
	helper->data = data;
	init_completion(&helper->done);
	helper->task = kthread_create(helper_thread, helper, "mmu_notifier/%u", nr);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(helper->task), "%pe", helper->task);
	kthread_bind(helper->task, cpumask_first(cpu_of(nr)));
	get_task_struct(helper->task);
	/* The task of the test may go first, if an assertion fails. */
	mmget(helper->mm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, helper_stop, helper));
	wake_up_process(helper->task);
	return helper;
}

static void expect_completion(struct kunit *test, struct completion *completion)
{
	KUNIT_ASSERT_NE_MSG(test, wait_for_completion_timeout(completion, TIMEOUT), 0,
			    "a thread is stuck");
}

static void helper_wait(struct helper *helper)
{
	expect_completion(helper->test, &helper->done);
	complete(&helper->done);	/* for helper_stop() */
}

/* Returns true once it waits for something, and false if it does not. */
static bool helper_waits(struct helper *helper)
{
	while (!completion_done(&helper->done)) {
		if (READ_ONCE(helper->task->__state) & TASK_UNINTERRUPTIBLE)
			return true;
		schedule_timeout_uninterruptible(1);
	}
	return false;
}

/* Passes, with the lock that the OOM reaper and MADV_DONTNEED hold in theirs */

static int pass_begin(struct mmu_notifier_range *range, bool blockable,
		      unsigned long start, unsigned long length)
{
	mmu_notifier_range_init(range, KUNIT_MMU_NOTIFY, 0, current->mm, start,
				start + length);
	if (!blockable)
		return mmu_notifier_invalidate_range_start_nonblock(range);

	mmu_notifier_invalidate_range_start(range);
	return 0;
}

static void expect_idle(struct kunit *test)
{
	struct mmu_notifier_state state;

	mmu_notifier_read_state(current->mm, &state);
	KUNIT_EXPECT_EQ(test, state.active_ranges, 0);
	KUNIT_EXPECT_EQ(test, state.seq & 1, 0);
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

/* One thread has to wait for another's pass. */

/**
 * struct waiting - a thread that is in a pass, and one that waits for its end
 * @test: the test
 * @start: of the memory, a page
 * @blockable: the pass may block
 * @in_callback: the first stays in the callback of @range, else between start and end
 * @begun: it is there
 * @go: it may go on
 * @over: it goes on
 * @too_soon: the second did not wait for that
 * @interval: a notifier; removed by the second, maybe
 * @range: likewise
 * @late: subscribed in the pass, maybe
 */
struct waiting {
	struct kunit *test;
	unsigned long start;
	bool blockable;
	bool in_callback;
	struct completion begun;
	struct completion go;
	bool over;
	bool too_soon;
	struct fake interval;
	struct fake range;
	struct fake late;
};

static void stay_in_pass(void *data)
{
	struct waiting *waiting = data;

	complete(&waiting->begun);
	wait_for_completion(&waiting->go);
	WRITE_ONCE(waiting->over, true);
}

static void be_in_pass(void *data)
{
	struct waiting *waiting = data;
	struct mmu_notifier_range range;
	int ret;

	mmap_read_lock(current->mm);
	ret = pass_begin(&range, waiting->blockable, waiting->start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(waiting->test, ret, 0);
	if (!waiting->in_callback)
		stay_in_pass(waiting);
	if (!ret)
		mmu_notifier_invalidate_range_end(&range);
	mmap_read_unlock(current->mm);
}

static void read_meanwhile(void *data)
{
	struct waiting *waiting = data;
	struct mmu_interval_notifier *interval = &waiting->interval.interval;
	unsigned long seq = mmu_interval_read_begin(interval);

	waiting->too_soon = !READ_ONCE(waiting->over);
	KUNIT_EXPECT_FALSE(waiting->test, mmu_interval_read_retry(interval, seq));
}

static void remove_meanwhile(void *data)
{
	struct waiting *waiting = data;

	kunit_mmu_interval_notifier_remove(waiting->test, &waiting->interval.interval);
	waiting->too_soon = !READ_ONCE(waiting->over);
}

static void register_meanwhile(void *data)
{
	struct waiting *waiting = data;
	struct fake *late = &waiting->late;

	late->range.ops = &fake_range_with_end_ops;
	KUNIT_EXPECT_EQ(waiting->test, 0, mmu_notifier_register(&late->range, current->mm));
	waiting->too_soon = !READ_ONCE(waiting->over);
	/* It was there neither for the start nor for the end. */
	mmu_notifier_unregister(&late->range, current->mm);
	KUNIT_EXPECT_EQ(waiting->test, late->starts[waiting->blockable], 0);
	KUNIT_EXPECT_EQ(waiting->test, late->ends[waiting->blockable], 0);
}

static void unregister_meanwhile(void *data)
{
	struct waiting *waiting = data;

	mmu_notifier_unregister(&waiting->range.range, current->mm);
	waiting->too_soon = !READ_ONCE(waiting->over);
}

struct waiting_case {
	const char *name;
	void (*meanwhile)(void *data);
	bool blockable;
	bool in_callback;
};

static const struct waiting_case waiting_cases[] = {
	{ .name = "read/blockable", .meanwhile = read_meanwhile, .blockable = true },
	{ .name = "read/nonblocking", .meanwhile = read_meanwhile },
	{ .name = "remove/blockable", .meanwhile = remove_meanwhile, .blockable = true },
	{ .name = "remove/nonblocking", .meanwhile = remove_meanwhile },
	{ .name = "register/blockable", .meanwhile = register_meanwhile, .blockable = true },
	{ .name = "register/nonblocking", .meanwhile = register_meanwhile },
	{ .name = "unregister/in_callback", .meanwhile = unregister_meanwhile,
	  .blockable = true, .in_callback = true },
};

static void waiting_describe(const struct waiting_case *c, char *description)
{
	strscpy(description, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(waiting, waiting_cases, waiting_describe);

static struct waiting *waiting_create(struct kunit *test, const struct waiting_case *c)
{
	struct waiting *waiting = kunit_kzalloc(test, sizeof(*waiting), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, waiting);
	waiting->test = test;
	waiting->blockable = c->blockable;
	waiting->in_callback = c->in_callback;
	init_completion(&waiting->begun);
	init_completion(&waiting->go);
	waiting->start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE);
	fake_subscribe(test, &waiting->interval, INTERVAL, waiting->start, PAGE_SIZE);
	if (c->in_callback) {
		waiting->range.at_start = stay_in_pass;
		waiting->range.data = waiting;
		waiting->range.range.ops = &fake_range_ops;
		KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&waiting->range.range,
							       current->mm));
	}
	return waiting;
}

static void who_comes_in_a_pass_waits(struct kunit *test)
{
	const struct waiting_case *c = test->param_value;
	struct waiting *waiting = waiting_create(test, c);
	struct helper *first, *second;
	unsigned int calls;

	first = helper_start(test, 0, be_in_pass, waiting);
	expect_completion(test, &waiting->begun);
	second = helper_start(test, 1, c->meanwhile, waiting);
	KUNIT_EXPECT_TRUE_MSG(test, helper_waits(second), "it does not wait");
	complete(&waiting->go);
	helper_wait(second);
	helper_wait(first);
	KUNIT_EXPECT_FALSE(test, waiting->too_soon);
	expect_idle(test);

	waiting->range.at_start = NULL;
	calls = waiting->interval.starts[BLOCKABLE];
	kunit_mmu_notifier_blockable_pass(test, waiting->start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, waiting->interval.starts[BLOCKABLE],
			calls + (c->meanwhile != remove_meanwhile));
}

/* It does not wait, and has no part in the pass either. */
static void who_is_inserted_in_a_pass_comes_in_the_next(struct kunit *test)
{
	static const struct waiting_case in_pass = { .blockable = true };
	struct waiting *waiting = waiting_create(test, &in_pass);
	struct fake *late = &waiting->late;
	struct helper *first;
	int ret;

	first = helper_start(test, 0, be_in_pass, waiting);
	expect_completion(test, &waiting->begun);
	ret = mmu_interval_notifier_insert(&late->interval, current->mm, waiting->start,
					   PAGE_SIZE, &fake_interval_ops);
	complete(&waiting->go);
	helper_wait(first);
	KUNIT_ASSERT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, late->starts[BLOCKABLE], 0);
	expect_idle(test);

	kunit_mmu_notifier_blockable_pass(test, waiting->start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, late->starts[BLOCKABLE], 1);
	mmu_interval_notifier_remove(&late->interval);
}

/* What one task does in its pass is nothing to the passes of another. */

/**
 * struct two_passes - a pass of this task during a callback of another's
 * @test: the test
 * @start: of the memory; the other's first, then this task's, a page each
 * @other_blockable: the other pass may block
 * @begun: the other is in its callback
 * @go: it may go on; it asks time and again if it may not block
 * @other: its notifier
 * @mine: that of this task
 * @lock: held by the other's callback, if that may block
 * @queue: for who sleeps in an odd state
 */
struct two_passes {
	struct kunit *test;
	unsigned long start;
	bool other_blockable;
	struct completion begun;
	struct completion go;
	struct fake other;
	struct fake mine;
	struct mutex lock;	/* nothing but itself */
	struct wait_queue_head queue;
};

static void other_stays(void *data)
{
	struct two_passes *two = data;

	if (two->other_blockable) {
		mutex_lock(&two->lock);
		complete(&two->begun);
		wait_for_completion(&two->go);
		mutex_unlock(&two->lock);
	} else {
		complete(&two->begun);
		while (!completion_done(&two->go))
			cpu_relax();
	}
}

/* Right in a pass that may block, and in no other */
static void lock_mine(void *data)
{
	static DEFINE_MUTEX(lock);

	mutex_lock(&lock);
	mutex_unlock(&lock);
}

/* The same lock as in other_stays(), with the trylock that is its right form */
static void try_lock(void *data)
{
	struct two_passes *two = data;

	two->mine.error = mutex_trylock(&two->lock) ? 0 : -EAGAIN;
	if (!two->mine.error)
		mutex_unlock(&two->lock);
}

static int whole_pass(bool blockable, unsigned long start)
{
	struct mmu_notifier_range range;
	int ret;

	mmap_read_lock(current->mm);
	ret = pass_begin(&range, blockable, start, PAGE_SIZE);
	if (!ret)
		mmu_notifier_invalidate_range_end(&range);
	mmap_read_unlock(current->mm);
	return ret;
}

static int my_pass(struct two_passes *two, bool blockable)
{
	return whole_pass(blockable, two->start + PAGE_SIZE);
}

static void other_pass(void *data)
{
	struct two_passes *two = data;

	whole_pass(two->other_blockable, two->start);
}

static struct two_passes *two_passes_create(struct kunit *test, bool blockable,
					    void (*mine)(void *data))
{
	struct two_passes *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, two);
	two->test = test;
	mutex_init(&two->lock);
	init_waitqueue_head(&two->queue);
	init_completion(&two->begun);
	init_completion(&two->go);
	two->other_blockable = blockable;
	two->start = kunit_mmu_notifier_mmap(test, 2, MAP_PRIVATE);
	two->other.at_start = other_stays;
	two->other.data = two;
	fake_subscribe(test, &two->other, INTERVAL, two->start, PAGE_SIZE);
	two->mine.at_start = mine;
	two->mine.data = two;
	fake_subscribe(test, &two->mine, INTERVAL, two->start + PAGE_SIZE, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpu_of(0)));
	return two;
}

static void two_passes_go(void *data)
{
	struct two_passes *two = data;

	complete_all(&two->go);
}

/* Returns when the other is in its callback; this task then is on another CPU. */
static struct helper *two_passes_begin(struct two_passes *two)
{
	struct helper *other = helper_start(two->test, 1, other_pass, two);

	/* Or it would wait for ever if an assertion ends the test. */
	KUNIT_ASSERT_EQ(two->test, 0, kunit_add_action(two->test, two_passes_go, two));
	expect_completion(two->test, &two->begun);
	return other;
}

static void two_passes_end(struct two_passes *two, struct helper *other)
{
	two_passes_go(two);
	helper_wait(other);
	KUNIT_EXPECT_EQ(two->test, two->mine.starts[NONBLOCK] + two->mine.starts[BLOCKABLE], 1);
	expect_idle(two->test);
}

/* What another may not do now, this task may. */
static void others_nonblock_is_not_mine(struct kunit *test)
{
	struct two_passes *two;
	struct helper *other;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	two = two_passes_create(test, false, lock_mine);
	other = two_passes_begin(two);
	/* It keeps its CPU, and the end of an expectation waits for RCU. */
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, 0, my_pass(two, true));
			       complete_all(&two->go));
	two_passes_end(two, other);
}

/* And what another may do now, this task may not. */
static void others_blockable_is_not_mine(struct kunit *test)
{
	struct two_passes *two = two_passes_create(test, true, lock_mine);
	struct helper *other = two_passes_begin(two);

	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test,
					 KUNIT_REPORT_WAIT_CONTEXT | KUNIT_REPORT_MIGHT_SLEEP,
					 fake_invalidate,
					 KUNIT_EXPECT_EQ(test, 0, my_pass(two, false)));
	two_passes_end(two, other);
}

static void contention_is_backed_off_from(struct kunit *test)
{
	struct two_passes *two = two_passes_create(test, true, try_lock);
	struct helper *other = two_passes_begin(two);

	KUNIT_EXPECT_NO_REPORT(test, KUNIT_EXPECT_EQ(test, -EAGAIN, my_pass(two, false)));
	two_passes_end(two, other);
	KUNIT_EXPECT_EQ(test, 0, my_pass(two, false));
}

/* The fixtures tell passes of this task from those of others. */

static void lock_for_hold(void *data)
{
	struct two_passes *two = data;

	mutex_lock(&two->lock);
}

static void unlock_for_hold(void *data)
{
	struct two_passes *two = data;

	mutex_unlock(&two->lock);
}

static void begin_and_sleep(void *data)
{
	struct two_passes *two = data;

	complete(&two->begun);
	schedule_timeout_uninterruptible(2);
}

static void fixture_pass(void *data)
{
	struct two_passes *two = data;

	kunit_mmu_notifier_blockable_pass(two->test, two->start, PAGE_SIZE);
}

/* This task sleeps as well, but not in a pass. */
static void other_sleeper_does_not_get_lock(struct kunit *test)
{
	struct two_passes *two = two_passes_create(test, true, NULL);

	two->other.at_start = begin_and_sleep;
	kunit_mmu_notifier_hold(test, lock_for_hold, unlock_for_hold, two);
	helper_wait(helper_start(test, 1, fixture_pass, two));
	KUNIT_EXPECT_TRUE(test, mutex_is_locked(&two->lock));
	kunit_mmu_notifier_release(test);
}

/* Nobody waits for a lock in this state. That of PREEMPT_RT's spinlocks is another such one. */
static void sleep_in_odd_state(void *data)
{
	struct two_passes *two = data;
	DECLARE_WAITQUEUE(wait, current);

	add_wait_queue(&two->queue, &wait);
	set_current_state(TASK_PARKED);
	complete(&two->begun);
	schedule();
	remove_wait_queue(&two->queue, &wait);
	complete(&two->go);
}

static void wake_from_odd_state(void *data)
{
	struct two_passes *two = data;

	wait_for_completion(&two->begun);
	do {
		schedule_timeout_uninterruptible(3);
		__wake_up(&two->queue, TASK_PARKED, 1, NULL);
	} while (!completion_done(&two->go));
}

static void odd_sleeper_does_not_get_lock(struct kunit *test)
{
	struct two_passes *two = two_passes_create(test, true, sleep_in_odd_state);
	struct helper *other = helper_start(test, 1, wake_from_odd_state, two);

	kunit_mmu_notifier_hold(test, lock_for_hold, unlock_for_hold, two);
	kunit_mmu_notifier_blockable_pass(test, two->start + PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, mutex_is_locked(&two->lock));
	kunit_mmu_notifier_release(test);
	two_passes_end(two, other);
}

/* Long enough for the holder of the lock to look */
static void be_about_to_sleep(void *data)
{
	const unsigned long end = jiffies + HZ / 10;

	set_current_state(TASK_UNINTERRUPTIBLE);
	while (time_before(jiffies, end))
		cpu_relax();
	__set_current_state(TASK_RUNNING);
}

static void who_does_not_sleep_yet_does_not_get_lock(struct kunit *test)
{
	struct two_passes *two;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	two = two_passes_create(test, false, be_about_to_sleep);
	kunit_mmu_notifier_hold(test, lock_for_hold, unlock_for_hold, two);
	KUNIT_EXPECT_EQ(test, 0, kunit_mmu_notifier_nonblock_pass(test, two->start + PAGE_SIZE,
								  PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, mutex_is_locked(&two->lock));
	kunit_mmu_notifier_release(test);
}

static void let_other_begin(void *data)
{
	struct two_passes *two = data;

	complete(&two->go);
	wait_for_completion(&two->begun);
}

static void pass_when_told(void *data)
{
	struct two_passes *two = data;

	wait_for_completion(&two->go);
	other_pass(two);
}

/* On the same CPU: it would not wait long for another one. */
static void fixture_waits_for_others_pass(struct kunit *test)
{
	struct two_passes *two = two_passes_create(test, true, let_other_begin);
	struct helper *other = helper_start(test, 0, pass_when_told, two);

	two->other.at_start = begin_and_sleep;
	kunit_mmu_notifier_blockable_pass(test, two->start + PAGE_SIZE, PAGE_SIZE);
	two_passes_end(two, other);
}

/* May not sleep */
static void spin_during_others_passes(void *data)
{
	struct two_passes *two = data;

	complete(&two->go);
	while (!completion_done(&two->begun))
		cpu_relax();
}

/* The second is backed off from. */
static void passes_when_told(void *data)
{
	struct two_passes *two = data;

	wait_for_completion(&two->go);
	KUNIT_EXPECT_EQ(two->test, 0, whole_pass(true, two->start));
	KUNIT_EXPECT_EQ(two->test, -EAGAIN, whole_pass(false, two->start));
	complete(&two->begun);
}

static int mine_backs_off(struct mmu_notifier *subscription,
			  const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range) ? 0 : -EAGAIN;
}

static const struct mmu_notifier_ops mine_backs_off_ops = {
	.invalidate_range_start = mine_backs_off,
};

/* A notifier of the expectation's own backs off, and from the passes of this task only. */
static void others_passes_are_not_watched(struct kunit *test)
{
	struct mmu_notifier *mine = kunit_kzalloc(test, sizeof(*mine), GFP_KERNEL);
	struct fake *paired = kunit_kzalloc(test, sizeof(*paired), GFP_KERNEL);
	struct two_passes *two;
	struct helper *other;
	const char *message;

	KUNIT_ASSERT_NOT_NULL(test, mine);
	KUNIT_ASSERT_NOT_NULL(test, paired);
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	two = two_passes_create(test, false, spin_during_others_passes);
	two->other.at_start = NULL;
	two->other.error = -EAGAIN;
	fake_subscribe(test, paired, RANGE_WITH_END, two->start, PAGE_SIZE);
	other = helper_start(test, 1, passes_when_told, two);
	message = kunit_mmu_notifier_check_pass(test, two->start + PAGE_SIZE, PAGE_SIZE,
						KUNIT_MMU_NOTIFIER_UNWOUND);
	KUNIT_EXPECT_STREQ(test, message ?: "", "");
	two_passes_end(two, other);
	/* Who is backed off from is called at the end twice. */
	KUNIT_EXPECT_EQ(test, paired->starts[BLOCKABLE], 1);
	KUNIT_EXPECT_EQ(test, paired->ends[BLOCKABLE], 1);

	reinit_completion(&two->go);
	reinit_completion(&two->begun);
	memset(two->mine.starts, 0, sizeof(two->mine.starts));
	kunit_mmu_notifier_register(test, mine, &mine_backs_off_ops);
	other = helper_start(test, 1, passes_when_told, two);
	message = kunit_mmu_notifier_check_ignores(test, two->start + PAGE_SIZE, PAGE_SIZE);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_PTR_EQ_MSG(test, strstr(message, "mine_backs_off "), message, "%s", message);
	two_passes_end(two, other);
}

/*
 * All at once: invalidations that change a value, of which an interval notifier has
 * a copy, as a driver has of the page table.
 */

#define NR_ROUNDS	300
/* Two threads of each kind: they meet others of their own kind as well. */
#define NR_STEPS	4
#define NR_THREADS	(2 * NR_STEPS)

/* A nonblocking call of so many is backed off from, whatever else. */
#define BACK_OFF_EVERY	5

/**
 * struct load - all that the threads share
 * @start: of the memory, a page
 * @value: grows with each change
 * @lock: held to change @copy
 * @copy: of @value; 0: none
 * @mirror: the interval notifier with the copy
 * @no_end: a range notifier that backs off now and then
 * @has_end: a range notifier
 * @calls: nonblocking ones of @mirror and @no_end
 * @back_offs: how many of these were backed off from
 * @starts: of @has_end
 * @ends: likewise
 * @passes: that were not backed off from
 * @again: those that were
 * @stale: there was a copy when it could not be right
 * @errors: of subscriptions
 */
struct load {
	unsigned long start;
	atomic_t value;
	struct mutex lock;	/* @copy */
	int copy;
	struct mmu_interval_notifier mirror;
	struct mmu_notifier no_end;
	struct mmu_notifier has_end;
	atomic_t calls;
	atomic_t back_offs;
	atomic_t starts;
	atomic_t ends;
	atomic_t passes;
	atomic_t again;
	atomic_t stale;
	atomic_t errors;
};

/**
 * struct thread - one of the threads
 * @load: what it shares
 * @step: what it does in each round
 * @fake: the notifier that it subscribes, if it does so
 */
struct thread {
	struct load *load;
	void (*step)(struct thread *thread);
	struct fake fake;
};

static bool backs_off_now(struct load *load)
{
	return atomic_inc_return(&load->calls) % BACK_OFF_EVERY == 0;
}

static bool load_lock(struct load *load, bool blockable)
{
	if (blockable) {
		mutex_lock(&load->lock);
		return true;
	}
	if (!backs_off_now(load) && mutex_trylock(&load->lock))
		return true;
	atomic_inc(&load->back_offs);
	return false;
}

static bool load_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range, unsigned long seq)
{
	struct load *load = container_of(subscription, struct load, mirror);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;
	if (!load_lock(load, mmu_notifier_range_blockable(range)))
		return false;

	mmu_interval_set_seq(subscription, seq);
	load->copy = 0;
	mutex_unlock(&load->lock);
	return true;
}

static const struct mmu_interval_notifier_ops load_interval_ops = {
	.invalidate = load_invalidate,
};

static int no_end_range_start(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	struct load *load = container_of(subscription, struct load, no_end);

	if (range->event != KUNIT_MMU_NOTIFY || mmu_notifier_range_blockable(range) ||
	    !backs_off_now(load))
		return 0;
	atomic_inc(&load->back_offs);
	return -EAGAIN;
}

static const struct mmu_notifier_ops no_end_ops = {
	.invalidate_range_start = no_end_range_start,
};

static int has_end_range_start(struct mmu_notifier *subscription,
			       const struct mmu_notifier_range *range)
{
	if (range->event == KUNIT_MMU_NOTIFY)
		atomic_inc(&container_of(subscription, struct load, has_end)->starts);
	return 0;
}

static void has_end_range_end(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	if (range->event == KUNIT_MMU_NOTIFY)
		atomic_inc(&container_of(subscription, struct load, has_end)->ends);
}

static const struct mmu_notifier_ops has_end_ops = {
	.invalidate_range_start = has_end_range_start,
	.invalidate_range_end = has_end_range_end,
};

/* From start to end of a pass, there is no copy. */
static void expect_no_copy(struct load *load)
{
	mutex_lock(&load->lock);
	if (load->copy)
		atomic_inc(&load->stale);
	mutex_unlock(&load->lock);
}

static bool change_begin(struct load *load, struct mmu_notifier_range *range, bool blockable)
{
	if (pass_begin(range, blockable, load->start, PAGE_SIZE)) {
		atomic_inc(&load->again);
		return false;
	}
	atomic_inc(&load->passes);
	expect_no_copy(load);
	atomic_inc(&load->value);
	return true;
}

static void change_end(struct load *load, struct mmu_notifier_range *range)
{
	expect_no_copy(load);
	mmu_notifier_invalidate_range_end(range);
}

static void change_blockable(struct thread *thread)
{
	struct mmu_notifier_range range;

	mmap_read_lock(current->mm);
	change_begin(thread->load, &range, true);
	change_end(thread->load, &range);
	mmap_read_unlock(current->mm);
}

static void change_nonblock(struct thread *thread)
{
	struct mmu_notifier_range range;

	mmap_read_lock(current->mm);
	if (change_begin(thread->load, &range, false))
		change_end(thread->load, &range);
	mmap_read_unlock(current->mm);
}

static void copy_value(struct thread *thread)
{
	struct load *load = thread->load;
	unsigned long seq;
	int value;

	for (;;) {
		seq = mmu_interval_read_begin(&load->mirror);
		value = atomic_read(&load->value);
		mutex_lock(&load->lock);
		if (!mmu_interval_read_retry(&load->mirror, seq))
			break;
		mutex_unlock(&load->lock);
	}
	load->copy = value;
	mutex_unlock(&load->lock);
}

static void subscribe(struct thread *thread)
{
	if (mmu_interval_notifier_insert(&thread->fake.interval, current->mm, thread->load->start,
					 PAGE_SIZE, &fake_interval_ops)) {
		atomic_inc(&thread->load->errors);
		return;
	}
	cond_resched();
	mmu_interval_notifier_remove(&thread->fake.interval);
	/* A call from now on would find no callback. */
	memset(&thread->fake, 0, sizeof(thread->fake));
}

static void run_thread(void *data)
{
	struct thread *thread = data;
	unsigned int round;

	for (round = 0; round < NR_ROUNDS; round++) {
		thread->step(thread);
		/* On a single CPU, others are to come in between. */
		cond_resched();
	}
}

static struct load *load_create(struct kunit *test)
{
	struct load *load = kunit_kzalloc(test, sizeof(*load), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, load);
	load->start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE);
	atomic_set(&load->value, 1);
	mutex_init(&load->lock);
	kunit_mmu_interval_notifier_insert(test, &load->mirror, load->start, PAGE_SIZE,
					   &load_interval_ops);
	kunit_mmu_notifier_register(test, &load->no_end, &no_end_ops);
	kunit_mmu_notifier_register(test, &load->has_end, &has_end_ops);
	return load;
}

static void load_run(struct kunit *test, struct load *load)
{
	static void (* const steps[NR_STEPS])(struct thread *thread) = {
		change_blockable, change_nonblock, copy_value, subscribe,
	};
	struct thread *threads = kunit_kcalloc(test, NR_THREADS, sizeof(*threads), GFP_KERNEL);
	struct helper *helpers[NR_THREADS];
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, threads);
	for (i = 0; i < NR_THREADS; i++) {
		threads[i].load = load;
		/* With two CPUs, each has one of each kind. */
		threads[i].step = steps[i / 2];
		helpers[i] = helper_start(test, i, run_thread, &threads[i]);
	}
	for (i = 0; i < NR_THREADS; i++)
		helper_wait(helpers[i]);
}

static void all_at_once(struct kunit *test)
{
	struct load *load = load_create(test);
	int passes, again;

	load_run(test, load);
	passes = atomic_read(&load->passes);
	again = atomic_read(&load->again);
	kunit_info(test, "%d passes, %d backed off from\n", passes, again);
	KUNIT_EXPECT_EQ(test, atomic_read(&load->stale), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&load->errors), 0);
	if (load->copy)
		KUNIT_EXPECT_EQ(test, load->copy, atomic_read(&load->value));

	/* Each pass that was backed off from, was by just one, and no other pass was. */
	KUNIT_EXPECT_EQ(test, passes + again, (2 + 2) * NR_ROUNDS);
	KUNIT_EXPECT_GT(test, again, 0);
	KUNIT_EXPECT_EQ(test, again, atomic_read(&load->back_offs));
	KUNIT_EXPECT_GE(test, atomic_read(&load->starts), passes);
	KUNIT_EXPECT_EQ(test, atomic_read(&load->starts), atomic_read(&load->ends));
	expect_idle(test);
}

static struct kunit_case mmu_notifier_smp_cases[] = {
	KUNIT_CASE_PARAM(who_comes_in_a_pass_waits, waiting_gen_params),
	KUNIT_CASE(who_is_inserted_in_a_pass_comes_in_the_next),
	KUNIT_CASE(others_nonblock_is_not_mine),
	KUNIT_CASE(others_blockable_is_not_mine),
	KUNIT_CASE(contention_is_backed_off_from),
	KUNIT_CASE(other_sleeper_does_not_get_lock),
	KUNIT_CASE(odd_sleeper_does_not_get_lock),
	KUNIT_CASE(who_does_not_sleep_yet_does_not_get_lock),
	KUNIT_CASE(fixture_waits_for_others_pass),
	KUNIT_CASE(others_passes_are_not_watched),
	KUNIT_CASE_SLOW(all_at_once),
	{}
};

static struct kunit_suite mmu_notifier_smp_suite = {
	.name = "mmu_notifier_smp",
	.suite_init = mn_core_check,
	.test_cases = mmu_notifier_smp_cases,
};

kunit_test_suite(mmu_notifier_smp_suite);
