/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KUnit API to expect debug reports: of lockdep, might_sleep(), the scheduler,
 * WARN().
 *
 * A test of a locking rule has to break the rule. Lockdep answers with one
 * report and is off from then on, might_sleep() reports once a second, and a
 * lock chain that lockdep has seen is not checked again. Hence a test could
 * see one report in a boot, and all later tests would pass because nobody
 * looks any more. An expectation takes these limits away, for the task that
 * runs the test and for the time of one expression:
 *
 *	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WAIT_CONTEXT, NULL, NULL,
 *			    take_mutex_under_spinlock());
 *	KUNIT_EXPECT_NO_REPORT(test, take_mutex());
 *	KUNIT_EXPECT_WARN(test, "mm/foo.c", "foo is out of range", foo(-1));
 *
 * The reports of other tasks and of interrupts take their usual way.
 */
#ifndef _KUNIT_REPORT_H
#define _KUNIT_REPORT_H

#include <kunit/test-bug.h>
#include <linux/bits.h>

/**
 * enum kunit_report_kind - what made a report; can be combined
 * @KUNIT_REPORT_WAIT_CONTEXT: lockdep, "Invalid wait context": a lock that may
 *	sleep was taken where only locks of a stricter wait type may be
 * @KUNIT_REPORT_RECURSION: lockdep, "possible recursive locking detected"
 * @KUNIT_REPORT_CIRCULAR: lockdep, "possible circular locking dependency
 *	detected"
 * @KUNIT_REPORT_DEADLOCK: one of the two before, to expect only: which of them
 *	depends on what else lockdep has learned and on the locks held
 * @KUNIT_REPORT_LOCKDEP: any other report of lockdep or of lock debugging, except
 *	for @KUNIT_REPORT_RCU; that of DEBUG_LOCKS_WARN_ON() is a @KUNIT_REPORT_WARN
 *	as well
 * @KUNIT_REPORT_RCU: "suspicious RCU usage", which is made once in a boot for each
 *	place in the code
 * @KUNIT_REPORT_MIGHT_SLEEP: "sleeping function called from invalid context";
 *	needs CONFIG_DEBUG_ATOMIC_SLEEP and is not expected without
 * @KUNIT_REPORT_SCHEDULE: the scheduler, "scheduling while atomic" and
 *	"scheduling in a non-blocking section"; as for
 *	@KUNIT_REPORT_MIGHT_SLEEP
 * @KUNIT_REPORT_MAYBE_SCHEDULE: to expect only: @KUNIT_REPORT_SCHEDULE, or none.
 *	Who waits for another CPU need not sleep if that is fast
 * @KUNIT_REPORT_WARN: WARN() and its kin. A WARN_ONCE() is made once in a boot,
 *	expected or not. Outside of an expectation it fails no test: not every
 *	suite that makes one on purpose says so
 */
enum kunit_report_kind {
	KUNIT_REPORT_WAIT_CONTEXT	= BIT(0),
	KUNIT_REPORT_RECURSION		= BIT(1),
	KUNIT_REPORT_CIRCULAR		= BIT(2),
	KUNIT_REPORT_LOCKDEP		= BIT(3),
	KUNIT_REPORT_MIGHT_SLEEP	= BIT(4),
	KUNIT_REPORT_SCHEDULE		= BIT(5),
	KUNIT_REPORT_DEADLOCK		= BIT(6),
	KUNIT_REPORT_WARN		= BIT(7),
	KUNIT_REPORT_MAYBE_SCHEDULE	= BIT(8),
	KUNIT_REPORT_RCU		= BIT(9),
};

struct kunit;
struct kunit_report_scope;

#if IS_ENABLED(CONFIG_KUNIT) && IS_ENABLED(CONFIG_KUNIT_REPORT)

/**
 * kunit_begin_report() - for who makes reports: is a test watching?
 * @kind: the kind of the report that is about to be made
 *
 * To be called before a report changes any state that would suppress later
 * ones.
 *
 * If the current task runs a KUnit test that watches for reports, notes the
 * report. The caller must not change such state then. If the task runs a test
 * that does not watch, that test fails, and the report is made as usual.
 *
 * Context: Any. Takes no locks.
 *
 * Return: 0 if no test watches. Positive if one does: make the report.
 * Negative if one does, and would not see this report without it, because
 * lockdep was off after the one before: do not make it.
 *
 * Cost: a static branch while no test runs. Nothing without
 * CONFIG_KUNIT_REPORT.
 */
