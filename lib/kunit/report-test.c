// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for expecting debug reports, see include/kunit/report.h.
 *
 * What an expectation says when it fails is tested one level below the
 * macros, or it would fail this test.
 */

#include <kunit/report.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/debug_locks.h>
#include <linux/kthread.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/spinlock.h>

static DEFINE_RAW_SPINLOCK(outer_lock);
static DEFINE_MUTEX(inner_lock);
static DEFINE_SPINLOCK(lock_a);
static DEFINE_SPINLOCK(lock_b);

#define SLEEPING_LOCK	(KUNIT_REPORT_WAIT_CONTEXT | KUNIT_REPORT_MIGHT_SLEEP)

/* The wrong code, one for each kind of report */

static void mutex_in_spinlock(void)
{
	raw_spin_lock(&outer_lock);
	mutex_lock(&inner_lock);
	mutex_unlock(&inner_lock);
	raw_spin_unlock(&outer_lock);
}

static void recursion(void)
{
	spin_lock(&lock_a);
	spin_acquire(&lock_a.dep_map, 0, 0, _THIS_IP_);
	spin_release(&lock_a.dep_map, _THIS_IP_);
	spin_unlock(&lock_a);
}

static void a_then_b_then_a(void)
{
	spin_lock(&lock_a);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	spin_unlock(&lock_a);

	spin_lock(&lock_b);
	spin_lock(&lock_a);
	spin_unlock(&lock_a);
	spin_unlock(&lock_b);
}

static void release_of_free_lock(void)
{
	spin_release(&lock_a.dep_map, _THIS_IP_);
}

static void might_sleep_in_atomic(void)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
}

struct wrong {
	const char *name;
	void (*code)(void);
	unsigned int kinds;
	const char *map;
};

static const struct wrong wrongs[] = {
	{ "wait_context", mutex_in_spinlock, SLEEPING_LOCK, "outer_lock" },
	{ "recursion", recursion, KUNIT_REPORT_RECURSION, "lock_a" },
	{ "circular", a_then_b_then_a, KUNIT_REPORT_CIRCULAR, "lock_b" },
	{ "deadlock", recursion, KUNIT_REPORT_DEADLOCK, "lock_a" },
	{ "lockdep", release_of_free_lock, KUNIT_REPORT_LOCKDEP, NULL },
	{ "might_sleep", might_sleep_in_atomic, KUNIT_REPORT_MIGHT_SLEEP, NULL },
};

static void wrong_describe(const struct wrong *wrong, char *description)
{
	strscpy(description, wrong->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(wrong, wrongs, wrong_describe);

/* Again and again: nothing is used up, neither by lockdep nor by a rate limit. */
static void expected_report_is_claimed(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	int i;

	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_REPORT(test, wrong->kinds, wrong->map, NULL,
				    wrong->code());
		KUNIT_EXPECT_TRUE(test, debug_locks);
	}
}

static void unexpected_report_is_told(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	wrong->code();
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, "expected nothing, got "),
				  "%s", message);
}

static void missing_report_is_told(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	message = kunit_report_scope_end(scope, wrong->kinds, NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, "got nothing"), "%s", message);
}

static void wrong_kind_is_told(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	recursion();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_CIRCULAR, NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_STREQ(test, message,
			   "expected circular locking dependency, got recursive locking; ");
}

static void wrong_map_is_told(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	recursion();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_RECURSION, "lock_b", NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, "is not about lock_b"),
				  "%s", message);
}

/* Held, and still not the one that is acquired again */
static void other_recursion_is_told(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	mutex_lock(&inner_lock);
	recursion();
	mutex_unlock(&inner_lock);
	message = kunit_report_scope_end(scope, KUNIT_REPORT_RECURSION, "inner_lock", NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, "is not about inner_lock, but about lock_a"),
				  "%s", message);
}

static void wrong_place_is_told(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	recursion();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_RECURSION, "lock_a",
					 might_sleep_in_atomic);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, "lock_a at might_sleep_in_atomic"),
				  "%s", message);
}

static void lock_left_held_is_told(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	spin_acquire(&lock_a.dep_map, 0, 0, _THIS_IP_);
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_NOT_NULL(test, message);
}

/* The lock record of the task is as before, so the locks around are still known. */
static void held_locks_survive(struct kunit *test)
{
	mutex_lock(&inner_lock);
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
	KUNIT_EXPECT_TRUE(test, lockdep_is_held(&inner_lock) == LOCK_STATE_HELD);
	mutex_unlock(&inner_lock);
	KUNIT_EXPECT_TRUE(test, lockdep_is_held(&inner_lock) == LOCK_STATE_NOT_HELD);
}

static void inner_scope_claims(struct kunit *test)
{
	KUNIT_EXPECT_NO_REPORT(test,
			       KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION,
						   "lock_a", NULL, recursion()));
}

static int other_task(void *done)
{
	might_sleep_in_atomic();
	complete(done);
	return 0;
}

static void run_other_task(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(done);
	struct task_struct *task = kthread_run(other_task, &done, "kunit_report");

	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&done);
}

static void other_task_is_not_claimed(struct kunit *test)
{
	KUNIT_EXPECT_NO_REPORT(test, run_other_task(test));
}

/* Not in any scope: somebody else's test, let's say. */
static void stray_report_fails_test(struct kunit *test)
{
	struct kunit *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);

	if (!IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		kunit_skip(test, "might_sleep() needs CONFIG_DEBUG_ATOMIC_SLEEP");

	KUNIT_ASSERT_NOT_NULL(test, other);
	other->status = KUNIT_SUCCESS;
	current->kunit_test = other;
	might_sleep_in_atomic();
	current->kunit_test = test;
	KUNIT_EXPECT_EQ(test, other->status, KUNIT_FAILURE);
}

static struct kunit_case kunit_report_cases[] = {
	KUNIT_CASE_PARAM(expected_report_is_claimed, wrong_gen_params),
	KUNIT_CASE_PARAM(unexpected_report_is_told, wrong_gen_params),
	KUNIT_CASE_PARAM(missing_report_is_told, wrong_gen_params),
	KUNIT_CASE(wrong_kind_is_told),
	KUNIT_CASE(wrong_map_is_told),
	KUNIT_CASE(other_recursion_is_told),
	KUNIT_CASE(wrong_place_is_told),
	KUNIT_CASE(lock_left_held_is_told),
	KUNIT_CASE(held_locks_survive),
	KUNIT_CASE(inner_scope_claims),
	KUNIT_CASE(other_task_is_not_claimed),
	KUNIT_CASE(stray_report_fails_test),
	{}
};

static struct kunit_suite kunit_report_suite = {
	.name = "kunit_report",
	.test_cases = kunit_report_cases,
};

kunit_test_suite(kunit_report_suite);

MODULE_DESCRIPTION("KUnit tests for expecting debug reports");
MODULE_LICENSE("GPL");
