// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for nonblocking MMU notifiers.
 *
 * Fake notifiers on a real mm do, in each kind of callback, what drivers do.
 * Each thing that may not be done in a nonblocking pass is checked three ways:
 * in a nonblocking pass it is reported (wrong), in a blockable pass lockdep says
 * what it ever did (correct), and its form that does not sleep is silent in both
 * (protected). Documentation/mm/mmu_notifier_nonblock.rst tells the rule.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/debug_locks.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>
#include <trace/events/mmu_notifier.h>
#include <trace/events/printk.h>

#include "mmu_notifier_kunit.h"
#include "mmu_notifier_ops_kunit.h"

#define START_MAP	"mmu_notifier_invalidate_range_start"

enum callback {
	NO_CALLBACK,
	RANGE_START,
	RANGE_END,
	RANGE_END_UNWIND,	/* after another notifier's start failed */
	INVALIDATE,
	INVALIDATE_START,
	INVALIDATE_FINISH,
	NR_CALLBACKS
};

/**
 * struct fake - a fake driver
 * @test: the test that it belongs to
 * @start: first address of the VMA
 * @callback: the callback that runs @op or @misuse
 * @op: what the callback does, or NULL
 * @misuse: what @callback takes and keeps, or NULL
 * @backs_off: the callback that backs off, in a nonblocking pass: @failing's
 *	       RANGE_START or one of @interval's
 * @calls: how often each kind of callback was called; RANGE_END_UNWIND counts
 *	   as RANGE_END
 * @range: subscription with a range_start and a range_end callback
 * @failing: subscription with a range_start callback, for backing off
 * @interval: subscription with one or two interval callbacks
 * @finish: what @interval's invalidate_start hands to invalidate_finish
 */
struct fake {
	struct kunit *test;
	unsigned long start;
	enum callback callback;
	const struct mn_op *op;
	const struct mn_misuse *misuse;
	enum callback backs_off;
	unsigned int calls[NR_CALLBACKS];
	struct mmu_notifier range;
	struct mmu_notifier failing;
	struct mmu_interval_notifier interval;
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	struct mmu_interval_notifier_finish finish;
#endif
};

/* The callbacks */

static enum callback counted_as(enum callback callback)
{
	return callback == RANGE_END_UNWIND ? RANGE_END : callback;
}

static void fake_called(struct fake *fake, enum callback callback)
{
	unsigned int flags;

	fake->calls[callback]++;
	if (counted_as(fake->callback) != callback)
		return;
	if (fake->op) {
		flags = memalloc_flags_save(fake->op->scope);
		fake->op->run(fake->op->gfp);
		memalloc_flags_restore(flags);
	}
	if (fake->misuse)
		fake->misuse->run();
}

static int fake_range_start(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	fake_called(container_of(subscription, struct fake, range), RANGE_START);
	return 0;
}

static void fake_range_end(struct mmu_notifier *subscription,
			   const struct mmu_notifier_range *range)
{
	fake_called(container_of(subscription, struct fake, range), RANGE_END);
}

static const struct mmu_notifier_ops fake_range_ops = {
	.invalidate_range_start = fake_range_start,
	.invalidate_range_end = fake_range_end,
};

/* Has no range_end: who backs off must not have one. */
static int fake_failing_start(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	struct fake *fake = container_of(subscription, struct fake, failing);

	if (mmu_notifier_range_blockable(range))
		return 0;
	return fake->backs_off == RANGE_START ? -EAGAIN : 0;
}

static const struct mmu_notifier_ops fake_failing_ops = {
	.invalidate_range_start = fake_failing_start,
};

static bool fake_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range,
			    unsigned long seq)
{
	struct fake *fake = container_of(subscription, struct fake, interval);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	mmu_interval_set_seq(subscription, seq);
	fake_called(fake, INVALIDATE);
	return fake->backs_off != INVALIDATE;
}

static const struct mmu_interval_notifier_ops fake_interval_ops = {
	.invalidate = fake_invalidate,
};

#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
static bool fake_invalidate_start(struct mmu_interval_notifier *subscription,
				  const struct mmu_notifier_range *range,
				  unsigned long seq,
				  struct mmu_interval_notifier_finish **finish)
{
	struct fake *fake = container_of(subscription, struct fake, interval);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	mmu_interval_set_seq(subscription, seq);
	fake_called(fake, INVALIDATE_START);
	if (fake->backs_off == INVALIDATE_START)
		return false;

