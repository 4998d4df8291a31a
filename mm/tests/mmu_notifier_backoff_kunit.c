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
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/kthread.h>
#include <linux/lockdep.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "mmu_notifier_fake_kunit.h"

#define NR_PAGES	8

/**
 * struct notifiers - those on the mm of a test, in the order of their calls
 * @test: the test
 * @start: of the memory that all of them watch
 * @length: its size in bytes
 * @nr: how many there are
 * @fake: each of them; first those with an interval, as the core does it
 */
struct notifiers {
	struct kunit *test;
	unsigned long start;
	unsigned long length;
	unsigned int nr;
	struct fake fake[NR_PAGES];
};

/*
 * Interval notifiers are called in the order of their first addresses, the others in
 * the order opposite to that of their registration.
 */
static struct notifiers *notifiers_create(struct kunit *test, const enum fake_kind *kinds)
{
	struct notifiers *notifiers = kunit_kzalloc(test, sizeof(*notifiers), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, notifiers);
	notifiers->test = test;
	notifiers->length = NR_PAGES * PAGE_SIZE;
	notifiers->start = kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE);
	while (kinds[notifiers->nr] != NO_FAKE)
		notifiers->nr++;
	KUNIT_ASSERT_LE(test, notifiers->nr, NR_PAGES);
	for (i = notifiers->nr; i-- > 0;)
		fake_subscribe(test, &notifiers->fake[i], kinds[i],
			       notifiers->start + i * PAGE_SIZE,
			       notifiers->length - i * PAGE_SIZE);
	return notifiers;
}

static void count_anew(struct notifiers *notifiers)
{
	unsigned int i;

	for (i = 0; i < notifiers->nr; i++) {
		memset(notifiers->fake[i].starts, 0, sizeof(notifiers->fake[i].starts));
		memset(notifiers->fake[i].ends, 0, sizeof(notifiers->fake[i].ends));
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

	for (i = 0; i < notifiers->nr; i++) {
		notifiers->fake[i].error = mask & BIT(i) ? -EAGAIN : 0;
		notifiers->fake[i].blockable_error = 0;
	}
}

/* Those before @stopped_at, and of them those with an end, once; no other */
static void expect_calls(struct notifiers *notifiers, enum fake_pass pass,
			 unsigned int stopped_at)
{
	unsigned int i;

	for (i = 0; i < notifiers->nr; i++) {
		struct fake *fake = &notifiers->fake[i];
		bool finished = i < stopped_at && fake_has_end(fake);

		KUNIT_EXPECT_EQ_MSG(notifiers->test, fake->starts[pass], i <= stopped_at,
				    "starts of notifier %u", i);
		KUNIT_EXPECT_EQ_MSG(notifiers->test, fake->ends[pass], finished,
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
		struct fake *fake = &notifiers->fake[i];

		if (!fake_is_interval(fake))
			continue;
		seq = mmu_interval_read_begin(&fake->interval);
		KUNIT_EXPECT_FALSE(test, mmu_interval_read_retry(&fake->interval, seq));
	}

	back_off(notifiers, 0);
	blockable_pass(notifiers);
	expect_calls(notifiers, BLOCKABLE, NOBODY);
	KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers), 0);
	expect_calls(notifiers, NONBLOCK, NOBODY);
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

static const enum fake_kind ranges[] = {
	RANGE, RANGE_WITH_END, RANGE, RANGE_WITH_END, RANGE_WITH_END, RANGE, NO_FAKE
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
	expect_calls(notifiers, NONBLOCK, NOBODY);
	expect_unharmed(notifiers);
}

/* Interval notifiers: the first false is the end, and range notifiers never know */

static const enum fake_kind intervals[] = {
	INTERVAL, INTERVAL, INTERVAL, RANGE_WITH_END, NO_FAKE
};

static const enum fake_kind two_passes[] = {
	TWO_PASS, INTERVAL, TWO_PASS, RANGE_WITH_END, NO_FAKE
};

struct interval_case {
	const char *name;
	const enum fake_kind *kinds;
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
	expect_calls(notifiers, NONBLOCK, c->stopped_at);
	expect_unharmed(notifiers);
}

/* The second pass comes in the order of the first one. */

static unsigned int nr_finished;

static void note_order(void *order)
{
	*(unsigned int *)order = nr_finished++;
}

static void second_pass_keeps_order(struct kunit *test)
{
	static const enum fake_kind kinds[] = { TWO_PASS, TWO_PASS, TWO_PASS, NO_FAKE };
	struct notifiers *notifiers = notifiers_create(test, kinds);
	unsigned int order[3] = {};
	unsigned int i;

	for (i = 0; i < 3; i++) {
		notifiers->fake[i].at_end = note_order;
		notifiers->fake[i].data = &order[i];
	}
	nr_finished = 0;
	KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers), 0);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, order[i], i);
}

