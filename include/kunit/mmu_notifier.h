/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KUnit API to test MMU notifiers.
 *
 * A test subscribes a driver's callbacks to its own mm, that of the task that
 * runs it, maps memory there, and lets the OOM reaper's invalidation, which may
 * not block, run over it:
 *
 *	start = kunit_mmu_notifier_mmap(test, 4, MAP_PRIVATE | MAP_POPULATE);
 *	kunit_mmu_interval_notifier_insert(test, &driver->notifier, start,
 *					   4 * PAGE_SIZE, &driver_ops);
 *	KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, 4 * PAGE_SIZE);
 *
 *	kunit_mmu_notifier_hold(test, driver_lock, driver_unlock, driver);
 *	KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, start, 4 * PAGE_SIZE,
 *					    driver->nr_mapped);
 *
 * samples/mmu_notifier/ has a driver with its test.
 */
#ifndef _KUNIT_MMU_NOTIFIER_H
#define _KUNIT_MMU_NOTIFIER_H

#include <kunit/report.h>
#include <linux/mmu_notifier.h>
#include <linux/types.h>

struct kunit;

/**
 * struct mmu_notifier_state - the interval notifiers' collision state of an mm
 * @active_ranges: number of ranges that are being invalidated
 * @seq: invalidation sequence, odd while an interval notifier is in one of
 *	 these ranges
 */
struct mmu_notifier_state {
	unsigned long active_ranges;
	unsigned long seq;
};

void mmu_notifier_read_state(struct mm_struct *mm,
			     struct mmu_notifier_state *state);

/* The event of the passes below, and of the OOM reaper's. Others come when the mm goes away. */
#ifdef OOM_REAPER_UNMAPS
#define KUNIT_MMU_NOTIFY	MMU_NOTIFY_UNMAP
#else
#define KUNIT_MMU_NOTIFY	MMU_NOTIFY_CLEAR
#endif

unsigned long kunit_mmu_notifier_mmap(struct kunit *test, unsigned long nr_pages,
				      unsigned long flags);
void kunit_mmu_notifier_register(struct kunit *test, struct mmu_notifier *subscription,
				 const struct mmu_notifier_ops *ops);
void kunit_mmu_interval_notifier_insert(struct kunit *test,
					struct mmu_interval_notifier *subscription,
					unsigned long start, unsigned long length,
					const struct mmu_interval_notifier_ops *ops);
void kunit_mmu_interval_notifier_remove(struct kunit *test,
					struct mmu_interval_notifier *subscription);

int kunit_mmu_notifier_nonblock_pass(struct kunit *test, unsigned long start,
				     unsigned long length);
void kunit_mmu_notifier_blockable_pass(struct kunit *test, unsigned long start,
				       unsigned long length);
bool kunit_mmu_notifier_reap(struct kunit *test);
void kunit_mmu_notifier_unmap(struct kunit *test, unsigned long start, unsigned long length);

void kunit_mmu_notifier_hold(struct kunit *test, void (*lock)(void *data),
			     void (*unlock)(void *data), void *data);
void kunit_mmu_notifier_release(struct kunit *test);

/**
 * enum kunit_mmu_notifier_pass - ways in which a pass may end
 * @KUNIT_MMU_NOTIFIER_ENDED: it may not block, and comes to its end
 * @KUNIT_MMU_NOTIFIER_UNWOUND: it may not block, and another notifier backs off
 * @KUNIT_MMU_NOTIFIER_BLOCKABLE: it may block
 * @KUNIT_MMU_NOTIFIER_NR_PASSES: the number of these
 */
enum kunit_mmu_notifier_pass {
	KUNIT_MMU_NOTIFIER_ENDED,
	KUNIT_MMU_NOTIFIER_UNWOUND,
	KUNIT_MMU_NOTIFIER_BLOCKABLE,
	KUNIT_MMU_NOTIFIER_NR_PASSES
};

/* For the macros below: what is wrong, in memory that lasts as long as the test, or NULL */
const char *kunit_mmu_notifier_check_clean(struct kunit *test, unsigned long start,
					   unsigned long length);
const char *kunit_mmu_notifier_check_backs_off(struct kunit *test, unsigned long start,
					       unsigned long length);
const char *kunit_mmu_notifier_check_ignores(struct kunit *test, unsigned long start,
					     unsigned long length);
const char *kunit_mmu_notifier_check_pass(struct kunit *test, unsigned long start,
					  unsigned long length,
					  enum kunit_mmu_notifier_pass pass);
const char *kunit_mmu_notifier_check_undone(struct kunit *test, const char *state,
					    u64 before, u64 after);
