// SPDX-License-Identifier: GPL-2.0-only
/*
 * The range notifier of drivers/gpu/drm/nouveau/nouveau_svm.c, without a GPU.
 */

/* For the headers: what the driver needs, and UML has not */
#define CONFIG_DRM_NOUVEAU_SVM	1
#define CONFIG_I2C		1

#include "nouveau_svm.c"

#include <kunit/mmu_notifier.h>
#include <kunit/test.h>
#include <linux/mman.h>

/* What touches the GPU: how often it was told to unmap something */

static int nr_unmapped;
unsigned long __drm_debug;

int nvif_object_mthd(struct nvif_object *object, u32 mthd, void *data, u32 size)
{
	nr_unmapped += mthd == NVIF_VMM_V0_PFNCLR;
	return 0;
}

static void *zalloc(struct kunit *test, size_t size)
{
	void *data = kunit_kzalloc(test, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, data);
	return data;
}

/* The client manages the first of two pages itself. */
static struct nouveau_svmm *create(struct kunit *test)
{
	struct nouveau_svmm *svmm = zalloc(test, sizeof(*svmm));
	unsigned long start;

	start = kunit_mmu_notifier_mmap(test, 2, MAP_PRIVATE | MAP_POPULATE);
	svmm->vmm = zalloc(test, sizeof(*svmm->vmm));
	svmm->vmm->cli = zalloc(test, sizeof(*svmm->vmm->cli));
	svmm->vmm->cli->drm = zalloc(test, sizeof(*svmm->vmm->cli->drm));
	svmm->unmanaged.start = start;
	svmm->unmanaged.limit = start + PAGE_SIZE;
	mutex_init(&svmm->mutex);
	kunit_mmu_notifier_register(test, &svmm->notifier, &nouveau_mn_ops);
	nr_unmapped = 0;
	return svmm;
}

static void lock_svmm(void *svmm)
{
	mutex_lock(&((struct nouveau_svmm *)svmm)->mutex);
}

static void unlock_svmm(void *svmm)
{
	mutex_unlock(&((struct nouveau_svmm *)svmm)->mutex);
}

static void what_is_not_mirrored_is_reaped(struct kunit *test)
{
	struct nouveau_svmm *svmm = create(test);

	kunit_mmu_notifier_hold(test, lock_svmm, unlock_svmm, svmm);
	KUNIT_EXPECT_MMU_NOTIFIER_IGNORES(test, svmm->unmanaged.start, PAGE_SIZE);
	kunit_mmu_notifier_release(test);
}

static void what_may_be_mirrored_is_not(struct kunit *test)
{
	struct nouveau_svmm *svmm = create(test);

	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, svmm->unmanaged.limit, PAGE_SIZE, nr_unmapped);
	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, svmm->unmanaged.start, 2 * PAGE_SIZE,
					    nr_unmapped);
	kunit_mmu_notifier_unmap(test, svmm->unmanaged.limit, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, nr_unmapped, 1);
}

static struct kunit_case nouveau_cases[] = {
	KUNIT_CASE(what_is_not_mirrored_is_reaped),
	KUNIT_CASE(what_may_be_mirrored_is_not),
	{}
};

static struct kunit_suite nouveau_suite = {
	.name = "nouveau",
	.test_cases = nouveau_cases,
};

kunit_test_suite(nouveau_suite);

MODULE_DESCRIPTION("KUnit test of nouveau's MMU notifier");
MODULE_LICENSE("GPL");
