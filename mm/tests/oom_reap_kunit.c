// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of what the OOM reaper takes of an mm, and what it leaves.
 *
 * __oom_reap_task_mm() unmaps private memory, VMA by VMA. Where an MMU notifier
 * backs off, it leaves the VMA alone and goes on with the next, and the caller
 * tries again later.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "mmu_notifier_fake_kunit.h"

#define NR_AREAS	5
#define AREA_PAGES	2
#define AREA_SIZE	(AREA_PAGES * PAGE_SIZE)

/**
 * struct area - a VMA
 * @start: its first address
 * @pattern: what was written to its last byte
 * @backs_off: whether the notifier does, when asked about this one
 * @asked: how often it was asked
 */
struct area {
	unsigned long start;
	char pattern;
	bool backs_off;
	unsigned int asked;
};

/**
 * struct victim - an mm that is to be reaped
 * @test: the test
 * @subscription: its notifier
 * @area: its VMAs
 */
struct victim {
	struct kunit *test;
	struct mmu_notifier subscription;
	struct area area[NR_AREAS];
};

static int victim_range_start(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	struct victim *victim = container_of(subscription, struct victim, subscription);
	unsigned int i;
	int ret = 0;

	if (mmu_notifier_range_blockable(range))
		return 0;

	for (i = 0; i < NR_AREAS; i++) {
		struct area *area = &victim->area[i];

		if (!area->start || range->end <= area->start ||
		    range->start >= area->start + AREA_SIZE)
			continue;
		area->asked++;
		if (area->backs_off)
			ret = -EAGAIN;
	}
	return ret;
}

static const struct mmu_notifier_ops victim_ops = {
	.invalidate_range_start = victim_range_start,
};

static char __user *last_byte(const struct area *area)
{
	return (char __user *)(area->start + AREA_SIZE - 1);
}

/* Shared memory in between keeps a VMA from being merged with the next. */
static void area_map(struct victim *victim, unsigned int i, unsigned long flags)
{
	struct area *area = &victim->area[i];
	struct kunit *test = victim->test;

	area->start = kunit_mmu_notifier_mmap(test, AREA_PAGES, flags | MAP_POPULATE);
	kunit_mmu_notifier_mmap(test, 1, MAP_SHARED);
	area->pattern = 'a' + i;
	KUNIT_ASSERT_EQ(test, 0, put_user(area->pattern, last_byte(area)));
}

static struct victim *victim_create(struct kunit *test)
{
	struct victim *victim = kunit_kzalloc(test, sizeof(*victim), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, victim);
	victim->test = test;
	return victim;
}

/* Once it has its VMAs */
static void victim_register(struct victim *victim)
{
	kunit_mmu_notifier_register(victim->test, &victim->subscription, &victim_ops);
}

/* Memory that was reaped cannot be faulted in again. */
static void expect_reaped(struct victim *victim, unsigned int i)
{
	char c = '?';
	int ret = get_user(c, last_byte(&victim->area[i]));

	KUNIT_EXPECT_EQ_MSG(victim->test, ret, -EFAULT, "VMA %u is still there, and has '%c'",
			    i, c);
}

static void expect_left(struct victim *victim, unsigned int i)
{
	struct area *area = &victim->area[i];
	char c = '?';
	int ret = get_user(c, last_byte(area));

	KUNIT_EXPECT_EQ_MSG(victim->test, ret, 0, "VMA %u is gone", i);
	KUNIT_EXPECT_EQ(victim->test, c, area->pattern);
}

/* Who backs off: a bit for each of the VMAs */

struct backing_off {
	const char *name;
	unsigned int mask;
};

static const struct backing_off backing_off[] = {
	{ .name = "none", .mask = 0 },
	{ .name = "first", .mask = BIT(0) },
	{ .name = "middle", .mask = BIT(2) },
	{ .name = "last", .mask = BIT(4) },
	{ .name = "two", .mask = BIT(1) | BIT(3) },
	{ .name = "all", .mask = GENMASK(4, 0) },
};