const char *kunit_mmu_notifier_check_paired(struct kunit *test, const char *state,
					    u64 before, u64 after,
					    enum kunit_mmu_notifier_pass pass);

/* @check may use __test, which is @test, evaluated once. */
#define __KUNIT_EXPECT_MMU_NOTIFIER(test, check)			\
do {									\
	struct kunit *__test = (test);					\
	const char *__message = check;					\
									\
	if (__message)							\
		KUNIT_FAIL(__test, "%s", __message);			\
} while (0)

/**
 * KUNIT_EXPECT_MMU_NOTIFIER_CLEAN() - expect that callbacks do their work without blocking
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 *
 * In a nonblocking pass over the range, no callback may sleep, wait for memory, or
 * leave a lock behind, and none may back off.
 *
 * Context: The task that runs @test, where it may sleep.
 */
#define KUNIT_EXPECT_MMU_NOTIFIER_CLEAN(test, start, length)		\
	__KUNIT_EXPECT_MMU_NOTIFIER(test,				\
				    kunit_mmu_notifier_check_clean(__test, start, length))

/**
 * KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF() - expect that a callback backs off, and leaves no trace
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 * @state: an expression, an integer, that must be the same afterwards; 0 for none
 *
 * For what keeps the callbacks from their work: a lock that another task holds (see
 * kunit_mmu_notifier_hold()), an empty pool. They may neither wait for it, nor do
 * half of the work: the caller goes on as if it had not called.
 *
 * Context: The task that runs @test, where it may sleep.
 */
#define KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF(test, start, length, state)	\
do {									\
	struct kunit *__context = (test);				\
	const u64 __before = (u64)(state);				\
	const char *__why;						\
									\
	__why = kunit_mmu_notifier_check_backs_off(__context, start, length); \
	if (!__why)							\
		__why = kunit_mmu_notifier_check_undone(__context, #state, \
							__before, (u64)(state)); \
	__KUNIT_EXPECT_MMU_NOTIFIER(__context, __why);			\
} while (0)

/**
 * KUNIT_EXPECT_MMU_NOTIFIER_IGNORES() - expect that no callback minds a range
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 *
 * For memory that the driver has no interest in. Who backs off there defeats the
 * OOM reaper. To be used while something would keep the callbacks from their work,
 * see KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF().
 *
 * Context: The task that runs @test, where it may sleep.
 */
#define KUNIT_EXPECT_MMU_NOTIFIER_IGNORES(test, start, length)		\
	__KUNIT_EXPECT_MMU_NOTIFIER(test,				\
				    kunit_mmu_notifier_check_ignores(__test, start, length))

/**
 * KUNIT_EXPECT_MMU_NOTIFIER_PAIRED() - expect that each start has its end
 * @test: the test context
 * @start: of the range, in the mm of the test
 * @length: of the range, in bytes
 * @state: an expression, an integer, that must be the same after each pass; for
 *	   example, a count of the invalidations under way
 *
 * Runs a nonblocking pass, one in which another notifier backs off, so that this
 * one's start is unwound by its end, and a blockable pass.
 *
 * Context: The task that runs @test, where it may sleep.
 */
#define KUNIT_EXPECT_MMU_NOTIFIER_PAIRED(test, start, length, state)	\
do {									\
	struct kunit *__context = (test);				\
	const u64 __before = (u64)(state);				\
	const char *__why = NULL;					\
	int __pass;							\
									\
	for (__pass = 0; !__why && __pass < KUNIT_MMU_NOTIFIER_NR_PASSES; __pass++) { \
		__why = kunit_mmu_notifier_check_pass(__context, start, length, \
						      __pass);		\
		if (!__why)						\
			__why = kunit_mmu_notifier_check_paired(__context, #state, \
								__before, (u64)(state), \
								__pass);	\
	}								\
	__KUNIT_EXPECT_MMU_NOTIFIER(__context, __why);			\
} while (0)

/* The lock that is held in each callback that may not block */
#define KUNIT_MMU_NOTIFIER_MAP	"mmu_notifier_nonblock"

/**
 * KUNIT_EXPECT_MMU_NOTIFIER_REPORT() - expect that a callback makes just these reports
 * @test: the test context
 * @kinds: see KUNIT_EXPECT_REPORT()
 * @callback: the callback that makes all of them
 * @...: what has it called, for example kunit_mmu_notifier_nonblock_pass()
 *
 * Context: The task that runs @test, where it may sleep.
 */
#define KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, kinds, callback, ...)	\
	__KUNIT_EXPECT_REPORT(test, kinds, KUNIT_MMU_NOTIFIER_MAP, callback, \
			      #__VA_ARGS__, __VA_ARGS__)

#endif /* _KUNIT_MMU_NOTIFIER_H */