	*finish = &fake->finish;
	return true;
}

static void fake_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	fake_called(container_of(finish, struct fake, finish), INVALIDATE_FINISH);
}

static const struct mmu_interval_notifier_ops fake_two_pass_ops = {
	.invalidate_start = fake_invalidate_start,
	.invalidate_finish = fake_invalidate_finish,
};
#endif

/**
 * struct fake_callback - what there is to know about a kind of callback
 * @name: for the name of the test
 * @address: the function; NULL if this kernel has no such callback
 * @interval_ops: of an interval notifier; NULL: fake_range_ops
 */
struct fake_callback {
	const char *name;
	const void *address;
	const struct mmu_interval_notifier_ops *interval_ops;
};

static const struct fake_callback callbacks[] = {
	[RANGE_START] = { .name = "range_start", .address = fake_range_start },
	[RANGE_END] = { .name = "range_end", .address = fake_range_end },
	[RANGE_END_UNWIND] = { .name = "range_end_unwind", .address = fake_range_end },
	[INVALIDATE] = { .name = "invalidate", .address = fake_invalidate,
			 .interval_ops = &fake_interval_ops },
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	[INVALIDATE_START] = { .name = "invalidate_start", .address = fake_invalidate_start,
			       .interval_ops = &fake_two_pass_ops },
	[INVALIDATE_FINISH] = { .name = "invalidate_finish", .address = fake_invalidate_finish,
				.interval_ops = &fake_two_pass_ops },
#else
	[INVALIDATE_START] = { .name = "invalidate_start" },
	[INVALIDATE_FINISH] = { .name = "invalidate_finish" },
#endif
};

/* Set-up */

static struct fake *fake_create_for(struct kunit *test, enum callback callback)
{
	struct fake *fake;

	if (!callbacks[callback].address)
		kunit_skip(test, "this kernel has no two-pass interval notifiers");

	fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->test = test;
	fake->start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE);
	fake->callback = callback;
	if (callbacks[callback].interval_ops) {
		kunit_mmu_interval_notifier_insert(test, &fake->interval, fake->start, PAGE_SIZE,
						   callbacks[callback].interval_ops);
	} else {
		kunit_mmu_notifier_register(test, &fake->range, &fake_range_ops);
		kunit_mmu_notifier_register(test, &fake->failing, &fake_failing_ops);
	}
	if (callback == RANGE_END_UNWIND)
		fake->backs_off = RANGE_START;
	return fake;
}

static int nonblock_pass(struct fake *fake)
{
	return kunit_mmu_notifier_nonblock_pass(fake->test, fake->start, PAGE_SIZE);
}

static void blockable_pass(struct fake *fake)
{
	kunit_mmu_notifier_blockable_pass(fake->test, fake->start, PAGE_SIZE);
}

static void expect_calls(struct fake *fake, unsigned int nr)
{
	KUNIT_EXPECT_EQ(fake->test, fake->calls[counted_as(fake->callback)], nr);
}

/* Wrong, correct, protected: each operation in each callback */

static const enum callback nonblock_callbacks[] = {
	RANGE_START, RANGE_END, RANGE_END_UNWIND,
	INVALIDATE, INVALIDATE_START, INVALIDATE_FINISH,
};

/* Nothing fails, hence nothing is unwound, in a blockable pass. */
static const enum callback blockable_callbacks[] = {
	RANGE_START, RANGE_END,
	INVALIDATE, INVALIDATE_START, INVALIDATE_FINISH,
};

