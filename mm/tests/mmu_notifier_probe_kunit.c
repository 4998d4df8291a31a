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
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/fault-inject.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/mmu_notifier.h>
#include <trace/events/printk.h>

#include "mmu_notifier_fake_kunit.h"

/**
 * struct probing - a test
 * @test: the test
 * @start: of its memory, two pages
 * @attr: of the probe, to be put back
 * @module: likewise, the filter
 * @fake: its notifiers, by kind
 */
struct probing {
	struct kunit *test;
	unsigned long start;
	struct fault_attr attr;
	char *module;
	struct fake fake[NR_KINDS];
};

/**
 * struct kind_param - a kind of notifier
 * @name: for the name of the test
 * @kind: the kind
 * @last_callback: the one that does what is wrong
 */
struct kind_param {
	const char *name;
	enum fake_kind kind;
	const void *last_callback;
};

static const struct kind_param kinds[] = {
	{ .name = "range", .kind = RANGE, .last_callback = fake_range_start },
	{ .name = "interval", .kind = INTERVAL, .last_callback = fake_invalidate },
	{ .name = "two_pass", .kind = TWO_PASS, .last_callback = FAKE_INVALIDATE_FINISH },
	{ .name = "range_with_end", .kind = RANGE_WITH_END, .last_callback = fake_range_end },
};

static void kind_describe(const struct kind_param *param, char *description)
{
	strscpy(description, param->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(kind, kinds, kind_describe);

static const struct kind_param backing_off[] = {
	{ .name = "range", .kind = RANGE },
	{ .name = "interval", .kind = INTERVAL },
	{ .name = "two_pass", .kind = TWO_PASS },
};

KUNIT_ARRAY_PARAM(backing_off, backing_off, kind_describe);

/* Set-up */

static struct fault_attr *attr = &mmu_notifier_probe_attr;

static void set_filter(const char *module)
{
	rcu_assign_pointer(mmu_notifier_probe_module, (char *)module);
}

static void probing_end(void *data)
{
	struct probing *probing = data;

	*attr = probing->attr;
	set_filter(probing->module);
	synchronize_rcu();
}

static int mmu_notifier_probe_init_test(struct kunit *test)
{
	struct probing *probing = kunit_kzalloc(test, sizeof(*probing), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, probing);
	test->priv = probing;
	probing->test = test;
	probing->start = kunit_mmu_notifier_mmap(test, 2, MAP_PRIVATE);
	probing->attr = *attr;
	probing->module = rcu_dereference_raw(mmu_notifier_probe_module);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, probing_end, probing));

	current->make_it_fail = 1;
	attr->task_filter = true;
	attr->interval = 1;
	atomic_set(&attr->times, -1);
	atomic_set(&attr->space, 0);
	set_filter("");
	attr->probability = 100;
	return 0;
}

static struct fake *subscribe(struct probing *probing, enum fake_kind kind)
{
	struct fake *fake = &probing->fake[kind];

	fake_subscribe(probing->test, fake, kind, probing->start, PAGE_SIZE);
	return fake;
}

static void blockable_pass(struct probing *probing)
{
	kunit_mmu_notifier_blockable_pass(probing->test, probing->start, 2 * PAGE_SIZE);
}

static int nonblock_pass(struct probing *probing)
{
	return kunit_mmu_notifier_nonblock_pass(probing->test, probing->start, PAGE_SIZE);
}

/* How often both of its callbacks were called, if it has two */
static void expect_calls(struct kunit *test, const struct fake *fake,
			 unsigned int probes, unsigned int passes)
{
	KUNIT_EXPECT_EQ(test, fake->starts[PROBE], probes);
	KUNIT_EXPECT_EQ(test, fake->starts[BLOCKABLE], passes);
	KUNIT_EXPECT_EQ(test, fake->ends[PROBE], fake_has_end(fake) ? probes : 0);
	KUNIT_EXPECT_EQ(test, fake->ends[BLOCKABLE], fake_has_end(fake) ? passes : 0);
	KUNIT_EXPECT_EQ(test, fake->starts[NONBLOCK], 0);
	KUNIT_EXPECT_EQ(test, fake->ends[NONBLOCK], 0);
}

