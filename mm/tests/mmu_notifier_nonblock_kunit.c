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

#include "mmu_notifier_fake_kunit.h"
#include "mmu_notifier_ops_kunit.h"

#define START_MAP	"mmu_notifier_invalidate_range_start"

enum callback {
	RANGE_START,
	RANGE_END,
	RANGE_END_UNWIND,	/* after another notifier's start failed */
	INVALIDATE,
	INVALIDATE_START,
	INVALIDATE_FINISH,
};

/**
 * struct callback_info - what there is to know about a kind of callback
 * @name: for the name of the test
 * @address: the function; NULL if this kernel has no such callback
 * @kind: of notifier that has it
 * @is_end: it ends what another began
 */
struct callback_info {
	const char *name;
	const void *address;
	enum fake_kind kind;
	bool is_end;
};

static const struct callback_info callbacks[] = {
	[RANGE_START] = { .name = "range_start", .address = fake_range_start,
			  .kind = RANGE_WITH_END },
	[RANGE_END] = { .name = "range_end", .address = fake_range_end,
			.kind = RANGE_WITH_END, .is_end = true },
	[RANGE_END_UNWIND] = { .name = "range_end_unwind", .address = fake_range_end,
			       .kind = RANGE_WITH_END, .is_end = true },
	[INVALIDATE] = { .name = "invalidate", .address = fake_invalidate, .kind = INTERVAL },
	[INVALIDATE_START] = { .name = "invalidate_start", .address = FAKE_INVALIDATE_START,
			       .kind = TWO_PASS },
	[INVALIDATE_FINISH] = { .name = "invalidate_finish", .address = FAKE_INVALIDATE_FINISH,
				.kind = TWO_PASS, .is_end = true },
};

/**
 * struct driver - a fake driver
 * @test: the test that it belongs to
 * @start: of the memory that it mirrors, a page
 * @callback: the callback that runs @op or @misuse
 * @op: what the callback does, or NULL
 * @misuse: what it takes and keeps, or NULL
 * @fake: its notifier
 * @failing: another notifier, which backs off
 */
struct driver {
	struct kunit *test;
	unsigned long start;
	const struct callback_info *callback;
	const struct mn_op *op;
	const struct mn_misuse *misuse;
	struct fake fake;
	struct fake failing;
};

static void run_callback(void *data)
{
	struct driver *driver = data;
	unsigned int flags;

	if (driver->op) {
		flags = memalloc_flags_save(driver->op->scope);
		driver->op->run(driver->op->gfp);
		memalloc_flags_restore(flags);
	}
	if (driver->misuse)
		driver->misuse->run();
}

static struct driver *driver_create(struct kunit *test, enum callback callback)
{
	struct driver *driver = kunit_kzalloc(test, sizeof(*driver), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, driver);
	driver->test = test;
	driver->callback = &callbacks[callback];
	driver->fake.data = driver;
	if (driver->callback->is_end)
		driver->fake.at_end = run_callback;
	else
		driver->fake.at_start = run_callback;
	/* Not in suite_init(): see range_callback_depends_on_reclaim(). */
	if (driver->callback->kind != RANGE_WITH_END)
		KUNIT_ASSERT_EQ(test, 0, mn_core_check(NULL));
	driver->start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE);
	fake_subscribe(test, &driver->fake, driver->callback->kind, driver->start, PAGE_SIZE);
	if (callback == RANGE_END_UNWIND) {
		driver->failing.error = -EAGAIN;
		fake_subscribe(test, &driver->failing, RANGE, driver->start, PAGE_SIZE);
	}
	return driver;
}

static int nonblock_pass(struct driver *driver)
{
	return kunit_mmu_notifier_nonblock_pass(driver->test, driver->start, PAGE_SIZE);
}

static void blockable_pass(struct driver *driver)
{
	kunit_mmu_notifier_blockable_pass(driver->test, driver->start, PAGE_SIZE);
}

