/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * ioctls of /dev/test_mmu_notifier, see lib/test_mmu_notifier.c.
 *
 * A process subscribes fake MMU notifiers to its memory. In invalidations that
 * may not block they behave as they were told; in all others they do nothing.
 */
#ifndef _LIB_TEST_MMU_NOTIFIER_UAPI_H
#define _LIB_TEST_MMU_NOTIFIER_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* No more notifiers than this for one open file */
#define TEST_MMU_NOTIFIER_MAX		64
/* No longer than this with TEST_MMU_NOTIFIER_LINGER, in ms */
#define TEST_MMU_NOTIFIER_LINGER_MAX	60000

/**
 * enum test_mmu_notifier_kind - which callbacks a notifier has
 * @TEST_MMU_NOTIFIER_RANGE: invalidate_range_start, which may back off
 * @TEST_MMU_NOTIFIER_RANGE_END: with invalidate_range_end as well, so that it
 *	must not back off; behaves in the second
 * @TEST_MMU_NOTIFIER_INTERVAL: invalidate
 * @TEST_MMU_NOTIFIER_TWO_PASS: invalidate_start and invalidate_finish; behaves in
 *	the first, or, if it cannot back off, in the second. EOPNOTSUPP if the
 *	kernel has no such interval notifiers
 */
enum test_mmu_notifier_kind {
	TEST_MMU_NOTIFIER_RANGE,
	TEST_MMU_NOTIFIER_RANGE_END,
	TEST_MMU_NOTIFIER_INTERVAL,
	TEST_MMU_NOTIFIER_TWO_PASS,
};

/**
 * enum test_mmu_notifier_behaviour - what it does in nonblocking invalidations
 * @TEST_MMU_NOTIFIER_SUCCEED: nothing
 * @TEST_MMU_NOTIFIER_BACK_OFF: backs off, the next @count times, or each time if
 *	that is 0
 * @TEST_MMU_NOTIFIER_TRYLOCK: backs off while the lock is held, see
 *	TEST_MMU_NOTIFIER_HOLD
 * @TEST_MMU_NOTIFIER_MUTEX: takes a mutex, which is wrong
 * @TEST_MMU_NOTIFIER_ALLOC: allocates with GFP_KERNEL, which is wrong
 * @TEST_MMU_NOTIFIER_ALLOC_NOFS: allocates with GFP_NOFS, which is wrong as well
 * @TEST_MMU_NOTIFIER_WAIT: waits for an event, which is wrong
 * @TEST_MMU_NOTIFIER_SLEEP: sleeps, which is wrong
 */
enum test_mmu_notifier_behaviour {
	TEST_MMU_NOTIFIER_SUCCEED,
	TEST_MMU_NOTIFIER_BACK_OFF,
	TEST_MMU_NOTIFIER_TRYLOCK,
	TEST_MMU_NOTIFIER_MUTEX,
	TEST_MMU_NOTIFIER_ALLOC,
	TEST_MMU_NOTIFIER_ALLOC_NOFS,
	TEST_MMU_NOTIFIER_WAIT,
	TEST_MMU_NOTIFIER_SLEEP,
};

/**
 * struct test_mmu_notifier - a notifier
 * @start: the first address that it watches
 * @length: and how many bytes from there
 * @kind: see &enum test_mmu_notifier_kind
 * @behaviour: see &enum test_mmu_notifier_behaviour
 * @count: for TEST_MMU_NOTIFIER_BACK_OFF, 0 with all others
 * @id: which, for TEST_MMU_NOTIFIER_SET; 0 for TEST_MMU_NOTIFIER_ADD, which returns it
 */
struct test_mmu_notifier {
	__u64 start;
	__u64 length;
	__u32 kind;
	__u32 behaviour;
	__u32 count;
	__u32 id;
};

/**
 * struct test_mmu_notifier_counts - what a notifier has seen of its range
 * @id: which
 * @starts: calls of its first callback in invalidations that may block
 * @ends: likewise, of its second
 * @nonblock_starts: calls of its first callback in those that may not
 * @nonblock_ends: likewise, of its second
 * @back_offs: how often it backed off
 */
struct test_mmu_notifier_counts {
	__u64 id;
	__u64 starts;
	__u64 ends;
	__u64 nonblock_starts;
	__u64 nonblock_ends;
	__u64 back_offs;
};

#define TEST_MMU_NOTIFIER_MAGIC	'N'

/* Subscribe to the memory of the caller: kind, behaviour, count, start, length */
#define TEST_MMU_NOTIFIER_ADD	\
	_IOWR(TEST_MMU_NOTIFIER_MAGIC, 0, struct test_mmu_notifier)
/* Behave otherwise from now on: id, behaviour, count; the rest is ignored */
#define TEST_MMU_NOTIFIER_SET	\
	_IOW(TEST_MMU_NOTIFIER_MAGIC, 1, struct test_mmu_notifier)
#define TEST_MMU_NOTIFIER_REMOVE	\
	_IOW(TEST_MMU_NOTIFIER_MAGIC, 2, __u32)
#define TEST_MMU_NOTIFIER_READ	\
	_IOWR(TEST_MMU_NOTIFIER_MAGIC, 3, struct test_mmu_notifier_counts)
/* Hold the lock that TEST_MMU_NOTIFIER_TRYLOCK tries; it is the same for all */
#define TEST_MMU_NOTIFIER_HOLD	_IO(TEST_MMU_NOTIFIER_MAGIC, 4)
#define TEST_MMU_NOTIFIER_RELEASE	_IO(TEST_MMU_NOTIFIER_MAGIC, 5)
/* Sleep for so many ms; not even a kill ends that: the mm outlives its process */
#define TEST_MMU_NOTIFIER_LINGER	\
	_IOW(TEST_MMU_NOTIFIER_MAGIC, 6, __u32)

/* End the sleep of all who do */
#define TEST_MMU_NOTIFIER_WAKE	_IO(TEST_MMU_NOTIFIER_MAGIC, 7)

#endif /* _LIB_TEST_MMU_NOTIFIER_UAPI_H */
