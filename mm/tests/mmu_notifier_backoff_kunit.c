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
#include <linux/string.h>

#define NR_LINKS	8
#define MAX_TEXT	256

enum link_kind {
	NO_LINK,	/* ends an array of kinds */
	RANGE,		/* range_start; without range_end, as who backs off must be */
	RANGE_WITH_END,
	INTERVAL,
	TWO_PASS,
};

/**
 * struct link - a fake notifier
 * @kind: which callbacks it has
 * @error: what it says to the next passes: an error code of range_start, or
 *	   anything but 0 for an interval notifier to return false
 * @starts: how often its first callback was called
 * @ends: how often range_end or invalidate_finish was called
 * @range: its subscription, if it is a RANGE
 * @interval: likewise, of the others
 * @finish: what invalidate_start hands to invalidate_finish
 */
struct link {
	enum link_kind kind;
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
 * struct chain - fake notifiers on the mm of a test, in the order of their calls
 * @test: the test
 * @start: of the memory that all of them watch
 * @length: its size in bytes
 * @nr: how many there are
 * @link: they; first those with an interval, as the core does it
 */
struct chain {
	struct kunit *test;
	unsigned long start;
	unsigned long length;
	unsigned int nr;
	struct link link[NR_LINKS];
};

static int link_range_start(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	struct link *link = container_of(subscription, struct link, range);

	if (range->event != KUNIT_MMU_NOTIFY)
		return 0;

	link->starts++;
	return link->error;
}

static void link_range_end(struct mmu_notifier *subscription,
			   const struct mmu_notifier_range *range)
{
	if (range->event == KUNIT_MMU_NOTIFY)
		container_of(subscription, struct link, range)->ends++;
}

static const struct mmu_notifier_ops link_range_ops = {
	.invalidate_range_start = link_range_start,
};

static const struct mmu_notifier_ops link_range_with_end_ops = {
	.invalidate_range_start = link_range_start,
	.invalidate_range_end = link_range_end,
};

static bool link_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range,
			    unsigned long seq)
{
	struct link *link = container_of(subscription, struct link, interval);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	link->starts++;
	if (link->error)
		return false;

	mmu_interval_set_seq(subscription, seq);
	return true;
}

static const struct mmu_interval_notifier_ops link_interval_ops = {
	.invalidate = link_invalidate,
};

#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
static bool link_invalidate_start(struct mmu_interval_notifier *subscription,
				  const struct mmu_notifier_range *range,
				  unsigned long seq,
				  struct mmu_interval_notifier_finish **finish)
{
	if (!link_invalidate(subscription, range, seq))
		return false;

	if (range->event == KUNIT_MMU_NOTIFY)
		*finish = &container_of(subscription, struct link, interval)->finish;
	return true;
}

static void link_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	container_of(finish, struct link, finish)->ends++;
}

static const struct mmu_interval_notifier_ops link_two_pass_ops = {
	.invalidate_start = link_invalidate_start,
	.invalidate_finish = link_invalidate_finish,
};
#else
#define link_two_pass_ops link_interval_ops
#endif

static bool is_interval(const struct link *link)
{
	return link->kind == INTERVAL || link->kind == TWO_PASS;
}

/* Interval notifiers are called in the order of their first addresses. */
static void subscribe_interval(struct chain *chain, unsigned int i)
{
	struct link *link = &chain->link[i];

	if (link->kind == TWO_PASS && !IS_ENABLED(CONFIG_MMU_NOTIFIER_TWO_PASS))
		kunit_skip(chain->test, "this kernel has no two-pass interval notifiers");

	kunit_mmu_interval_notifier_insert(chain->test, &link->interval,
					   chain->start + i * PAGE_SIZE,
					   chain->length - i * PAGE_SIZE,
					   link->kind == TWO_PASS ? &link_two_pass_ops :
					   &link_interval_ops);
}

/* The others are called in the order opposite to that of their registration. */
static struct chain *chain_create(struct kunit *test, const enum link_kind *kinds)
{
	struct chain *chain = kunit_kzalloc(test, sizeof(*chain), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, chain);
	chain->test = test;
	chain->length = NR_LINKS * PAGE_SIZE;
	chain->start = kunit_mmu_notifier_mmap(test, NR_LINKS, MAP_PRIVATE);

	while (kinds[chain->nr] != NO_LINK) {
		KUNIT_ASSERT_LT(test, chain->nr, NR_LINKS);
		chain->link[chain->nr].kind = kinds[chain->nr];
		chain->nr++;
	}

	for (i = chain->nr; i-- > 0;) {
		struct link *link = &chain->link[i];

		if (is_interval(link))
			subscribe_interval(chain, i);
		else
			kunit_mmu_notifier_register(test, &link->range,
						    link->kind == RANGE ? &link_range_ops :
						    &link_range_with_end_ops);
	}
	return chain;
}

static void count_anew(struct chain *chain)
{
	unsigned int i;

	for (i = 0; i < chain->nr; i++) {
		chain->link[i].starts = 0;
		chain->link[i].ends = 0;
	}
}