/* The end of an mm is an invalidation, too. */

static void end_of_mm_is_over(struct kunit *test)
{
	unsigned long start = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
					    MAP_ANONYMOUS | MAP_PRIVATE, 0);
	struct fake *fake = kzalloc(sizeof(*fake), GFP_KERNEL);
	struct mm_struct *mm = current->mm;
	struct mmu_notifier_state state;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	KUNIT_ASSERT_FALSE(test, !start || IS_ERR_VALUE(start));
	KUNIT_ASSERT_EQ(test, 0, mmu_interval_notifier_insert(&fake->interval, mm, start,
							      PAGE_SIZE, &fake_interval_ops));
	kthread_unuse_mm(mm);
	mmput(mm);
	mmu_notifier_read_state(mm, &state);
	/* If not, to remove it would wait for ever. */
	KUNIT_ASSERT_EQ(test, state.active_ranges, 0);
	KUNIT_ASSERT_EQ(test, state.seq & 1, 0);
	mmu_interval_notifier_remove(&fake->interval);
	kfree(fake);
}

/* The end of an mm has both passes. */
#ifdef MMU_NOTIFIER_TWO_PASS
/**
 * struct ending - a notifier that outlives its mm
 * @interval: its subscription
 * @finish: what the first pass hands to the second one
 * @finished: calls of the second pass
 */
struct ending {
	struct mmu_interval_notifier interval;
	struct mmu_interval_notifier_finish finish;
	unsigned int finished;
};

static bool ending_start(struct mmu_interval_notifier *subscription,
			 const struct mmu_notifier_range *range, unsigned long seq,
			 struct mmu_interval_notifier_finish **finish)
{
	mmu_interval_set_seq(subscription, seq);
	if (range->event == MMU_NOTIFY_RELEASE)
		*finish = &container_of(subscription, struct ending, interval)->finish;
	return true;
}

static void ending_finish(struct mmu_interval_notifier_finish *finish)
{
	container_of(finish, struct ending, finish)->finished++;
}

static void end_of_mm_has_second_pass(struct kunit *test)
{
	static const struct mmu_interval_notifier_ops ops = {
		.invalidate_start = ending_start,
		.invalidate_finish = ending_finish,
	};
	unsigned long start = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
					    MAP_ANONYMOUS | MAP_PRIVATE, 0);
	struct mm_struct *mm = current->mm;
	struct ending ending = {};

	KUNIT_ASSERT_FALSE(test, !start || IS_ERR_VALUE(start));
	KUNIT_ASSERT_EQ(test, 0, mmu_interval_notifier_insert(&ending.interval, mm, start,
							      PAGE_SIZE, &ops));
	kthread_unuse_mm(mm);
	mmput(mm);
	KUNIT_EXPECT_EQ(test, ending.finished, 1);
	mmu_interval_notifier_remove(&ending.interval);
}
#else
static void end_of_mm_has_second_pass(struct kunit *test)
{
	kunit_skip(test, "this kernel has no two-pass interval notifiers");
}
#endif

/* Both sorts, in every order of failure */

static const enum fake_kind mixed[] = {
	INTERVAL, INTERVAL, RANGE, RANGE_WITH_END, RANGE, NO_FAKE
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
					   &fake_interval_ops);
	back_off(notifiers, who->mask);
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, nonblock_pass(notifiers), -EAGAIN));
	expect_calls(notifiers, NONBLOCK, in_intervals ? __ffs(in_intervals) : NOBODY);

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
	struct mmu_interval_notifier *reader = &notifiers->fake[0].interval;
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
	enum fake_kind kind;
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

/* The interval notifiers besides are called, and ended once, whatever the other does. */
static void breach_is_warned_of(struct kunit *test)
{
	const struct breach *breach = test->param_value;
	/* Not in the order of their calls, if that is for ranges */
	const enum fake_kind kinds[] = { INTERVAL, breach->kind, INTERVAL, NO_FAKE };
	struct notifiers *notifiers = notifiers_create(test, kinds);
	enum fake_pass pass = breach->blockable ? BLOCKABLE : NONBLOCK;
	int ret = breach->error;

	notifiers->fake[1].error = breach->error;
	notifiers->fake[1].blockable_error = breach->error;
	if (breach->blockable)
		KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL,
				    blockable_pass(notifiers));
	else
		KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL,
				    ret = nonblock_pass(notifiers));
	KUNIT_EXPECT_EQ(test, ret, breach->error);
	KUNIT_EXPECT_EQ(test, notifiers->fake[0].starts[pass], 1);
	KUNIT_EXPECT_EQ(test, notifiers->fake[1].starts[pass], 1);
	KUNIT_EXPECT_EQ(test, notifiers->fake[2].starts[pass], 1);
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