/* An extra pass, from start to end, and nothing of it in the real one */
static void probe_is_an_extra_pass(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, param->kind);
	struct mmu_notifier_range range;

	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
	expect_calls(test, fake, 1, 1);

	/* It comes first, and is over when the real one has begun. */
	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, current->mm, probing->start,
				probing->start + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	KUNIT_EXPECT_EQ(test, range.flags, MMU_NOTIFIER_RANGE_BLOCKABLE);
	KUNIT_EXPECT_EQ(test, fake->ends[PROBE], fake_has_end(fake) ? 2 : 0);
	mmu_notifier_invalidate_range_end(&range);
	expect_calls(test, fake, 2, 2);
}

/* All that have started are ended, as if nothing had been, and then comes the real one. */
static void back_off_is_followed_by_real_pass(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, param->kind);
	struct fake *with_end = subscribe(probing, RANGE_WITH_END);

	fake->error = -EAGAIN;
	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
	KUNIT_EXPECT_EQ(test, fake->starts[PROBE], 1);
	KUNIT_EXPECT_EQ(test, fake->ends[PROBE], 0);
	KUNIT_EXPECT_EQ(test, fake->starts[BLOCKABLE], 1);
	KUNIT_EXPECT_EQ(test, fake->ends[BLOCKABLE], fake_has_end(fake));
	/* Interval notifiers come first, and the first of them to back off is the last. */
	expect_calls(test, with_end, param->kind == RANGE, 1);
}

/* What the OOM reaper does is no probe, and nothing to be tried a second time. */
static void nonblock_pass_is_not_probed(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, RANGE);

	fake->error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, nonblock_pass(probing), -EAGAIN);
	KUNIT_EXPECT_EQ(test, fake->starts[NONBLOCK], 1);
	KUNIT_EXPECT_EQ(test, fake->starts[PROBE], 0);
}

/* The framework decides when. */

static void expect_probes(struct probing *probing, unsigned int passes, unsigned int probes)
{
	struct fake *fake = &probing->fake[RANGE_WITH_END];
	unsigned int i;

	memset(fake->starts, 0, sizeof(fake->starts));
	memset(fake->ends, 0, sizeof(fake->ends));
	for (i = 0; i < passes; i++)
		blockable_pass(probing);
	expect_calls(probing->test, fake, probes, passes);
}

static void attributes_are_honoured(struct kunit *test)
{
	struct probing *probing = test->priv;

	subscribe(probing, RANGE_WITH_END);
	attr->probability = 0;
	expect_probes(probing, 1, 0);
	attr->probability = 100;
	expect_probes(probing, 1, 1);

	current->make_it_fail = 0;
	expect_probes(probing, 1, 0);
	current->make_it_fail = 1;

	attr->interval = 3;
	attr->count = 0;
	expect_probes(probing, 2, 0);
	expect_probes(probing, 4, 2);
	attr->interval = 1;

	/* In pages, until when it does not begin */
	atomic_set(&attr->space, 3);
	expect_probes(probing, 1, 0);
	expect_probes(probing, 2, 2);

	atomic_set(&attr->times, 2);
	expect_probes(probing, 4, 2);
}

/* Nobody is there to be called, and the attributes are not used up. */
static void mm_without_notifiers_is_not_probed(struct kunit *test)
{
	struct probing *probing = test->priv;

	atomic_set(&attr->times, 1);
	blockable_pass(probing);
	KUNIT_EXPECT_EQ(test, atomic_read(&attr->times), 1);
	subscribe(probing, RANGE_WITH_END);
	expect_probes(probing, 2, 1);
}

