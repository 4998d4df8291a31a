// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what is counted of MMU notifier callbacks, see
 * mm/mmu_notifier_stats.c.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/kallsyms.h>
#include <linux/minmax.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/mmu_notifier_nonblock.h>
#include <linux/panic.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/timekeeping.h>

#include "../mmu_notifier_stats.h"

/**
 * struct counted - a fake driver
 * @test: the test that it belongs to
 * @start: of its memory, a page
 * @backs_off: what it does next time
 * @callback: the one that the test is about
 * @act: what that does, or NULL
 * @range: its subscription, if it is for ranges
 * @interval: its subscription otherwise
 * @finish: what invalidate_start hands to invalidate_finish
 */
struct counted {
	struct kunit *test;
	unsigned long start;
	bool backs_off;
	const void *callback;
	void (*act)(void);
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	struct mmu_interval_notifier_finish finish;
#endif
};

static void counted_act(const struct counted *counted, const void *callback)
{
	if (counted->callback == callback && counted->act)
		counted->act();
}

static int counted_range_start(struct mmu_notifier *subscription,
			       const struct mmu_notifier_range *range)
{
	struct counted *counted = container_of(subscription, struct counted, range);

	counted_act(counted, counted_range_start);
	return counted->backs_off ? -EAGAIN : 0;
}

static const struct mmu_notifier_ops counted_range_ops = {
	.invalidate_range_start = counted_range_start,
};

static void counted_range_end(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	counted_act(container_of(subscription, struct counted, range), counted_range_end);
}

static const struct mmu_notifier_ops counted_range_end_ops = {
	.invalidate_range_end = counted_range_end,
};

static bool counted_invalidate(struct mmu_interval_notifier *subscription,
			       const struct mmu_notifier_range *range,
			       unsigned long seq)
{
	struct counted *counted = container_of(subscription, struct counted, interval);

	mmu_interval_set_seq(subscription, seq);
	counted_act(counted, counted_invalidate);
	return !counted->backs_off;
}

static const struct mmu_interval_notifier_ops counted_interval_ops = {
	.invalidate = counted_invalidate,
};

#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
static bool counted_invalidate_start(struct mmu_interval_notifier *subscription,
				     const struct mmu_notifier_range *range,
				     unsigned long seq,
				     struct mmu_interval_notifier_finish **finish)
{
	struct counted *counted = container_of(subscription, struct counted, interval);

	mmu_interval_set_seq(subscription, seq);
	counted_act(counted, counted_invalidate_start);
	*finish = &counted->finish;
	return !counted->backs_off;
}

static void counted_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	counted_act(container_of(finish, struct counted, finish), counted_invalidate_finish);
}

static const struct mmu_interval_notifier_ops counted_two_pass_ops = {
	.invalidate_start = counted_invalidate_start,
	.invalidate_finish = counted_invalidate_finish,
};
#endif

/**
 * struct callback - a kind of callback
 * @name: for the name of the test
 * @address: the function; NULL if this kernel has no such thing
 * @range_ops: its notifier's, or NULL
 * @interval_ops: likewise
 * @backs_off: it can back off
 * @skipped: it is not called when its notifier has backed off
 */
struct callback {
	const char *name;
	const void *address;
	const struct mmu_notifier_ops *range_ops;
	const struct mmu_interval_notifier_ops *interval_ops;
	bool backs_off;
	bool skipped;
};

static const struct callback callbacks[] = {
	{ "range_start", counted_range_start, &counted_range_ops, NULL, true },
	{ "range_end", counted_range_end, &counted_range_end_ops, NULL, false },
	{ "invalidate", counted_invalidate, NULL, &counted_interval_ops, true },
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	{ "invalidate_start", counted_invalidate_start, NULL, &counted_two_pass_ops, true },
	{ "invalidate_finish", counted_invalidate_finish, NULL, &counted_two_pass_ops, false,
	  true },
#else
	{ "invalidate_start" },
	{ "invalidate_finish" },
#endif
};

