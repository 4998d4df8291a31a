/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the KUnit suites of MMU notifiers share.
 */
#ifndef _MM_TESTS_MMU_NOTIFIER_KUNIT_H
#define _MM_TESTS_MMU_NOTIFIER_KUNIT_H

struct kunit_suite;

int mn_core_check(struct kunit_suite *suite);

#endif /* _MM_TESTS_MMU_NOTIFIER_KUNIT_H */
