// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of how a back-off travels: from the callback of one MMU notifier,
 * past all others, to the caller.
 *
 * Several fake notifiers of both sorts share an mm; some back off. Each one that
 * has started is ended, once, and the mm is then as if nothing had been.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/test.h>
#include <linux/errno.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "mmu_notifier_kunit.h"

#define NR_PAGES	8

enum kind {
	NO_NOTIFIER,	/* ends an array of kinds */
	RANGE,		/* range_start; without range_end, as who backs off must be */
	RANGE_WITH_END,
	INTERVAL,
	TWO_PASS,
};

/**
 * struct notifier - a fake notifier
 * @kind: which callbacks it has
 * @error: what it says to the next passes: an error code of range_start, or
 *	   anything but 0 for an interval notifier to return false
 * @starts: how often its first callback was called
 * @ends: how often range_end or invalidate_finish was called
 * @range: its subscription, if it is a RANGE
 * @interval: likewise, of the others
 * @finish: what invalidate_start hands to invalidate_finish
 */
struct notifier {
	enum kind kind;
	int error;
	unsigned int starts;
	unsigned int ends;
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	struct mmu_interval_notifier_finish finish;
#endif
};

/**
 * struct notifiers - notifier notifiers on the mm of a test, in the order of their calls
 * @test: the test
 * @start: of the memory that all of them watch
 * @length: its size in bytes
 * @nr: how many there are
 * @notifier: each of them; first those with an interval, as the core does it
 */
struct notifiers {
	struct kunit *test;
	unsigned long start;
	unsigned long length;
	unsigned int nr;
	struct notifier notifier[NR_PAGES];
};

static int notifier_range_start(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	struct notifier *notifier = container_of(subscription, struct notifier, range);

	if (range->event != KUNIT_MMU_NOTIFY)
		return 0;

	notifier->starts++;
	return notifier->error;
}

static void notifier_range_end(struct mmu_notifier *subscription,
			   const struct mmu_notifier_range *range)
{
	if (range->event == KUNIT_MMU_NOTIFY)
		container_of(subscription, struct notifier, range)->ends++;
}

static const struct mmu_notifier_ops notifier_range_ops = {
	.invalidate_range_start = notifier_range_start,
};

static const struct mmu_notifier_ops notifier_range_with_end_ops = {
	.invalidate_range_start = notifier_range_start,
	.invalidate_range_end = notifier_range_end,
};

static bool notifier_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range,
			    unsigned long seq)
{
	struct notifier *notifier = container_of(subscription, struct notifier, interval);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	notifier->starts++;
	if (notifier->error)
		return false;

	mmu_interval_set_seq(subscription, seq);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_interval_ops = {
	.invalidate = notifier_invalidate,
};

#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
static bool notifier_invalidate_start(struct mmu_interval_notifier *subscription,
				  const struct mmu_notifier_range *range,
				  unsigned long seq,
				  struct mmu_interval_notifier_finish **finish)
{
	if (!notifier_invalidate(subscription, range, seq))
		return false;

	if (range->event == KUNIT_MMU_NOTIFY)
		*finish = &container_of(subscription, struct notifier, interval)->finish;
	return true;
}

static void notifier_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	container_of(finish, struct notifier, finish)->ends++;
}

static const struct mmu_interval_notifier_ops notifier_two_pass_ops = {
	.invalidate_start = notifier_invalidate_start,
	.invalidate_finish = notifier_invalidate_finish,
};
#else
#define notifier_two_pass_ops notifier_interval_ops
#endif

static bool is_interval(const struct notifier *notifier)
{
	return notifier->kind == INTERVAL || notifier->kind == TWO_PASS;
}

/* Interval notifiers are called in the order of their first addresses. */
static void subscribe_interval(struct notifiers *notifiers, unsigned int i)
{
	struct notifier *notifier = &notifiers->notifier[i];

	if (notifier->kind == TWO_PASS && !IS_ENABLED(CONFIG_MMU_NOTIFIER_TWO_PASS))
		kunit_skip(notifiers->test, "this kernel has no two-pass interval notifiers");

	kunit_mmu_interval_notifier_insert(notifiers->test, &notifier->interval,
					   notifiers->start + i * PAGE_SIZE,
					   notifiers->length - i * PAGE_SIZE,
					   notifier->kind == TWO_PASS ? &notifier_two_pass_ops :
					   &notifier_interval_ops);
}

