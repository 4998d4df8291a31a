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
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>
#include <linux/wait.h>

#include "mmu_notifier_kunit.h"

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

static void helper_stop(void *data)
{
	struct helper *helper = data;

	kthread_stop(helper->task);
	put_task_struct(helper->task);
	mmput(helper->mm);
}

static const struct cpumask *cpu_of(unsigned int nr)
{
	return cpumask_of(cpumask_nth(nr % num_online_cpus(), cpu_online_mask));
}

/* Helpers with successive numbers are on different CPUs, if there are so many. */
static struct helper *helper_start(struct kunit *test, unsigned int nr,
				   void (*code)(void *data), void *data)
{
	struct helper *helper = kunit_kzalloc(test, sizeof(*helper), GFP_KERNEL);

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
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, helper_stop, helper));
	wake_up_process(helper->task);
	return helper;
}

static void helper_wait(struct helper *helper)
{
	wait_for_completion(&helper->done);
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

static void pass_end(struct mmu_notifier_range *range)
{
	mmu_notifier_invalidate_range_end(range);
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
 * struct encounter - a thread that is in a pass, and one that comes along
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
 * @newcomer: registered by the second, maybe
 * @calls: of the newcomer's start and end
 */
struct encounter {
	struct kunit *test;
	unsigned long start;
	bool blockable;
	bool in_callback;
	struct completion begun;
	struct completion go;
	bool over;
	bool too_soon;
	struct mmu_interval_notifier interval;
	struct mmu_notifier range;
	struct mmu_notifier newcomer;
	atomic_t calls[2];
};

static void encounter_stay(struct encounter *encounter)
{
	complete(&encounter->begun);
	wait_for_completion(&encounter->go);
	WRITE_ONCE(encounter->over, true);
}

static int encounter_range_start(struct mmu_notifier *subscription,
				 const struct mmu_notifier_range *range)
{
	struct encounter *encounter = container_of(subscription, struct encounter, range);

	if (range->event == KUNIT_MMU_NOTIFY && encounter->in_callback)
		encounter_stay(encounter);
	return 0;
}

static const struct mmu_notifier_ops encounter_range_ops = {
	.invalidate_range_start = encounter_range_start,
};

static bool encounter_invalidate(struct mmu_interval_notifier *subscription,
				 const struct mmu_notifier_range *range,
				 unsigned long seq)
{
	mmu_interval_set_seq(subscription, seq);
	return true;
}

static const struct mmu_interval_notifier_ops encounter_interval_ops = {
	.invalidate = encounter_invalidate,
};

static int newcomer_range_start(struct mmu_notifier *subscription,
				const struct mmu_notifier_range *range)
{
	struct encounter *encounter = container_of(subscription, struct encounter, newcomer);

	if (range->event == KUNIT_MMU_NOTIFY)
		atomic_inc(&encounter->calls[0]);
	return 0;
}

static void newcomer_range_end(struct mmu_notifier *subscription,
			       const struct mmu_notifier_range *range)
{
	struct encounter *encounter = container_of(subscription, struct encounter, newcomer);

	if (range->event == KUNIT_MMU_NOTIFY)
		atomic_inc(&encounter->calls[1]);
}

static const struct mmu_notifier_ops newcomer_ops = {
	.invalidate_range_start = newcomer_range_start,
	.invalidate_range_end = newcomer_range_end,
};

static void be_in_pass(void *data)
{
	struct encounter *encounter = data;
	struct mmu_notifier_range range;
	int ret;

	mmap_read_lock(current->mm);
	ret = pass_begin(&range, encounter->blockable, encounter->start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(encounter->test, ret, 0);
	if (!encounter->in_callback)
		encounter_stay(encounter);
	if (!ret)
		pass_end(&range);
	mmap_read_unlock(current->mm);
}

static void come_to_read(void *data)
{
	struct encounter *encounter = data;
	unsigned long seq = mmu_interval_read_begin(&encounter->interval);

	encounter->too_soon = !READ_ONCE(encounter->over);
	KUNIT_EXPECT_FALSE(encounter->test,
			   mmu_interval_read_retry(&encounter->interval, seq));
}

static void come_to_remove(void *data)
{
	struct encounter *encounter = data;

	kunit_mmu_interval_notifier_remove(encounter->test, &encounter->interval);
	encounter->too_soon = !READ_ONCE(encounter->over);
}

static void come_to_register(void *data)
{
	struct encounter *encounter = data;

	encounter->newcomer.ops = &newcomer_ops;
	KUNIT_EXPECT_EQ(encounter->test, 0,
			mmu_notifier_register(&encounter->newcomer, current->mm));
	encounter->too_soon = !READ_ONCE(encounter->over);
	/* It was there neither for the start nor for the end. */
	mmu_notifier_unregister(&encounter->newcomer, current->mm);
	KUNIT_EXPECT_EQ(encounter->test, atomic_read(&encounter->calls[0]), 0);
	KUNIT_EXPECT_EQ(encounter->test, atomic_read(&encounter->calls[1]), 0);
}

static void come_to_unregister(void *data)
{
	struct encounter *encounter = data;

	mmu_notifier_unregister(&encounter->range, current->mm);
	encounter->too_soon = !READ_ONCE(encounter->over);
}

struct newcomer {
	const char *name;
	void (*come)(void *data);
	bool blockable;
	bool in_callback;
};

static const struct newcomer newcomers[] = {
	{ "read/blockable", come_to_read, true, false },
	{ "read/nonblocking", come_to_read, false, false },
	{ "remove/blockable", come_to_remove, true, false },
	{ "remove/nonblocking", come_to_remove, false, false },
	{ "register/blockable", come_to_register, true, false },
	{ "register/nonblocking", come_to_register, false, false },
	{ "unregister/in_callback", come_to_unregister, true, true },
};

static void newcomer_describe(const struct newcomer *newcomer, char *description)
{
	strscpy(description, newcomer->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(newcomer, newcomers, newcomer_describe);

static struct encounter *encounter_create(struct kunit *test)
{
	struct encounter *encounter = kunit_kzalloc(test, sizeof(*encounter), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, encounter);
	encounter->test = test;
	init_completion(&encounter->begun);
	init_completion(&encounter->go);
	encounter->start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE);
	kunit_mmu_interval_notifier_insert(test, &encounter->interval, encounter->start,
					   PAGE_SIZE, &encounter_interval_ops);
	return encounter;
}

static void newcomer_waits_for_pass(struct kunit *test)
{
	const struct newcomer *newcomer = test->param_value;
	struct encounter *encounter = encounter_create(test);
	struct helper *first, *second;

	encounter->blockable = newcomer->blockable;
	encounter->in_callback = newcomer->in_callback;
	if (newcomer->come == come_to_unregister) {
		encounter->range.ops = &encounter_range_ops;
		KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&encounter->range, current->mm));
	}

	first = helper_start(test, 0, be_in_pass, encounter);
	wait_for_completion(&encounter->begun);
	second = helper_start(test, 1, newcomer->come, encounter);
	KUNIT_EXPECT_TRUE_MSG(test, helper_waits(second), "it does not wait");
	complete(&encounter->go);
	helper_wait(second);
	helper_wait(first);
	KUNIT_EXPECT_FALSE(test, encounter->too_soon);
	expect_idle(test);
}

/* What one task does in its section is nothing to the passes of another. */

/**
 * struct others_section - a pass of this task during a callback of another's
 * @test: the test
 * @start: of the memory; the other's first, then this task's, a page each
 * @other_blockable: the other pass may block
 * @begun: the other is in its callback
 * @go: it may go on; it asks time and again if it may not block
 * @other: its notifier
 * @mine: that of this task
 * @lock: held by the other's callback, if that may block
 * @calls: of @mine
 */
struct others_section {
	struct kunit *test;
	unsigned long start;
	bool other_blockable;
	struct completion begun;
	struct completion go;
	struct mmu_interval_notifier other;
	struct mmu_interval_notifier mine;
	struct mutex lock;	/* nothing but itself */
	unsigned int calls;
};

static bool other_invalidate(struct mmu_interval_notifier *subscription,
			     const struct mmu_notifier_range *range, unsigned long seq)
{
	struct others_section *section = container_of(subscription, struct others_section, other);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	mmu_interval_set_seq(subscription, seq);
	if (mmu_notifier_range_blockable(range)) {
		mutex_lock(&section->lock);
		complete(&section->begun);
		wait_for_completion(&section->go);
		mutex_unlock(&section->lock);
	} else {
		complete(&section->begun);
		while (!completion_done(&section->go))
			cpu_relax();
	}
	return true;
}

static const struct mmu_interval_notifier_ops other_ops = {
	.invalidate = other_invalidate,
};

/* May be called in a pass that may block, and in no other. */
static bool my_invalidate(struct mmu_interval_notifier *subscription,
			  const struct mmu_notifier_range *range, unsigned long seq)
{
	struct others_section *section = container_of(subscription, struct others_section, mine);
	static DEFINE_MUTEX(my_lock);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	mutex_lock(&my_lock);
	mmu_interval_set_seq(subscription, seq);
	section->calls++;
	mutex_unlock(&my_lock);
	return true;
}

static const struct mmu_interval_notifier_ops my_ops = {
	.invalidate = my_invalidate,
};

/* The same lock as in other_invalidate(), with the trylock that is its right form */
static bool trylock_invalidate(struct mmu_interval_notifier *subscription,
			       const struct mmu_notifier_range *range, unsigned long seq)
{
	struct others_section *section = container_of(subscription, struct others_section, mine);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	section->calls++;
	if (!mutex_trylock(&section->lock))
		return false;
	mmu_interval_set_seq(subscription, seq);
	mutex_unlock(&section->lock);
	return true;
}

static const struct mmu_interval_notifier_ops trylock_ops = {
	.invalidate = trylock_invalidate,
};

static void be_in_section(void *data)
{
	struct others_section *section = data;
	struct mmu_notifier_range range;

	mmap_read_lock(current->mm);
	if (!pass_begin(&range, section->other_blockable, section->start, PAGE_SIZE))
		pass_end(&range);
	mmap_read_unlock(current->mm);
}

/* Returns when the other is in its callback; this task then is on another CPU. */
static struct helper *others_section_begin(struct others_section *section, bool blockable,
					   const struct mmu_interval_notifier_ops *ops)
{
	struct kunit *test = section->test;
	struct helper *other;

	mutex_init(&section->lock);
	init_completion(&section->begun);
	init_completion(&section->go);
	section->other_blockable = blockable;
	section->start = kunit_mmu_notifier_mmap(test, 2, MAP_PRIVATE);
	kunit_mmu_interval_notifier_insert(test, &section->other, section->start,
					   PAGE_SIZE, &other_ops);
	kunit_mmu_interval_notifier_insert(test, &section->mine, section->start + PAGE_SIZE,
					   PAGE_SIZE, ops);
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpu_of(0)));
	other = helper_start(test, 1, be_in_section, section);
	wait_for_completion(&section->begun);
	return other;
}

