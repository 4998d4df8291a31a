// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the nonblocking probe, see mm/mmu_notifier_probe.c.
 *
 * It is on for the task that runs the test, and for no other.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/string.h>
#include <trace/events/printk.h>

#include "../mmu_notifier_probe.h"

/* Index of counts: mmu_notifier_range_blockable() */
enum { NONBLOCK, BLOCKABLE };

enum probed_kind {
	RANGE,		/* without range_end, as who backs off must be */
	RANGE_WITH_END,
	INTERVAL,
	TWO_PASS,
	NR_KINDS
};

/**
 * struct probed - a fake notifier
 * @kind: which callbacks it has
 * @error: what it says in a nonblocking pass: an error code of range_start, or
 *	   anything but 0 for an interval notifier to return false
 * @act: what its last callback does, or NULL
 * @starts: calls of its first callback
 * @flagged: of these, with MMU_NOTIFIER_RANGE_PROBED
 * @ends: calls of range_end or invalidate_finish
 * @range: its subscription, if it is for ranges
 * @interval: its subscription otherwise
 * @finish: what invalidate_start hands to invalidate_finish
 * @blockable: for it, which pass that was
 */
struct probed {
	enum probed_kind kind;
	int error;
	void (*act)(void);
	unsigned int starts[2];
	unsigned int flagged[2];
	unsigned int ends[2];
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	struct mmu_interval_notifier_finish finish;
	bool blockable;
#endif
};

/**
 * struct probing - a test
 * @test: the test
 * @start: of its memory, a page
 * @probability: attributes of the probe, to be put back
 * @interval: likewise
 * @times: likewise
 * @space: likewise
 * @task_filter: likewise
 * @callback: likewise, the filter
 * @module: likewise
 * @probed: its notifiers, by kind
 */
struct probing {
	struct kunit *test;
	unsigned long start;
	unsigned long probability;
	unsigned long interval;
	int times;
	int space;
	bool task_filter;
	char *callback;
	char *module;
	struct probed probed[NR_KINDS];
};

static bool has_end(enum probed_kind kind)
{
	return kind == RANGE_WITH_END || kind == TWO_PASS;
}

static int probed_start(struct probed *probed, const struct mmu_notifier_range *range)
{
	bool blockable = mmu_notifier_range_blockable(range);

	if (range->event != KUNIT_MMU_NOTIFY)
		return 0;

	probed->starts[blockable]++;
	probed->flagged[blockable] += !!(range->flags & MMU_NOTIFIER_RANGE_PROBED);
	if (probed->act && !has_end(probed->kind))
		probed->act();
	return blockable ? 0 : probed->error;
}

static void probed_end(struct probed *probed, bool blockable)
{
	probed->ends[blockable]++;
	if (probed->act)
		probed->act();
}

static int probed_range_start(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	return probed_start(container_of(subscription, struct probed, range), range);
}

static const struct mmu_notifier_ops probed_range_ops = {
	.invalidate_range_start = probed_range_start,
};

/* Another function, so that the filter can tell them apart */
static int probed_range_start_with_end(struct mmu_notifier *subscription,
				       const struct mmu_notifier_range *range)
{
	return probed_start(container_of(subscription, struct probed, range), range);
}

static void probed_range_end(struct mmu_notifier *subscription,
			     const struct mmu_notifier_range *range)
{
	if (range->event == KUNIT_MMU_NOTIFY)
		probed_end(container_of(subscription, struct probed, range),
			   mmu_notifier_range_blockable(range));
}

static const struct mmu_notifier_ops probed_range_with_end_ops = {
	.invalidate_range_start = probed_range_start_with_end,
	.invalidate_range_end = probed_range_end,
};

static bool probed_invalidate(struct mmu_interval_notifier *subscription,
			      const struct mmu_notifier_range *range,
			      unsigned long seq)
{
	mmu_interval_set_seq(subscription, seq);
	return !probed_start(container_of(subscription, struct probed, interval), range);
}

static const struct mmu_interval_notifier_ops probed_interval_ops = {
	.invalidate = probed_invalidate,
};