static void callback_describe(const struct callback *callback, char *description)
{
	strscpy(description, callback->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(callback, callbacks, callback_describe);

static struct counted *counted_create_at(struct kunit *test, unsigned long start)
{
	const struct callback *callback = test->param_value;
	struct counted *counted;

	if (!callback->address)
		kunit_skip(test, "this kernel has no two-pass interval notifiers");

	counted = kunit_kzalloc(test, sizeof(*counted), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, counted);
	counted->test = test;
	counted->callback = callback->address;
	counted->start = start;
	if (callback->range_ops)
		kunit_mmu_notifier_register(test, &counted->range, callback->range_ops);
	else
		kunit_mmu_interval_notifier_insert(test, &counted->interval, counted->start,
						   PAGE_SIZE, callback->interval_ops);
	return counted;
}

static struct counted *counted_create(struct kunit *test)
{
	return counted_create_at(test, kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE));
}

static int nonblock_pass(struct counted *counted)
{
	return kunit_mmu_notifier_nonblock_pass(counted->test, counted->start, PAGE_SIZE);
}

/* What was counted since then */
static struct mmu_notifier_stats since(const struct callback *callback,
				       const struct mmu_notifier_stats *before)
{
	struct mmu_notifier_stats now;

	mmu_notifier_read_stats(callback->address, &now);
	now.calls -= before->calls;
	now.back_offs -= before->back_offs;
	now.reports -= before->reports;
	return now;
}

static void counts_calls_and_back_offs(struct kunit *test)
{
	const struct callback *callback = test->param_value;
	struct counted *counted = counted_create(test);
	struct mmu_notifier_stats before, stats;
	unsigned int i;

	mmu_notifier_read_stats(callback->address, &before);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, nonblock_pass(counted), 0);
	stats = since(callback, &before);
	KUNIT_EXPECT_EQ(test, stats.calls, 3);
	KUNIT_EXPECT_EQ(test, stats.back_offs, 0);

	counted->backs_off = true;
	for (i = 0; i < 2; i++)
		nonblock_pass(counted);
	counted->backs_off = false;
	/* Not counted: it may block. */
	kunit_mmu_notifier_blockable_pass(test, counted->start, PAGE_SIZE);

	stats = since(callback, &before);
	KUNIT_EXPECT_EQ(test, stats.calls, callback->skipped ? 3 : 5);
	KUNIT_EXPECT_EQ(test, stats.back_offs, callback->backs_off ? 2 : 0);
	KUNIT_EXPECT_EQ(test, stats.reports, 0);
}

/* The shortest, by its own clock, which it can only be slower than */
static u64 spun_ns;

static void spin(void)
{
	u64 start = ktime_get_mono_fast_ns();

	mdelay(1);
	spun_ns = min_not_zero(spun_ns, ktime_get_mono_fast_ns() - start);
}

static void keeps_longest_time(struct kunit *test)
{
	const struct callback *callback = test->param_value;
	struct counted *counted = counted_create(test);
	struct mmu_notifier_stats stats, later;
	u64 start;

	mmu_notifier_stats_reset();
	counted->act = spin;
	spun_ns = 0;
	start = ktime_get_mono_fast_ns();
	nonblock_pass(counted);
	mmu_notifier_read_stats(callback->address, &stats);
	KUNIT_EXPECT_GT(test, spun_ns, 0);
	KUNIT_EXPECT_GE(test, stats.longest_ns, spun_ns);
	KUNIT_EXPECT_LE(test, stats.longest_ns, ktime_get_mono_fast_ns() - start);

	counted->act = NULL;
	nonblock_pass(counted);
	mmu_notifier_read_stats(callback->address, &later);
	KUNIT_EXPECT_EQ(test, later.calls, 2);
	KUNIT_EXPECT_GE(test, later.longest_ns, stats.longest_ns);
}

/* What an allocation does that may reclaim, without the rest of it */
static void reclaim(void)
{
	fs_reclaim_acquire(GFP_KERNEL);
	fs_reclaim_release(GFP_KERNEL);
}

static void counts_reports(struct kunit *test)
{
	const struct callback *callback = test->param_value;
	struct counted *counted = counted_create(test);
	struct mmu_notifier_stats before;

	mmu_notifier_read_stats(callback->address, &before);
	counted->act = reclaim;
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "mmu_notifier_nonblock", NULL,
			    nonblock_pass(counted));
	KUNIT_EXPECT_EQ(test, since(callback, &before).reports, 1);

	counted->act = NULL;
	KUNIT_EXPECT_NO_REPORT(test, nonblock_pass(counted));
	KUNIT_EXPECT_EQ(test, since(callback, &before).reports, 1);
}