static void check_overlap(struct kunit *test, unsigned long start)
{
	const struct overlap *overlap = test->param_value;
	struct fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	unsigned long first = start + overlap->first * PAGE_SIZE;
	unsigned long length = overlap->nr * PAGE_SIZE;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake_subscribe(test, fake, INTERVAL, start + FIRST_PAGE * PAGE_SIZE, NR_OWN * PAGE_SIZE);
	kunit_mmu_notifier_blockable_pass(test, first, length);
	KUNIT_EXPECT_EQ(test, fake->starts[BLOCKABLE], overlap->called);

	fake->error = -EAGAIN;
	KUNIT_EXPECT_EQ(test, kunit_mmu_notifier_nonblock_pass(test, first, length),
			overlap->called ? -EAGAIN : 0);
	KUNIT_EXPECT_EQ(test, fake->starts[NONBLOCK], overlap->called);
}

static void only_overlap_is_called(struct kunit *test)
{
	check_overlap(test, kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE));
}

/* Behind another one, which comes first in each of these ranges */
static void only_overlap_is_called_next(struct kunit *test)
{
	struct fake *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	unsigned long start = kunit_mmu_notifier_mmap(test, NR_PAGES, MAP_PRIVATE);

	KUNIT_ASSERT_NOT_NULL(test, other);
	fake_subscribe(test, other, INTERVAL, start, NR_PAGES * PAGE_SIZE);
	check_overlap(test, start);
	KUNIT_EXPECT_EQ(test, other->starts[BLOCKABLE], 1);
	KUNIT_EXPECT_EQ(test, other->starts[NONBLOCK], 1);
}

/*
 * A core that does not end its passes: whoever waits for that, waits for ever, and
 * so do most tests when they remove their notifiers.
 */

/* Left behind in that case, with the mm */
struct core {
	struct fake range;
	struct fake interval;
	struct mm_struct *mm;
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
	bool ends = core_ends_pass(core, true);
	unsigned int mask;

	/* Lockdep shall not learn of them, see range_callback_depends_on_reclaim(). */
	lockdep_off();
	for (mask = 0; ends && mask < 4; mask++) {
		core->range.error = mask & 1 ? -EAGAIN : 0;
		core->interval.error = mask & 2 ? -EAGAIN : 0;
		ends = core_ends_pass(core, false);
	}
	lockdep_on();
	return ends;
}

static int core_check(struct core *core)
{
	int ret;

	core->range.range.ops = &fake_range_ops;
	ret = mmu_notifier_register(&core->range.range, core->mm);
	if (ret)
		return ret;
	ret = mmu_interval_notifier_insert(&core->interval.interval, core->mm, 0, PAGE_SIZE,
					   &fake_interval_ops);
	if (!ret && !core_ends_passes(core)) {
		pr_err("an invalidation is over, but its range is still being invalidated\n");
		__module_get(THIS_MODULE);
		return -EDEADLK;
	}
	if (!ret)
		mmu_interval_notifier_remove(&core->interval.interval);
	mmu_notifier_unregister(&core->range.range, core->mm);
	return ret;
}

/**
 * mn_core_check() - fail what would wait for ever
 * @suite: not used
 *
 * Context: May sleep.
 *
 * Return: 0 or an error, as suite_init() does.
 */
int mn_core_check(struct kunit_suite *suite)
{
	static bool checked;
	static int ret;
	struct core *core;

	if (checked)
		return ret;
	core = kzalloc(sizeof(*core), GFP_KERNEL);
	if (!core)
		return -ENOMEM;
	core->mm = mm_alloc();
	ret = core->mm ? core_check(core) : -ENOMEM;
	checked = true;
	if (ret == -EDEADLK)
		return ret;
	if (core->mm)
		mmput(core->mm);
	kfree(core);
	return ret;
}

static struct kunit_case mmu_notifier_backoff_cases[] = {
	KUNIT_CASE_PARAM(range_notifiers_are_all_called, range_gen_params),
	KUNIT_CASE_PARAM(interval_false_stops_walk, interval_gen_params),
	KUNIT_CASE(second_pass_keeps_order),
	KUNIT_CASE(end_of_mm_is_over),
	KUNIT_CASE(end_of_mm_has_second_pass),
	KUNIT_CASE_PARAM(mixed_back_off_leaves_no_trace, mixed_gen_params),
	KUNIT_CASE(reader_retries_after_back_off),
	KUNIT_CASE_PARAM(breach_is_warned_of, breach_gen_params),
	KUNIT_CASE_PARAM(only_overlap_is_called, overlap_gen_params),
	KUNIT_CASE_PARAM(only_overlap_is_called_next, overlap_gen_params),
	{}
};

static struct kunit_suite mmu_notifier_backoff_suite = {
	.name = "mmu_notifier_backoff",
	.suite_init = mn_core_check,
	.test_cases = mmu_notifier_backoff_cases,
};

kunit_test_suite(mmu_notifier_backoff_suite);