/* The others are called in the order opposite to that of their registration. */
static struct notifiers *notifiers_create(struct kunit *test, const enum kind *kinds)
{
	struct notifiers *notifiers = kunit_kzalloc(test, sizeof(*notifiers), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, notifiers);
	notifiers->test = test;
	notifiers->length = NR_PAGES * PAGE_SIZE;
	notifiers->start = kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE);

	while (kinds[notifiers->nr] != NO_NOTIFIER) {
		KUNIT_ASSERT_LT(test, notifiers->nr, NR_PAGES);
		notifiers->notifier[notifiers->nr].kind = kinds[notifiers->nr];
		notifiers->nr++;
	}

	for (i = notifiers->nr; i-- > 0;) {
		struct notifier *notifier = &notifiers->notifier[i];

		if (is_interval(notifier))
			subscribe_interval(notifiers, i);
		else
			kunit_mmu_notifier_register(test, &notifier->range,
						    notifier->kind == RANGE ? &notifier_range_ops :
						    &notifier_range_with_end_ops);
	}
	return notifiers;
}

static void count_anew(struct notifiers *notifiers)
{
	unsigned int i;

	for (i = 0; i < notifiers->nr; i++) {
		notifiers->notifier[i].starts = 0;
		notifiers->notifier[i].ends = 0;
	}
}

/* Over the last page, which all of them watch */
static int nonblock_pass(struct notifiers *notifiers)
{
	count_anew(notifiers);
	return kunit_mmu_notifier_nonblock_pass(notifiers->test,
						notifiers->start + notifiers->length - PAGE_SIZE,
						PAGE_SIZE);
}

static void blockable_pass(struct notifiers *notifiers)
{
	count_anew(notifiers);
	kunit_mmu_notifier_blockable_pass(notifiers->test,
					  notifiers->start + notifiers->length - PAGE_SIZE,
					  PAGE_SIZE);
}

static void back_off(struct notifiers *notifiers, unsigned int mask)
{
	unsigned int i;

	for (i = 0; i < notifiers->nr; i++)
		notifiers->notifier[i].error = mask & BIT(i) ? -EAGAIN : 0;
}

static bool has_end(const struct notifier *notifier)
{
	return notifier->kind == RANGE_WITH_END || notifier->kind == TWO_PASS;
}

/* Those before @stopped_at, and of them those with an end, once; no other */
static void expect_calls(struct notifiers *notifiers, unsigned int stopped_at)
{
	unsigned int i;

	for (i = 0; i < notifiers->nr; i++) {
		struct notifier *notifier = &notifiers->notifier[i];
		bool finished = i < stopped_at && has_end(notifier);

		KUNIT_EXPECT_EQ_MSG(notifiers->test, notifier->starts, i <= stopped_at,
				    "starts of notifier %u", i);
		KUNIT_EXPECT_EQ_MSG(notifiers->test, notifier->ends, finished,
				    "ends of notifier %u", i);
	}
}

#define NOBODY UINT_MAX

/* The mm is as before: all can be used, and the next pass is a whole one. */
static void expect_unharmed(struct notifiers *notifiers)
{
	struct kunit *test = notifiers->test;
	unsigned long seq;
	unsigned int i;

	for (i = 0; i < notifiers->nr; i++) {
		if (!is_interval(&notifiers->notifier[i]))
			continue;
		seq = mmu_interval_read_begin(&notifiers->notifier[i].interval);
		KUNIT_EXPECT_FALSE(test, mmu_interval_read_retry(&notifiers->notifier[i].interval, seq));
	}

	back_off(notifiers, 0);
	blockable_pass(notifiers);
	expect_calls(notifiers, NOBODY);
	KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers), 0);
	expect_calls(notifiers, NOBODY);
}

/* Range notifiers: all are called, whoever backs off */

struct backing_off {
	const char *name;
	unsigned int mask;
};

static void backing_off_describe(const struct backing_off *who, char *description)
{
	strscpy(description, who->name, KUNIT_PARAM_DESC_SIZE);
}

static const enum kind ranges[] = {
	RANGE, RANGE_WITH_END, RANGE, RANGE_WITH_END, RANGE_WITH_END, RANGE, NO_NOTIFIER
};