/* The core goes on from one to the next without looking for the row again. */
static void counts_each_of_same_callback(struct kunit *test)
{
	const struct callback *callback = test->param_value;
	struct counted *one = counted_create(test);
	struct counted *other = counted_create_at(test, one->start);
	struct mmu_notifier_stats stats;
	u64 start;

	mmu_notifier_stats_reset();
	one->act = spin;
	other->act = spin;
	spun_ns = 0;
	start = ktime_get_mono_fast_ns();
	nonblock_pass(one);
	mmu_notifier_read_stats(callback->address, &stats);
	KUNIT_EXPECT_EQ(test, stats.calls, 2);
	/* The time of one of them, without that of the other */
	KUNIT_EXPECT_GE(test, stats.longest_ns, spun_ns);
	KUNIT_EXPECT_LE(test, stats.longest_ns + spun_ns, ktime_get_mono_fast_ns() - start);

	/* Lockdep makes one report, and what follows is no other one. */
	one->act = reclaim;
	other->act = reclaim;
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "mmu_notifier_nonblock", NULL,
			    nonblock_pass(one));
	one->act = NULL;
	other->act = NULL;
	mmu_notifier_read_stats(callback->address, &stats);
	KUNIT_EXPECT_EQ(test, stats.calls, 4);
	KUNIT_EXPECT_EQ(test, stats.reports, 1);
}

/* The file */

#define FILE_SIZE	65536

static char *read_file(struct kunit *test)
{
	struct seq_file m = { .size = FILE_SIZE };

	m.buf = kunit_kzalloc(test, FILE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m.buf);
	mutex_init(&m.lock);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_stats_show(&m, NULL));
	KUNIT_ASSERT_LT(test, m.count, FILE_SIZE);
	return m.buf;
}

/* The line that begins with the first of the words of @name, or NULL */
static char *find_line(char *text, const char *name)
{
	size_t length = strcspn(name, " ");

	for (; text; text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL) {
		if (!strncmp(text, name, length) && text[length] == ' ')
			return text;
	}
	return NULL;
}

static void file_has_a_row(struct kunit *test)
{
	const struct callback *callback = test->param_value;
	struct counted *counted = counted_create(test);
	char *name = kunit_kzalloc(test, KSYM_SYMBOL_LEN, GFP_KERNEL);
	u64 calls, back_offs, longest_ns, reports;
	struct mmu_notifier_stats stats;
	char module[64], *line;
	int fields;

	KUNIT_ASSERT_NOT_NULL(test, name);
	snprintf(name, KSYM_SYMBOL_LEN, "%ps", callback->address);
	nonblock_pass(counted);
	mmu_notifier_read_stats(callback->address, &stats);

	line = find_line(read_file(test), name);
	KUNIT_ASSERT_NOT_NULL(test, line);
	fields = sscanf(line, "%*s %63s %llu %llu %llu %llu", module, &calls, &back_offs,
			&longest_ns, &reports);
	KUNIT_ASSERT_EQ(test, fields, 5);
	KUNIT_EXPECT_EQ(test, calls, stats.calls);
	KUNIT_EXPECT_EQ(test, back_offs, stats.back_offs);
	KUNIT_EXPECT_EQ(test, longest_ns, stats.longest_ns);
	KUNIT_EXPECT_EQ(test, reports, stats.reports);
	if (strchr(name, '['))
		KUNIT_EXPECT_NOT_NULL(test, strstr(name, module));
	else
		KUNIT_EXPECT_STREQ(test, module, "-");
}

static void file_is_aligned(struct kunit *test)
{
	char *text = read_file(test), *line;
	size_t width = strcspn(text, "\n");

	KUNIT_EXPECT_TRUE(test, strstarts(text, "callback "));
	while ((line = strsep(&text, "\n")) && *line)
		KUNIT_EXPECT_EQ_MSG(test, strlen(line), width, "%s", line);
}

/* Callbacks that come and go: calls of what is not there */

#define MANY	300

static char code[MANY];

static void forget_code(void *unused)
{
	mmu_notifier_stats_forget(code, sizeof(code));
	mmu_notifier_stats_reset();
}

static void call(const void *callback)
{
	struct mmu_notifier_nonblock section = { .callback = callback };

	mmu_notifier_stats_begin(&section);
	mmu_notifier_stats_count(&section);
}

static u64 calls_of(const void *callback)
{
	struct mmu_notifier_stats stats;

	mmu_notifier_read_stats(callback, &stats);
	return stats.calls;
}

