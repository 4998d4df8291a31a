// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit test of wrong MMU notifiers: each case states what mirror_kunit.c states of
 * the right one, and fails, with a message that says what is wrong.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/test.h>
#include <linux/err.h>
#include <linux/lockdep.h>
#include <linux/mman.h>

#include "mirror.h"
#include "mirror_wrong.h"

KUNIT_DEFINE_ACTION_WRAPPER(destroy_mirror, mirror_destroy, struct mirror *);

/* No @ops: the right ones */
static struct mirror *create(struct kunit *test, const struct mmu_interval_notifier_ops *ops)
{
	unsigned long start = kunit_mmu_notifier_mmap(test, MIRROR_PAGES + 1,
						      MAP_PRIVATE | MAP_POPULATE);
	bool everything = ops == &mirror_watches_everything;
	struct mirror *mirror;

	if (ops)
		mirror = mirror_create_with(start, everything ? 0 : start,
					    everything ? TASK_SIZE : MIRROR_SIZE, ops);
	else
		mirror = mirror_create(start);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mirror);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, destroy_mirror, mirror));
	mirror_fault(mirror, 0);
	return mirror;
}

static void lock_mirror(void *mirror)
{
	mutex_lock(&((struct mirror *)mirror)->lock);
}

static void unlock_mirror(void *mirror)
{
	mutex_unlock(&((struct mirror *)mirror)->lock);
}

/* Use up the pool, which is not refilled. */
static void empty_pool(struct kunit *test, struct mirror *mirror)
{
	int i;

	disable_work_sync(&mirror->refill);
	for (i = 0; i < MIRROR_COMMANDS; i++)
		KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start + PAGE_SIZE, PAGE_SIZE);
}

static void wrong_waits_for_lock(struct kunit *test)
{
	struct mirror *mirror = create(test, &mirror_waits_for_lock);

	kunit_mmu_notifier_hold(test, lock_mirror, unlock_mirror, mirror);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, mirror->start, MIRROR_SIZE, mirror->nr_mapped);
}

static void wrong_allocates(struct kunit *test)
{
	struct mirror *mirror = create(test, &mirror_allocates);

	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start, MIRROR_SIZE);
}

static void wrong_waits_for_work(struct kunit *test)
{
	struct mirror *mirror = create(test, &mirror_waits_for_work);

	kunit_mmu_notifier_hold(test, lock_mirror, unlock_mirror, mirror);
	schedule_work(&mirror->refill);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, mirror->start, MIRROR_SIZE, mirror->nr_mapped);
}

static void wrong_minds_other_memory(struct kunit *test)
{
	struct mirror *mirror = create(test, &mirror_watches_everything);

	kunit_mmu_notifier_hold(test, lock_mirror, unlock_mirror, mirror);
	KUNIT_EXPECT_MMU_NOTIFIER_IGNORES(test, mirror->start + MIRROR_SIZE, PAGE_SIZE);
}

static void wrong_keeps_lock(struct kunit *test)
{
	struct mirror *mirror = create(test, &mirror_keeps_lock);

	empty_pool(test, mirror);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, mirror->start, MIRROR_SIZE, mirror->nr_mapped);

	/* To lockdep, the lock is free since the expectation ended. */
	lockdep_off();
	mutex_unlock(&mirror->lock);
	lockdep_on();
}

static void wrong_does_half(struct kunit *test)
{
	struct mirror *mirror = create(test, &mirror_does_half);

	empty_pool(test, mirror);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, mirror->start, MIRROR_SIZE, mirror->nr_mapped);
}

static void wrong_waits_in_the_end(struct kunit *test)
{
	struct mirror_resume *resume = kunit_kzalloc(test, sizeof(*resume), GFP_KERNEL);
	struct mirror *mirror = create(test, NULL);

	KUNIT_ASSERT_NOT_NULL(test, resume);
	resume->mirror = mirror;
	kunit_mmu_notifier_register(test, &resume->notifier, &mirror_resume_ops);
	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start, MIRROR_SIZE);
}

static struct kunit_case mirror_wrong_cases[] = {
	KUNIT_CASE(wrong_waits_for_lock),
	KUNIT_CASE(wrong_allocates),
	KUNIT_CASE(wrong_waits_for_work),
	KUNIT_CASE(wrong_minds_other_memory),
	KUNIT_CASE(wrong_keeps_lock),
	KUNIT_CASE(wrong_does_half),
	KUNIT_CASE(wrong_waits_in_the_end),
	{}
};

static struct kunit_suite mirror_wrong_suite = {
	.name = "mirror_wrong",
	.test_cases = mirror_wrong_cases,
};

kunit_test_suite(mirror_wrong_suite);
