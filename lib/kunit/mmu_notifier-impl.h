/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the expectations about MMU notifiers need of the rest of
 * include/kunit/mmu_notifier.h.
 */
#ifndef _KUNIT_MMU_NOTIFIER_IMPL_H
#define _KUNIT_MMU_NOTIFIER_IMPL_H

#include <linux/types.h>

struct kunit;
struct kunit_report_scope;
struct mmu_notifier;

void kunit_mmu_notifier_unregister_now(struct kunit *test, struct mmu_notifier *subscription);
bool kunit_mmu_notifier_was_waited_for(struct kunit *test);
bool kunit_mmu_notifier_was_released(struct kunit *test);
struct kunit_report_scope *kunit_mmu_notifier_guard_begin(struct kunit *test);
void kunit_mmu_notifier_guard_end(struct kunit *test, struct kunit_report_scope *scope);

#endif /* _KUNIT_MMU_NOTIFIER_IMPL_H */
