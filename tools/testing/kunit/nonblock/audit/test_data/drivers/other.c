// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

/* expect: asks_helper clean */
INTERVAL(asks_helper)
{
	if (helper_may_wait(range))
		mutex_lock(&to_dev(mni)->lock);
	return true;
}

/* expect: helper_sleeps_for_it may-block */
INTERVAL(helper_sleeps_for_it)
{
	helper_sleeps(to_dev(mni));
	return true;
}

/* expect: helper_spins_for_it clean */
INTERVAL(helper_spins_for_it)
{
	helper_spins(to_dev(mni));
	return true;
}

/* expect: calls_helper_of_each clean */
INTERVAL(calls_helper_of_each)
{
	helper_of_each(to_dev(mni));
	return true;
}

/* expect: helper_allocates_for_it may-block */
INTERVAL(helper_allocates_for_it)
{
	to_dev(mni)->command = helper_allocates(100, GFP_NOFS);
	return true;
}

/* expect: helper_allocates_nowait clean */
INTERVAL(helper_allocates_nowait)
{
	to_dev(mni)->command = helper_allocates(100, GFP_NOWAIT);
	return true;
}

/* expect: helper_locks_if_it_may clean */
INTERVAL(helper_locks_if_it_may)
{
	helper_locks_if(to_dev(mni), mmu_notifier_range_blockable(range));
	return true;
}
MODULE_LICENSE("GPL");
