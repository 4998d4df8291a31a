// SPDX-License-Identifier: GPL-2.0-only
#include "traits.h"

static int broken = no_such_thing;