static int my_pass(struct others_section *section, bool blockable)
{
	struct mmu_notifier_range range;
	int ret;

	mmap_read_lock(current->mm);
	ret = pass_begin(&range, blockable, section->start + PAGE_SIZE, PAGE_SIZE);
	if (!ret)
		pass_end(&range);
	mmap_read_unlock(current->mm);
	return ret;
}

static struct others_section *others_section_create(struct kunit *test)
{
	struct others_section *section = kunit_kzalloc(test, sizeof(*section), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, section);
	section->test = test;
	return section;
}

static void others_section_end(struct others_section *section, struct helper *other)
{
	complete_all(&section->go);
	helper_wait(other);
	KUNIT_EXPECT_EQ(section->test, section->calls, 1);
	expect_idle(section->test);
}

/* What another may not do now, this task may. */
static void others_nonblock_is_not_mine(struct kunit *test)
{
	struct others_section *section = others_section_create(test);
	struct helper *other;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	other = others_section_begin(section, false, &my_ops);
	/* It keeps its CPU, and the end of an expectation waits for RCU. */
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, 0, my_pass(section, true));
			       complete_all(&section->go));
	others_section_end(section, other);
}

/* And what another may do now, this task may not. */
static void others_blockable_is_not_mine(struct kunit *test)
{
	struct others_section *section = others_section_create(test);
	struct helper *other = others_section_begin(section, true, &my_ops);

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WAIT_CONTEXT | KUNIT_REPORT_MIGHT_SLEEP,
			    "mmu_notifier_nonblock", my_invalidate,
			    KUNIT_EXPECT_EQ(test, 0, my_pass(section, false)));
	others_section_end(section, other);
}

