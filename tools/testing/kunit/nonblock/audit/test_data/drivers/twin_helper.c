// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

void helper_of_each(struct dev *dev)
{
	mutex_lock(&dev->lock);
	dev->state++;
	mutex_unlock(&dev->lock);
}