#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
static bool probed_invalidate_start(struct mmu_interval_notifier *subscription,
				    const struct mmu_notifier_range *range,
				    unsigned long seq,
				    struct mmu_interval_notifier_finish **finish)
{
	struct probed *probed = container_of(subscription, struct probed, interval);

	mmu_interval_set_seq(subscription, seq);
	if (range->event != KUNIT_MMU_NOTIFY)
		return true;
	if (probed_start(probed, range))
		return false;

	probed->blockable = mmu_notifier_range_blockable(range);
	*finish = &probed->finish;
	return true;
}

static void probed_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct probed *probed = container_of(finish, struct probed, finish);

	probed_end(probed, probed->blockable);
}

static const struct mmu_interval_notifier_ops probed_two_pass_ops = {
	.invalidate_start = probed_invalidate_start,
	.invalidate_finish = probed_invalidate_finish,
};

#define PROBED_INVALIDATE_START		probed_invalidate_start
#define PROBED_INVALIDATE_FINISH	probed_invalidate_finish
#else
#define probed_two_pass_ops		probed_interval_ops
#define PROBED_INVALIDATE_START		NULL
#define PROBED_INVALIDATE_FINISH	NULL
#endif

/* By kind: its last callback, and the others */
static const void * const last_callback[] = {
	[RANGE] = probed_range_start,
	[RANGE_WITH_END] = probed_range_end,
	[INTERVAL] = probed_invalidate,
	[TWO_PASS] = PROBED_INVALIDATE_FINISH,
};

/* Set-up */

static struct fault_attr *attr = &mmu_notifier_probe.attr;

static void probing_end(void *data)
{
	struct probing *probing = data;

	attr->probability = probing->probability;
	attr->interval = probing->interval;
	atomic_set(&attr->times, probing->times);
	atomic_set(&attr->space, probing->space);
	attr->task_filter = probing->task_filter;
	attr->require_start = 0;
	attr->require_end = ULONG_MAX;
	rcu_assign_pointer(mmu_notifier_probe.callback, probing->callback);
	rcu_assign_pointer(mmu_notifier_probe.module, probing->module);
	/* The filters may be the test's, and not be there much longer. */
	synchronize_rcu();
}

static void set_filter(const char *callback, const char *module)
{
	rcu_assign_pointer(mmu_notifier_probe.callback, (char *)callback);
	rcu_assign_pointer(mmu_notifier_probe.module, (char *)module);
}

/* The probe is on, each time, for this task, which is that of the test. */
static int mmu_notifier_probe_init_test(struct kunit *test)
{
	struct probing *probing = kunit_kzalloc(test, sizeof(*probing), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, probing);
	test->priv = probing;
	probing->test = test;
	probing->start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE);
	probing->probability = attr->probability;
	probing->interval = attr->interval;
	probing->times = atomic_read(&attr->times);
	probing->space = atomic_read(&attr->space);
	probing->task_filter = attr->task_filter;
	probing->callback = rcu_dereference_raw(mmu_notifier_probe.callback);
	probing->module = rcu_dereference_raw(mmu_notifier_probe.module);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, probing_end, probing));

	current->make_it_fail = 1;
	attr->task_filter = true;
	attr->interval = 1;
	atomic_set(&attr->times, -1);
	atomic_set(&attr->space, 0);
	set_filter("", "");
	attr->probability = 100;
	return 0;
}

static struct probed *subscribe(struct probing *probing, enum probed_kind kind)
{
	struct probed *probed = &probing->probed[kind];
	struct kunit *test = probing->test;

	if (kind == TWO_PASS && !IS_ENABLED(CONFIG_MMU_NOTIFIER_TWO_PASS))
		kunit_skip(test, "this kernel has no two-pass interval notifiers");

	probed->kind = kind;
	if (kind == RANGE || kind == RANGE_WITH_END)
		kunit_mmu_notifier_register(test, &probed->range, kind == RANGE ?
					    &probed_range_ops : &probed_range_with_end_ops);
	else
		kunit_mmu_interval_notifier_insert(test, &probed->interval, probing->start,
						   PAGE_SIZE, kind == INTERVAL ?
						   &probed_interval_ops :
						   &probed_two_pass_ops);
	return probed;
}

