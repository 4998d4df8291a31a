/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KUnit API to expect debug reports: of lockdep, might_sleep(), the scheduler,
 * WARN().
 *
 * A test of a locking rule has to break the rule. Lockdep answers with one
 * report and is off from then on, might_sleep() reports once a second, and
 * lockdep checks a chain of locks only once. So a test could see one report in a
 * boot, and all later tests would pass because nobody looks any more. An
 * expectation takes these limits away, for the task that runs the test and for
 * the time of one expression:
 *
 *	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WAIT_CONTEXT, NULL, NULL,
 *			    take_mutex_under_spinlock());
 *	KUNIT_EXPECT_NO_REPORT(test, take_mutex());
 *
 * The reports of other tasks and of interrupts take their usual way. So does a
 * report of the task that no expectation claims; it fails the test.
 */
#ifndef _KUNIT_REPORT_H
#define _KUNIT_REPORT_H

#include <kunit/test-bug.h>
#include <linux/bits.h>
#include <linux/cleanup.h>

/**
 * enum kunit_report_kind - what made a report; can be combined
 * @KUNIT_REPORT_WAIT_CONTEXT: lockdep, "Invalid wait context": a lock that may
 *	sleep was taken where only locks of a stricter wait type may be
 * @KUNIT_REPORT_RECURSION: lockdep, "possible recursive locking detected"
 * @KUNIT_REPORT_CIRCULAR: lockdep, "possible circular locking dependency
 *	detected"
 * @KUNIT_REPORT_USAGE: lockdep, "inconsistent lock state", and what else it says
 *	of locks that interrupts take, too
 * @KUNIT_REPORT_DEADLOCK: recursion or circle, to expect only: which of them it is
 *	depends on what else lockdep has learned and on the locks held
 * @KUNIT_REPORT_RCU: "suspicious RCU usage", which is made once in a boot for each
 *	place in the code
 * @KUNIT_REPORT_MIGHT_SLEEP: "sleeping function called from invalid context";
 *	needs CONFIG_DEBUG_ATOMIC_SLEEP and is not expected without
 * @KUNIT_REPORT_SCHEDULE: the scheduler, "scheduling in a non-blocking section"; as
 *	for @KUNIT_REPORT_MIGHT_SLEEP
 * @KUNIT_REPORT_MAYBE_SCHEDULE: to expect only: @KUNIT_REPORT_SCHEDULE, or none.
 *	Who waits for another CPU need not sleep if that is fast
 * @KUNIT_REPORT_WARN: WARN() and its kin. These are printed, expected or not. Not
 *	seen if KUnit suppresses them, or if a WARN_ONCE() was made before. Outside of
 *	an expectation they fail no test
 */
enum kunit_report_kind {
	KUNIT_REPORT_WAIT_CONTEXT	= BIT(0),
	KUNIT_REPORT_RECURSION		= BIT(1),
	KUNIT_REPORT_CIRCULAR		= BIT(2),
	KUNIT_REPORT_USAGE		= BIT(3),
	KUNIT_REPORT_MIGHT_SLEEP	= BIT(4),
	KUNIT_REPORT_SCHEDULE		= BIT(5),
	KUNIT_REPORT_DEADLOCK		= BIT(6),
	KUNIT_REPORT_WARN		= BIT(7),
	KUNIT_REPORT_MAYBE_SCHEDULE	= BIT(8),
	KUNIT_REPORT_RCU		= BIT(9),
};

/* Lockdep's, of an acquisition */
#define KUNIT_REPORT_LOCKDEP						\
	(KUNIT_REPORT_WAIT_CONTEXT | KUNIT_REPORT_RECURSION |		\
	 KUNIT_REPORT_CIRCULAR | KUNIT_REPORT_USAGE)

struct kunit;
struct kunit_report_scope;

#if IS_ENABLED(CONFIG_KUNIT) && IS_ENABLED(CONFIG_KUNIT_REPORT)

/**
 * kunit_claim_report() - for who makes reports: does a test expect this one?
 * @kind: the kind of the report that is about to be made
 * @lock: name of the lock that it is about, or NULL
 * @ip: where that is acquired, or 0
 *
 * To be called before anything is printed, and before the report changes any state
 * that would suppress later ones. If it returns true, the caller must do neither.
 * If the current task runs a test that does not expect reports, that test fails,
 * and the report is to be made as usual.
 *
 * Context: Any. Takes no locks.
 *
 * Return: true if an expectation of the current task takes the report.
 *
 * Cost: a static branch while no test runs. Nothing without CONFIG_KUNIT_REPORT.
 */
static inline bool kunit_claim_report(enum kunit_report_kind kind, const char *lock,
				      unsigned long ip)
{
	typeof(kunit_hooks.claim_report) claim;

	if (!static_branch_unlikely(&kunit_running))
		return false;

	claim = READ_ONCE(kunit_hooks.claim_report);
	return claim && claim(kind, lock, ip);
}