/* Of the callback that the test is about */
static void expect_calls(struct driver *driver, unsigned int nonblock, unsigned int blockable)
{
	const unsigned int *calls = driver->callback->is_end ? driver->fake.ends :
							       driver->fake.starts;

	KUNIT_EXPECT_EQ(driver->test, calls[NONBLOCK], nonblock);
	KUNIT_EXPECT_EQ(driver->test, calls[BLOCKABLE], blockable);
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

static struct driver *driver_create_doing(struct kunit *test, enum callback callback,
					  const struct mn_op *op)
{
	struct driver *driver;

	if (op->missing)
		kunit_skip(test, "%s", op->missing);

	driver = driver_create(test, callback);
	if (op->prepare)
		KUNIT_ASSERT_EQ(test, 0, op->prepare());
	driver->op = op;
	return driver;
}

/*
 * Has to come first, and comes once a boot: when an interval callback has run in a
 * nonblocking pass, lockdep knows of the dependency without mn_nonblock_init().
 */
static void range_callback_depends_on_reclaim(struct kunit *test)
{
	static const struct mn_op op = { OP(held_by_allocator) };
	static bool ran;
	struct driver *driver;

	if (ran)
		kunit_skip(test, "lockdep has learned it from interval callbacks");
	ran = true;

	driver = driver_create_doing(test, RANGE_START, &op);
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, KUNIT_REPORT_CIRCULAR, fake_range_start,
					 nonblock_pass(driver));
}

static void nonblock_wrong_is_reported(struct kunit *test)
{
	const unsigned int atomic_sleep = KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_SCHEDULE |
		KUNIT_REPORT_MAYBE_SCHEDULE;
	const struct op_case *c = test->param_value;
	struct driver *driver;
	int ret;

	if (!IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP) && !(c->op->nonblock & ~atomic_sleep))
		kunit_skip(test, "lockdep has no map for this; needs CONFIG_DEBUG_ATOMIC_SLEEP");

	driver = driver_create_doing(test, c->callback, c->op);
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, c->op->nonblock, callbacks[c->callback].address,
					 ret = nonblock_pass(driver));
	KUNIT_EXPECT_EQ(test, ret, driver->failing.error);
	expect_calls(driver, 1, 0);
}

static void nonblock_protected_is_silent(struct kunit *test)
{
	const struct op_case *c = test->param_value;
	struct driver *driver = driver_create_doing(test, c->callback, c->op);

	KUNIT_EXPECT_NO_REPORT(test, nonblock_pass(driver); blockable_pass(driver));
	expect_calls(driver, 1, 1);
}

static void blockable_is_unchanged(struct kunit *test)
{
	const struct op_case *c = test->param_value;
	struct driver *driver = driver_create_doing(test, c->callback, c->op);
	unsigned int kinds = fake_is_interval(&driver->fake) ?
		c->op->blockable_interval : c->op->blockable_range;

	KUNIT_EXPECT_REPORT(test, kinds, START_MAP, NULL, blockable_pass(driver));
	expect_calls(driver, 0, 1);
}

static void limit_describe(const struct mn_op *op, char *description)
{
	strscpy(description, op->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(limit, limit_ops, limit_describe);

/* Whether might_sleep() minds it depends on the kernel. */
static void known_limit_is_not_reported_by_lockdep(struct kunit *test)
{
	struct driver *driver = driver_create_doing(test, RANGE_START, test->param_value);
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	struct kunit_report_info info;

	nonblock_pass(driver);
	kunit_report_scope_end(scope, 0, NULL, NULL);
	kunit_report_scope_info(scope, KUNIT_MMU_NOTIFIER_MAP, &info);
	KUNIT_EXPECT_EQ(test, info.kinds & ~KUNIT_REPORT_MIGHT_SLEEP, 0);
	expect_calls(driver, 1, 0);
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

	if (current == listener->task && *listener->text &&
	    strnstr(text, listener->text, length))
		listener->found++;
}

static void listen_no_more(void *data)
{
	unregister_trace_console(listen, data);
	tracepoint_synchronize_unregister();
}

/* Its text comes later. */
static struct listener *listener_create(struct kunit *test)
{
	struct listener *listener = kunit_kzalloc(test, sizeof(*listener), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, listener);
	listener->task = current;
	KUNIT_ASSERT_EQ(test, 0, register_trace_console(listen, listener));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, listen_no_more, listener));
	return listener;
}

static void misuse_pass(struct driver *driver)
{
	if (driver->misuse->before)
		driver->misuse->before();
	nonblock_pass(driver);
	if (driver->misuse->after)
		driver->misuse->after();
}

static void expect_misuse(struct kunit *test, enum callback callback,
			  const struct mn_misuse *misuse)
{
	struct listener *listener;
	struct driver *driver;

	if (misuse->missing)
		kunit_skip(test, "%s", misuse->missing);

	driver = driver_create(test, callback);
	driver->misuse = misuse;
	listener = listener_create(test);
	snprintf(listener->text, sizeof(listener->text), "%pS changed %s",
		 callbacks[callback].address, misuse->changed);

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL, misuse_pass(driver));
	KUNIT_EXPECT_EQ_MSG(test, listener->found, 1, "warnings that say %s", listener->text);
	expect_calls(driver, 1, 0);
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
	struct driver *driver;
	unsigned int depth;
	u64 chain_key;

	if (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_PREEMPTION))
		kunit_skip(test, "lockdep goes off for other tasks as well");

	driver = driver_create(test, RANGE_START);
	driver->misuse = &misuse;
	scope = kunit_report_scope_begin(test);
	depth = current->lockdep_depth;
	chain_key = current->curr_chain_key;
	nonblock_pass(driver);
	/* Its record of what the task holds is from before it went off. */
	current->lockdep_depth = depth;
	current->curr_chain_key = chain_key;
	debug_locks = 1;
	KUNIT_EXPECT_NULL(test, kunit_report_scope_end(scope, 0, NULL, NULL));
	expect_calls(driver, 1, 0);
}