static void blockable_pass(struct probing *probing)
{
	kunit_mmu_notifier_blockable_pass(probing->test, probing->start, PAGE_SIZE);
}

static int nonblock_pass(struct probing *probing)
{
	return kunit_mmu_notifier_nonblock_pass(probing->test, probing->start, PAGE_SIZE);
}

/* How often both of its callbacks were called, if it has two */
static void expect_calls(struct kunit *test, const struct probed *probed,
			 unsigned int nonblock, unsigned int blockable)
{
	KUNIT_EXPECT_EQ(test, probed->starts[NONBLOCK], nonblock);
	KUNIT_EXPECT_EQ(test, probed->starts[BLOCKABLE], blockable);
	KUNIT_EXPECT_EQ(test, probed->ends[NONBLOCK], has_end(probed->kind) ? nonblock : 0);
	KUNIT_EXPECT_EQ(test, probed->ends[BLOCKABLE], has_end(probed->kind) ? blockable : 0);
}

struct kind_param {
	const char *name;
	enum probed_kind kind;
};

static void kind_describe(const struct kind_param *param, char *description)
{
	strscpy(description, param->name, KUNIT_PARAM_DESC_SIZE);
}

static const struct kind_param kinds[] = {
	{ "range", RANGE },
	{ "range_with_end", RANGE_WITH_END },
	{ "interval", INTERVAL },
	{ "two_pass", TWO_PASS },
};

KUNIT_ARRAY_PARAM(kind, kinds, kind_describe);

/* Who has done its work without blocking is not called again; nor does the caller know. */
static void success_is_the_pass(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, param->kind);
	struct mmu_notifier_range range;

	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
	expect_calls(test, probed, 1, 0);

	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, current->mm, probing->start,
				probing->start + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	KUNIT_EXPECT_TRUE(test, mmu_notifier_range_blockable(&range));
	KUNIT_EXPECT_EQ(test, probed->ends[NONBLOCK], param->kind == TWO_PASS ? 2 :
			param->kind == RANGE_WITH_END ? 1 : 0);
	mmu_notifier_invalidate_range_end(&range);
	KUNIT_EXPECT_TRUE(test, mmu_notifier_range_blockable(&range));
	expect_calls(test, probed, 2, 0);
}

static const struct kind_param backing_off[] = {
	{ "range", RANGE },
	{ "interval", INTERVAL },
	{ "two_pass", TWO_PASS },
};

KUNIT_ARRAY_PARAM(backing_off, backing_off, kind_describe);

/* All that have started are ended, as if nothing had been, and then comes the real one. */
static void back_off_is_followed_by_blockable(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, param->kind);
	struct probed *with_end = subscribe(probing, RANGE_WITH_END);

	probed->error = -EAGAIN;
	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
	KUNIT_EXPECT_EQ(test, probed->starts[NONBLOCK], 1);
	KUNIT_EXPECT_EQ(test, probed->ends[NONBLOCK], 0);
	KUNIT_EXPECT_EQ(test, probed->starts[BLOCKABLE], 1);
	KUNIT_EXPECT_EQ(test, probed->ends[BLOCKABLE], has_end(probed->kind));
	/* Interval notifiers come first, and the first of them to back off is the last. */
	expect_calls(test, with_end, param->kind == RANGE, 1);

	probed->error = 0;
	blockable_pass(probing);
	KUNIT_EXPECT_EQ(test, probed->starts[BLOCKABLE], 1);
	expect_calls(test, with_end, 1 + (param->kind == RANGE), 1);
}

/* Interval notifiers wait for passes, so one must not be left open. */
static void back_off_leaves_interval_state(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *range = subscribe(probing, RANGE);
	struct probed *interval = subscribe(probing, INTERVAL);
	unsigned long seq = mmu_interval_read_begin(&interval->interval);

	range->error = -EAGAIN;
	blockable_pass(probing);
	expect_calls(test, interval, 1, 1);
	KUNIT_EXPECT_TRUE(test, mmu_interval_read_retry(&interval->interval, seq));
	seq = mmu_interval_read_begin(&interval->interval);
	KUNIT_EXPECT_FALSE(test, mmu_interval_read_retry(&interval->interval, seq));
}

