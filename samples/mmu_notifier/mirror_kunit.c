// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit test of a driver's MMU notifiers, with the fixtures and expectations of
 * include/kunit/mmu_notifier.h.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/test.h>
#include <linux/err.h>
#include <linux/mman.h>
#include <linux/mutex.h>

#include "mirror.h"

KUNIT_DEFINE_ACTION_WRAPPER(destroy_mirror, mirror_destroy, struct mirror *);

/* The device accesses all of the range; the page behind that is none of its business. */
static struct mirror *create(struct kunit *test)
{
	unsigned long start = kunit_mmu_notifier_mmap(test, MIRROR_PAGES + 1,
						      MAP_PRIVATE | MAP_POPULATE);
	struct mirror *mirror = mirror_create(start);
	unsigned int i;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mirror);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, destroy_mirror, mirror));
	for (i = 0; i < MIRROR_PAGES; i++)
		mirror_fault(mirror, i);
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

static void mirror_does_not_block(struct kunit *test)
{
	struct mirror *mirror = create(test);

	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, mirror->nr_mapped, MIRROR_PAGES - 1);
	flush_work(&mirror->refill);	/* or it may have the lock */
	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start, MIRROR_SIZE);
	KUNIT_EXPECT_EQ(test, mirror->nr_mapped, 0);
}

static void mirror_does_not_wait_for_lock(struct kunit *test)
{
	struct mirror *mirror = create(test);

	kunit_mmu_notifier_hold(test, lock_mirror, unlock_mirror, mirror);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, mirror->start, MIRROR_SIZE, mirror->nr_mapped);
	kunit_mmu_notifier_release(test);
	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start, MIRROR_SIZE);
}

/* Does the pool run dry, when nobody can refill it? */
static void mirror_does_not_wait_for_memory(struct kunit *test)
{
	struct mirror *mirror = create(test);
	int i;

	disable_work_sync(&mirror->refill);
	for (i = 0; i < MIRROR_COMMANDS; i++)
		KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start, PAGE_SIZE);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, mirror->start, MIRROR_SIZE, mirror->nr_mapped);

	/* Who may block does not back off. */
	kunit_mmu_notifier_unmap(test, mirror->start, MIRROR_SIZE);
	KUNIT_EXPECT_EQ(test, mirror->nr_mapped, 0);
}

static void mirror_does_not_mind_other_memory(struct kunit *test)
{
	struct mirror *mirror = create(test);

	kunit_mmu_notifier_hold(test, lock_mirror, unlock_mirror, mirror);
	KUNIT_EXPECT_MMU_NOTIFIER_IGNORES(test, mirror->start + MIRROR_SIZE, PAGE_SIZE);
	kunit_mmu_notifier_release(test);
}

static void mirror_gives_way_to_reaper(struct kunit *test)
{
	struct mirror *mirror = create(test);

	KUNIT_EXPECT_NO_REPORT(test, KUNIT_EXPECT_TRUE(test, kunit_mmu_notifier_reap(test)));
	KUNIT_EXPECT_EQ(test, mirror->nr_mapped, 0);
}

static void lock_grant(void *grant)
{
	mutex_lock(&((struct mirror_grant *)grant)->lock);
}

static void unlock_grant(void *grant)
{
	mutex_unlock(&((struct mirror_grant *)grant)->lock);
}

static void mirror_checks_interest_first(struct kunit *test)
{
	struct mirror_grant *grant = kunit_kzalloc(test, sizeof(*grant), GFP_KERNEL);
	struct mirror *mirror = create(test);

	KUNIT_ASSERT_NOT_NULL(test, grant);
	grant->mirror = mirror;
	mutex_init(&grant->lock);
	disable_work_sync(&mirror->refill);	/* or it may have the mirror's lock */
	kunit_mmu_notifier_register(test, &grant->notifier, &mirror_grant_ops);

	kunit_mmu_notifier_hold(test, lock_grant, unlock_grant, grant);
	KUNIT_EXPECT_MMU_NOTIFIER_IGNORES(test, mirror->start + MIRROR_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, mirror->start, MIRROR_SIZE, grant->revoked);
	kunit_mmu_notifier_release(test);
	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, mirror->start, MIRROR_SIZE);
	KUNIT_EXPECT_TRUE(test, grant->revoked);
}

static struct kunit_case mirror_cases[] = {
	KUNIT_CASE(mirror_does_not_block),
	KUNIT_CASE(mirror_does_not_wait_for_lock),
	KUNIT_CASE(mirror_does_not_wait_for_memory),
	KUNIT_CASE(mirror_does_not_mind_other_memory),
	KUNIT_CASE(mirror_gives_way_to_reaper),
	KUNIT_CASE(mirror_checks_interest_first),
	{}
};

static struct kunit_suite mirror_suite = {
	.name = "mirror",
	.test_cases = mirror_cases,
};

kunit_test_suite(mirror_suite);
