/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What MMU notifier callbacks do, and what has to be reported about it.
 */
#ifndef _MM_TESTS_MMU_NOTIFIER_ACTS_H
#define _MM_TESTS_MMU_NOTIFIER_ACTS_H

#include <linux/types.h>

/**
 * struct mn_gfp - how an allocator is called
 * @name: for the name of the test
 * @flags: the argument
 * @scope: PF_MEMALLOC_* flags of the task around the call, or 0
 */
struct mn_gfp {
	const char *name;
	gfp_t flags;
	unsigned int scope;
};

/**
 * struct mn_act - one thing that a callback does
 * @name: for the name of the test
 * @prepare: what has to be done before, outside of the callback, or NULL; may
 *	     sleep; returns an errno
 * @run: does it; takes gfp flags if it is an allocator
 * @nonblock: what it must report in a nonblocking pass, about
 *	      mmu_notifier_nonblock held at the callback
 * @blockable_range: what it must report in a blockable pass in a range callback,
 *		     about mmu_notifier_invalidate_range_start, as it ever did
 * @blockable_interval: likewise in an interval callback
 * @missing: why it cannot be tested in this kernel, or NULL
 * @missing_protected: likewise, with mn_protected_gfps
 */
struct mn_act {
	const char *name;
	int (*prepare)(void);
	void (*run)(gfp_t gfp);
	unsigned int nonblock;
	unsigned int blockable_range;
	unsigned int blockable_interval;
	const char *missing;
	const char *missing_protected;
};

/**
 * struct mn_misuse - what a callback takes and does not give back
 * @name: for the name of the test
 * @before: what the caller of the pass does, or NULL
 * @run: the callback
 * @after: what the caller does when the pass is over, so that the task ends as
 *	   it began; or NULL
 * @warning: what the annotation must say
 * @missing: why it cannot be tested in this kernel, or NULL
 */
struct mn_misuse {
	const char *name;
	void (*before)(void);
	void (*run)(gfp_t gfp);
	void (*after)(void);
	const char *warning;
	const char *missing;
};

/* To add one to a table, count it here: the compiler compares. */
enum {
	MN_NR_WRONG_ACTS	= 29,
	MN_NR_PROTECTED_ACTS	= 38,
	MN_NR_ALLOCATORS	= 9,
	MN_NR_WRONG_GFPS	= 6,
	MN_NR_PROTECTED_GFPS	= 2,
	MN_NR_MISUSES		= 6,
};

extern const struct mn_act mn_wrong_acts[MN_NR_WRONG_ACTS];
extern const struct mn_act mn_protected_acts[MN_NR_PROTECTED_ACTS];

/* The allocators, and how they must not and how they may be called */
extern const struct mn_act mn_allocators[MN_NR_ALLOCATORS];
extern const struct mn_gfp mn_wrong_gfps[MN_NR_WRONG_GFPS];
extern const struct mn_gfp mn_protected_gfps[MN_NR_PROTECTED_GFPS];

extern const struct mn_misuse mn_misuses[MN_NR_MISUSES];

int mn_acts_init(void);
void mn_acts_exit(void);

#endif /* _MM_TESTS_MMU_NOTIFIER_ACTS_H */