static void callback_describe(const enum callback *callback, char *description)
{
	strscpy(description, callbacks[*callback].name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(callback, nonblock_callbacks, callback_describe);

/**
 * struct op_case - a test: what is done, and in which callback
 * @callback: the callback
 * @op: what it does
 */
struct op_case {
	enum callback callback;
	const struct mn_op *op;
};

/* Filled in by mmu_notifier_nonblock_suite_init() */
static struct op_case wrong_cases[ARRAY_SIZE(wrong_ops) * ARRAY_SIZE(nonblock_callbacks)];
static struct op_case protected_cases[ARRAY_SIZE(protected_ops) * ARRAY_SIZE(nonblock_callbacks)];
static struct op_case correct_cases[ARRAY_SIZE(wrong_ops) * ARRAY_SIZE(blockable_callbacks)];

static void op_case_describe(struct op_case *c, char *description)
{
	snprintf(description, KUNIT_PARAM_DESC_SIZE, "%s/%s",
		 callbacks[c->callback].name, c->op->name);
}

KUNIT_ARRAY_PARAM(wrong, wrong_cases, op_case_describe);
KUNIT_ARRAY_PARAM(protected, protected_cases, op_case_describe);
KUNIT_ARRAY_PARAM(correct, correct_cases, op_case_describe);

static struct fake *fake_create_doing(struct kunit *test, enum callback callback,
				      const struct mn_op *op)
{
	struct fake *fake;

	if (op->missing)
		kunit_skip(test, "%s", op->missing);

	fake = fake_create_for(test, callback);
	if (op->prepare)
		KUNIT_ASSERT_EQ(test, 0, op->prepare());
	fake->op = op;
	return fake;
}

/*
 * Has to come first, and comes once a boot: when an interval callback has run in a
 * nonblocking pass, lockdep knows of the dependency without mn_nonblock_init().
 */
static void range_callback_depends_on_reclaim(struct kunit *test)
{
	static const struct mn_op op = { OP(held_by_allocator) };
	static bool ran;
	struct fake *fake;

	if (ran)
		kunit_skip(test, "lockdep has learned it from interval callbacks");
	ran = true;

	fake = fake_create_doing(test, RANGE_START, &op);
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, KUNIT_REPORT_CIRCULAR, fake_range_start,
					 nonblock_pass(fake));
}

static void nonblock_wrong_is_reported(struct kunit *test)
{
	const unsigned int atomic_sleep = KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_SCHEDULE |
		KUNIT_REPORT_MAYBE_SCHEDULE;
	const struct op_case *c = test->param_value;
	struct fake *fake;
	int ret;

	if (!IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP) && !(c->op->nonblock & ~atomic_sleep))
		kunit_skip(test, "lockdep has no map for this; needs CONFIG_DEBUG_ATOMIC_SLEEP");

	fake = fake_create_doing(test, c->callback, c->op);
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, c->op->nonblock, callbacks[c->callback].address,
					 ret = nonblock_pass(fake));
	KUNIT_EXPECT_EQ(test, ret, fake->backs_off ? -EAGAIN : 0);
	expect_calls(fake, 1);
}

static void nonblock_protected_is_silent(struct kunit *test)
{
	const struct op_case *c = test->param_value;
	struct fake *fake = fake_create_doing(test, c->callback, c->op);

	KUNIT_EXPECT_NO_REPORT(test, nonblock_pass(fake); blockable_pass(fake));
	expect_calls(fake, 2);
}

static void blockable_is_unchanged(struct kunit *test)
{
	const struct op_case *c = test->param_value;
	struct fake *fake = fake_create_doing(test, c->callback, c->op);
	unsigned int kinds = callbacks[c->callback].interval_ops ?
		c->op->blockable_interval : c->op->blockable_range;

	KUNIT_EXPECT_REPORT(test, kinds, START_MAP, NULL, blockable_pass(fake));
	expect_calls(fake, 1);
}

static void limit_describe(const struct mn_op *op, char *description)
{
	strscpy(description, op->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(limit, limit_ops, limit_describe);

static void known_limit_is_not_reported_by_lockdep(struct kunit *test)
{
	const struct mn_op *op = test->param_value;
	struct fake *fake = fake_create_doing(test, RANGE_START, op);

	KUNIT_EXPECT_REPORT(test, op->nonblock, NULL, NULL, nonblock_pass(fake));
	expect_calls(fake, 1);
}

/* Misuse: a callback returns with more or less than it was called with */

/**
 * struct listener - what is printed
 * @task: by which task
 * @text: what to look for
 * @found: how often it came
 */
struct listener {
	const struct task_struct *task;
	char text[256];
	unsigned int found;
};

static void listen(void *data, const char *text, size_t length)
{
	struct listener *listener = data;

	if (current == listener->task && strnstr(text, listener->text, length))
		listener->found++;
}

static void listen_no_more(void *data)
{
	unregister_trace_console(listen, data);
	tracepoint_synchronize_unregister();
}

static void misuse_pass(struct fake *fake)
{
	if (fake->misuse->before)
		fake->misuse->before();
	nonblock_pass(fake);
	if (fake->misuse->after)
		fake->misuse->after();
}

static void expect_misuse(struct kunit *test, enum callback callback,
			  const struct mn_misuse *misuse)
{
	struct listener *listener;
	struct fake *fake;

	if (misuse->missing)
		kunit_skip(test, "%s", misuse->missing);

	fake = fake_create_for(test, callback);
	fake->misuse = misuse;
	listener = kunit_kzalloc(test, sizeof(*listener), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, listener);
	listener->task = current;
	snprintf(listener->text, sizeof(listener->text), "%pS changed %s",
		 callbacks[callback].address, misuse->changed);
	KUNIT_ASSERT_EQ(test, 0, register_trace_console(listen, listener));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, listen_no_more, listener));

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL, misuse_pass(fake));
	KUNIT_EXPECT_EQ_MSG(test, listener->found, 1, "warnings that say %s", listener->text);
	expect_calls(fake, 1);
}

