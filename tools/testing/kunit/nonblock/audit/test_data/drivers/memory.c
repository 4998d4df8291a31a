// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

static noinline void *inner(size_t size, gfp_t gfp)
{
	return kzalloc(size, gfp | __GFP_NOWARN);
}

static noinline void *outer(struct dev *dev, gfp_t gfp)
{
	return inner(64 + dev->state, gfp);
}

/* expect: allocates_kernel may-block */
INTERVAL(allocates_kernel)
{
	to_dev(mni)->command = kmalloc(64, GFP_KERNEL);
	return true;
}

/* expect: allocates_noio may-block */
INTERVAL(allocates_noio)
{
	to_dev(mni)->command = kmalloc(64, GFP_NOIO);
	return true;
}

/* expect: allocates_nowait may-back-off */
INTERVAL(allocates_nowait)
{
	void *command = kmalloc(64, GFP_NOWAIT);

	if (!command)
		return false;
	to_dev(mni)->command = command;
	return true;
}

/* expect: allocates_through_two may-block */
INTERVAL(allocates_through_two)
{
	to_dev(mni)->command = outer(to_dev(mni), GFP_KERNEL);
	return true;
}

/* expect: allocates_through_two_atomic clean */
INTERVAL(allocates_through_two_atomic)
{
	to_dev(mni)->command = outer(to_dev(mni), GFP_ATOMIC);
	return true;
}

/* expect: allocates_as_it_may clean */
INTERVAL(allocates_as_it_may)
{
	gfp_t gfp = mmu_notifier_range_blockable(range) ? GFP_KERNEL : GFP_NOWAIT;

	to_dev(mni)->command = outer(to_dev(mni), gfp);
	return true;
}

/* expect: allocates_by_mask clean */
INTERVAL(allocates_by_mask)
{
	gfp_t gfp = GFP_KERNEL;

	if (!mmu_notifier_range_blockable(range))
		gfp &= ~__GFP_DIRECT_RECLAIM;
	to_dev(mni)->command = kmalloc(64, gfp);
	return true;
}

/* expect: allocates_somehow undecided */
INTERVAL(allocates_somehow)
{
	to_dev(mni)->command = kmalloc(64, to_dev(mni)->state);
	return true;
}

/* expect: frees clean */
INTERVAL(frees)
{
	kfree(to_dev(mni)->command);
	to_dev(mni)->command = NULL;
	return true;
}

/* expect: inserts may-block */
INTERVAL(inserts)
{
	static DEFINE_XARRAY(xarray);

	xa_store(&xarray, seq, to_dev(mni), GFP_KERNEL);
	return true;
}

/* expect: inserts_atomic clean */
INTERVAL(inserts_atomic)
{
	static DEFINE_XARRAY(xarray);

	xa_store(&xarray, seq, to_dev(mni), GFP_ATOMIC);
	return true;
}

struct blob {
	struct rcu_head rcu;
	int size;
};

/* expect: frees_by_rcu clean */
INTERVAL(frees_by_rcu)
{
	struct blob *blob = to_dev(mni)->command;

	kfree_rcu(blob, rcu);
	return true;
}

/* Without a head in the object, one may have to be allocated, or readers to be waited for. */
/* expect: frees_without_head may-block */
INTERVAL(frees_without_head)
{
	struct blob *blob = to_dev(mni)->command;

	kfree_rcu_mightsleep(blob);
	return true;
}
MODULE_LICENSE("GPL");
