/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counts of the calls that include/linux/mmu_notifier_nonblock.h annotates.
 */
#ifndef _MM_MMU_NOTIFIER_STATS_H
#define _MM_MMU_NOTIFIER_STATS_H

#include <linux/types.h>

struct mmu_notifier_nonblock;

#ifdef CONFIG_MMU_NOTIFIER_STATS

void mmu_notifier_stats_begin(struct mmu_notifier_nonblock *section);
void mmu_notifier_stats_count(struct mmu_notifier_nonblock *section);

#else

static inline void mmu_notifier_stats_begin(struct mmu_notifier_nonblock *section)
{
}

static inline void mmu_notifier_stats_count(struct mmu_notifier_nonblock *section)
{
}

#endif

#if IS_ENABLED(CONFIG_KUNIT)
struct seq_file;

void mmu_notifier_stats_forget(const void *start, size_t size);
void mmu_notifier_stats_reset(void);
int mmu_notifier_stats_show(struct seq_file *m, void *unused);
#endif

#endif /* _MM_MMU_NOTIFIER_STATS_H */
