// SPDX-License-Identifier: GPL-2.0-only
/*
 * Test MMU notifiers, see include/kunit/mmu_notifier.h.
 *
 * KUnit tears down in another task, while the one of the test exits and lets go
 * of the mm; a subscription pins what it needs of that.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/err.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>

/**
 * kunit_mmu_notifier_mmap() - map anonymous memory in the mm of the test
 * @test: the test context
 * @nr_pages: how much
 * @flags: MAP_PRIVATE or MAP_SHARED, and MAP_POPULATE if the memory shall be there
 *
 * Fails the test, and ends it, if that is not possible.
 *
 * Context: The task that runs @test, where it may sleep.
 *
 * Return: the address.
 */
unsigned long kunit_mmu_notifier_mmap(struct kunit *test, unsigned long nr_pages,
				      unsigned long flags)
{
	unsigned long start = kunit_vm_mmap(test, NULL, 0, nr_pages * PAGE_SIZE,
					    PROT_READ | PROT_WRITE,
					    MAP_ANONYMOUS | flags, 0);

	KUNIT_ASSERT_NE(test, start, 0);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_VALUE(start), "vm_mmap: %pe", (void *)start);
	return start;
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_mmap);

static void kunit_mmu_notifier_unregister(void *data)
{
	struct mmu_notifier *subscription = data;

	mmu_notifier_unregister(subscription, subscription->mm);
}

/**
 * kunit_mmu_notifier_register() - have callbacks called until the test ends
 * @test: the test context
 * @subscription: to be subscribed to the mm of the test
 * @ops: the callbacks
 *
 * Fails the test, and ends it, if that is not possible.
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_notifier_register(struct kunit *test, struct mmu_notifier *subscription,
				 const struct mmu_notifier_ops *ops)
{
	subscription->ops = ops;
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(subscription, current->mm));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, kunit_mmu_notifier_unregister,
							   subscription));
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_register);

static void kunit_mmu_interval_notifier_remove_action(void *data)
{
	mmu_interval_notifier_remove(data);
}

/**
 * kunit_mmu_interval_notifier_insert() - likewise, of an interval notifier
 * @test: the test context
 * @subscription: to be subscribed to the mm of the test
 * @start: the first address that it wants to know about
 * @length: and how many bytes from there
 * @ops: the callbacks
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_interval_notifier_insert(struct kunit *test,
					struct mmu_interval_notifier *subscription,
					unsigned long start, unsigned long length,
					const struct mmu_interval_notifier_ops *ops)
{
	KUNIT_ASSERT_EQ(test, 0, mmu_interval_notifier_insert(subscription, current->mm,
							      start, length, ops));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   kunit_mmu_interval_notifier_remove_action,
							   subscription));
}
EXPORT_SYMBOL_GPL(kunit_mmu_interval_notifier_insert);

/**
 * kunit_mmu_interval_notifier_remove() - do not wait for the end of the test
 * @test: the test context
 * @subscription: given to kunit_mmu_interval_notifier_insert()
 *
 * Context: May sleep: waits for the end of invalidations.
 */
void kunit_mmu_interval_notifier_remove(struct kunit *test,
					struct mmu_interval_notifier *subscription)
{
	kunit_release_action(test, kunit_mmu_interval_notifier_remove_action, subscription);
}
EXPORT_SYMBOL_GPL(kunit_mmu_interval_notifier_remove);

/* For one end too many: begins a pass over nothing, which has no end then. */
static void kunit_mmu_notifier_begin_again(void)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, current->mm,
				TASK_SIZE - PAGE_SIZE, TASK_SIZE);
	mmu_notifier_invalidate_range_start(&range);
}

/*
 * Each pass leaves the collision state of the mm as it was: whoever waits for an
 * invalidation that nobody ends will wait forever, and so would the end of this
 * test, so mend it once it has failed.
 */
static void kunit_mmu_notifier_expect_state(struct kunit *test,
					    struct mmu_notifier_range *range,
					    const struct mmu_notifier_state *before)
{
	struct mmu_notifier_state state;

	mmu_notifier_read_state(current->mm, &state);
	KUNIT_EXPECT_EQ_MSG(test, state.active_ranges, before->active_ranges,
			    "the pass is over, but its range is still being invalidated");
	KUNIT_EXPECT_EQ_MSG(test, state.seq & 1, before->seq & 1,
			    "mmu_interval_read_begin() and mmu_interval_notifier_remove() wait for a pass that is over");

	if (state.active_ranges == before->active_ranges + 1)
		mmu_notifier_invalidate_range_end(range);
	else if (state.active_ranges == before->active_ranges - 1)
		kunit_mmu_notifier_begin_again();
}

/* Between start and end, interval notifiers' readers have to wait. */
static bool kunit_mmu_notifier_under_way(struct kunit *test,
					 const struct mmu_notifier_state *before)
{
	struct mmu_notifier_state state;

	mmu_notifier_read_state(current->mm, &state);
	KUNIT_EXPECT_EQ_MSG(test, state.active_ranges,
			    before->active_ranges + before->has_interval,
			    "the pass has begun, and must last until it is ended");
	return state.active_ranges != before->active_ranges || !before->has_interval;
}

/**
 * kunit_mmu_notifier_nonblock_pass() - invalidate as the OOM reaper does
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 *
 * Calls the callbacks of all subscribers: start and, if none of them backs off,
 * end. Fails the test if the core then has not put back the collision state of
 * the mm.
 *
 * Context: The task that runs @test. Calls the callbacks in a section that may
 * not block, see mmu_notifier_nonblock_enter().
 *
 * Return: 0, or what mmu_notifier_invalidate_range_start_nonblock() returned:
 * -EAGAIN if a callback has backed off.
 */
int kunit_mmu_notifier_nonblock_pass(struct kunit *test, unsigned long start,
				     unsigned long length)
{
	struct mmu_notifier_state before;
	struct mmu_notifier_range range;
	int ret;

	mmu_notifier_read_state(current->mm, &before);
	/* The flag is the core's to set and to clear. */
	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, MMU_NOTIFIER_RANGE_BLOCKABLE,
				current->mm, start, start + length);
	ret = mmu_notifier_invalidate_range_start_nonblock(&range);
	if (!ret && kunit_mmu_notifier_under_way(test, &before))
		mmu_notifier_invalidate_range_end(&range);
	kunit_mmu_notifier_expect_state(test, &range, &before);
	return ret;
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_nonblock_pass);

/**
 * kunit_mmu_notifier_blockable_pass() - invalidate as munmap(2) does
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 *
 * As kunit_mmu_notifier_nonblock_pass(), but the callbacks may block, and must
 * not back off.
 *
 * Context: The task that runs @test, where it may sleep.
 */
void kunit_mmu_notifier_blockable_pass(struct kunit *test, unsigned long start,
				       unsigned long length)
{
	struct mmu_notifier_state before;
	struct mmu_notifier_range range;

	mmu_notifier_read_state(current->mm, &before);
	mmu_notifier_range_init(&range, KUNIT_MMU_NOTIFY, 0, current->mm, start,
				start + length);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
	kunit_mmu_notifier_expect_state(test, &range, &before);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_blockable_pass);

/* What MODULE_IMPORT_NS() stands for; its argument became a string in 6.13 */
MODULE_INFO(import_ns, "EXPORTED_FOR_KUNIT_TESTING");