static void backing_off_describe(const struct backing_off *who, char *description)
{
	strscpy(description, who->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(backing_off, backing_off, backing_off_describe);

static void expect_reaped_but(struct victim *victim, unsigned int mask)
{
	unsigned int i;

	for (i = 0; i < NR_AREAS; i++) {
		KUNIT_EXPECT_EQ(victim->test, victim->area[i].asked, 1);
		victim->area[i].asked = 0;
		if (mask & BIT(i))
			expect_left(victim, i);
		else
			expect_reaped(victim, i);
	}
}

static void backed_off_is_left_and_reaped_later(struct kunit *test)
{
	const struct backing_off *who = test->param_value;
	struct victim *victim = victim_create(test);
	bool done = false;
	unsigned int i;

	for (i = 0; i < NR_AREAS; i++) {
		area_map(victim, i, MAP_PRIVATE);
		victim->area[i].backs_off = who->mask & BIT(i);
	}
	victim_register(victim);

	KUNIT_EXPECT_NO_REPORT(test, done = kunit_mmu_notifier_reap(test));
	KUNIT_EXPECT_EQ(test, done, !who->mask);
	expect_reaped_but(victim, who->mask);

	for (i = 0; i < NR_AREAS; i++)
		victim->area[i].backs_off = false;
	KUNIT_EXPECT_TRUE(test, kunit_mmu_notifier_reap(test));
	expect_reaped_but(victim, 0);
}

/* An interval notifier has no say in what happens next to its interval. */

static void interval_protects_its_vma_only(struct kunit *test)
{
	struct fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	struct victim *victim = victim_create(test);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	for (i = 0; i < NR_AREAS; i++)
		area_map(victim, i, MAP_PRIVATE);
	fake->error = -EAGAIN;
	fake_subscribe(test, fake, INTERVAL, victim->area[2].start, PAGE_SIZE);

	KUNIT_EXPECT_FALSE(test, kunit_mmu_notifier_reap(test));
	for (i = 0; i < NR_AREAS; i++) {
		if (i == 2)
			expect_left(victim, i);
		else
			expect_reaped(victim, i);
	}
}

/* What is not reaped at all, and nobody is asked about */

static void shared_is_left_alone(struct kunit *test)
{
	struct victim *victim = victim_create(test);

	area_map(victim, 0, MAP_PRIVATE);
	area_map(victim, 1, MAP_SHARED);
	victim_register(victim);

	KUNIT_EXPECT_TRUE(test, kunit_mmu_notifier_reap(test));
	expect_reaped(victim, 0);
	expect_left(victim, 1);
	KUNIT_EXPECT_EQ(test, victim->area[1].asked, 0);
}

static int pfn_mmap(struct file *file, struct vm_area_struct *vma)
{
	return remap_pfn_range(vma, vma->vm_start, page_to_pfn(ZERO_PAGE(0)), PAGE_SIZE,
			       vma->vm_page_prot);
}

static const struct file_operations pfn_fops = {
	.owner = THIS_MODULE,
	.mmap = pfn_mmap,
};

/* Private, so that nothing but its kind keeps it from being reaped */
static void pfn_mapping_is_left_alone(struct kunit *test)
{
	struct file *file = anon_inode_getfile("oom_reap_kunit", &pfn_fops, NULL, O_RDONLY);
	struct victim *victim = victim_create(test);
	unsigned long start;
	char c = 'x';
	int ret;

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(file), "anon_inode_getfile: %pe", file);
	start = kunit_vm_mmap(test, file, 0, PAGE_SIZE, PROT_READ, MAP_PRIVATE, 0);
	fput(file);
	KUNIT_ASSERT_NE(test, start, 0);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_VALUE(start), "vm_mmap: %pe", (void *)start);
	victim->area[0].start = start;
	victim_register(victim);

	KUNIT_EXPECT_TRUE(test, kunit_mmu_notifier_reap(test));
	ret = get_user(c, (char __user *)start);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, c, 0);
	KUNIT_EXPECT_EQ(test, victim->area[0].asked, 0);
}

static struct kunit_case oom_reap_cases[] = {
	KUNIT_CASE_PARAM(backed_off_is_left_and_reaped_later, backing_off_gen_params),
	KUNIT_CASE(interval_protects_its_vma_only),
	KUNIT_CASE(shared_is_left_alone),
	KUNIT_CASE(pfn_mapping_is_left_alone),
	{}
};

static struct kunit_suite oom_reap_suite = {
	.name = "oom_reap",
	.suite_init = mn_core_check,
	.test_cases = oom_reap_cases,
};

kunit_test_suite(oom_reap_suite);