/* What the OOM reaper does is no probe, and nothing to be tried a second time. */
static void nonblock_pass_is_not_probed(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE);

	atomic_set(&attr->times, 1);
	probed->error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, nonblock_pass(probing), -EAGAIN);
	expect_calls(test, probed, 1, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&attr->times), 1);
}

/* A caller may use its range for another pass, which is not probed then. */
static void probe_ends_with_its_pass(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE_WITH_END);
	struct mmu_notifier_range range;
	unsigned int i;

	atomic_set(&attr->times, 1);
	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, current->mm, probing->start,
				probing->start + PAGE_SIZE);
	for (i = 0; i < 2; i++) {
		mmu_notifier_invalidate_range_start(&range);
		mmu_notifier_invalidate_range_end(&range);
	}
	expect_calls(test, probed, 1, 1);
}

/* When: what the framework has for it */

static void off_calls_nobody(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, param->kind);

	attr->probability = 0;
	blockable_pass(probing);
	expect_calls(test, probed, 0, 1);
}

static void times_are_kept(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE_WITH_END);
	unsigned int i;

	atomic_set(&attr->times, 2);
	for (i = 0; i < 5; i++)
		blockable_pass(probing);
	expect_calls(test, probed, 2, 3);
	KUNIT_EXPECT_EQ(test, atomic_read(&attr->times), 0);
}

static void interval_is_kept(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE_WITH_END);
	unsigned int i;

	attr->interval = 3;
	attr->count = 0;
	for (i = 1; i <= 6; i++) {
		blockable_pass(probing);
		expect_calls(test, probed, i / 3, i - i / 3);
	}
}

/* In pages, until when it does not begin */
static void space_is_kept(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE_WITH_END);

	atomic_set(&attr->space, 3);
	blockable_pass(probing);
	blockable_pass(probing);
	expect_calls(test, probed, 0, 2);
	blockable_pass(probing);
	expect_calls(test, probed, 1, 2);
}

static void other_tasks_are_left_alone(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE_WITH_END);

	current->make_it_fail = 0;
	blockable_pass(probing);
	expect_calls(test, probed, 0, 1);
	current->make_it_fail = 1;
	blockable_pass(probing);
	expect_calls(test, probed, 1, 1);
}

static void fail_nth_is_that_pass(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE_WITH_END);

	attr->probability = 0;
	current->fail_nth = 2;
	blockable_pass(probing);
	expect_calls(test, probed, 0, 1);
	blockable_pass(probing);
	expect_calls(test, probed, 1, 1);
	blockable_pass(probing);
	expect_calls(test, probed, 1, 2);
	KUNIT_EXPECT_EQ(test, current->fail_nth, 0);
}

/* Of functions that are smaller than this, and are called, not jumped to */
#define CODE	256

static noinline void pass_from_here(struct probing *probing)
{
	blockable_pass(probing);
	barrier();
}

static void stack_trace_is_required(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed;

	if (!IS_ENABLED(CONFIG_FAULT_INJECTION_STACKTRACE_FILTER))
		kunit_skip(test, "no CONFIG_FAULT_INJECTION_STACKTRACE_FILTER");

	probed = subscribe(probing, RANGE_WITH_END);
	attr->require_start = (unsigned long)pass_from_here;
	attr->require_end = attr->require_start + CODE;
	pass_from_here(probing);
	expect_calls(test, probed, 1, 0);
	attr->require_start = (unsigned long)last_callback;
	attr->require_end = attr->require_start + 1;
	pass_from_here(probing);
	expect_calls(test, probed, 1, 1);
}

/* Whom: the filter */

struct filter {
	const char *name;
	const char *callback;
	const char *module;
	unsigned int probed;	/* kinds */
};

/* Where the suite is */
#ifdef MODULE
#define HERE	KBUILD_MODNAME
#else
#define HERE	"-"
#endif

