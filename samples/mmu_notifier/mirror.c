// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver whose MMU notifier does not block in a nonblocking invalidation.
 *
 * To keep the device from the pages takes its lock, and memory for a command, which
 * is taken from a pool. If it can have both at once, the callback does all of its
 * work, else none of it.
 *
 * mirror_kunit.c tests it: enable CONFIG_SAMPLE_MMU_NOTIFIER, and load the module or
 * boot. mirror_wrong.c has the ways to get it wrong. To build both out of the tree, copy
 * this folder's *.[ch] and out-of-tree/Kbuild; see
 * Documentation/mm/mmu_notifier_nonblock.rst.
 */

#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "mirror.h"

/* Under the lock; NULL if there is none left */
struct mirror_command *mirror_take_command(struct mirror *mirror)
{
	struct mirror_command *command;

	command = list_first_entry_or_null(&mirror->pool, struct mirror_command, node);
	if (command)
		list_del(&command->node);
	return command;
}
EXPORT_SYMBOL_GPL(mirror_take_command);

/* Under the lock; there is no device that one had to wait for. */
static void mirror_wait_for_device(struct mirror *mirror)
{
	might_sleep();
	list_splice_init(&mirror->sent, &mirror->pool);
}

static unsigned int first_page(struct mirror *mirror, const struct mmu_notifier_range *range)
{
	if (range->start <= mirror->start)
		return 0;
	return min((range->start - mirror->start) / PAGE_SIZE, MIRROR_PAGES);
}

static unsigned int end_page(struct mirror *mirror, const struct mmu_notifier_range *range)
{
	if (range->end <= mirror->start)
		return 0;
	return min((range->end - mirror->start) / PAGE_SIZE, MIRROR_PAGES);
}

/* Under the lock */
void mirror_unmap(struct mirror *mirror, const struct mmu_notifier_range *range)
{
	unsigned int i;

	for (i = first_page(mirror, range); i < end_page(mirror, range); i++) {
		mirror->nr_mapped -= mirror->mapped[i];
		mirror->mapped[i] = false;
	}
}
EXPORT_SYMBOL_GPL(mirror_unmap);

/* Under the lock; that the pool is one command short is somebody else's business. */
void mirror_send(struct mirror *mirror, struct mirror_command *command,
		 const struct mmu_notifier_range *range)
{
	command->first = first_page(mirror, range);
	command->nr = end_page(mirror, range) - command->first;
	list_add_tail(&command->node, &mirror->sent);
	schedule_work(&mirror->refill);
}
EXPORT_SYMBOL_GPL(mirror_send);

static bool mirror_invalidate(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = container_of(notifier, struct mirror, notifier);
	struct mirror_command *command;

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&mirror->lock);
	else if (!mutex_trylock(&mirror->lock))
		return false;

	command = mirror_take_command(mirror);
	if (!command && mmu_notifier_range_blockable(range)) {
		mirror_wait_for_device(mirror);
		command = mirror_take_command(mirror);
	}
	if (!command) {
		mutex_unlock(&mirror->lock);
		return false;
	}

	mmu_interval_set_seq(notifier, seq);
	mirror_unmap(mirror, range);
	mirror_send(mirror, command, range);
	mutex_unlock(&mirror->lock);
	return true;
}

static const struct mmu_interval_notifier_ops mirror_ops = {
	.invalidate = mirror_invalidate,
};

static bool is_mirrored(const struct mirror *mirror, const struct mmu_notifier_range *range)
{
	return range->start < mirror->start + MIRROR_SIZE && range->end > mirror->start;
}

static int revoke_grant(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct mirror_grant *grant = container_of(notifier, struct mirror_grant, notifier);

	if (!is_mirrored(grant->mirror, range))
		return 0;

	if (mmu_notifier_range_blockable(range))
		mutex_lock(&grant->lock);
	else if (!mutex_trylock(&grant->lock))
		return -EAGAIN;
	grant->revoked = true;
	mutex_unlock(&grant->lock);
	return 0;
}

/* If it had an invalidate_range_end(), it could not back off. */
const struct mmu_notifier_ops mirror_grant_ops = {
	.invalidate_range_start = revoke_grant,
};
EXPORT_SYMBOL_GPL(mirror_grant_ops);

/* Allocates without the lock: reclaim may call mirror_invalidate(), which takes it. */
static void mirror_refill(struct work_struct *work)
{
	struct mirror *mirror = container_of(work, struct mirror, refill);
	struct mirror_command *command;
	bool enough;

	do {
		command = kzalloc(sizeof(*command), GFP_KERNEL);
		if (!command)
			return;

		mutex_lock(&mirror->lock);
		mirror_wait_for_device(mirror);
		enough = list_count_nodes(&mirror->pool) >= MIRROR_COMMANDS;
		if (!enough)
			list_add_tail(&command->node, &mirror->pool);
		mutex_unlock(&mirror->lock);
	} while (!enough);
	kfree(command);
}

/* A real driver looks up the page between the two, with hmm_range_fault(). */
void mirror_fault(struct mirror *mirror, unsigned int page)
{
	unsigned long seq;

	for (;;) {
		seq = mmu_interval_read_begin(&mirror->notifier);
		mutex_lock(&mirror->lock);
		if (!mmu_interval_read_retry(&mirror->notifier, seq))
			break;
		mutex_unlock(&mirror->lock);
	}
	mirror->nr_mapped += !mirror->mapped[page];
	mirror->mapped[page] = true;
	mutex_unlock(&mirror->lock);
}
EXPORT_SYMBOL_GPL(mirror_fault);

static void mirror_free(struct mirror *mirror)
{
	struct mirror_command *command, *next;

	cancel_work_sync(&mirror->refill);
	list_splice_init(&mirror->sent, &mirror->pool);
	list_for_each_entry_safe(command, next, &mirror->pool, node)
		kfree(command);
	kfree(mirror);
}

struct mirror *mirror_create_with(unsigned long start, unsigned long first,
				  unsigned long length,
				  const struct mmu_interval_notifier_ops *ops)
{
	struct mirror *mirror = kzalloc(sizeof(*mirror), GFP_KERNEL);
	int ret;

	if (!mirror)
		return ERR_PTR(-ENOMEM);
	mirror->start = start;
	mutex_init(&mirror->lock);
	INIT_LIST_HEAD(&mirror->pool);
	INIT_LIST_HEAD(&mirror->sent);
	INIT_WORK(&mirror->refill, mirror_refill);
	schedule_work(&mirror->refill);
	flush_work(&mirror->refill);
	/* With one there is always one, here or sent: a call that may block gets it. */
	if (list_empty(&mirror->pool)) {
		mirror_free(mirror);
		return ERR_PTR(-ENOMEM);
	}

	ret = mmu_interval_notifier_insert(&mirror->notifier, current->mm, first, length, ops);
	if (ret) {
		mirror_free(mirror);
		return ERR_PTR(ret);
	}
	return mirror;
}
EXPORT_SYMBOL_GPL(mirror_create_with);

/* Of the process that runs, to its own memory only */
struct mirror *mirror_create(unsigned long start)
{
	return mirror_create_with(start, start, MIRROR_SIZE, &mirror_ops);
}
EXPORT_SYMBOL_GPL(mirror_create);

void mirror_destroy(struct mirror *mirror)
{
	mmu_interval_notifier_remove(&mirror->notifier);
	mirror_free(mirror);
}
EXPORT_SYMBOL_GPL(mirror_destroy);

MODULE_DESCRIPTION("Sample driver with an MMU notifier, and its KUnit test");
MODULE_LICENSE("GPL");