static void full_table_says_so(struct kunit *test)
{
	unsigned int i, without_row = 0;
	char *said, expected[96];

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, forget_code, NULL));
	mmu_notifier_stats_reset();
	KUNIT_EXPECT_NULL(test, strstr(read_file(test), "# full"));
	for (i = 0; i < MANY; i++)
		call(&code[i]);
	for (i = 0; i < MANY; i++)
		without_row += !calls_of(&code[i]);
	KUNIT_EXPECT_GT(test, without_row, 0);

	snprintf(expected, sizeof(expected), "\n# full: not counted are %u calls of", without_row);
	said = strstr(read_file(test), "\n# full");
	KUNIT_ASSERT_NOT_NULL(test, said);
	KUNIT_EXPECT_TRUE_MSG(test, strstarts(said, expected), "%s", said);

	/* When they are gone, and so are their rows, there is room for others. */
	forget_code(NULL);
	KUNIT_EXPECT_NULL(test, strstr(read_file(test), "# full"));
	call(&code[MANY - 1]);
	KUNIT_EXPECT_EQ(test, calls_of(&code[MANY - 1]), 1);
}

static void callback_of_unloaded_module_is_forgotten(struct kunit *test)
{
	char *name = kunit_kzalloc(test, KSYM_SYMBOL_LEN, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, name);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, forget_code, NULL));
	snprintf(name, KSYM_SYMBOL_LEN, "%ps ", &code[1]);
	call(&code[0]);
	call(&code[1]);
	call(&code[2]);
	mmu_notifier_stats_forget(&code[1], 1);
	KUNIT_EXPECT_EQ(test, calls_of(&code[0]), 1);
	KUNIT_EXPECT_EQ(test, calls_of(&code[1]), 0);
	KUNIT_EXPECT_EQ(test, calls_of(&code[2]), 1);
	/* What it did is still to be seen, */
	KUNIT_EXPECT_NOT_NULL(test, find_line(read_file(test), name));
	/* and it goes on from there when the module is loaded again. */
	call(&code[1]);
	KUNIT_EXPECT_EQ(test, calls_of(&code[1]), 2);
	/* Who counts anew while it is gone sees no more of it. */
	forget_code(NULL);
	KUNIT_EXPECT_NULL(test, find_line(read_file(test), name));
}

static void reset_counts_from_zero(struct kunit *test)
{
	struct mmu_notifier_stats stats;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, forget_code, NULL));
	call(&code[0]);
	mmu_notifier_stats_reset();
	mmu_notifier_read_stats(&code[0], &stats);
	KUNIT_EXPECT_EQ(test, stats.calls, 0);
	KUNIT_EXPECT_EQ(test, stats.longest_ns, 0);
	call(&code[0]);
	KUNIT_EXPECT_EQ(test, calls_of(&code[0]), 1);
}

/* All that tells of a WARN() is a taint, which is set for good: as if by the first call */
static void warning_counts_once(struct kunit *test)
{
	struct mmu_notifier_nonblock section = { .callback = &code[0] };
	struct mmu_notifier_stats stats;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, forget_code, NULL));
	add_taint(TAINT_WARN, LOCKDEP_STILL_OK);
	mmu_notifier_stats_reset();
	mmu_notifier_stats_begin(&section);
	section.warned = false;
	mmu_notifier_stats_count(&section);
	mmu_notifier_stats_count(&section);
	mmu_notifier_read_stats(&code[0], &stats);
	KUNIT_EXPECT_EQ(test, stats.calls, 2);
	KUNIT_EXPECT_EQ(test, stats.reports, 1);
}

static struct kunit_case mmu_notifier_stats_cases[] = {
	KUNIT_CASE_PARAM(counts_calls_and_back_offs, callback_gen_params),
	KUNIT_CASE_PARAM(keeps_longest_time, callback_gen_params),
	KUNIT_CASE_PARAM(counts_reports, callback_gen_params),
	KUNIT_CASE_PARAM(counts_each_of_same_callback, callback_gen_params),
	KUNIT_CASE_PARAM(file_has_a_row, callback_gen_params),
	KUNIT_CASE(file_is_aligned),
	KUNIT_CASE(full_table_says_so),
	KUNIT_CASE(callback_of_unloaded_module_is_forgotten),
	KUNIT_CASE(reset_counts_from_zero),
	KUNIT_CASE(warning_counts_once),
	{}
};

static struct kunit_suite mmu_notifier_stats_suite = {
	.name = "mmu_notifier_stats",
	.exit = kunit_report_test_exit,
	.test_cases = mmu_notifier_stats_cases,
};

kunit_test_suite(mmu_notifier_stats_suite);