#define ALL	(BIT(RANGE) | BIT(RANGE_WITH_END) | BIT(INTERVAL))

static const struct filter filters[] = {
	{ "none", "", "", ALL },
	{ "start", "probed_range_start", "", BIT(RANGE) },
	{ "start_of_two", "probed_range_start_with_end", "", BIT(RANGE_WITH_END) },
	{ "end", "probed_range_end", "", BIT(RANGE_WITH_END) },
	{ "interval", "probed_invalidate", "", BIT(INTERVAL) },
	{ "nobody", "probed_", "", 0 },
	{ "module", "", HERE, ALL },
	{ "other_module", "", "no_such_module", 0 },
	{ "part_of_module", "", "mmu", 0 },
	{ "both", "probed_invalidate", HERE, BIT(INTERVAL) },
	{ "one_of_both", "probed_invalidate", "no_such_module", 0 },
};

static void filter_describe(const struct filter *filter, char *description)
{
	strscpy(description, filter->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(filter, filters, filter_describe);

/* They have their part in the pass that probes, but may block. */
static void filter_leaves_out_others(struct kunit *test)
{
	const struct filter *filter = test->param_value;
	struct probing *probing = test->priv;
	unsigned int kind;

	for (kind = RANGE; kind <= INTERVAL; kind++)
		subscribe(probing, kind);
	set_filter(filter->callback, filter->module);
	blockable_pass(probing);
	for (kind = RANGE; kind <= INTERVAL; kind++)
		expect_calls(test, &probing->probed[kind], !!(filter->probed & BIT(kind)),
			     !(filter->probed & BIT(kind)));
}

static void filter_knows_two_pass(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, TWO_PASS);

	set_filter("probed_invalidate_finish", "");
	blockable_pass(probing);
	expect_calls(test, probed, 1, 0);
	set_filter("probed_invalidate_start", "");
	blockable_pass(probing);
	expect_calls(test, probed, 2, 0);
	set_filter("probed_invalidate", "");
	blockable_pass(probing);
	expect_calls(test, probed, 2, 1);
}

/* What is wrong, lockdep sees in an ordinary pass, and of those who were chosen. */

static void reclaim(void)
{
	fs_reclaim_acquire(GFP_KERNEL);
	fs_reclaim_release(GFP_KERNEL);
}

static void sleep(void)
{
	might_sleep();
}

static void lock(void)
{
	static DEFINE_MUTEX(mutex);

	mutex_lock(&mutex);
	mutex_unlock(&mutex);
}

static void wrong_is_reported(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;

	subscribe(probing, param->kind)->act = reclaim;
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "mmu_notifier_nonblock",
			    last_callback[param->kind], blockable_pass(probing));
}

static void left_out_may_sleep(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, param->kind);

	probed->act = sleep;
	set_filter("nobody", "");
	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
	expect_calls(test, probed, 0, 1);
}

/* In the same pass as one that is probed, and called after it: the last comes first. */
static void left_out_may_lock_after_probed(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *left_out = subscribe(probing, RANGE);
	struct probed *probed = subscribe(probing, RANGE_WITH_END);

	left_out->act = lock;
	set_filter("probed_range_start_with_end", "");
	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
	expect_calls(test, left_out, 0, 1);
	expect_calls(test, probed, 1, 0);
}

/* What it has started is ended as it was started, also when somebody else backs off. */
static void left_out_may_lock_when_unwound(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE);
	struct probed *left_out = subscribe(probing, RANGE_WITH_END);

	probed->error = -EAGAIN;
	left_out->act = lock;
	set_filter("probed_range_start", "");
	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
	expect_calls(test, probed, 1, 1);
	expect_calls(test, left_out, 0, 2);
}

/* In the copy of the range that those get who are not chosen, there is nothing of a probe. */
static void flag_is_for_probed(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, param->kind);

	blockable_pass(probing);
	KUNIT_EXPECT_EQ(test, probed->flagged[NONBLOCK], 1);
	set_filter("nobody", "");
	blockable_pass(probing);
	expect_calls(test, probed, 1, 1);
	KUNIT_EXPECT_EQ(test, probed->flagged[BLOCKABLE], 0);
}