static const struct backing_off backing_off_ranges[] = {
	{ .name = "none", .mask = 0 },
	{ .name = "first", .mask = BIT(0) },
	{ .name = "middle", .mask = BIT(2) },
	{ .name = "last", .mask = BIT(5) },
	{ .name = "first_and_last", .mask = BIT(0) | BIT(5) },
	{ .name = "all", .mask = BIT(0) | BIT(2) | BIT(5) },
};

KUNIT_ARRAY_PARAM(range, backing_off_ranges, backing_off_describe);

static void range_notifiers_are_all_called(struct kunit *test)
{
	const struct backing_off *who = test->param_value;
	struct notifiers *notifiers = notifiers_create(test, ranges);

	back_off(notifiers, who->mask);
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers),
					       who->mask ? -EAGAIN : 0));
	expect_calls(notifiers, NOBODY);
	expect_unharmed(notifiers);
}

/* Interval notifiers: the first false is the end, and range notifiers never know */

static const enum kind intervals[] = {
	INTERVAL, INTERVAL, INTERVAL, RANGE_WITH_END, NO_NOTIFIER
};

static const enum kind two_passes[] = {
	TWO_PASS, INTERVAL, TWO_PASS, RANGE_WITH_END, NO_NOTIFIER
};

struct interval_case {
	const char *name;
	const enum kind *kinds;
	unsigned int stopped_at;
};

static const struct interval_case interval_cases[] = {
	{ .name = "intervals/none", .kinds = intervals, .stopped_at = NOBODY },
	{ .name = "intervals/first", .kinds = intervals, .stopped_at = 0 },
	{ .name = "intervals/middle", .kinds = intervals, .stopped_at = 1 },
	{ .name = "intervals/last", .kinds = intervals, .stopped_at = 2 },
	{ .name = "two_passes/none", .kinds = two_passes, .stopped_at = NOBODY },
	{ .name = "two_passes/first", .kinds = two_passes, .stopped_at = 0 },
	{ .name = "two_passes/middle", .kinds = two_passes, .stopped_at = 1 },
	{ .name = "two_passes/last", .kinds = two_passes, .stopped_at = 2 },
};

static void interval_case_describe(const struct interval_case *c, char *description)
{
	strscpy(description, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(interval, interval_cases, interval_case_describe);

static void interval_false_stops_walk(struct kunit *test)
{
	const struct interval_case *c = test->param_value;
	struct notifiers *notifiers = notifiers_create(test, c->kinds);

	if (c->stopped_at != NOBODY)
		back_off(notifiers, BIT(c->stopped_at));
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers),
					       c->stopped_at != NOBODY ? -EAGAIN : 0));
	expect_calls(notifiers, c->stopped_at);
	expect_unharmed(notifiers);
}

/* Both sorts, in every order of failure */

static const enum kind mixed[] = {
	INTERVAL, INTERVAL, RANGE, RANGE_WITH_END, RANGE, NO_NOTIFIER
};

static const struct backing_off backing_off_mixed[] = {
	{ .name = "first_interval", .mask = BIT(0) },
	{ .name = "last_interval", .mask = BIT(1) },
	{ .name = "both_intervals", .mask = BIT(0) | BIT(1) },
	{ .name = "first_range", .mask = BIT(2) },
	{ .name = "last_range", .mask = BIT(4) },
	{ .name = "both_ranges", .mask = BIT(2) | BIT(4) },
	{ .name = "interval_and_range", .mask = BIT(1) | BIT(2) },
	{ .name = "all", .mask = BIT(0) | BIT(1) | BIT(2) | BIT(4) },
};

KUNIT_ARRAY_PARAM(mixed, backing_off_mixed, backing_off_describe);

static void mixed_back_off_leaves_no_trace(struct kunit *test)
{
	const struct backing_off *who = test->param_value;
	struct notifiers *notifiers = notifiers_create(test, mixed);
	unsigned int in_intervals = who->mask & (BIT(0) | BIT(1));
	struct mmu_interval_notifier *guest = kunit_kzalloc(test, sizeof(*guest), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, guest);
	kunit_mmu_interval_notifier_insert(test, guest, notifiers->start, PAGE_SIZE,
					   &notifier_interval_ops);
	back_off(notifiers, who->mask);
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers), -EAGAIN));
	expect_calls(notifiers, in_intervals ? __ffs(in_intervals) : NOBODY);

	/* Waits for the end of a pass, if one is under way */
	kunit_mmu_interval_notifier_remove(test, guest);
	expect_unharmed(notifiers);
}

