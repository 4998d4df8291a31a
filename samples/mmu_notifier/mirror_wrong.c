// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ways to get wrong what mirror_invalidate() in mirror.c does right. Each of them
 * works day in, day out: until the system is out of memory.
 */

#include <linux/module.h>
#include <linux/slab.h>

#include "mirror.h"
#include "mirror_wrong.h"

static struct mirror *to_mirror(struct mmu_interval_notifier *notifier)
{
	return container_of(notifier, struct mirror, notifier);
}

static bool try_lock(struct mirror *mirror, const struct mmu_notifier_range *range)
{
	if (!mmu_notifier_range_blockable(range))
		return mutex_trylock(&mirror->lock);
	mutex_lock(&mirror->lock);
	return true;
}

/* All that is left to do, under the lock, which it releases */
static void finish(struct mirror *mirror, const struct mmu_notifier_range *range,
		   unsigned long seq, struct mirror_command *command)
{
	mmu_interval_set_seq(&mirror->notifier, seq);
	mirror_unmap(mirror, range);
	if (command)
		mirror_send(mirror, command, range);
	mutex_unlock(&mirror->lock);
}

/* Waits for the lock, and with it for whatever the one who has it waits for. */
static bool invalidate_waits_for_lock(struct mmu_interval_notifier *notifier,
				      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = to_mirror(notifier);

	mutex_lock(&mirror->lock);
	finish(mirror, range, seq, mirror_take_command(mirror));
	return true;
}

const struct mmu_interval_notifier_ops mirror_waits_for_lock = {
	.invalidate = invalidate_waits_for_lock,
};

/* Waits for memory, which its caller is about to free. That it is GFP_NOIO does not help. */
static bool invalidate_allocates(struct mmu_interval_notifier *notifier,
				 const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = to_mirror(notifier);
	struct mirror_command *command;

	if (!try_lock(mirror, range))
		return false;
	if (mmu_notifier_range_blockable(range))
		command = mirror_take_command(mirror);
	else
		command = kzalloc(sizeof(*command), GFP_NOIO);
	finish(mirror, range, seq, command);
	return true;
}

const struct mmu_interval_notifier_ops mirror_allocates = {
	.invalidate = invalidate_allocates,
};

/* Waits for a work item, which waits for memory. */
static bool invalidate_waits_for_work(struct mmu_interval_notifier *notifier,
				      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = to_mirror(notifier);

	if (!try_lock(mirror, range)) {
		/* It must be this that has the lock. */
		flush_work(&mirror->refill);
		if (!try_lock(mirror, range))
			return false;
	}
	finish(mirror, range, seq, mirror_take_command(mirror));
	return true;
}

const struct mmu_interval_notifier_ops mirror_waits_for_work = {
	.invalidate = invalidate_waits_for_work,
};

/* To be subscribed to all of the process's memory, of which it backs off from all. */
static bool invalidate_everything(struct mmu_interval_notifier *notifier,
				  const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = to_mirror(notifier);

	if (!try_lock(mirror, range))
		return false;
	finish(mirror, range, seq, mirror_take_command(mirror));
	return true;
}

const struct mmu_interval_notifier_ops mirror_watches_everything = {
	.invalidate = invalidate_everything,
};

/* Backs off, and nobody ever gets the lock again. */
static bool invalidate_keeps_lock(struct mmu_interval_notifier *notifier,
				  const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = to_mirror(notifier);
	struct mirror_command *command;

	if (!try_lock(mirror, range))
		return false;
	command = mirror_take_command(mirror);
	if (!command && !mmu_notifier_range_blockable(range))
		return false;
	finish(mirror, range, seq, command);
	return true;
}

const struct mmu_interval_notifier_ops mirror_keeps_lock = {
	.invalidate = invalidate_keeps_lock,
};

/* Backs off when it has done the first half: what it knows is no longer true. */
static bool invalidate_does_half(struct mmu_interval_notifier *notifier,
				 const struct mmu_notifier_range *range, unsigned long seq)
{
	struct mirror *mirror = to_mirror(notifier);
	struct mirror_command *command;

	if (!try_lock(mirror, range))
		return false;
	mirror_unmap(mirror, range);
	command = mirror_take_command(mirror);
	if (!command && !mmu_notifier_range_blockable(range)) {
		mutex_unlock(&mirror->lock);
		return false;
	}
	finish(mirror, range, seq, command);
	return true;
}

const struct mmu_interval_notifier_ops mirror_does_half = {
	.invalidate = invalidate_does_half,
};

/* Has done all without waiting, and then waits at the end, which cannot back off. */
static void resume_device(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct mirror_resume *resume = container_of(notifier, struct mirror_resume, notifier);

	mutex_lock(&resume->mirror->lock);
	resume->nr++;
	mutex_unlock(&resume->mirror->lock);
}

const struct mmu_notifier_ops mirror_resume_ops = {
	.invalidate_range_end = resume_device,
};

MODULE_DESCRIPTION("Sample driver with wrong MMU notifiers, and the KUnit test that tells");
MODULE_LICENSE("GPL");