/* The filter's file, which frees what was there before */
static void filter_has_a_file(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct dentry *dir, *file;

	if (!IS_ENABLED(CONFIG_FAULT_INJECTION_DEBUG_FS))
		kunit_skip(test, "no files without CONFIG_FAULT_INJECTION_DEBUG_FS");

	KUNIT_EXPECT_NOT_NULL(test, probing->module);
	dir = debugfs_lookup("mmu_notifier_nonblock_probe", NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL(dir));
	file = debugfs_lookup("module", dir);
	dput(dir);
	KUNIT_ASSERT_FALSE(test, IS_ERR_OR_NULL(file));
	KUNIT_EXPECT_EQ(test, d_inode(file)->i_mode & 0777, 0600);
	dput(file);
}

static void fail_nth_is_left_alone(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, RANGE_WITH_END);

	current->fail_nth = 1;
	blockable_pass(probing);
	KUNIT_EXPECT_EQ(test, current->fail_nth, 1);
	current->fail_nth = 0;
	expect_calls(test, fake, 0, 1);
}

/* Whom: the filter, a module's name */

/**
 * struct filter - a filter
 * @name: for the name of the test
 * @module: what it says
 * @probed: whether this suite's callbacks are
 */
struct filter {
	const char *name;
	const char *module;
	bool probed;
};

#define IN_MODULE	IS_MODULE(CONFIG_MMU_NOTIFIER_NONBLOCK_KUNIT_TEST)

static const struct filter filters[] = {
	{ .name = "none", .module = NULL, .probed = true },
	{ .name = "empty", .module = "", .probed = true },
	{ .name = "built_in", .module = "kernel", .probed = !IN_MODULE },
	{ .name = "this_module", .module = KBUILD_MODNAME, .probed = IN_MODULE },
	{ .name = "other_module", .module = "no_such_module", .probed = false },
};

static void filter_describe(const struct filter *filter, char *description)
{
	strscpy(description, filter->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(filter, filters, filter_describe);

static void filter_leaves_out_others(struct kunit *test)
{
	const struct filter *filter = test->param_value;
	struct probing *probing = test->priv;
	unsigned int kind;

	for (kind = RANGE; kind <= INTERVAL; kind++)
		subscribe(probing, kind);
	set_filter(filter->module);
	blockable_pass(probing);
	for (kind = RANGE; kind <= INTERVAL; kind++)
		expect_calls(test, &probing->fake[kind], filter->probed, 1);
}

static void filter_knows_two_pass(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, TWO_PASS);

	set_filter("no_such_module");
	blockable_pass(probing);
	expect_calls(test, fake, 0, 1);
}

static void change_filter(void *unused)
{
	set_filter("no_such_module");
}

/* Whose start was called, has its end called. */
static void filter_may_change_in_a_probe(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct fake *interval = subscribe(probing, INTERVAL);
	struct fake *with_end = subscribe(probing, RANGE_WITH_END);

	interval->at_start = change_filter;
	blockable_pass(probing);
	expect_calls(test, interval, 1, 1);
	expect_calls(test, with_end, 1, 1);
	blockable_pass(probing);
	expect_calls(test, with_end, 1, 2);
}

/* What is wrong, lockdep sees in an ordinary pass, and of those who were chosen. */

static void lock_mutex(void *unused)
{
	static DEFINE_MUTEX(mutex);

	mutex_lock(&mutex);
	mutex_unlock(&mutex);
}

static void wrong_is_reported(struct kunit *test)
{
	const struct kind_param *param = test->param_value;
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, param->kind);

	if (fake_has_end(fake))
		fake->at_end = lock_mutex;
	else
		fake->at_start = lock_mutex;
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test,
					 KUNIT_REPORT_WAIT_CONTEXT | KUNIT_REPORT_MIGHT_SLEEP,
					 param->last_callback, blockable_pass(probing));
	set_filter("no_such_module");
	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(probing));
}