static void misuse_describe(const struct mn_misuse *misuse, char *description)
{
	strscpy(description, misuse->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(misuse, misuses, misuse_describe);

static void misuse_is_reported(struct kunit *test)
{
	expect_misuse(test, RANGE_START, test->param_value);
}

static void misuse_is_reported_of_each_callback(struct kunit *test)
{
	const enum callback *callback = test->param_value;

	expect_misuse(test, *callback, &misuses[0]);
}

/* A report in the callback turns lockdep off, which then no longer counts locks. */

static void turn_lockdep_off(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	debug_locks = 0;
	spin_unlock(&lock);
}

static void lockdep_off_is_no_misuse(struct kunit *test)
{
	static const struct mn_misuse misuse = { .run = turn_lockdep_off };
	struct kunit_report_scope *scope;
	struct fake *fake;
	unsigned int depth;
	u64 chain_key;

	if (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_PREEMPTION))
		kunit_skip(test, "lockdep goes off for other tasks as well");

	fake = fake_create_for(test, RANGE_START);
	fake->misuse = &misuse;
	scope = kunit_report_scope_begin(test);
	depth = current->lockdep_depth;
	chain_key = current->curr_chain_key;
	nonblock_pass(fake);
	/* Its record of what the task holds is from before it went off. */
	current->lockdep_depth = depth;
	current->curr_chain_key = chain_key;
	debug_locks = 1;
	KUNIT_EXPECT_NULL(test, kunit_report_scope_end(scope, 0, NULL, NULL));
	expect_calls(fake, 1);
}

/* The trace event */

/**
 * struct events - events of the calls of one callback
 * @task: by which task
 * @callback: the callback
 * @nr: number of events
 * @nr_others: number of those of other callbacks
 * @ret: of the last event
 * @range: likewise
 * @since: likewise
 */
struct events {
	const struct task_struct *task;
	const void *callback;
	unsigned int nr;
	unsigned int nr_others;
	int ret;
	struct mmu_notifier_range range;
	u64 since;
};

static void see_event(void *data, const struct mmu_notifier_range *range,
		      const void *callback, int ret, u64 since)
{
	struct events *events = data;

	if (current != events->task)
		return;
	if (callback != events->callback) {
		events->nr_others++;
		return;
	}
	events->nr++;
	events->ret = ret;
	events->range = *range;
	events->since = since;
}

static void see_no_more(void *data)
{
	unregister_trace_mmu_notifier_nonblock(see_event, data);
	tracepoint_synchronize_unregister();
}

static struct events *events_of(struct kunit *test, enum callback callback)
{
	struct events *events = kunit_kzalloc(test, sizeof(*events), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, events);
	events->task = current;
	events->callback = callbacks[callback].address;
	KUNIT_ASSERT_EQ(test, 0, register_trace_mmu_notifier_nonblock(see_event, events));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, see_no_more, events));
	return events;
}

static void each_nonblock_call_is_an_event(struct kunit *test)
{
	const enum callback *callback = test->param_value;
	struct fake *fake = fake_create_for(test, *callback);
	struct events *events = events_of(test, *callback);
	u64 before = ktime_get_mono_fast_ns();

	nonblock_pass(fake);
	KUNIT_EXPECT_EQ(test, events->nr, 1);
	KUNIT_EXPECT_EQ(test, events->ret, 0);
	KUNIT_EXPECT_EQ(test, events->range.start, fake->start);
	KUNIT_EXPECT_EQ(test, events->range.end, fake->start + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, events->range.flags, 0);
	KUNIT_EXPECT_GE(test, events->since, before);
	KUNIT_EXPECT_LE(test, events->since, ktime_get_mono_fast_ns());
	blockable_pass(fake);
	expect_calls(fake, 2);
	KUNIT_EXPECT_EQ(test, events->nr, 1);
}

