// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

/* expect: reschedules may-block */
INTERVAL(reschedules)
{
	cond_resched();
	return true;
}

/* expect: flushes_work may-block */
INTERVAL(flushes_work)
{
	flush_work(&to_dev(mni)->work);
	return true;
}

/* expect: queues_work clean */
INTERVAL(queues_work)
{
	queue_work(system_long_wq, &to_dev(mni)->work);
	return true;
}

/* expect: waits_for_event may-block */
INTERVAL(waits_for_event)
{
	struct dev *dev = to_dev(mni);

	wait_event(dev->wait, !READ_ONCE(dev->state));
	return true;
}

/* expect: polls_fence may-back-off */
INTERVAL(polls_fence)
{
	if (!dma_fence_is_signaled(to_dev(mni)->fence))
		return false;
	mmu_interval_set_seq(mni, seq);
	return true;
}

/*
 * There is nothing to wait for, but dma_fence_wait_timeout() begins with might_sleep(),
 * so that a debug kernel reports it.
 */
/* expect: waits_no_time may-block */
INTERVAL(waits_no_time)
{
	return dma_fence_wait_timeout(to_dev(mni)->fence, false, 0) > 0;
}

/* expect: waits_if_it_may may-back-off */
INTERVAL(waits_if_it_may)
{
	struct dev *dev = to_dev(mni);
	long timeout = mmu_notifier_range_blockable(range) ? MAX_SCHEDULE_TIMEOUT : 0;

	if (timeout)
		dma_fence_wait_timeout(dev->fence, false, timeout);
	else if (!dma_fence_is_signaled(dev->fence))
		return false;
	mmu_interval_set_seq(mni, seq);
	return true;
}

/* expect: waits_for_readers may-block */
INTERVAL(waits_for_readers)
{
	synchronize_rcu();
	return true;
}

/* expect: puts_mm may-block */
INTERVAL(puts_mm)
{
	mmput(mni->mm);
	return true;
}

/* expect: puts_mm_later clean */
INTERVAL(puts_mm_later)
{
	mmput_async(mni->mm);
	return true;
}
MODULE_LICENSE("GPL");