/* The trace event */

/**
 * struct events - events of the calls of one callback
 * @task: by which task
 * @callback: the callback
 * @nr: number of events
 * @nr_others: number of those of other callbacks
 * @nr_failed: number of events with -EAGAIN
 * @ret: of the last event
 * @range: likewise
 * @since: likewise
 */
struct events {
	const struct task_struct *task;
	const void *callback;
	unsigned int nr;
	unsigned int nr_others;
	unsigned int nr_failed;
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
	events->nr_failed += ret == -EAGAIN;
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
	struct driver *driver = driver_create(test, *callback);
	struct events *events = events_of(test, *callback);
	u64 before = ktime_get_mono_fast_ns();

	nonblock_pass(driver);
	KUNIT_EXPECT_EQ(test, events->nr, 1);
	KUNIT_EXPECT_EQ(test, events->ret, 0);
	KUNIT_EXPECT_EQ(test, events->range.start, driver->start);
	KUNIT_EXPECT_EQ(test, events->range.end, driver->start + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, events->range.event, KUNIT_MMU_NOTIFY);
	KUNIT_EXPECT_EQ(test, events->range.flags, 0);
	KUNIT_EXPECT_GE(test, events->since, before);
	KUNIT_EXPECT_LE(test, events->since, ktime_get_mono_fast_ns());
	blockable_pass(driver);
	expect_calls(driver, 1, 1);
	KUNIT_EXPECT_EQ(test, events->nr, 1);
}

/* Who backs off, nobody ends. Of the other, an end unwinds the start. */
static void back_off_is_in_the_event(struct kunit *test)
{
	struct driver *driver = driver_create(test, RANGE_END_UNWIND);
	struct events *events = events_of(test, RANGE_START);

	KUNIT_EXPECT_EQ(test, nonblock_pass(driver), -EAGAIN);
	/* Both have the same function; the failing one has come last, and is called first. */
	KUNIT_EXPECT_EQ(test, events->nr, 2);
	KUNIT_EXPECT_EQ(test, events->nr_failed, 1);
	KUNIT_EXPECT_EQ(test, events->nr_others, 1);
}

/* And in the log */
static void back_off_is_printed(struct kunit *test)
{
	struct driver *driver = driver_create(test, RANGE_END_UNWIND);
	struct listener *listener = listener_create(test);

	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "no WARN() without CONFIG_BUG");

	driver->failing.blockable_error = -EAGAIN;
	snprintf(listener->text, sizeof(listener->text),
		 "%pS callback failed with %d in non-blockable context.",
		 fake_range_start, -EAGAIN);
	nonblock_pass(driver);
	KUNIT_EXPECT_EQ(test, listener->found, 1);
	snprintf(listener->text, sizeof(listener->text),
		 "%pS callback failed with %d in blockable context.",
		 fake_range_start, -EAGAIN);
	/* Which is wrong */
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL, blockable_pass(driver));
	KUNIT_EXPECT_EQ(test, listener->found, 2);
}

static const enum callback returning_false[] = { INVALIDATE, INVALIDATE_START };

KUNIT_ARRAY_PARAM(returning_false, returning_false, callback_describe);

static void false_is_eagain_in_the_event(struct kunit *test)
{
	const enum callback *callback = test->param_value;
	struct driver *driver = driver_create(test, *callback);
	struct events *events = events_of(test, *callback);

	driver->fake.error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, nonblock_pass(driver), -EAGAIN);
	KUNIT_EXPECT_EQ(test, events->nr, 1);
	KUNIT_EXPECT_EQ(test, events->nr_failed, 1);
	KUNIT_EXPECT_EQ(test, events->nr_others, 0);
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
	KUNIT_CASE(back_off_is_in_the_event),
	KUNIT_CASE(back_off_is_printed),
	KUNIT_CASE_PARAM(false_is_eagain_in_the_event, returning_false_gen_params),
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
#ifdef IMPORT_NS_STRING
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
#else
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
#endif