static void contention_is_backed_off_from(struct kunit *test)
{
	struct others_section *section = others_section_create(test);
	struct helper *other = others_section_begin(section, true, &trylock_ops);

	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, -EAGAIN, my_pass(section, false)));
	others_section_end(section, other);
	KUNIT_EXPECT_EQ(test, 0, my_pass(section, false));
}

/*
 * All at once: invalidations that change a page table of this test's own, which
 * interval notifiers mirror, as a driver does with that of the CPU.
 */

#define NR_PAGES	8
#define NR_MIRRORS	2
#define NR_ROUNDS	300
/* Two of each role: they meet others of their own kind as well. */
#define NR_ROLES	4
#define NR_HELPERS	(2 * NR_ROLES)

/* A nonblocking call of so many is backed off from, whatever else. */
#define BACK_OFF_EVERY	5

/**
 * struct mirror - an interval notifier with a copy of the table
 * @crowd: whose table
 * @interval: the notifier, over all of it
 * @lock: held to change @pte
 * @pte: the copy; 0: no copy
 * @nonblock_calls: of its callback
 * @back_offs: how many of these it backed off from
 */
struct mirror {
	struct crowd *crowd;
	struct mmu_interval_notifier interval;
	struct mutex lock;	/* @pte */
	int pte[NR_PAGES];
	atomic_t nonblock_calls;
	atomic_t back_offs;
};