static inline int kunit_begin_report(enum kunit_report_kind kind)
{
	if (!static_branch_unlikely(&kunit_running))
		return 0;

	return kunit_hooks.begin_report ? kunit_hooks.begin_report(kind) : 0;
}

#else

static inline int kunit_begin_report(enum kunit_report_kind kind)
{
	return 0;
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
 * @warning: the text of the first WARN(), empty if it had none
 */
struct kunit_report_info {
	unsigned int kinds;
	const void *map_at;
	const char *lock;
	const void *lock_at;
	const char *warning;
};

#if IS_ENABLED(CONFIG_KUNIT_REPORT)

struct kunit_report_scope *kunit_report_scope_begin(struct kunit *test);
struct kunit_report_scope *
kunit_report_scope_begin_warn(struct kunit *test, const char *file, const char *text);
const char *kunit_report_scope_end(struct kunit_report_scope *scope,
				   unsigned int kinds, const char *map,
				   const void *at);
void kunit_report_scope_info(const struct kunit_report_scope *scope, const char *map,
			     struct kunit_report_info *info);

void kunit_report_test_exit(struct kunit *test);

#else

/* Nobody would report: what is expected means nothing. */
#define kunit_report_scope_begin(test)					\
({									\
	kunit_skip(test, "needs CONFIG_KUNIT_REPORT, and that CONFIG_PROVE_LOCKING"); \
	(struct kunit_report_scope *)NULL;				\
})
#define kunit_report_scope_begin_warn(test, ...) kunit_report_scope_begin(test)

static inline const char *kunit_report_scope_end(struct kunit_report_scope *scope,
						 unsigned int kinds, const char *map,
						 const void *at)
{
	return NULL;
}

static inline void kunit_report_scope_info(const struct kunit_report_scope *scope,
					   const char *map, struct kunit_report_info *info)
{
	*info = (struct kunit_report_info){};
}

static inline void kunit_report_test_exit(struct kunit *test)
{
}

#endif

/* @test is evaluated once: the scope is begun for __test. */
#define __KUNIT_EXPECT_REPORT(test, scope, kinds, map, at, code, ...)	\
do {									\
	struct kunit *__test = (test);					\
	struct kunit_report_scope *__scope = scope;			\
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
 * @map: name of a lock that must be held at each report, and for
 *	 KUNIT_REPORT_RECURSION be the one that is acquired again; or NULL
 * @at: where @map must have been acquired (the ip that was given to
 *	lock_acquire()), or NULL for anywhere
 * @...: any C expression, or a statement without its semicolon
 *
 * The expression runs with lockdep on, and as if lockdep saw each chain of
 * locks in it for the first time. It must release the locks that it takes; it
 * should not jump out. Once lockdep has reported something, it ignores the
 * task until the end of the expression: there is at most one lockdep report.
 *
 * Expectations nest; the innermost gets the report.
 *
 * Context: The task that runs @test, where it may sleep.
 */
#define KUNIT_EXPECT_REPORT(test, kinds, map, at, ...)			\
	__KUNIT_EXPECT_REPORT(test, kunit_report_scope_begin(__test), kinds, map, \
			      at, #__VA_ARGS__, __VA_ARGS__)

/**
 * KUNIT_EXPECT_NO_REPORT() - expect that an expression is not reported
 * @test: the test context
 * @...: as for KUNIT_EXPECT_REPORT()
 *
 * Context: As for KUNIT_EXPECT_REPORT().
 */
#define KUNIT_EXPECT_NO_REPORT(test, ...)				\
	__KUNIT_EXPECT_REPORT(test, kunit_report_scope_begin(__test), 0, NULL, NULL, \
			      #__VA_ARGS__, __VA_ARGS__)

/**
 * KUNIT_EXPECT_WARN() - expect that an expression makes just one WARN()
 * @test: the test context
 * @file: the source file that it stands in, as __FILE__ has it or its end; not
 *	  compared without CONFIG_DEBUG_BUGVERBOSE
 * @text: what a line that is printed by the expression must contain, be it of
 *	  the warning or before it; or NULL
 * @...: as for KUNIT_EXPECT_REPORT()
 *
 * Without CONFIG_BUG there are no warnings: skips the test.
 *
 * Context: As for KUNIT_EXPECT_REPORT().
 */
#define KUNIT_EXPECT_WARN(test, file, text, ...)			\
	__KUNIT_EXPECT_REPORT(test, kunit_report_scope_begin_warn(__test, file, text), \
			      KUNIT_REPORT_WARN, NULL, NULL,		\
			      #__VA_ARGS__, __VA_ARGS__)

#endif /* _KUNIT_REPORT_H */
