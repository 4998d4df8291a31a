// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interval notifier of drivers/gpu/drm/amd/amdkfd/kfd_svm.c, without a GPU.
 */

/* For the headers: what the driver needs, and UML has not */
#define CONFIG_HSA_AMD		1
#define CONFIG_HSA_AMD_SVM	1
#define CONFIG_I2C		1
#define CONFIG_PCI		1

#include "kfd_svm.c"

#include <kunit/mmu_notifier.h>
#include <kunit/test.h>
#include <linux/mman.h>

/* What leads to the GPU: how often it was asked for. What comes then is in amdkfd_unreached.c. */

static int nr_asked;

int kgd2kfd_quiesce_mm(struct mm_struct *mm, uint32_t trigger)
{
	nr_asked++;
	return 0;
}

struct kfd_process *kfd_lookup_process_by_mm(const struct mm_struct *mm)
{
	nr_asked++;
	return NULL;
}

static void *zalloc(struct kunit *test, size_t size)
{
	void *data = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	return data;
}

static struct svm_range *create(struct kunit *test)
{
	unsigned long start = kunit_mmu_notifier_mmap(test, 1, MAP_PRIVATE | MAP_POPULATE);
	struct svm_range *prange = zalloc(test, sizeof(*prange));
	struct kfd_process *p = zalloc(test, sizeof(*p));

	prange->svms = &p->svms;
	prange->start = start >> PAGE_SHIFT;
	prange->last = prange->start;
	INIT_LIST_HEAD(&prange->child_list);
	mutex_init(&prange->lock);
	kunit_mmu_interval_notifier_insert(test, &prange->notifier, start, PAGE_SIZE,
					   &svm_range_mn_ops);
	nr_asked = 0;
	return prange;
}

static void range_is_left_alone(struct kunit *test)
{
	struct svm_range *prange = create(test);
	unsigned long start = prange->start << PAGE_SHIFT;

	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, start, PAGE_SIZE, nr_asked);
	kunit_mmu_notifier_unmap(test, start, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, nr_asked, 1);
}

static struct kunit_case amdkfd_cases[] = {
	KUNIT_CASE(range_is_left_alone),
	{}
};

static struct kunit_suite amdkfd_suite = {
	.name = "amdkfd",
	.test_cases = amdkfd_cases,
};

kunit_test_suite(amdkfd_suite);

MODULE_DESCRIPTION("KUnit test of amdkfd's MMU notifier");
MODULE_LICENSE("GPL");