/**
 * struct counter - a notifier that counts
 * @range: the notifier, if it is of a range
 * @interval: else
 * @finish: what invalidate_start() hands to invalidate_finish()
 * @starts: how often it was called, and did not back off
 * @ends: of starts that have an end, how many ended
 * @nonblock_calls: if it backs off
 * @back_offs: likewise
 * @gone: is not subscribed, and must not be called
 */
struct counter {
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	struct mmu_interval_notifier_finish finish;
#endif
	atomic_t starts;
	atomic_t ends;
	atomic_t nonblock_calls;
	atomic_t back_offs;
	bool gone;
};

/**
 * struct crowd - all that the threads share
 * @start: of the memory
 * @arrived: how many threads are at the end of their round, of all rounds
 * @meeting: where they wait for each other
 * @pte: the table; grows with each change
 * @mirror: two copies
 * @backs_off: a range notifier that backs off now and then
 * @has_end: one with invalidate_range_end()
 * @two_pass: an interval notifier with invalidate_finish(), where there is such a thing
 * @passes: that were not backed off from
 * @again: those that were
 * @stale: a copy was there when it could not be right
 * @called_when_gone: a notifier was called after its removal
 * @errors: of registrations
 */
struct crowd {
	unsigned long start;
	atomic_t arrived;
	wait_queue_head_t meeting;
	atomic_t pte[NR_PAGES];
	struct mirror mirror[NR_MIRRORS];
	struct counter backs_off;
	struct counter has_end;
	struct counter two_pass;
	atomic_t passes;
	atomic_t again;
	atomic_t stale;
	atomic_t called_when_gone;
	atomic_t errors;
};

/**
 * struct member - a thread of the crowd
 * @crowd: the crowd
 * @nr: its number
 * @step: what it does in each round
 * @counter: the notifier that it subscribes, if it does so
 */
struct member {
	struct crowd *crowd;
	unsigned int nr;
	void (*step)(struct member *member, unsigned int round);
	struct counter counter;
};

static bool backs_off_now(atomic_t *nonblock_calls)
{
	return atomic_inc_return(nonblock_calls) % BACK_OFF_EVERY == 0;
}

static bool mirror_lock(struct mirror *mirror, bool blockable)
{
	if (blockable) {
		mutex_lock(&mirror->lock);
		return true;
	}
	if (!backs_off_now(&mirror->nonblock_calls) && mutex_trylock(&mirror->lock))
		return true;
	atomic_inc(&mirror->back_offs);
	return false;
}