/*
 * A reader, who looks up pages to mirror, collides with a pass that then backs
 * off: what it has read counts for nothing, and the next time it succeeds.
 */
static void reader_retries_after_back_off(struct kunit *test)
{
	struct notifiers *notifiers = notifiers_create(test, mixed);
	struct mmu_interval_notifier *reader = &notifiers->notifier[0].interval;
	unsigned long seq;

	back_off(notifiers, BIT(4));
	seq = mmu_interval_read_begin(reader);
	KUNIT_EXPECT_FALSE(test, mmu_interval_check_retry(reader, seq));
	KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, mmu_interval_check_retry(reader, seq));
	KUNIT_EXPECT_TRUE(test, mmu_interval_read_retry(reader, seq));

	seq = mmu_interval_read_begin(reader);
	KUNIT_EXPECT_FALSE(test, mmu_interval_read_retry(reader, seq));
}

/* Breaches of contract, which the core warns of */

struct breach {
	const char *name;
	enum kind kind;
	int error;
	bool blockable;
};

static const struct breach breaches[] = {
	{ .name = "blockable_start_fails", .kind = RANGE, .error = -EAGAIN, .blockable = true },
	{ .name = "start_fails_otherwise", .kind = RANGE, .error = -EINVAL },
	{ .name = "start_fails_and_has_end", .kind = RANGE_WITH_END, .error = -EAGAIN },
	{ .name = "blockable_interval_fails", .kind = INTERVAL, .error = -EAGAIN,
	  .blockable = true },
	{ .name = "blockable_two_pass_fails", .kind = TWO_PASS, .error = -EAGAIN,
	  .blockable = true },
};

static void breach_describe(const struct breach *breach, char *description)
{
	strscpy(description, breach->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(breach, breaches, breach_describe);

/* The interval notifier besides is ended once, whatever the other does. */
static void breach_is_warned_of(struct kunit *test)
{
	const struct breach *breach = test->param_value;
	const enum kind kinds[] = { INTERVAL, breach->kind, NO_NOTIFIER };
	struct notifiers *notifiers = notifiers_create(test, kinds);
	int ret = breach->error;

	notifiers->notifier[1].error = breach->error;
	if (breach->blockable)
		KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL,
				    blockable_pass(notifiers));
	else
		KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL,
				    ret = nonblock_pass(notifiers));
	KUNIT_EXPECT_EQ(test, ret, breach->error);
	KUNIT_EXPECT_EQ(test, notifiers->notifier[0].starts, 1);
	KUNIT_EXPECT_EQ(test, notifiers->notifier[1].starts, 1);
	expect_unharmed(notifiers);
}

/* A notifier that would back off must not be asked about what is not its own. */

/* Of the interval, in pages */
#define FIRST_PAGE	2
#define NR_OWN		2

struct overlap {
	const char *name;
	unsigned long first;
	unsigned long nr;
	bool called;
};

static const struct overlap overlaps[] = {
	{ .name = "one_page_before", .first = FIRST_PAGE - 2, .nr = 1 },
	{ .name = "ends_at_start", .first = 0, .nr = FIRST_PAGE },
	{ .name = "first_page", .first = FIRST_PAGE, .nr = 1, .called = true },
	{ .name = "last_page", .first = FIRST_PAGE + NR_OWN - 1, .nr = 1, .called = true },
	{ .name = "spans", .first = 0, .nr = NR_PAGES, .called = true },
	{ .name = "starts_at_end", .first = FIRST_PAGE + NR_OWN, .nr = 1 },
	{ .name = "one_page_after", .first = FIRST_PAGE + NR_OWN + 1, .nr = 1 },
};

static void overlap_describe(const struct overlap *overlap, char *description)
{
	strscpy(description, overlap->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(overlap, overlaps, overlap_describe);

static void only_overlap_is_called(struct kunit *test)
{
	const struct overlap *overlap = test->param_value;
	struct notifier *notifier = kunit_kzalloc(test, sizeof(*notifier), GFP_KERNEL);
	unsigned long start = kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE);
	unsigned long first = start + overlap->first * PAGE_SIZE;

	KUNIT_ASSERT_NOT_NULL(test, notifier);
	kunit_mmu_interval_notifier_insert(test, &notifier->interval,
					   start + FIRST_PAGE * PAGE_SIZE, NR_OWN * PAGE_SIZE,
					   &notifier_interval_ops);
	kunit_mmu_notifier_blockable_pass(test, first, overlap->nr * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, notifier->starts, overlap->called);

	notifier->error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, kunit_mmu_notifier_nonblock_pass(test, first,
							       overlap->nr * PAGE_SIZE),
			overlap->called ? -EAGAIN : 0);
	KUNIT_EXPECT_EQ(test, notifier->starts, 2 * overlap->called);
}