/* Backing off: see also the suite mmu_notifier_backoff */

static const enum callback backing_off[] = {
	RANGE_START, INVALIDATE, INVALIDATE_START,
};

KUNIT_ARRAY_PARAM(backing_off, backing_off, callback_describe);

static void back_off_is_in_the_event(struct kunit *test)
{
	const enum callback *callback = test->param_value;
	struct fake *fake = fake_create_for(test, *callback);
	struct events *events = events_of(test, *callback);

	/* Of the two with a range_start, the other one backs off. */
	if (*callback == RANGE_START)
		events->callback = fake_failing_start;
	fake->backs_off = *callback;
	KUNIT_EXPECT_EQ(test, nonblock_pass(fake), -EAGAIN);
	KUNIT_EXPECT_EQ(test, events->nr, 1);
	KUNIT_EXPECT_EQ(test, events->ret, -EAGAIN);
	/* Of that, start and the end that unwinds it; nobody finishes what was not started. */
	KUNIT_EXPECT_EQ(test, events->nr_others, *callback == RANGE_START ? 2 : 0);
}

/* Set-up of the suite */

static void fill_cases(struct op_case *c, const struct mn_op *ops, size_t nr_ops,
		       const enum callback *in, size_t nr_in)
{
	size_t i, j;

	for (i = 0; i < nr_ops; i++) {
		for (j = 0; j < nr_in; j++)
			*c++ = (struct op_case){ .callback = in[j], .op = &ops[i] };
	}
}

static int mmu_notifier_nonblock_suite_init(struct kunit_suite *suite)
{
	int ret;

	fill_cases(wrong_cases, wrong_ops, ARRAY_SIZE(wrong_ops),
		   nonblock_callbacks, ARRAY_SIZE(nonblock_callbacks));
	fill_cases(protected_cases, protected_ops, ARRAY_SIZE(protected_ops),
		   nonblock_callbacks, ARRAY_SIZE(nonblock_callbacks));
	fill_cases(correct_cases, wrong_ops, ARRAY_SIZE(wrong_ops),
		   blockable_callbacks, ARRAY_SIZE(blockable_callbacks));

	ret = mn_core_check(suite);
	if (ret)
		return ret;
	ret = mn_ops_init();
	if (ret)
		mn_ops_exit(); /* KUnit does not call suite_exit then. */
	return ret;
}

static void mmu_notifier_nonblock_suite_exit(struct kunit_suite *suite)
{
	mn_ops_exit();
}

static struct kunit_case mmu_notifier_nonblock_cases[] = {
	KUNIT_CASE(range_callback_depends_on_reclaim),
	KUNIT_CASE_PARAM(nonblock_wrong_is_reported, wrong_gen_params),
	KUNIT_CASE_PARAM(nonblock_protected_is_silent, protected_gen_params),
	KUNIT_CASE_PARAM(blockable_is_unchanged, correct_gen_params),
	KUNIT_CASE_PARAM(known_limit_is_not_reported_by_lockdep, limit_gen_params),
	KUNIT_CASE_PARAM(misuse_is_reported, misuse_gen_params),
	KUNIT_CASE_PARAM(misuse_is_reported_of_each_callback, callback_gen_params),
	KUNIT_CASE(lockdep_off_is_no_misuse),
	KUNIT_CASE_PARAM(each_nonblock_call_is_an_event, callback_gen_params),
	KUNIT_CASE_PARAM(back_off_is_in_the_event, backing_off_gen_params),
	{}
};

static struct kunit_suite mmu_notifier_nonblock_suite = {
	.name = "mmu_notifier_nonblock",
	.suite_init = mmu_notifier_nonblock_suite_init,
	.suite_exit = mmu_notifier_nonblock_suite_exit,
	.test_cases = mmu_notifier_nonblock_cases,
};

kunit_test_suite(mmu_notifier_nonblock_suite);

MODULE_DESCRIPTION("KUnit tests for nonblocking MMU notifiers");
MODULE_LICENSE("GPL");
/* What MODULE_IMPORT_NS() stands for; its argument became a string in 6.13 */
MODULE_INFO(import_ns, "EXPORTED_FOR_KUNIT_TESTING");