static bool mirror_invalidate(struct mmu_interval_notifier *subscription,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = container_of(subscription, struct mirror, interval);
	unsigned long i;

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;
	if (!mirror_lock(mirror, mmu_notifier_range_blockable(range)))
		return false;

	mmu_interval_set_seq(subscription, seq);
	for (i = range->start; i < range->end; i += PAGE_SIZE)
		mirror->pte[(i - mirror->crowd->start) / PAGE_SIZE] = 0;
	mutex_unlock(&mirror->lock);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = {
	.invalidate = mirror_invalidate,
};

static int backs_off_range_start(struct mmu_notifier *subscription,
				 const struct mmu_notifier_range *range)
{
	struct counter *counter = container_of(subscription, struct counter, range);

	if (range->event != KUNIT_MMU_NOTIFY)
		return 0;
	if (!mmu_notifier_range_blockable(range) && backs_off_now(&counter->nonblock_calls)) {
		atomic_inc(&counter->back_offs);
		return -EAGAIN;
	}
	atomic_inc(&counter->starts);
	return 0;
}

static const struct mmu_notifier_ops backs_off_ops = {
	.invalidate_range_start = backs_off_range_start,
};

static int count_range_start(struct mmu_notifier *subscription,
			     const struct mmu_notifier_range *range)
{
	struct counter *counter = container_of(subscription, struct counter, range);

	if (range->event == KUNIT_MMU_NOTIFY)
		atomic_inc(&counter->starts);
	return 0;
}

static void count_range_end(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	struct counter *counter = container_of(subscription, struct counter, range);

	if (range->event == KUNIT_MMU_NOTIFY)
		atomic_inc(&counter->ends);
}

static const struct mmu_notifier_ops has_end_ops = {
	.invalidate_range_start = count_range_start,
	.invalidate_range_end = count_range_end,
};

static bool count_invalidate(struct mmu_interval_notifier *subscription,
			     const struct mmu_notifier_range *range, unsigned long seq)
{
	struct counter *counter = container_of(subscription, struct counter, interval);

	mmu_interval_set_seq(subscription, seq);
	if (range->event == KUNIT_MMU_NOTIFY)
		atomic_inc(&counter->starts);
	return true;
}

static const struct mmu_interval_notifier_ops count_ops = {
	.invalidate = count_invalidate,
};

#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
/* There is one finish: a pass that comes meanwhile does without, and is not counted. */
static bool two_pass_start(struct mmu_interval_notifier *subscription,
			   const struct mmu_notifier_range *range, unsigned long seq,
			   struct mmu_interval_notifier_finish **finish)
{
	struct counter *counter = container_of(subscription, struct counter, interval);

	mmu_interval_set_seq(subscription, seq);
	if (range->event != KUNIT_MMU_NOTIFY ||
	    cmpxchg(&counter->finish.notifier, NULL, subscription))
		return true;

	atomic_inc(&counter->starts);
	*finish = &counter->finish;
	return true;
}

static void two_pass_finish(struct mmu_interval_notifier_finish *finish)
{
	atomic_inc(&container_of(finish, struct counter, finish)->ends);
	/* Pairs with cmpxchg(): the next pass may have it. */
	smp_store_release(&finish->notifier, NULL);
}

static const struct mmu_interval_notifier_ops two_pass_ops = {
	.invalidate_start = two_pass_start,
	.invalidate_finish = two_pass_finish,
};

static void two_pass_insert(struct kunit *test, struct crowd *crowd)
{
	kunit_mmu_interval_notifier_insert(test, &crowd->two_pass.interval, crowd->start,
					   NR_PAGES * PAGE_SIZE, &two_pass_ops);
}
#else
static void two_pass_insert(struct kunit *test, struct crowd *crowd)
{
}
#endif

/* From start to end of a pass, nobody has a copy of what it is about. */
static void expect_no_copy(struct crowd *crowd, unsigned int first, unsigned int nr)
{
	unsigned int i, page;

	for (i = 0; i < NR_MIRRORS; i++) {
		mutex_lock(&crowd->mirror[i].lock);
		for (page = first; page < first + nr; page++) {
			if (crowd->mirror[i].pte[page])
				atomic_inc(&crowd->stale);
		}
		mutex_unlock(&crowd->mirror[i].lock);
	}
}

static bool change_begin(struct crowd *crowd, struct mmu_notifier_range *range,
			 bool blockable, unsigned int first, unsigned int nr)
{
	unsigned int page;

	if (pass_begin(range, blockable, crowd->start + first * PAGE_SIZE, nr * PAGE_SIZE)) {
		atomic_inc(&crowd->again);
		return false;
	}
	atomic_inc(&crowd->passes);
	expect_no_copy(crowd, first, nr);
	for (page = first; page < first + nr; page++)
		atomic_inc(&crowd->pte[page]);
	return true;
}

static void change_end(struct crowd *crowd, struct mmu_notifier_range *range,
		       unsigned int first, unsigned int nr)
{
	expect_no_copy(crowd, first, nr);
	pass_end(range);
}

/* Two passes at a time, one within the other or with a part in common */
static void change_blockable(struct member *member, unsigned int round)
{
	struct crowd *crowd = member->crowd;
	unsigned int page = round % (NR_PAGES - 4);
	struct mmu_notifier_range outer, inner;

	mmap_read_lock(current->mm);
	change_begin(crowd, &outer, true, page, 4);
	change_begin(crowd, &inner, true, page + 2, round & 1 ? 1 : 3);
	if (round & 2) {
		change_end(crowd, &outer, page, 4);
		change_end(crowd, &inner, page + 2, round & 1 ? 1 : 3);
	} else {
		change_end(crowd, &inner, page + 2, round & 1 ? 1 : 3);
		change_end(crowd, &outer, page, 4);
	}
	mmap_read_unlock(current->mm);
}

static void change_nonblock(struct member *member, unsigned int round)
{
	unsigned int first = round % NR_PAGES, nr = NR_PAGES - first;
	struct mmu_notifier_range range;

	mmap_read_lock(current->mm);
	if (change_begin(member->crowd, &range, false, first, nr))
		change_end(member->crowd, &range, first, nr);
	mmap_read_unlock(current->mm);
}

static void copy_page_table(struct member *member, unsigned int round)
{
	struct mirror *mirror = &member->crowd->mirror[member->nr % NR_MIRRORS];
	unsigned int page = round % NR_PAGES;
	unsigned long seq;
	int pte;

	for (;;) {
		seq = mmu_interval_read_begin(&mirror->interval);
		pte = atomic_read(&member->crowd->pte[page]);
		mutex_lock(&mirror->lock);
		if (!mmu_interval_read_retry(&mirror->interval, seq))
			break;
		mutex_unlock(&mirror->lock);
	}
	mirror->pte[page] = pte;
	mutex_unlock(&mirror->lock);
}

static void expect_not_called(struct member *member, int starts)
{
	if (atomic_read(&member->counter.starts) != starts)
		atomic_inc(&member->crowd->called_when_gone);
}

/* It takes a while to unregister, hence not each time. */
static void subscribe(struct member *member, unsigned int round)
{
	struct counter *counter = &member->counter;
	struct mm_struct *mm = current->mm;
	bool interval = round % 8;
	int ret, starts;

	counter->range.ops = &has_end_ops;
	ret = interval ?
	      mmu_interval_notifier_insert(&counter->interval, mm, member->crowd->start,
					   NR_PAGES * PAGE_SIZE, &count_ops) :
	      mmu_notifier_register(&counter->range, mm);
	if (ret) {
		atomic_inc(&member->crowd->errors);
		return;
	}

	cond_resched();
	if (interval)
		mmu_interval_notifier_remove(&counter->interval);
	else
		mmu_notifier_unregister(&counter->range, mm);
	starts = atomic_read(&counter->starts);
	cond_resched();
	expect_not_called(member, starts);
}

/* All begin a round at the same time, so that they are in each other's way. */
static void meet(struct crowd *crowd, unsigned int round)
{
	int all = NR_HELPERS * (round + 1);

	if (atomic_inc_return(&crowd->arrived) == all)
		wake_up_all(&crowd->meeting);
	else
		wait_event(crowd->meeting, atomic_read(&crowd->arrived) >= all);
}

static void take_part(void *data)
{
	struct member *member = data;
	unsigned int round;

	for (round = 0; round < NR_ROUNDS; round++) {
		meet(member->crowd, round);
		member->step(member, round + member->nr);
	}
}

static struct crowd *crowd_create(struct kunit *test)
{
	struct crowd *crowd = kunit_kzalloc(test, sizeof(*crowd), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, crowd);
	crowd->start = kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE);
	init_waitqueue_head(&crowd->meeting);
	for (i = 0; i < NR_PAGES; i++)
		atomic_set(&crowd->pte[i], 1);
	for (i = 0; i < NR_MIRRORS; i++) {
		mutex_init(&crowd->mirror[i].lock);
		crowd->mirror[i].crowd = crowd;
		kunit_mmu_interval_notifier_insert(test, &crowd->mirror[i].interval, crowd->start,
						   NR_PAGES * PAGE_SIZE, &mirror_ops);
	}
	kunit_mmu_notifier_register(test, &crowd->backs_off.range, &backs_off_ops);
	kunit_mmu_notifier_register(test, &crowd->has_end.range, &has_end_ops);
	two_pass_insert(test, crowd);
	return crowd;
}