/* Over the last page, which all of them watch */
static int nonblock_pass(struct chain *chain)
{
	count_anew(chain);
	return kunit_mmu_notifier_nonblock_pass(chain->test,
						chain->start + chain->length - PAGE_SIZE,
						PAGE_SIZE);
}

static void blockable_pass(struct chain *chain)
{
	count_anew(chain);
	kunit_mmu_notifier_blockable_pass(chain->test,
					  chain->start + chain->length - PAGE_SIZE,
					  PAGE_SIZE);
}

static void back_off(struct chain *chain, unsigned int mask)
{
	unsigned int i;

	for (i = 0; i < chain->nr; i++)
		chain->link[i].error = mask & BIT(i) ? -EAGAIN : 0;
}

static bool has_end(const struct link *link)
{
	return link->kind == RANGE_WITH_END || link->kind == TWO_PASS;
}

/* Those before @stopped_at, and of them those with an end, once; no other */
static void expect_calls(struct chain *chain, unsigned int stopped_at)
{
	unsigned int i;

	for (i = 0; i < chain->nr; i++) {
		struct link *link = &chain->link[i];
		bool finished = i < stopped_at && has_end(link);

		KUNIT_EXPECT_EQ_MSG(chain->test, link->starts, i <= stopped_at,
				    "starts of notifier %u", i);
		KUNIT_EXPECT_EQ_MSG(chain->test, link->ends, finished,
				    "ends of notifier %u", i);
	}
}

#define NOBODY UINT_MAX

/* The mm is as before: all can be used, and the next pass is a whole one. */
static void expect_unharmed(struct chain *chain)
{
	struct kunit *test = chain->test;
	unsigned long seq;
	unsigned int i;

	for (i = 0; i < chain->nr; i++) {
		if (!is_interval(&chain->link[i]))
			continue;
		seq = mmu_interval_read_begin(&chain->link[i].interval);
		KUNIT_EXPECT_FALSE(test, mmu_interval_read_retry(&chain->link[i].interval, seq));
	}

	back_off(chain, 0);
	blockable_pass(chain);
	expect_calls(chain, NOBODY);
	KUNIT_EXPECT_EQ(test, nonblock_pass(chain), 0);
	expect_calls(chain, NOBODY);
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

static const enum link_kind ranges[] = {
	RANGE, RANGE_WITH_END, RANGE, RANGE_WITH_END, RANGE_WITH_END, RANGE, NO_LINK
};

static const struct backing_off backing_off_ranges[] = {
	{ "none", 0 },
	{ "first", BIT(0) },
	{ "middle", BIT(2) },
	{ "last", BIT(5) },
	{ "first_and_last", BIT(0) | BIT(5) },
	{ "all", BIT(0) | BIT(2) | BIT(5) },
};

KUNIT_ARRAY_PARAM(range, backing_off_ranges, backing_off_describe);

static void range_notifiers_are_all_called(struct kunit *test)
{
	const struct backing_off *who = test->param_value;
	struct chain *chain = chain_create(test, ranges);

	back_off(chain, who->mask);
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, nonblock_pass(chain),
					       who->mask ? -EAGAIN : 0));
	expect_calls(chain, NOBODY);
	expect_unharmed(chain);
}

/* Interval notifiers: the first false is the end, and range notifiers never know */

static const enum link_kind intervals[] = {
	INTERVAL, INTERVAL, INTERVAL, RANGE_WITH_END, NO_LINK
};

static const enum link_kind two_passes[] = {
	TWO_PASS, INTERVAL, TWO_PASS, RANGE_WITH_END, NO_LINK
};

struct interval_case {
	const char *name;
	const enum link_kind *kinds;
	unsigned int stopped_at;
};

static const struct interval_case interval_cases[] = {
	{ "intervals/none", intervals, NOBODY },
	{ "intervals/first", intervals, 0 },
	{ "intervals/middle", intervals, 1 },
	{ "intervals/last", intervals, 2 },
	{ "two_passes/none", two_passes, NOBODY },
	{ "two_passes/first", two_passes, 0 },
	{ "two_passes/middle", two_passes, 1 },
	{ "two_passes/last", two_passes, 2 },
};

static void interval_case_describe(const struct interval_case *c, char *description)
{
	strscpy(description, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(interval, interval_cases, interval_case_describe);

static void interval_false_stops_walk(struct kunit *test)
{
	const struct interval_case *c = test->param_value;
	struct chain *chain = chain_create(test, c->kinds);

	if (c->stopped_at != NOBODY)
		back_off(chain, BIT(c->stopped_at));
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, nonblock_pass(chain),
					       c->stopped_at != NOBODY ? -EAGAIN : 0));
	expect_calls(chain, c->stopped_at);
	expect_unharmed(chain);
}

/* Both sorts, in every order of failure */

static const enum link_kind mixed[] = {
	INTERVAL, INTERVAL, RANGE, RANGE_WITH_END, RANGE, NO_LINK
};