/* The core warns of a breach of contract, as ever. */
static void wrong_error_is_warned_of(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, RANGE);

	fake->error = -EINVAL;
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL, blockable_pass(probing));
	expect_calls(test, fake, 1, 1);
}

/* What others see of it */

/**
 * struct watch - what is printed and traced
 * @task: by which task
 * @lines: printed, of back-offs
 * @events: of probes
 * @others: of other passes
 */
struct watch {
	const struct task_struct *task;
	unsigned int lines;
	unsigned int events;
	unsigned int others;
};

static void see_line(void *data, const char *text, size_t length)
{
	struct watch *watch = data;

	if (current == watch->task && strnstr(text, "callback failed", length))
		watch->lines++;
}

static void see_event(void *data, const struct mmu_notifier_range *range,
		      const void *callback, int ret, u64 since)
{
	struct watch *watch = data;

	if (current != watch->task)
		return;
	if (range->flags & MMU_NOTIFIER_RANGE_PROBE)
		watch->events++;
	else
		watch->others++;
}

static void watch_no_more(void *data)
{
	unregister_trace_console(see_line, data);
	unregister_trace_mmu_notifier_nonblock(see_event, data);
	tracepoint_synchronize_unregister();
}

static struct watch *watch_begin(struct kunit *test)
{
	struct watch *watch = kunit_kzalloc(test, sizeof(*watch), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, watch);
	watch->task = current;
	KUNIT_ASSERT_EQ(test, 0, register_trace_console(see_line, watch));
	KUNIT_ASSERT_EQ(test, 0, register_trace_mmu_notifier_nonblock(see_event, watch));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, watch_no_more, watch));
	return watch;
}

/* In the trace it is a probe. In the log, nobody wants to read of each back-off. */
static void back_off_is_traced_and_not_printed(struct kunit *test)
{
	struct probing *probing = test->priv;
	struct fake *fake = subscribe(probing, RANGE);
	struct watch *watch = watch_begin(test);

	fake->error = -EAGAIN;
	blockable_pass(probing);
	KUNIT_EXPECT_EQ(test, watch->lines, 0);
	KUNIT_EXPECT_EQ(test, watch->events, 1);
	KUNIT_EXPECT_EQ(test, watch->others, 0);

	/* As ever */
	nonblock_pass(probing);
	KUNIT_EXPECT_EQ(test, watch->lines, 1);
	KUNIT_EXPECT_EQ(test, watch->events, 1);
	KUNIT_EXPECT_EQ(test, watch->others, 1);
}

static struct kunit_case mmu_notifier_probe_cases[] = {
	KUNIT_CASE_PARAM(probe_is_an_extra_pass, kind_gen_params),
	KUNIT_CASE_PARAM(back_off_is_followed_by_real_pass, backing_off_gen_params),
	KUNIT_CASE(nonblock_pass_is_not_probed),
	KUNIT_CASE(attributes_are_honoured),
	KUNIT_CASE(mm_without_notifiers_is_not_probed),
	KUNIT_CASE(filter_has_a_file),
	KUNIT_CASE(fail_nth_is_left_alone),
	KUNIT_CASE_PARAM(filter_leaves_out_others, filter_gen_params),
	KUNIT_CASE(filter_knows_two_pass),
	KUNIT_CASE(filter_may_change_in_a_probe),
	KUNIT_CASE_PARAM(wrong_is_reported, kind_gen_params),
	KUNIT_CASE(wrong_error_is_warned_of),
	KUNIT_CASE(back_off_is_traced_and_not_printed),
	{}
};

static struct kunit_suite mmu_notifier_probe_suite = {
	.name = "mmu_notifier_probe",
	.suite_init = mn_core_check,
	.init = mmu_notifier_probe_init_test,
	.test_cases = mmu_notifier_probe_cases,
};

kunit_test_suite(mmu_notifier_probe_suite);