static void crowd_run(struct kunit *test, struct crowd *crowd)
{
	static void (* const steps[NR_ROLES])(struct member *member, unsigned int round) = {
		change_blockable, change_nonblock, copy_page_table, subscribe,
	};
	struct member *members = kunit_kcalloc(test, NR_HELPERS, sizeof(*members), GFP_KERNEL);
	struct helper *helpers[NR_HELPERS];
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, members);
	for (i = 0; i < NR_HELPERS; i++) {
		members[i].crowd = crowd;
		members[i].nr = i;
		/* With two CPUs, each has one of each role. */
		members[i].step = steps[i / 2];
		helpers[i] = helper_start(test, i, take_part, &members[i]);
	}
	for (i = 0; i < NR_HELPERS; i++)
		helper_wait(helpers[i]);
}

/* Each copy that there is, is right. */
static void expect_right_copies(struct kunit *test, struct crowd *crowd)
{
	unsigned int i, page;

	for (i = 0; i < NR_MIRRORS; i++) {
		for (page = 0; page < NR_PAGES; page++) {
			if (crowd->mirror[i].pte[page])
				KUNIT_EXPECT_EQ(test, crowd->mirror[i].pte[page],
						atomic_read(&crowd->pte[page]));
		}
	}
}

/* Each pass that was backed off from, was by just one, and no other pass was. */
static void expect_counts_balance(struct kunit *test, struct crowd *crowd)
{
	int passes = atomic_read(&crowd->passes), again = atomic_read(&crowd->again);
	int by_range = atomic_read(&crowd->backs_off.back_offs), back_offs = by_range;
	unsigned int i;

	for (i = 0; i < NR_MIRRORS; i++)
		back_offs += atomic_read(&crowd->mirror[i].back_offs);
	kunit_info(test, "%d passes, %d backed off from\n", passes, again);

	/* Of each two threads, the blockable one makes two passes a round. */
	KUNIT_EXPECT_EQ(test, passes + again, (2 * 2 + 2) * NR_ROUNDS);
	KUNIT_EXPECT_EQ(test, again, back_offs);
	KUNIT_EXPECT_GT(test, by_range, 0);
	KUNIT_EXPECT_GT(test, back_offs, by_range);
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->backs_off.starts), passes);
	/* Range notifiers are all called, whoever backs off. */
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->has_end.starts), passes + by_range);
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->has_end.ends), passes + by_range);
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->two_pass.starts),
			atomic_read(&crowd->two_pass.ends));
}

static void all_at_once(struct kunit *test)
{
	struct crowd *crowd = crowd_create(test);

	crowd_run(test, crowd);
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->stale), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->called_when_gone), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&crowd->errors), 0);
	expect_right_copies(test, crowd);
	expect_counts_balance(test, crowd);
	expect_idle(test);
}

static struct kunit_case mmu_notifier_smp_cases[] = {
	KUNIT_CASE_PARAM(newcomer_waits_for_pass, newcomer_gen_params),
	KUNIT_CASE(others_nonblock_is_not_mine),
	KUNIT_CASE(others_blockable_is_not_mine),
	KUNIT_CASE(contention_is_backed_off_from),
	KUNIT_CASE_SLOW(all_at_once),
	{}
};

static struct kunit_suite mmu_notifier_smp_suite = {
	.name = "mmu_notifier_smp",
	.suite_init = mn_core_check,
	.test_cases = mmu_notifier_smp_cases,
};

kunit_test_suite(mmu_notifier_smp_suite);
