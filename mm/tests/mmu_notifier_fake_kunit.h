/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fake MMU notifiers, for the KUnit suites of what the core does with real ones.
 */
#ifndef _MM_TESTS_MMU_NOTIFIER_FAKE_KUNIT_H
#define _MM_TESTS_MMU_NOTIFIER_FAKE_KUNIT_H

#include <kunit/mmu_notifier.h>
#include <kunit/test.h>
#include <linux/mmu_notifier.h>

int mn_core_check(struct kunit_suite *suite);

enum fake_kind {
	NO_FAKE,	/* ends an array of kinds */
	RANGE,		/* range_start; without range_end, as who backs off must be */
	RANGE_WITH_END,
	INTERVAL,
	TWO_PASS,
	NR_KINDS
};

/* Passes of the real sort, by whether they may block, and probes */
enum fake_pass { NONBLOCK, BLOCKABLE, PROBE, NR_PASSES };

/**
 * struct fake - a fake notifier
 * @kind: which callbacks it has
 * @error: what the first callback says to a probe or nonblocking pass: an error code
 *	   of range_start, or anything but 0 for an interval notifier to return false
 * @blockable_error: likewise, to a pass that may block
 * @at_start: what the first callback does, or NULL
 * @at_end: what range_end or invalidate_finish does, or NULL
 * @data: for these two
 * @starts: calls of the first callback
 * @ends: calls of range_end or invalidate_finish
 * @range: its subscription, if it is for ranges
 * @interval: its subscription otherwise
 */
struct fake {
	enum fake_kind kind;
	int error;
	int blockable_error;
	void (*at_start)(void *data);
	void (*at_end)(void *data);
	void *data;
	unsigned int starts[NR_PASSES];
	unsigned int ends[NR_PASSES];
	struct mmu_notifier range;
	struct mmu_interval_notifier interval;
#ifdef MMU_NOTIFIER_TWO_PASS
	/** @finish: what invalidate_start hands to invalidate_finish */
	struct mmu_interval_notifier_finish finish;
	/** @finish_pass: and in which pass that was */
	enum fake_pass finish_pass;
#endif
};

static inline bool fake_is_interval(const struct fake *fake)
{
	return fake->kind == INTERVAL || fake->kind == TWO_PASS;
}

static inline bool fake_has_end(const struct fake *fake)
{
	return fake->kind == RANGE_WITH_END || fake->kind == TWO_PASS;
}

static enum fake_pass fake_pass_of(const struct mmu_notifier_range *range)
{
	if (range->flags & MMU_NOTIFIER_RANGE_PROBE)
		return PROBE;
	return mmu_notifier_range_blockable(range) ? BLOCKABLE : NONBLOCK;
}

/* What comes when the mm goes away */
static bool fake_ignores(const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range) && range->event != KUNIT_MMU_NOTIFY;
}

static int fake_start(struct fake *fake, const struct mmu_notifier_range *range)
{
	enum fake_pass pass = fake_pass_of(range);

	if (fake_ignores(range))
		return 0;

	fake->starts[pass]++;
	if (fake->at_start)
		fake->at_start(fake->data);
	return pass == BLOCKABLE ? fake->blockable_error : fake->error;
}

static void fake_end(struct fake *fake, enum fake_pass pass)
{
	fake->ends[pass]++;
	if (fake->at_end)
		fake->at_end(fake->data);
}

static int fake_range_start(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	return fake_start(container_of(subscription, struct fake, range), range);
}

static const struct mmu_notifier_ops fake_range_ops = {
	.invalidate_range_start = fake_range_start,
};

static void fake_range_end(struct mmu_notifier *subscription,
			   const struct mmu_notifier_range *range)
{
	if (!fake_ignores(range))
		fake_end(container_of(subscription, struct fake, range), fake_pass_of(range));
}

static const struct mmu_notifier_ops fake_range_with_end_ops = {
	.invalidate_range_start = fake_range_start,
	.invalidate_range_end = fake_range_end,
};

static bool fake_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range, unsigned long seq)
{
	if (fake_start(container_of(subscription, struct fake, interval), range))
		return false;

	mmu_interval_set_seq(subscription, seq);
	return true;
}

static const struct mmu_interval_notifier_ops fake_interval_ops = {
	.invalidate = fake_invalidate,
};

#ifdef MMU_NOTIFIER_TWO_PASS
static bool fake_invalidate_start(struct mmu_interval_notifier *subscription,
				  const struct mmu_notifier_range *range,
				  unsigned long seq,
				  struct mmu_interval_notifier_finish **finish)
{
	struct fake *fake = container_of(subscription, struct fake, interval);

	if (fake_start(fake, range))
		return false;

	mmu_interval_set_seq(subscription, seq);
	if (fake_ignores(range))
		return true;
	fake->finish_pass = fake_pass_of(range);
	*finish = &fake->finish;
	return true;
}

static void fake_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	struct fake *fake = container_of(finish, struct fake, finish);

	fake_end(fake, fake->finish_pass);
}

static const struct mmu_interval_notifier_ops fake_two_pass_ops = {
	.invalidate_start = fake_invalidate_start,
	.invalidate_finish = fake_invalidate_finish,
};

#define FAKE_INVALIDATE_START	fake_invalidate_start
#define FAKE_INVALIDATE_FINISH	fake_invalidate_finish
#else
#define fake_two_pass_ops	fake_interval_ops
#define FAKE_INVALIDATE_START	NULL
#define FAKE_INVALIDATE_FINISH	NULL
#endif

/* To the mm of the test; the range is for those with an interval. */
static void fake_subscribe(struct kunit *test, struct fake *fake, enum fake_kind kind,
			   unsigned long start, unsigned long length)
{
#ifndef MMU_NOTIFIER_TWO_PASS
	if (kind == TWO_PASS)
		kunit_skip(test, "this kernel has no two-pass interval notifiers");
#endif
	fake->kind = kind;
	if (fake_is_interval(fake))
		kunit_mmu_interval_notifier_insert(test, &fake->interval, start, length,
						   kind == TWO_PASS ? &fake_two_pass_ops :
						   &fake_interval_ops);
	else
		kunit_mmu_notifier_register(test, &fake->range, kind == RANGE ?
					    &fake_range_ops : &fake_range_with_end_ops);
}

#endif /* _MM_TESTS_MMU_NOTIFIER_FAKE_KUNIT_H */