/*
 * A core that does not end its passes: whoever waits for that, waits for ever, and
 * so do most tests when they remove their notifiers.
 */

/* Left behind in that case, with the mm */
struct core {
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
	struct mm_struct *mm;
	bool range_backs_off;
	bool interval_backs_off;
};

static int core_range_start(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	return container_of(subscription, struct core, range)->range_backs_off ? -EAGAIN : 0;
}

static const struct mmu_notifier_ops core_range_ops = {
	.invalidate_range_start = core_range_start,
};

static bool core_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range, unsigned long seq)
{
	mmu_interval_set_seq(subscription, seq);
	return !container_of(subscription, struct core, interval)->interval_backs_off;
}

static const struct mmu_interval_notifier_ops core_interval_ops = {
	.invalidate = core_invalidate,
};

static bool core_ends_pass(struct core *core, bool blockable)
{
	struct mmu_notifier_state state;
	struct mmu_notifier_range range;
	int ret = 0;

	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, core->mm, 0, PAGE_SIZE);
	if (blockable)
		mmu_notifier_invalidate_range_start(&range);
	else
		ret = mmu_notifier_invalidate_range_start_nonblock(&range);
	if (!ret)
		mmu_notifier_invalidate_range_end(&range);
	mmu_notifier_read_state(core->mm, &state);
	return !state.active_ranges && !(state.seq & 1);
}

static bool core_ends_passes(struct core *core)
{
	unsigned int mask;

	if (!core_ends_pass(core, true))
		return false;
	for (mask = 0; mask < 4; mask++) {
		core->range_backs_off = mask & 1;
		core->interval_backs_off = mask & 2;
		if (!core_ends_pass(core, false))
			return false;
	}
	core->range_backs_off = false;
	core->interval_backs_off = false;
	return true;
}

/**
 * mn_core_check() - fail a suite that would wait for ever
 * @suite: not used
 *
 * Context: May sleep.
 *
 * Return: 0 or an error, as suite_init() does.
 */
int mn_core_check(struct kunit_suite *suite)
{
	struct core *core = kzalloc(sizeof(*core), GFP_KERNEL);
	int ret;

	if (!core)
		return -ENOMEM;
	core->mm = mm_alloc();
	if (!core->mm) {
		kfree(core);
		return -ENOMEM;
	}
	core->range.ops = &core_range_ops;
	ret = mmu_notifier_register(&core->range, core->mm) ?:
	      mmu_interval_notifier_insert(&core->interval, core->mm, 0, PAGE_SIZE,
					   &core_interval_ops);
	if (!ret && !core_ends_passes(core)) {
		pr_err("an invalidation is over, but its range is still being invalidated\n");
		__module_get(THIS_MODULE);
		return -EIO;
	}
	if (!ret)
		mmu_interval_notifier_remove(&core->interval);
	mmu_notifier_unregister(&core->range, core->mm);
	mmput(core->mm);
	kfree(core);
	return ret;
}

static struct kunit_case mmu_notifier_backoff_cases[] = {
	KUNIT_CASE_PARAM(range_notifiers_are_all_called, range_gen_params),
	KUNIT_CASE_PARAM(interval_false_stops_walk, interval_gen_params),
	KUNIT_CASE_PARAM(mixed_back_off_leaves_no_trace, mixed_gen_params),
	KUNIT_CASE(reader_retries_after_back_off),
	KUNIT_CASE_PARAM(breach_is_warned_of, breach_gen_params),
	KUNIT_CASE_PARAM(only_overlap_is_called, overlap_gen_params),
	{}
};

static struct kunit_suite mmu_notifier_backoff_suite = {
	.name = "mmu_notifier_backoff",
	.suite_init = mn_core_check,
	.test_cases = mmu_notifier_backoff_cases,
};

kunit_test_suite(mmu_notifier_backoff_suite);
