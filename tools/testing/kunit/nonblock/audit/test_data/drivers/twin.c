// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

/* expect: calls_its_own_helper may-block */
INTERVAL(calls_its_own_helper)
{
	helper_of_each(to_dev(mni));
	return true;
}

MODULE_DESCRIPTION("A second module, with a function that the first has, too");
MODULE_LICENSE("GPL");
