// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interval notifiers of drivers/infiniband/hw/hfi1/user_exp_rcv.c, without an adapter.
 */

#include "user_exp_rcv.c"

#include <kunit/mmu_notifier.h>
#include <kunit/test.h>
#include <linux/mman.h>

/* What touches the adapter, and pages that were pinned */

void hfi1_put_tid(struct hfi1_devdata *dd, u32 index, u32 type, unsigned long pa, u16 order)
{
}

void hfi1_release_user_pages(struct mm_struct *mm, struct page **p, size_t npages, bool dirty)
{
}

static void *zalloc(struct kunit *test, size_t size)
{
	void *data = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	return data;
}

/* Clearing the entry takes a mutex, and locks pages, which are pinned. */
static void entry_is_left_alone(struct kunit *test)
{
	unsigned long start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE | MAP_POPULATE);
	struct tid_rb_node *node = zalloc(test, sizeof(*node));

	node->fdata = zalloc(test, sizeof(*node->fdata));
	node->fdata->uctxt = zalloc(test, sizeof(*node->fdata->uctxt));
	node->fdata->uctxt->dd = zalloc(test, sizeof(*node->fdata->uctxt->dd));
	spin_lock_init(&node->fdata->invalid_lock);
	mutex_init(&node->invalidate_mutex);
	kunit_mmu_interval_notifier_insert(test, &node->notifier, start, PAGE_SIZE, &tid_mn_ops);

	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, PAGE_SIZE);
	KUNIT_EXPECT_FALSE(test, node->freed);
	kunit_mmu_notifier_unmap(test, start, PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, node->freed);
}

static void lock_cover(void *tidbuf)
{
	mutex_lock(&((struct tid_user_buf *)tidbuf)->cover_mutex);
}

static void unlock_cover(void *tidbuf)
{
	mutex_unlock(&((struct tid_user_buf *)tidbuf)->cover_mutex);
}

static void cover_does_not_wait(struct kunit *test)
{
	unsigned long start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE | MAP_POPULATE);
	struct tid_user_buf *tidbuf = zalloc(test, sizeof(*tidbuf));
	unsigned long seq;

	mutex_init(&tidbuf->cover_mutex);
	kunit_mmu_interval_notifier_insert(test, &tidbuf->notifier, start, PAGE_SIZE,
					   &tid_cover_ops);

	kunit_mmu_notifier_hold(test, lock_cover, unlock_cover, tidbuf);
	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, PAGE_SIZE);
	kunit_mmu_notifier_release(test);

	seq = mmu_interval_read_begin(&tidbuf->notifier);
	kunit_mmu_notifier_unmap(test, start, PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, mmu_interval_read_retry(&tidbuf->notifier, seq));
}

static struct kunit_case hfi1_cases[] = {
	KUNIT_CASE(entry_is_left_alone),
	KUNIT_CASE(cover_does_not_wait),
	{}
};

static struct kunit_suite hfi1_suite = {
	.name = "hfi1",
	.test_cases = hfi1_cases,
};

kunit_test_suite(hfi1_suite);

MODULE_DESCRIPTION("KUnit test of hfi1's MMU notifiers");
MODULE_LICENSE("GPL");
