// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interval notifier of drivers/hv/mshv_regions.c, without a hypervisor.
 */

#include <linux/types.h>

/* asm/mshyperv.h does not compile on UML: what the headers need of it and of CONFIG_X86 */
#define _ASM_X86_MSHYPER_H

union hv_msi_entry {
	u64 as_uint64;
};

static inline bool hv_l1vh_partition(void)
{
	return false;
}

#include "mshv_regions.c"

#include <kunit/mmu_notifier.h>
#include <kunit/test.h>
#include <linux/mman.h>

/* What calls the hypervisor. It has no memory, so that hv_call_deposit_pages() gives it some. */

int hv_call_map_gpa_pages(u64 partition_id, u64 gpa_target, u64 page_count, u32 flags,
			  struct page **pages)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return -ENOMEM;
	__free_page(page);
	return 0;
}

static void *zalloc(struct kunit *test, size_t size)
{
	void *data = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	return data;
}

static void region_is_left_alone(struct kunit *test)
{
	unsigned long start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE | MAP_POPULATE);
	struct mshv_mem_region *region = zalloc(test, struct_size(region, mreg_pages, 1));

	region->nr_pages = 1;
	region->start_uaddr = start;
	region->mreg_type = MSHV_REGION_TYPE_MEM_MOVABLE;
	region->mreg_pages[0] = virt_to_page(region);
	region->partition = zalloc(test, sizeof(*region->partition));
	mutex_init(&region->mreg_mutex);
	kunit_mmu_interval_notifier_insert(test, &region->mreg_mni, start, PAGE_SIZE,
					   &mshv_region_mni_ops);

	/* Where it may block it allocates, too, which lockdep reports on mainline as well. */
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, start, PAGE_SIZE, !region->mreg_pages[0]);
}

static struct kunit_case mshv_cases[] = {
	KUNIT_CASE(region_is_left_alone),
	{}
};

static struct kunit_suite mshv_suite = {
	.name = "mshv",
	.test_cases = mshv_cases,
};

kunit_test_suite(mshv_suite);

MODULE_DESCRIPTION("KUnit test of mshv's MMU notifier");
MODULE_LICENSE("GPL");
