/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The nonblocking probe: an invalidation that may block first tries to do without.
 */
#ifndef _MM_MMU_NOTIFIER_PROBE_H
#define _MM_MMU_NOTIFIER_PROBE_H

#include <linux/fault-inject.h>
#include <linux/mmu_notifier.h>
#include <linux/mmu_notifier_nonblock.h>

#ifdef CONFIG_MMU_NOTIFIER_NONBLOCK_PROBE

/**
 * struct mmu_notifier_probe - when to probe, and whom
 * @attr: when, see Documentation/fault-injection/fault-injection.rst
 * @callback: only notifiers that have a callback of this name; "": any
 * @module: only notifiers that have a callback in this module, "-" for the kernel
 *	    itself; "": any
 */
struct mmu_notifier_probe {
	struct fault_attr attr;
	char __rcu *callback;
	char __rcu *module;
};

bool mmu_notifier_probe_start(struct mmu_notifier_range *range);
bool mmu_notifier_probe_matches(const void *first, const void *second);

/**
 * mmu_notifier_probe_end() - whether the range that is to be ended was probed
 * @range: the range
 * @probe: then filled in: what to end instead
 *
 * Context: Any.
 * Return: true if it was.
 */
static inline bool mmu_notifier_probe_end(struct mmu_notifier_range *range,
					  struct mmu_notifier_range *probe)
{
	if (likely(!(range->flags & MMU_NOTIFIER_RANGE_PROBED)))
		return false;

	*probe = *range;
	/* The caller may use the range again. */
	range->flags &= ~MMU_NOTIFIER_RANGE_PROBED;
	probe->flags &= ~MMU_NOTIFIER_RANGE_BLOCKABLE;
	return true;
}

/**
 * mmu_notifier_probe_range() - the range to call a notifier with
 * @pass: the range of the pass
 * @blockable: room for another
 * @section: of the pass
 * @first: the notifier's callbacks
 * @second: likewise; or NULL
 *
 * If @pass probes, @section is interrupted.
 *
 * Context: That of the callback.
 * Return: @pass; or, if it probes and the filter leaves out this notifier, @blockable,
 * which is the same but for that the notifier may block.
 */
static inline const struct mmu_notifier_range *
mmu_notifier_probe_range(const struct mmu_notifier_range *pass,
			 struct mmu_notifier_range *blockable,
			 struct mmu_notifier_nonblock *section,
			 const void *first, const void *second)
{
	if (likely(!(pass->flags & MMU_NOTIFIER_RANGE_PROBED)))
		return pass;

	/* This notifier may be let block, and to find out takes time that is not its own. */
	mmu_notifier_nonblock_end(section);
	if (mmu_notifier_probe_matches(first, second))
		return pass;

	*blockable = *pass;
	blockable->flags &= ~MMU_NOTIFIER_RANGE_PROBED;
	blockable->flags |= MMU_NOTIFIER_RANGE_BLOCKABLE;
	return blockable;
}

#if IS_ENABLED(CONFIG_KUNIT)
extern struct mmu_notifier_probe mmu_notifier_probe;
#endif

#else

static inline bool mmu_notifier_probe_start(struct mmu_notifier_range *range)
{
	return false;
}

static inline bool mmu_notifier_probe_end(struct mmu_notifier_range *range,
					  struct mmu_notifier_range *probe)
{
	return false;
}

static inline const struct mmu_notifier_range *
mmu_notifier_probe_range(const struct mmu_notifier_range *pass,
			 struct mmu_notifier_range *blockable,
			 struct mmu_notifier_nonblock *section,
			 const void *first, const void *second)
{
	return pass;
}

#endif

#endif /* _MM_MMU_NOTIFIER_PROBE_H */