/* Breaches of contract, which the core warns of as ever, by name */

struct breach {
	const char *name;
	enum probed_kind kind;
	int error;
};

static const struct breach breaches[] = {
	{ "fails_otherwise", RANGE, -EINVAL },
	{ "has_end", RANGE_WITH_END, -EAGAIN },
};

static void breach_describe(const struct breach *breach, char *description)
{
	strscpy(description, breach->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(breach, breaches, breach_describe);

#define MAX_TEXT	256

static void breach_is_warned_of(struct kunit *test)
{
	const struct breach *breach = test->param_value;
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, breach->kind);
	char *text = kunit_kzalloc(test, MAX_TEXT, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, text);
	snprintf(text, MAX_TEXT, "%pS callback failed with %d in non-blockable context.",
		 breach->kind == RANGE ? probed_range_start : probed_range_start_with_end,
		 breach->error);
	probed->error = breach->error;
	KUNIT_EXPECT_WARN(test, "mm/mmu_notifier.c", text, blockable_pass(probing));
	expect_calls(test, probed, 1, 1);
}

/* The log: nobody wants to read of each back-off. */

struct listener {
	struct task_struct *task;
	unsigned int lines;
};

static void listen(void *data, const char *text, size_t length)
{
	struct listener *listener = data;

	if (current == listener->task)
		listener->lines++;
}

static void listener_end(void *data)
{
	unregister_trace_console(listen, data);
	tracepoint_synchronize_unregister();
}

static void log_is_not_flooded(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct probed *probed = subscribe(probing, RANGE);
	struct listener *listener = kunit_kzalloc(test, sizeof(*listener), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, listener);
	listener->task = current;
	KUNIT_ASSERT_EQ(test, 0, register_trace_console(listen, listener));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, listener_end, listener));

	probed->error = -EAGAIN;
	for (i = 0; i < 10; i++)
		blockable_pass(probing);
	expect_calls(test, probed, 10, 10);
	KUNIT_EXPECT_EQ(test, listener->lines, 0);

	/* As ever, so the listener does hear. */
	nonblock_pass(probing);
	KUNIT_EXPECT_EQ(test, listener->lines, 1);
}

static struct kunit_case mmu_notifier_probe_cases[] = {
	KUNIT_CASE_PARAM(success_is_the_pass, kind_gen_params),
	KUNIT_CASE_PARAM(back_off_is_followed_by_blockable, backing_off_gen_params),
	KUNIT_CASE(back_off_leaves_interval_state),
	KUNIT_CASE(nonblock_pass_is_not_probed),
	KUNIT_CASE(probe_ends_with_its_pass),
	KUNIT_CASE_PARAM(off_calls_nobody, kind_gen_params),
	KUNIT_CASE(times_are_kept),
	KUNIT_CASE(interval_is_kept),
	KUNIT_CASE(space_is_kept),
	KUNIT_CASE(other_tasks_are_left_alone),
	KUNIT_CASE(fail_nth_is_that_pass),
	KUNIT_CASE(stack_trace_is_required),
	KUNIT_CASE_PARAM(filter_leaves_out_others, filter_gen_params),
	KUNIT_CASE(filter_knows_two_pass),
	KUNIT_CASE_PARAM(wrong_is_reported, kind_gen_params),
	KUNIT_CASE_PARAM(left_out_may_sleep, kind_gen_params),
	KUNIT_CASE(left_out_may_lock_after_probed),
	KUNIT_CASE(left_out_may_lock_when_unwound),
	KUNIT_CASE_PARAM(flag_is_for_probed, kind_gen_params),
	KUNIT_CASE_PARAM(breach_is_warned_of, breach_gen_params),
	KUNIT_CASE(log_is_not_flooded),
	{}
};

static struct kunit_suite mmu_notifier_probe_suite = {
	.name = "mmu_notifier_probe",
	.init = mmu_notifier_probe_init_test,
	.exit = kunit_report_test_exit,
	.test_cases = mmu_notifier_probe_cases,
};

kunit_test_suite(mmu_notifier_probe_suite);
