/* SPDX-License-Identifier: GPL-2.0-only */
static struct kunit_case mmu_notifier_nonblock_cases[] = {
	KUNIT_CASE_PARAM(back_off_returns_eagain, backing_off_gen_params),
	KUNIT_CASE_PARAM(back_off_ends_interval_pass, overlap_gen_params),
	KUNIT_CASE(back_off_finishes_interval_pass),
	{}
};

static struct kunit_suite mmu_notifier_nonblock_suite = {
	.name = "mmu_notifier_nonblock",
	.test_cases = mmu_notifier_nonblock_cases,
};