static const struct backing_off backing_off_mixed[] = {
	{ "first_interval", BIT(0) },
	{ "last_interval", BIT(1) },
	{ "both_intervals", BIT(0) | BIT(1) },
	{ "first_range", BIT(2) },
	{ "last_range", BIT(4) },
	{ "both_ranges", BIT(2) | BIT(4) },
	{ "interval_and_range", BIT(1) | BIT(2) },
	{ "all", BIT(0) | BIT(1) | BIT(2) | BIT(4) },
};

KUNIT_ARRAY_PARAM(mixed, backing_off_mixed, backing_off_describe);

static void mixed_back_off_leaves_no_trace(struct kunit *test)
{
	const struct backing_off *who = test->param_value;
	struct chain *chain = chain_create(test, mixed);
	unsigned int in_intervals = who->mask & (BIT(0) | BIT(1));
	struct mmu_interval_notifier *guest = kunit_kzalloc(test, sizeof(*guest), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, guest);
	kunit_mmu_interval_notifier_insert(test, guest, chain->start, PAGE_SIZE,
					   &link_interval_ops);
	back_off(chain, who->mask);
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_EQ(test, nonblock_pass(chain), -EAGAIN));
	expect_calls(chain, in_intervals ? __ffs(in_intervals) : NOBODY);

	/* Waits for the end of a pass, if one is under way */
	kunit_mmu_interval_notifier_remove(test, guest);
	expect_unharmed(chain);
}

/*
 * A reader, who looks up pages to mirror, collides with a pass that then backs
 * off: what it has read counts for nothing, and the next time it succeeds.
 */
static void reader_retries_after_back_off(struct kunit *test)
{
	struct chain *chain = chain_create(test, mixed);
	struct mmu_interval_notifier *reader = &chain->link[0].interval;
	unsigned long seq;

	back_off(chain, BIT(4));
	seq = mmu_interval_read_begin(reader);
	KUNIT_EXPECT_FALSE(test, mmu_interval_check_retry(reader, seq));
	KUNIT_EXPECT_EQ(test, nonblock_pass(chain), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, mmu_interval_check_retry(reader, seq));
	KUNIT_EXPECT_TRUE(test, mmu_interval_read_retry(reader, seq));

	seq = mmu_interval_read_begin(reader);
	KUNIT_EXPECT_FALSE(test, mmu_interval_read_retry(reader, seq));
}

/* Breaches of contract, which the core warns of */

struct breach {
	const char *name;
	enum link_kind kind;
	int error;
	bool blockable;
	const char *text;	/* printed after the callback's name; NULL: none is */
};

static const struct breach breaches[] = {
	{ "blockable_start_fails", RANGE, -EAGAIN, true,
	  "callback failed with -11 in blockable context." },
	{ "nonblocking_start_fails_otherwise", RANGE, -EINVAL, false,
	  "callback failed with -22 in non-blockable context." },
	{ "start_fails_and_has_end", RANGE_WITH_END, -EAGAIN, false,
	  "callback failed with -11 in non-blockable context." },
	{ "blockable_interval_fails", INTERVAL, -EAGAIN, true, NULL },
	{ "blockable_two_pass_fails", TWO_PASS, -EAGAIN, true, NULL },
};

static void breach_describe(const struct breach *breach, char *description)
{
	strscpy(description, breach->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(breach, breaches, breach_describe);

static void breach_is_warned_of(struct kunit *test)
{
	const struct breach *breach = test->param_value;
	const enum link_kind kinds[] = { breach->kind, NO_LINK };
	struct chain *chain = chain_create(test, kinds);
	char *text = kunit_kzalloc(test, MAX_TEXT, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, text);
	if (breach->text)
		snprintf(text, MAX_TEXT, "%pS %s", link_range_start, breach->text);

	chain->link[0].error = breach->error;
	if (breach->blockable)
		KUNIT_EXPECT_WARN(test, "mm/mmu_notifier.c", text, blockable_pass(chain));
	else
		KUNIT_EXPECT_WARN(test, "mm/mmu_notifier.c", text,
				  KUNIT_EXPECT_EQ(test, nonblock_pass(chain), breach->error));
	KUNIT_EXPECT_EQ(test, chain->link[0].starts, 1);
	expect_unharmed(chain);
}

static struct kunit_case mmu_notifier_backoff_cases[] = {
	KUNIT_CASE_PARAM(range_notifiers_are_all_called, range_gen_params),
	KUNIT_CASE_PARAM(interval_false_stops_walk, interval_gen_params),
	KUNIT_CASE_PARAM(mixed_back_off_leaves_no_trace, mixed_gen_params),
	KUNIT_CASE(reader_retries_after_back_off),
	KUNIT_CASE_PARAM(breach_is_warned_of, breach_gen_params),
	{}
};

static struct kunit_suite mmu_notifier_backoff_suite = {
	.name = "mmu_notifier_backoff",
	.exit = kunit_report_test_exit,
	.test_cases = mmu_notifier_backoff_cases,
};

kunit_test_suite(mmu_notifier_backoff_suite);