/**
 * kunit_report_claimed() - for lockdep: has the task's expectation had a report?
 * @kinds: of these kinds
 *
 * After one of lockdep, it goes on to keep its record of the locks held, and checks
 * and learns nothing of the task until the expectation ends. After any, interrupts
 * that are enabled may well not be meant to be.
 *
 * Context: Any. Takes no locks.
 *
 * Return: true if it has.
 */
static inline bool kunit_report_claimed(unsigned int kinds)
{
	typeof(kunit_hooks.report_claimed) claimed;

	if (!static_branch_unlikely(&kunit_running))
		return false;

	claimed = READ_ONCE(kunit_hooks.report_claimed);
	return claimed && claimed(kinds);
}

#else

static inline bool kunit_claim_report(enum kunit_report_kind kind, const char *lock,
				      unsigned long ip)
{
	return false;
}

static inline bool kunit_report_claimed(unsigned int kinds)
{
	return false;
}

#endif

/**
 * struct kunit_report_info - what the reports of an expression were about
 * @kinds: every &enum kunit_report_kind that was reported, or'ed together
 * @map_at: where the lock that was asked about had been acquired; NULL if it was
 *	    not held
 * @lock: name of the lock that lockdep reported about: it was about to be acquired;
 *	  or NULL
 * @lock_at: where that was
 */
struct kunit_report_info {
	unsigned int kinds;
	const void *map_at;
	const char *lock;
	const void *lock_at;
};

#if IS_ENABLED(CONFIG_KUNIT_REPORT)

struct kunit_report_scope *kunit_report_scope_begin(struct kunit *test);
const char *kunit_report_scope_end(struct kunit_report_scope *scope,
				   unsigned int kinds, const char *map,
				   const void *at);
void kunit_report_scope_left(struct kunit_report_scope **scope);
bool kunit_report_is_expected(void);
void kunit_report_scope_info(const struct kunit_report_scope *scope, const char *map,
			     struct kunit_report_info *info);

#else

/* Nobody would report: what is expected means nothing. */
#define kunit_report_scope_begin(test)					\
({									\
	kunit_skip(test, "needs CONFIG_KUNIT_REPORT, and that CONFIG_PROVE_LOCKING"); \
	(struct kunit_report_scope *)NULL;				\
})

static inline const char *kunit_report_scope_end(struct kunit_report_scope *scope,
						 unsigned int kinds, const char *map,
						 const void *at)
{
	return NULL;
}

static inline void kunit_report_scope_left(struct kunit_report_scope **scope)
{
}

static inline bool kunit_report_is_expected(void)
{
	return false;
}

static inline void kunit_report_scope_info(const struct kunit_report_scope *scope,
					   const char *map, struct kunit_report_info *info)
{
	*info = (struct kunit_report_info){};
}

#endif

/* @test is evaluated once. */
#define __KUNIT_EXPECT_REPORT(test, kinds, map, at, code, ...)		\
do {									\
	struct kunit *__test = (test);					\
	struct kunit_report_scope *__scope __cleanup(kunit_report_scope_left) =	\
		kunit_report_scope_begin(__test);			\
	const char *__message;						\
									\
	__VA_ARGS__;							\
	__message = kunit_report_scope_end(__scope, kinds, map, at);	\
	if (__message)							\
		KUNIT_FAIL(__test, "%s: %s", code, __message);		\
} while (0)

/**
 * KUNIT_EXPECT_REPORT() - expect that an expression makes just these reports
 * @test: the test context
 * @kinds: every &enum kunit_report_kind that must be reported, or'ed together;
 *	   no other may be
 * @map: name of a lock that must be held at each of the first reports, and for
 *	 KUNIT_REPORT_RECURSION be the one that is acquired again; or NULL
 * @at: where @map must have been acquired (the ip that was given to
 *	lock_acquire()), or NULL for anywhere
 * @...: any C expression, or a statement without its semicolon
 *
 * The expression runs with lockdep on, and as if lockdep saw each chain of
 * locks in it for the first time. It must release the locks that it takes. To jump
 * out of it fails the test. Once lockdep has reported something, it does not check
 * the task until the end of the expression: there is at most one report of lockdep.
 *
 * Other reports, of a lock that is released twice or "scheduling while atomic" for
 * example, cannot be expected: those of lockdep turn it off, and fail the test.
 *
 * Expectations nest; the innermost gets the report. Only one task of a test can
 * have them at a time.
 *
 * Context: The task that runs @test, where it may sleep.
 */
#define KUNIT_EXPECT_REPORT(test, kinds, map, at, ...)			\
	__KUNIT_EXPECT_REPORT(test, kinds, map, at, #__VA_ARGS__, __VA_ARGS__)

/**
 * KUNIT_EXPECT_NO_REPORT() - expect that an expression is not reported
 * @test: the test context
 * @...: as for KUNIT_EXPECT_REPORT()
 *
 * Context: As for KUNIT_EXPECT_REPORT().
 */
#define KUNIT_EXPECT_NO_REPORT(test, ...)				\
	__KUNIT_EXPECT_REPORT(test, 0, NULL, NULL, #__VA_ARGS__, __VA_ARGS__)

#endif /* _KUNIT_REPORT_H */
