/* SPDX-License-Identifier: GPL-2.0-only */
static struct kunit_case mmu_notifier_nonblock_cases[] = {
	KUNIT_CASE(range_callback_depends_on_reclaim),
	{}
};

static struct kunit_suite mmu_notifier_nonblock_suite = {
	.name = "mmu_notifier_nonblock",
	.test_cases = mmu_notifier_nonblock_cases,
};
