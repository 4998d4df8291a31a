// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for expecting debug reports, see include/kunit/report.h.
 *
 * What an expectation says when it fails is tested one level below the
 * macros, or it would fail this test.
 */

#include <kunit/report.h>
#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/debug_locks.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/error_report.h>
#include <trace/events/printk.h>

#include "report-impl.h"

static DEFINE_RAW_SPINLOCK(outer_lock);
static DEFINE_MUTEX(inner_lock);
static DEFINE_SPINLOCK(lock_a);
static DEFINE_SPINLOCK(lock_b);
static DEFINE_RAW_SPINLOCK(irq_lock);
static DEFINE_RAW_SPINLOCK(unsafe_lock);
static DEFINE_RAW_SPINLOCK(under_irq_lock);
static struct lockdep_map twice_map = STATIC_LOCKDEP_MAP_INIT("twice_map", &twice_map);

#define WRONG_ON_PURPOSE	"wrong on purpose"

#define SLEEPING_LOCK	(KUNIT_REPORT_WAIT_CONTEXT | KUNIT_REPORT_MIGHT_SLEEP)

/* The wrong code, at least one for each kind of report */

static void mutex_in_spinlock(void)
{
	raw_spin_lock(&outer_lock);
	mutex_lock(&inner_lock);
	mutex_unlock(&inner_lock);
	raw_spin_unlock(&outer_lock);
}

/* Tests look for its name in what is told of the report, and arm would have it inlined. */
static noinline void recursion(void)
{
	spin_lock(&lock_a);
	spin_acquire(&lock_a.dep_map, 0, 0, _THIS_IP_);
	spin_release(&lock_a.dep_map, _THIS_IP_);
	spin_unlock(&lock_a);
}

static void a_then_b(void)
{
	spin_lock(&lock_a);
	spin_lock(&lock_b);
	spin_unlock(&lock_b);
	spin_unlock(&lock_a);
}

static void b_then_a(void)
{
	spin_lock(&lock_b);
	spin_lock(&lock_a);
	spin_unlock(&lock_a);
	spin_unlock(&lock_b);
}

static void a_then_b_then_a(void)
{
	a_then_b();
	b_then_a();
}

/* Of a lock that an interrupt has taken, see kunit_report_suite_init() */
static void usage(void)
{
	raw_spin_lock(&irq_lock);
	raw_spin_unlock(&irq_lock);
}

/* An interrupt may come while @irq_lock is held, and that of a lock that waits for it */
static void irq_dependency(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&irq_lock, flags);
	raw_spin_lock(&unsafe_lock);
	raw_spin_unlock(&unsafe_lock);
	raw_spin_unlock_irqrestore(&irq_lock, flags);
}

/* In the record of lockdep only: nothing may sleep there. */
static void mutex_in_lock_a(void)
{
	spin_lock(&lock_a);
	mutex_acquire(&inner_lock.dep_map, 0, 0, _THIS_IP_);
	mutex_release(&inner_lock.dep_map, _THIS_IP_);
	spin_unlock(&lock_a);
}

static void mutex_in_spinlock_bh(void)
{
	spin_lock_bh(&lock_a);
	mutex_lock(&inner_lock);
	mutex_unlock(&inner_lock);
	spin_unlock_bh(&lock_a);
}

/* With a shorter timeout, a slow CPU has it over before it comes to schedule. */
static void schedule_in_non_block(void)
{
	non_block_start();
	schedule_timeout_uninterruptible(HZ / 20);
	non_block_end();
}

static void might_sleep_in_atomic(void)
{
	preempt_disable();
	might_sleep();
	preempt_enable();
}

static void warn(void)
{
	WARN(1, "this is " WRONG_ON_PURPOSE "\n");
}

/* What an rcu_dereference() without rcu_read_lock() does, the first time */
static void suspicious_rcu(void)
{
	lockdep_rcu_suspicious(__FILE__, __LINE__, WRONG_ON_PURPOSE);
}

/* Of a lock that an interrupt has taken, and that is held as interrupts come back */
static void irqs_on_in_irq_lock(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&irq_lock, flags);
	local_irq_enable();
	local_irq_disable();
	raw_spin_unlock_irqrestore(&irq_lock, flags);
}

/* Of a lock that is taken under one that an interrupt takes */
static void irq_inversion(void)
{
	raw_spin_lock(&under_irq_lock);
	raw_spin_unlock(&under_irq_lock);
}

struct wrong {
	const char *name;
	void (*code)(void);
	unsigned int kinds;
	const char *map;
};

static const struct wrong wrongs[] = {
	{ .name = "wait_context", .code = mutex_in_spinlock,
	  .kinds = SLEEPING_LOCK, .map = "outer_lock" },
	{ .name = "wait_context_bh", .code = mutex_in_spinlock_bh,
	  .kinds = SLEEPING_LOCK, .map = "lock_a" },
	{ .name = "recursion", .code = recursion,
	  .kinds = KUNIT_REPORT_RECURSION, .map = "lock_a" },
	{ .name = "circular", .code = a_then_b_then_a,
	  .kinds = KUNIT_REPORT_CIRCULAR, .map = "lock_b" },
	{ .name = "deadlock", .code = recursion, .kinds = KUNIT_REPORT_DEADLOCK, .map = "lock_a" },
	{ .name = "usage", .code = usage, .kinds = KUNIT_REPORT_USAGE },
	{ .name = "irq_dependency", .code = irq_dependency,
	  .kinds = KUNIT_REPORT_USAGE, .map = "irq_lock" },
	{ .name = "irq_inversion", .code = irq_inversion, .kinds = KUNIT_REPORT_USAGE },
	{ .name = "irqs_on", .code = irqs_on_in_irq_lock,
	  .kinds = KUNIT_REPORT_USAGE, .map = "irq_lock" },
	{ .name = "might_sleep", .code = might_sleep_in_atomic, .kinds = KUNIT_REPORT_MIGHT_SLEEP },
	{ .name = "schedule", .code = schedule_in_non_block, .kinds = KUNIT_REPORT_SCHEDULE },
	{ .name = "maybe_schedule", .code = schedule_in_non_block,
	  .kinds = KUNIT_REPORT_MAYBE_SCHEDULE },
	{ .name = "warn", .code = warn, .kinds = KUNIT_REPORT_WARN },
	{ .name = "rcu", .code = suspicious_rcu, .kinds = KUNIT_REPORT_RCU },
};

static void wrong_describe(const struct wrong *wrong, char *description)
{
	strscpy(description, wrong->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(wrong, wrongs, wrong_describe);

static void skip_without_atomic_sleep(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		kunit_skip(test, "this report needs CONFIG_DEBUG_ATOMIC_SLEEP");
}

static void skip_if_never_made(struct kunit *test, const struct wrong *wrong)
{
	const unsigned int kinds = KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_SCHEDULE |
		KUNIT_REPORT_MAYBE_SCHEDULE;

	if (!(wrong->kinds & ~kinds))
		skip_without_atomic_sleep(test);
	if (!IS_ENABLED(CONFIG_BUG) && wrong->kinds == KUNIT_REPORT_WARN)
		kunit_skip(test, "no WARN() without CONFIG_BUG");
}

/* Again and again: nothing is used up, neither by lockdep nor by a rate limit. */
static void expected_report_is_claimed(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	int i;

	skip_if_never_made(test, wrong);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_REPORT(test, wrong->kinds, wrong->map, NULL,
				    wrong->code());
		KUNIT_EXPECT_TRUE(test, debug_locks);
		/* Lockdep's record of the task is as before. */
		KUNIT_EXPECT_EQ(test, current->lockdep_depth, 0);
	}
}

static void unexpected_report_is_described(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	struct kunit_report_scope *scope;
	const char *message;

	skip_if_never_made(test, wrong);
	scope = kunit_report_scope_begin(test);
	wrong->code();
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, "expected nothing, got "),
				  "%s", message);
}

static void missing_report_is_described(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	struct kunit_report_scope *scope;
	const char *message;

	skip_if_never_made(test, wrong);
	scope = kunit_report_scope_begin(test);
	message = kunit_report_scope_end(scope, wrong->kinds, NULL, NULL);
	if (wrong->kinds == KUNIT_REPORT_MAYBE_SCHEDULE) {
		KUNIT_EXPECT_NULL(test, message);
		return;
	}
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message, "got nothing"), "%s", message);
	/* A kind that is alone has a name. */
	KUNIT_EXPECT_NULL_MSG(test, strstr(message, "expected ,"), "%s", message);
}

static void expect_part(struct kunit *test, const char *message, const char *part)
{
	KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(message ?: "", part), "%s", message);
}

static void wrong_kind_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	recursion();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_CIRCULAR, NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	expect_part(test, message,
		    "expected circular locking dependency, got recursive locking; ");
	expect_part(test, message, " recursive locking of lock_a at recursion+");
}

/* Two, of which one is expected */
static void additional_kind_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope;
	const char *message;

	skip_without_atomic_sleep(test);

	scope = kunit_report_scope_begin(test);
	mutex_in_spinlock();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_MIGHT_SLEEP, NULL, NULL);
	expect_part(test, message,
		    "expected might_sleep, got invalid wait context and might_sleep; ");
	expect_part(test, message, " invalid wait context of inner_lock at ");
}

static unsigned int count(const char *message, const char *part)
{
	unsigned int nr = 0;

	while ((message = strstr(message ?: "", part))) {
		message += strlen(part);
		nr++;
	}
	return nr;
}

/* There is no place for each, but for that of lockdep, which says most. */
static void one_of_many_is_of_lockdep(struct kunit *test)
{
	struct kunit_report_scope *scope;
	struct kunit_report_info info;
	const char *message;
	int i;

	skip_without_atomic_sleep(test);

	scope = kunit_report_scope_begin(test);
	for (i = 0; i < 5; i++)
		might_sleep_in_atomic();
	recursion();
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_EQ(test, count(message, "might_sleep at "), 2);
	KUNIT_EXPECT_EQ(test, count(message, "recursive locking of lock_a at "), 1);
	kunit_report_scope_info(scope, "lock_a", &info);
	KUNIT_EXPECT_EQ(test, info.kinds, KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_RECURSION);
	KUNIT_EXPECT_STREQ(test, info.lock ?: "", "lock_a");
	KUNIT_EXPECT_NOT_NULL(test, info.map_at);
}

/* It may have been taken before the expectation began. */
static void outermost_map_is_found(struct kunit *test)
{
	struct kunit_report_scope *scope;
	struct kunit_report_info info;

	mutex_lock(&inner_lock);
	scope = kunit_report_scope_begin(test);
	recursion();
	kunit_report_scope_end(scope, KUNIT_REPORT_RECURSION, NULL, NULL);
	mutex_unlock(&inner_lock);
	kunit_report_scope_info(scope, "inner_lock", &info);
	KUNIT_EXPECT_NOT_NULL(test, info.map_at);
}

/* Then a WARN(), as somebody wrote it for just that */
static void warning_says_more_than_others(struct kunit *test)
{
	struct kunit_report_scope *scope;
	struct kunit_report_info first, info;

	skip_without_atomic_sleep(test);
	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "no WARN() without CONFIG_BUG");

	scope = kunit_report_scope_begin(test);
	might_sleep_in_atomic();
	kunit_report_scope_info(scope, "lock_a", &first);
	warn();
	kunit_report_scope_end(scope, 0, NULL, NULL);
	kunit_report_scope_info(scope, "lock_a", &info);
	KUNIT_EXPECT_PTR_NE(test, info.lock_at, first.lock_at);
	KUNIT_EXPECT_NULL(test, info.lock);
	KUNIT_EXPECT_NULL(test, info.map_at);
}

/* In the order in which they were taken, with the place of each */
static void held_locks_are_described(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message, *last;

	recursion();
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	expect_part(test, message, ", with kunit_report at kunit_report_scope_begin");
	expect_part(test, message, ", lock_a at recursion");
	last = strstr(message ?: "", ", lock_a");
	KUNIT_ASSERT_NOT_NULL_MSG(test, last, "%s", message);
	last = strchr(last + 1, ',');
	/* A spinlock of PREEMPT_RT takes that. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT) && last && strstarts(last, ", rcu_read_lock at "))
		last = strchr(last + 1, ',');
	KUNIT_EXPECT_NULL_MSG(test, last, "%s", message);
}

/* Of too many locks */
static void innermost_locks_are_kept(struct kunit *test)
{
	static struct lock_class_key keys[20];
	static struct lockdep_map many[ARRAY_SIZE(keys)];
	struct kunit_report_scope *scope;
	const char *message;
	int i;

	scope = kunit_report_scope_begin(test);
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		lockdep_init_map(&many[i], "many", &keys[i], 0);
		lock_map_acquire(&many[i]);
	}
	lock_map_acquire(&many[0]);
	lock_map_release(&many[0]);
	while (i--)
		lock_map_release(&many[i]);
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	/* 16, the first of which has no comma. The outermost of all is the expectation's own. */
	KUNIT_EXPECT_EQ_MSG(test, count(message, ", many at "), 15, "%s", message);
	KUNIT_EXPECT_EQ_MSG(test, count(message, " kunit_report at "), 0, "%s", message);
}

/* The name of a lock is kept as far as there is room. */

#define LONG_NAME	"a_lock_whose_name_has_just_as_many_letters_as_"

static void lock_with_long_name(const char *name)
{
	static struct lock_class_key key;
	struct lockdep_map map;

	lockdep_init_map(&map, name, &key, 0);
	lock_map_acquire(&map);
	suspicious_rcu();
	lock_map_release(&map);
}

static void long_name_is_known(struct kunit *test)
{
	struct kunit_report_scope *scope;
	const char *message;

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RCU, LONG_NAME "1_and_more", NULL,
			    lock_with_long_name(LONG_NAME "1_and_more"));

	scope = kunit_report_scope_begin(test);
	lock_with_long_name(LONG_NAME "1_and_more");
	message = kunit_report_scope_end(scope, KUNIT_REPORT_RCU, LONG_NAME "2_and_more", NULL);
	expect_part(test, message, "is not about " LONG_NAME "2_and_more");
}

static void wrong_map_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	recursion();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_RECURSION, "lock_b", NULL);
	expect_part(test, message,
		    "is not about lock_b, but about lock_a, with kunit_report at kunit_report_scope_begin");
	expect_part(test, message, " held; ");
}

/* It is of each report that the map is asked for. */
static void wrong_map_of_second_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope;
	struct kunit_report_info info;
	const char *message;

	skip_without_atomic_sleep(test);

	scope = kunit_report_scope_begin(test);
	raw_spin_lock(&outer_lock);
	might_sleep();
	raw_spin_unlock(&outer_lock);
	might_sleep_in_atomic();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_MIGHT_SLEEP, "outer_lock", NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	expect_part(test, message, "might_sleep is not about outer_lock, with kunit_report at ");
	/* Of two that say as much, the first one is told of. */
	kunit_report_scope_info(scope, "outer_lock", &info);
	KUNIT_EXPECT_NOT_NULL(test, info.map_at);
}

/* Held, and still not the one that is acquired again */
static void other_recursion_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	mutex_lock(&inner_lock);
	recursion();
	mutex_unlock(&inner_lock);
	message = kunit_report_scope_end(scope, KUNIT_REPORT_RECURSION, "inner_lock", NULL);
	KUNIT_ASSERT_NOT_NULL(test, message);
	KUNIT_EXPECT_NOT_NULL_MSG(test,
				  strstr(message, "is not about inner_lock, but about lock_a"),
				  "%s", message);
}

static void wrong_place_is_described(struct kunit *test)
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

static void no_code(void)
{
}

static void lock_left_held_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const char *message;

	spin_acquire(&lock_a.dep_map, 0, 0, _THIS_IP_);
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_STREQ(test, message ?: "", "holds 1 locks more than before; ");
	/* Lockdep has forgotten it, and is on for the next test. */
	KUNIT_EXPECT_EQ(test, current->lockdep_depth, 0);
}

static void lock_given_up_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope;
	const char *message;

	mutex_lock(&inner_lock);
	scope = kunit_report_scope_begin(test);
	mutex_unlock(&inner_lock);
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_STREQ(test, message ?: "", "holds 1 locks less than before; ");
}

/* The lock record of the task is as before, so the locks around are still known. */
static void held_locks_survive(struct kunit *test)
{
	mutex_lock(&inner_lock);
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RCU, "inner_lock", NULL, suspicious_rcu());
	KUNIT_EXPECT_TRUE(test, lockdep_is_held(&inner_lock) == LOCK_STATE_HELD);
	mutex_unlock(&inner_lock);
	KUNIT_EXPECT_TRUE(test, lockdep_is_held(&inner_lock) == LOCK_STATE_NOT_HELD);
}

/* Lockdep would be off after the first. */
static void second_report_is_not_made(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL,
			    recursion();
			    mutex_in_lock_a());
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WAIT_CONTEXT, "lock_a", NULL,
			    mutex_in_lock_a();
			    recursion());
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_CIRCULAR, "lock_b", NULL,
			    a_then_b_then_a();
			    mutex_in_lock_a());
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_USAGE, NULL, NULL,
			    usage();
			    mutex_in_lock_a());
}

/* As many as before, but not the same. Nobody else has these: a scope allocates. */
static void other_lock_held_is_described(struct kunit *test)
{
	static struct lockdep_map one = STATIC_LOCKDEP_MAP_INIT("one", &one);
	static struct lockdep_map other = STATIC_LOCKDEP_MAP_INIT("other", &other);
	struct kunit_report_scope *scope;
	const char *message;

	lock_map_acquire(&one);
	scope = kunit_report_scope_begin(test);
	lock_map_release(&one);
	lock_map_acquire(&other);
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_STREQ(test, message ?: "", "holds other locks than before; ");
	KUNIT_EXPECT_EQ(test, current->lockdep_depth, 0);
}

static void raised_non_block_count_is_described(struct kunit *test)
{
	struct kunit_report_scope *scope;
	const char *message;

	skip_without_atomic_sleep(test);

	scope = kunit_report_scope_begin(test);
	non_block_start();
	message = kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_STREQ(test, message ?: "", "non_block_count is 1, was 0; ");
}

/* What was raised before stays so. The inner expectation allocates memory. */
static void non_block_count_survives(struct kunit *test)
{
	skip_without_atomic_sleep(test);

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_MAYBE_SCHEDULE,
			    NULL, NULL,
			    non_block_start();
			    KUNIT_EXPECT_NO_REPORT(test, no_code());
			    non_block_end());
}

/* What a spinlock asks on PREEMPT_RT: it may sleep there, and is right all the same. */
static void ask_as_spinlock_of_rt(void)
{
	non_block_start();
	__might_resched(__FILE__, __LINE__, MIGHT_RESCHED_RTLOCK);
	non_block_end();
}

static void spinlock_of_rt_is_not_reported(struct kunit *test)
{
	skip_without_atomic_sleep(test);

	KUNIT_EXPECT_NO_REPORT(test, ask_as_spinlock_of_rt());
}

/* KASAN and KFENCE use the tracepoint of WARN(), too. */
static void other_detector_is_not_warn(struct kunit *test)
{
	KUNIT_EXPECT_NO_REPORT(test, trace_error_report_end(ERROR_DETECTOR_KASAN, 0));
}

/*
 * Tells of a WARN() where that is a trap, which counts as an NMI, and so as a hardirq.
 * @in_hardirq: it is in an interrupt, which counts as one more
 */
static void warn_as_nmi(unsigned int in_hardirq)
{
	const int was = preempt_count();

	/* An interrupt would take itself for a part of the NMI. */
	local_irq_disable();
	preempt_count_set(was + NMI_OFFSET + (1 + in_hardirq) * HARDIRQ_OFFSET);
	trace_error_report_end(ERROR_DETECTOR_WARN, _THIS_IP_);
	/* Set, and not subtracted: a real NMI meanwhile may have cleared the bits. */
	preempt_count_set(was);
	local_irq_enable();
}

static void warn_as_nmi_is_of_the_task(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_WARN, NULL, NULL, warn_as_nmi(0));
	KUNIT_EXPECT_NO_REPORT(test, warn_as_nmi(1));
}

/* Who is preempted as it is about to sleep has not slept. */
static void be_preempted_in_non_block(void)
{
	non_block_start();
	set_current_state(TASK_UNINTERRUPTIBLE);
	preempt_disable();
	set_tsk_need_resched(current);
	set_preempt_need_resched();
	/* Here, or where there is no preemption, by cond_resched() */
	preempt_enable();
	cond_resched();
	__set_current_state(TASK_RUNNING);
	non_block_end();
}

static void preemption_is_no_sleep(struct kunit *test)
{
	skip_without_atomic_sleep(test);

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_MIGHT_SLEEP, NULL, NULL,
			    be_preempted_in_non_block());
}

/* Lockdep has learned nothing from what was claimed, nor from what followed. */

static DEFINE_SPINLOCK(lock_c);
static DEFINE_SPINLOCK(lock_d);

static void recursion_then_c_then_d(void)
{
	recursion();
	spin_lock(&lock_c);
	spin_lock(&lock_d);
	spin_unlock(&lock_d);
	spin_unlock(&lock_c);
}

static void d_then_c(void)
{
	spin_lock(&lock_d);
	spin_lock(&lock_c);
	spin_unlock(&lock_c);
	spin_unlock(&lock_d);
}

static void what_follows_is_not_learned(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, NULL, NULL, recursion_then_c_then_d());
	KUNIT_EXPECT_NO_REPORT(test, d_then_c());
}

static void claimed_circle_is_not_learned(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_CIRCULAR, NULL, NULL, a_then_b_then_a());
	KUNIT_EXPECT_NO_REPORT(test, a_then_b());
	/* And what it knew before, it still knows. */
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_CIRCULAR, NULL, NULL, b_then_a());
}

/* Nor what follows from a lock that was tried for before the wrong one was taken */

static DEFINE_SPINLOCK(lock_e);
static DEFINE_SPINLOCK(lock_f);

static void recursion_behind_trylock(void)
{
	spin_lock(&lock_e);
	spin_acquire(&lock_f.dep_map, 0, 1, _THIS_IP_);
	spin_acquire(&lock_e.dep_map, 0, 0, _THIS_IP_);
	spin_release(&lock_e.dep_map, _THIS_IP_);
	spin_release(&lock_f.dep_map, _THIS_IP_);
	spin_unlock(&lock_e);
}

static void e_then_f(void)
{
	spin_lock(&lock_e);
	spin_lock(&lock_f);
	spin_unlock(&lock_f);
	spin_unlock(&lock_e);
}

static void claimed_recursion_is_not_learned(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_e", NULL,
			    recursion_behind_trylock());
	KUNIT_EXPECT_NO_REPORT(test, e_then_f());
}

/* A lock that is not checked is used all the same: an NMI that takes it is reported. */
static void unchecked_lock_is_used(struct kunit *test)
{
	static struct lockdep_map map = STATIC_LOCKDEP_MAP_INIT("unchecked_map", &map);

	lock_acquire(&map, 0, 0, 0, 0, NULL, _THIS_IP_);
	lock_release(&map, _THIS_IP_);
	KUNIT_ASSERT_NOT_NULL(test, map.class_cache[0]);
	KUNIT_EXPECT_NE(test, map.class_cache[0]->usage_mask, 0);
}

static struct lockdep_map *innermost_map(void)
{
	return current->held_locks[current->lockdep_depth - 1].instance;
}

/* At its end, not at that of the test: lockdep has no room for thousands of them. */
static void scope_is_forgotten(struct kunit *test)
{
	struct kunit_report_scope *scope = kunit_report_scope_begin(test);
	const struct lockdep_map *map = innermost_map();
	const struct lock_class *class = map->class_cache[0];

	KUNIT_EXPECT_PTR_EQ(test, class->key, &map->key->subkeys[0]);
	kunit_report_scope_end(scope, 0, NULL, NULL);
	KUNIT_EXPECT_PTR_NE(test, class->key, &map->key->subkeys[0]);
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

/**
 * struct listener - counts lines of the log, up to the end of the test
 * @line: a part of those that count
 * @counts_here: do they, in this context?
 * @nr: how many there were
 */
struct listener {
	const char *line;
	bool (*counts_here)(void);
	atomic_t nr;
};

static void listen(void *data, const char *text, size_t len)
{
	struct listener *listener = data;

	if (listener->counts_here() && strnstr(text, listener->line, len))
		atomic_inc(&listener->nr);
}

static void listener_end(void *listener)
{
	unregister_trace_console(listen, listener);
	tracepoint_synchronize_unregister();
}

static struct listener *listen_for(struct kunit *test, const char *line,
				   bool (*counts_here)(void))
{
	struct listener *listener = kunit_kzalloc(test, sizeof(*listener), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, listener);
	listener->line = line;
	listener->counts_here = counts_here;
	KUNIT_ASSERT_EQ(test, 0, register_trace_console(listen, listener));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, listener_end, listener));
	return listener;
}

static bool anywhere(void)
{
	return true;
}

static bool in_test(void)
{
	return in_task() && current->kunit_test;
}

static bool outside_of_tasks(void)
{
	return !in_task();
}

/* What another task does within the second is reported as if there had been none. */
static void expected_report_leaves_rate_limit(struct kunit *test)
{
	struct listener *listener;

	skip_without_atomic_sleep(test);

	/* The limit of a report before this test */
	schedule_timeout_uninterruptible(HZ + 1);
	listener = listen_for(test, "BUG: sleeping function called", anywhere);
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_MIGHT_SLEEP, NULL, NULL, might_sleep_in_atomic());
	run_other_task(test);
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1);
}

static void claimed_report_is_not_printed(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	struct listener *bug, *warning;

	skip_if_never_made(test, wrong);
	bug = listen_for(test, "BUG: ", in_test);
	warning = listen_for(test, "WARNING: ", in_test);
	KUNIT_EXPECT_REPORT(test, wrong->kinds, wrong->map, NULL, wrong->code());
	KUNIT_EXPECT_EQ(test, atomic_read(&bug->nr), 0);
	/* A WARN() is not claimed, but noticed. */
	if (wrong->kinds != KUNIT_REPORT_WARN)
		KUNIT_EXPECT_EQ(test, atomic_read(&warning->nr), 0);
}

/*
 * Interrupts, of this task if it is to be had so. Where one of them makes a report,
 * current is this task, and still the report is not its own.
 */

static void wrong_in_interrupt(void)
{
	might_sleep();
	warn();
}

static void softirq(struct tasklet_struct *tasklet)
{
	wrong_in_interrupt();
}

static DECLARE_TASKLET(softirq_tasklet, softirq);

static void run_softirq(struct kunit *test)
{
	local_bh_disable();
	tasklet_schedule(&softirq_tasklet);
	local_bh_enable();
	tasklet_unlock_wait(&softirq_tasklet);
}

static void irq_work(struct irq_work *work)
{
	wrong_in_interrupt();
}

static void run_irq_work(struct kunit *test)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(irq_work);

	irq_work_queue(&work);
	/* While this task computes, if it is the next tick's */
	mdelay(2 * MSEC_PER_SEC / HZ);
	irq_work_sync(&work);
}

/**
 * struct ipi - an interrupt that comes from another CPU
 * @cpu: where to
 * @done: the interrupt is over
 */
struct ipi {
	unsigned int cpu;
	bool done;
};

static void ipi_handler(void *data)
{
	struct ipi *ipi = data;

	wrong_in_interrupt();
	WRITE_ONCE(ipi->done, true);
}

static int ipi_thread(void *data)
{
	struct ipi *ipi = data;

	smp_call_function_single(ipi->cpu, ipi_handler, ipi, true);
	return 0;
}

/*
 * This task runs on that CPU then, and does nothing but wait. It must not sleep: an idle CPU
 * would do without the interrupt.
 */
static void run_ipi(struct kunit *test)
{
	struct ipi ipi = { .cpu = cpumask_first(cpu_online_mask) };
	struct task_struct *task;

	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpumask_of(ipi.cpu)));
	task = kthread_create(ipi_thread, &ipi, "kunit_report_ipi");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	kthread_bind(task, cpumask_next(ipi.cpu, cpu_online_mask));
	get_task_struct(task);
	wake_up_process(task);
	while (!READ_ONCE(ipi.done))
		cpu_relax();
	kthread_stop(task);
	put_task_struct(task);
}

struct interrupt {
	const char *name;
	void (*run)(struct kunit *test);
	unsigned int cpus;
};

static const struct interrupt interrupts[] = {
	{ .name = "softirq", .run = run_softirq, .cpus = 1 },
	{ .name = "irq_work", .run = run_irq_work, .cpus = 1 },
	{ .name = "other_cpu", .run = run_ipi, .cpus = 2 },
};

static void interrupt_describe(const struct interrupt *interrupt, char *description)
{
	strscpy(description, interrupt->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(interrupt, interrupts, interrupt_describe);

static void interrupt_is_not_claimed(struct kunit *test)
{
	const struct interrupt *interrupt = test->param_value;
	struct listener *listener;

	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "no WARN() without CONFIG_BUG");
	if (num_online_cpus() < interrupt->cpus)
		kunit_skip(test, "needs two CPUs");

	/* What nobody claims must not get lost. */
	listener = listen_for(test, WRONG_ON_PURPOSE, outside_of_tasks);
	KUNIT_EXPECT_NO_REPORT(test, interrupt->run(test));
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1);
}

/* What an interrupt does after the report is learned. */

static DEFINE_RAW_SPINLOCK(late_irq_lock);

static void take_late_irq_lock(struct irq_work *work)
{
	raw_spin_lock(&late_irq_lock);
	raw_spin_unlock(&late_irq_lock);
}

static void recursion_then_irq(void)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(take_late_irq_lock);

	recursion();
	irq_work_queue(&work);
	mdelay(2 * MSEC_PER_SEC / HZ);
	irq_work_sync(&work);
}

static void take_with_irqs_on(void)
{
	raw_spin_lock(&late_irq_lock);
	raw_spin_unlock(&late_irq_lock);
}

static void interrupt_is_learned_from(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, NULL, NULL, recursion_then_irq());
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_USAGE, NULL, NULL, take_with_irqs_on());
}

/*
 * What a task holds with interrupts off when it makes a report that is claimed, it
 * does not hold with interrupts on later, and may be taken by an interrupt.
 */

static DEFINE_RAW_SPINLOCK(lock_of_irq);

static void recursion_with_irqs_off(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&lock_of_irq, flags);
	lock_map_acquire(&twice_map);
	lock_map_acquire(&twice_map);
	lock_map_release(&twice_map);
	lock_map_release(&twice_map);
	raw_spin_unlock_irqrestore(&lock_of_irq, flags);
}

/* What it sleeps in enables interrupts, and the lock is still held. */
static void sleep_with_irqs_off(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&lock_of_irq, flags);
	might_sleep();
	local_irq_enable();
	raw_spin_unlock_irqrestore(&lock_of_irq, flags);
}

static void take_lock(struct irq_work *work)
{
	raw_spin_lock(&lock_of_irq);
	raw_spin_unlock(&lock_of_irq);
}

static void lock_with_irqs_off_is_forgotten(struct kunit *test)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(take_lock);

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "twice_map", NULL,
			    recursion_with_irqs_off());
	if (IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP))
		KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_MIGHT_SLEEP, "lock_of_irq", NULL,
				    sleep_with_irqs_off());
	irq_work_queue(&work);
	irq_work_sync(&work);
	KUNIT_EXPECT_TRUE_MSG(test, debug_locks, "an interrupt took the lock, and was reported");
}

/* After a usage was claimed, other usages of that acquisition are not learned either. */

static void take_irq_lock_in_softirq(struct tasklet_struct *tasklet)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&irq_lock, flags);
	raw_spin_unlock_irqrestore(&irq_lock, flags);
}

static DECLARE_TASKLET(irq_lock_tasklet, take_irq_lock_in_softirq);

static void claimed_usage_is_not_learned(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_USAGE, NULL, NULL, usage());
	local_bh_disable();
	tasklet_schedule(&irq_lock_tasklet);
	local_bh_enable();
	tasklet_unlock_wait(&irq_lock_tasklet);
	KUNIT_EXPECT_TRUE_MSG(test, debug_locks, "a softirq took the lock, and was reported");
}

/**
 * struct other_test - a test besides the one that runs
 * @test: its context
 * @code: what it does
 */
struct other_test {
	struct kunit test;
	void (*code)(struct kunit *test);
};

static int other_test_thread(void *data)
{
	struct other_test *other = data;

	current->kunit_test = &other->test;
	other->code(&other->test);
	return 0;
}

/* It has ended, but may still be on its way out, with the locks that this takes. */
static bool holds_no_locks_in_the_end(struct task_struct *task)
{
	int i;

	for (i = 0; i < HZ && READ_ONCE(task->lockdep_depth); i++)
		schedule_timeout_uninterruptible(1);
	return !READ_ONCE(task->lockdep_depth);
}

/* Run @code as a test, in a task that has ended on return; the test itself has not. */
static struct kunit *begin_other_test(struct kunit *test, void (*code)(struct kunit *test))
{
	struct other_test *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, other);
	kunit_init_test(&other->test, "other test", NULL);
	other->test.status = KUNIT_SUCCESS;
	other->code = code;

	task = kthread_create(other_test_thread, other, "kunit_report");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);
	wake_up_process(task);
	/* kthread_stop() would wake it, maybe as it is about to sleep. */
	while (!READ_ONCE(task->exit_state))
		schedule_timeout_uninterruptible(1);
	KUNIT_EXPECT_TRUE_MSG(test, holds_no_locks_in_the_end(task),
			      "the task ended, and lockdep has it hold locks");
	put_task_struct(task);
	kunit_cleanup(&other->test);
	current->kunit_test = test; /* kunit_cleanup() takes the end of one for the end of all. */
	return &other->test;
}

static struct kunit *run_other_test(struct kunit *test, void (*code)(struct kunit *test))
{
	struct kunit *other = begin_other_test(test, code);

	kunit_report_case_end(other);
	return other;
}

static void stray_report(struct kunit *other)
{
	might_sleep_in_atomic();
}

static void stray_schedule(struct kunit *other)
{
	schedule_in_non_block();
}

static void stray_rcu(struct kunit *other)
{
	suspicious_rcu();
}

/* In no scope: the report is real, and somebody has to hear of it. */
static void stray_report_fails_test(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, run_other_test(test, stray_rcu)->status, KUNIT_FAILURE);
	skip_without_atomic_sleep(test);

	KUNIT_EXPECT_EQ(test, run_other_test(test, stray_report)->status, KUNIT_FAILURE);
}

/* Among them the one that tells whose section it is. On s390 dump_stack() shows them, too. */
static void schedule_report_shows_held_locks(struct kunit *test)
{
	struct listener *listener;

	skip_without_atomic_sleep(test);

	listener = listen_for(test, " held by kunit", in_test);
	KUNIT_EXPECT_EQ(test, run_other_test(test, stray_schedule)->status, KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1 + IS_ENABLED(CONFIG_S390));
}

/* And what the log of the test says then */
static void stray_report_is_told(struct kunit *test)
{
	struct listener *listener;

	skip_without_atomic_sleep(test);

	listener = listen_for(test, "no expectation claimed it: might_sleep", anywhere);
	run_other_test(test, stray_report);
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1);
}

/* Each expectation tells what came. */
static void claimed_report_is_told(struct kunit *test)
{
	struct listener *listener = listen_for(test, " reported: recursive locking", anywhere);

	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, NULL, NULL, recursion());
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1);
}

static void no_report(struct kunit *other)
{
}

/* What nobody claimed in one case is told at its end, and is forgotten in the next one. */
static void stray_report_is_left(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, begin_other_test(test, stray_rcu)->status, KUNIT_FAILURE);
}

static void stray_report_is_of_one_case(struct kunit *test)
{
	struct listener *listener = listen_for(test, "no expectation claimed it", anywhere);

	KUNIT_EXPECT_EQ(test, run_other_test(test, no_report)->status, KUNIT_SUCCESS);
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 0);
}

/* Another test on another CPU, which makes its reports while expectations are open */

#define OTHER_ROUNDS	5

/**
 * struct second_test - that test
 * @test: its context
 * @wrong: what it does, and this test as well
 * @task: the thread that runs it
 * @go: to do it once more
 * @did: it has done it
 * @stop: and shall no more
 */
struct second_test {
	struct kunit test;
	const struct wrong *wrong;
	struct task_struct *task;
	struct completion go;
	struct completion did;
	bool stop;
};

static int second_thread(void *data)
{
	struct second_test *second = data;

	current->kunit_test = &second->test;
	for (;;) {
		wait_for_completion(&second->go);
		if (second->stop)
			break;
		second->wrong->code();
		complete(&second->did);
	}
	current->kunit_test = NULL;
	return 0;
}

static void second_end(void *data)
{
	struct second_test *second = data;

	second->stop = true;
	complete(&second->go);
	kthread_stop(second->task);
	put_task_struct(second->task);
}

static struct second_test *second_start(struct kunit *test, const struct wrong *wrong)
{
	struct second_test *second = kunit_kzalloc(test, sizeof(*second), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, second);
	kunit_init_test(&second->test, "second test", NULL);
	second->test.status = KUNIT_SUCCESS;
	second->wrong = wrong;
	init_completion(&second->go);
	init_completion(&second->did);
	second->task = kthread_create(second_thread, second, "kunit_report");
	KUNIT_ASSERT_FALSE(test, IS_ERR(second->task));
	/* This task then is on another CPU, if there is another. */
	kthread_bind(second->task, cpumask_last(cpu_online_mask));
	get_task_struct(second->task);
	wake_up_process(second->task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, second_end, second));
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpumask_of(0)));
	return second;
}

/* @mine is done while the second test does what it does. */
static void both(struct second_test *second, void (*mine)(void))
{
	complete(&second->go);
	mine();
	wait_for_completion(&second->did);
}

static const struct wrong other_wrongs[] = {
	{ .name = "might_sleep", .code = might_sleep_in_atomic, .kinds = KUNIT_REPORT_MIGHT_SLEEP },
	{ .name = "schedule", .code = schedule_in_non_block, .kinds = KUNIT_REPORT_SCHEDULE },
	{ .name = "warn", .code = warn, .kinds = KUNIT_REPORT_WARN },
	{ .name = "rcu", .code = suspicious_rcu, .kinds = KUNIT_REPORT_RCU },
};

KUNIT_ARRAY_PARAM(other_wrong, other_wrongs, wrong_describe);

static void each_claims_its_own(struct kunit *test)
{
	const struct wrong *wrong = test->param_value;
	struct second_test *second;
	int i;

	skip_if_never_made(test, wrong);
	second = second_start(test, wrong);
	for (i = 0; i < OTHER_ROUNDS; i++) {
		KUNIT_EXPECT_REPORT(test, wrong->kinds, NULL, NULL, both(second, wrong->code));
		KUNIT_EXPECT_NO_REPORT(test, both(second, no_code));
	}
	/* The second test expected none of its own; WARN() fails no test. */
	KUNIT_EXPECT_EQ(test, READ_ONCE(second->test.status),
			wrong->kinds == KUNIT_REPORT_WARN ? KUNIT_SUCCESS : KUNIT_FAILURE);
}

/* What the macros say of the above fails the test. */

static void expect_what_is_missing(struct kunit *other)
{
	KUNIT_EXPECT_REPORT(other, KUNIT_REPORT_RECURSION, NULL, NULL, no_code());
}

static void expect_what_is_another(struct kunit *other)
{
	KUNIT_EXPECT_REPORT(other, KUNIT_REPORT_CIRCULAR, NULL, NULL, recursion());
}

static void expect_nothing_of_a_report(struct kunit *other)
{
	KUNIT_EXPECT_NO_REPORT(other, recursion());
}

static void expect_just_that(struct kunit *other)
{
	KUNIT_EXPECT_REPORT(other, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
}

static void unmet_expectation_fails_test(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, run_other_test(test, expect_what_is_missing)->status, KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, run_other_test(test, expect_what_is_another)->status, KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, run_other_test(test, expect_nothing_of_a_report)->status,
			KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, run_other_test(test, expect_just_that)->status, KUNIT_SUCCESS);
}

/* What jumps out of an expectation fails the test, and ends the expectation. */

static void jump_by_return(struct kunit *other)
{
	KUNIT_EXPECT_NO_REPORT(other, return);
}

/* Out of what the macro is made of, and no further */
static void jump_by_break(struct kunit *other)
{
	KUNIT_EXPECT_NO_REPORT(other, break);
}

static void jump_by_goto(struct kunit *other)
{
	KUNIT_EXPECT_NO_REPORT(other, goto out);
out:
	return;
}

static void jump_after_report(struct kunit *other)
{
	KUNIT_EXPECT_REPORT(other, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion(); return);
}

#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
static int non_block_count_of(const struct task_struct *task)
{
	return task->non_block_count;
}
#else
static int non_block_count_of(const struct task_struct *task)
{
	return 0;
}
#endif

static void return_from_non_block(struct kunit *other)
{
	KUNIT_EXPECT_NO_REPORT(other, non_block_start(); return);
}

static int non_block_count;

static void jump_out_of_non_block(struct kunit *other)
{
	return_from_non_block(other);
	non_block_count = non_block_count_of(current);
}

/* Or all that follows would be reported. */
static void jump_out_ends_non_block(struct kunit *test)
{
	non_block_count = -1;
	run_other_test(test, jump_out_of_non_block);
	KUNIT_EXPECT_EQ(test, non_block_count, 0);
}

static const struct jump {
	const char *name;
	void (*code)(struct kunit *other);
} jumps[] = {
	{ .name = "return", .code = jump_by_return },
	{ .name = "break", .code = jump_by_break },
	{ .name = "goto", .code = jump_by_goto },
	{ .name = "after_report", .code = jump_after_report },
};

static void jump_describe(const struct jump *jump, char *description)
{
	strscpy(description, jump->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(jump, jumps, jump_describe);

static void jump_out_fails_test(struct kunit *test)
{
	const struct jump *jump = test->param_value;

	KUNIT_EXPECT_EQ(test, run_other_test(test, jump->code)->status, KUNIT_FAILURE);
	KUNIT_EXPECT_TRUE(test, debug_locks);
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
}

/* A second task may not take over the expectation of the first. */

static void expect_nothing(struct kunit *other)
{
	KUNIT_EXPECT_NO_REPORT(other, no_code());
}

static void second_task_is_refused(struct kunit *test)
{
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL,
			    KUNIT_EXPECT_EQ(test, run_other_test(test, expect_nothing)->status,
					    KUNIT_FAILURE);
			    recursion());
	KUNIT_EXPECT_EQ(test, run_other_test(test, expect_nothing)->status, KUNIT_SUCCESS);
}

/* Lockdep goes on to learn on another CPU while a report is claimed on this one. */

struct learner {
	struct lock_class_key keys[2];
	struct lockdep_map maps[2];
	unsigned long rounds;
};

static int learner_thread(void *data)
{
	struct learner *learner = data;
	int i;

	while (!kthread_should_stop()) {
		for (i = 0; i < 2; i++) {
			lockdep_register_key(&learner->keys[i]);
			lockdep_init_map(&learner->maps[i], "learned", &learner->keys[i], 0);
			lock_map_acquire(&learner->maps[i]);
		}
		for (i = 0; i < 2; i++)
			lock_map_release(&learner->maps[i]);
		for (i = 0; i < 2; i++)
			lockdep_unregister_key(&learner->keys[i]);
		WRITE_ONCE(learner->rounds, learner->rounds + 1);
		cond_resched();
	}
	return 0;
}

static void learner_end(void *task)
{
	kthread_stop(task);
	put_task_struct(task);
}

#define LEARNER_ROUNDS	200

static void report_is_claimed_while_lockdep_learns(struct kunit *test)
{
	struct learner *learner = kunit_kzalloc(test, sizeof(*learner), GFP_KERNEL);
	struct task_struct *task;
	int i;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	KUNIT_ASSERT_NOT_NULL(test, learner);
	task = kthread_create(learner_thread, learner, "kunit_report_learner");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);
	kthread_bind(task, cpumask_last(cpu_online_mask));
	wake_up_process(task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, learner_end, task));
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpumask_of(0)));

	for (i = 0; i < LEARNER_ROUNDS || !READ_ONCE(learner->rounds); i++) {
		KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_CIRCULAR, "lock_b", NULL,
				    a_then_b_then_a());
		KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
	}
	KUNIT_EXPECT_TRUE(test, debug_locks);
}

static void assert_in_scope(struct kunit *other)
{
	KUNIT_EXPECT_REPORT(other, KUNIT_REPORT_RECURSION, "lock_a", NULL,
			    recursion();
			    spin_acquire(&lock_b.dep_map, 0, 0, _THIS_IP_);
			    kunit_try_catch_throw(&other->try_catch));
}

/* What a failed assertion does; the next scope has lockdep as if nothing was. */
static void abort_leaves_scope(struct kunit *test)
{
	run_other_test(test, assert_in_scope);
	KUNIT_EXPECT_TRUE(test, debug_locks);
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
}

static void assert_in_inner_scope(struct kunit *other)
{
	KUNIT_EXPECT_NO_REPORT(other, assert_in_scope(other));
}

static void abort_leaves_all_scopes(struct kunit *test)
{
	run_other_test(test, assert_in_inner_scope);
	KUNIT_EXPECT_TRUE(test, debug_locks);
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
}

/* As one that dies of something worse than an assertion does, and its locks with it */
static void die_in_scope(struct kunit *other)
{
	kunit_report_scope_begin(other);
	lock_release(innermost_map(), _THIS_IP_);
	kthread_exit(0);
}

static void dead_task_has_no_expectation(struct kunit *test)
{
	run_other_test(test, die_in_scope);
	KUNIT_EXPECT_REPORT(test, KUNIT_REPORT_RECURSION, "lock_a", NULL, recursion());
}

static struct task_struct *aborted;

static void assert_in_non_block(struct kunit *other)
{
	aborted = get_task_struct(current);
	KUNIT_EXPECT_NO_REPORT(other, non_block_start();
			       kunit_try_catch_throw(&other->try_catch));
}

/* The task still has to end, and that may block. */
static void abort_ends_non_block(struct kunit *test)
{
	run_other_test(test, assert_in_non_block);
	KUNIT_EXPECT_EQ(test, non_block_count_of(aborted), 0);
	put_task_struct(aborted);
}

static void expect_as_nobody(struct kunit *other)
{
	current->kunit_test = NULL;
	KUNIT_EXPECT_NO_REPORT(other, no_code());
}

/* What claims reports asks for the test of the task. */
static void task_of_no_test_is_refused(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, run_other_test(test, expect_as_nobody)->status, KUNIT_FAILURE);
}

static bool came_back;

static void expect_after_report(struct kunit *other)
{
	KUNIT_EXPECT_REPORT(other, KUNIT_REPORT_RECURSION, "lock_a", NULL,
			    recursion();
			    KUNIT_EXPECT_NO_REPORT(other, no_code());
			    came_back = true);
}

/* Lockdep does not check the task by then, and the inner one would mean nothing. */
static void scope_after_report_is_refused(struct kunit *test)
{
	came_back = false;
	KUNIT_EXPECT_EQ(test, run_other_test(test, expect_after_report)->status, KUNIT_FAILURE);
	KUNIT_EXPECT_FALSE(test, came_back);
}

/* What takes a lock while lockdep is off, and releases it after, confuses lockdep. */
static void skip_unless_alone(struct kunit *test)
{
	if (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_PREEMPTION))
		kunit_skip(test, "lockdep goes off for other tasks as well");
}

static void expect_with_lockdep_off(struct kunit *other)
{
	schedule_timeout_uninterruptible(1);
	debug_locks = 0;
	KUNIT_EXPECT_NO_REPORT(other, no_code());
}

static void turn_lockdep_off(struct kunit *other)
{
	schedule_timeout_uninterruptible(1);
	debug_locks = 0;
}

/* Without any expectation, too */
static void lockdep_off_is_told_once(struct kunit *test)
{
	struct listener *listener;
	struct kunit *other;
	int i;

	skip_unless_alone(test);
	listener = listen_for(test, "lockdep is off now: a report of lockdep", anywhere);
	for (i = 0; i < 2; i++) {
		other = run_other_test(test, turn_lockdep_off);
		debug_locks = 1;
		KUNIT_EXPECT_EQ(test, other->status, i ? KUNIT_SUCCESS : KUNIT_FAILURE);
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1);
	kunit_report_lockdep_off[0] = '\0';
}

/* Nothing would be reported, and no expectation mean anything. */
static void lockdep_off_fails_test(struct kunit *test)
{
	static const char * const why[] = {
		"lockdep is off: there was a report in this test",
		"lockdep is off: it went off while other test ran: a report of lockdep",
	};
	struct listener *listener;
	struct kunit *other;
	int i;

	skip_unless_alone(test);
	for (i = 0; i < ARRAY_SIZE(why); i++) {
		listener = listen_for(test, why[i], anywhere);
		other = run_other_test(test, expect_with_lockdep_off);
		debug_locks = 1;
		KUNIT_EXPECT_EQ(test, other->status, KUNIT_FAILURE);
		KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1);
	}
	KUNIT_EXPECT_STREQ(test, kunit_report_lockdep_off,
			   "it went off while other test ran: a report of lockdep");
	kunit_report_lockdep_off[0] = '\0';
}

/* As KUnit finds it when it begins */
static void lockdep_off_before_all_tests_is_told(struct kunit *test)
{
	skip_unless_alone(test);
	kunit_report_note_lockdep();
	KUNIT_EXPECT_STREQ(test, kunit_report_lockdep_off, "");
	debug_locks = 0;
	kunit_report_note_lockdep();
	debug_locks = 1;
	KUNIT_EXPECT_STREQ(test, kunit_report_lockdep_off,
			   "there was a report before the first test");
	kunit_report_lockdep_off[0] = '\0';
}

static void lockdep_off_in_scope_is_described(struct kunit *test)
{
	const unsigned int depth = current->lockdep_depth;
	const u64 chain_key = current->curr_chain_key;
	struct kunit_report_scope *scope;
	struct kunit_report_info info;
	const char *message;

	skip_unless_alone(test);
	schedule_timeout_uninterruptible(1);
	scope = kunit_report_scope_begin(test);
	spin_acquire(&lock_a.dep_map, 0, 0, _THIS_IP_);
	debug_locks = 0;
	might_sleep_in_atomic();
	message = kunit_report_scope_end(scope, KUNIT_REPORT_MIGHT_SLEEP, NULL, NULL);
	kunit_report_scope_info(scope, "lock_a", &info);
	/* Its record of what the task holds is from before it went off. */
	current->lockdep_depth = depth;
	current->curr_chain_key = chain_key;
	debug_locks = 1;
	KUNIT_EXPECT_STREQ(test, message ?: "",
			   "lockdep is off: an odd report, or another task's; ");
	KUNIT_EXPECT_NULL(test, info.map_at);
}

/* A report that nobody claims is made as ever. */

static struct lockdep_map stray_map;

static void take_stray_map(struct irq_work *work)
{
	lock_map_acquire(&stray_map);
	lock_map_release(&stray_map);
}

static void stray_recursion(void)
{
	lock_map_acquire(&stray_map);
	lock_map_acquire(&stray_map);
}

static void stray_usage(void)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(take_stray_map);

	irq_work_queue(&work);
	irq_work_sync(&work);
	lock_map_acquire(&stray_map);
}

static const struct stray {
	const char *name;
	void (*code)(void);
	const char *report;
} strays[] = {
	{ "recursion", stray_recursion, "WARNING: possible recursive locking detected" },
	{ "usage", stray_usage, "WARNING: inconsistent lock state" },
};

static void stray_describe(const struct stray *stray, char *description)
{
	strscpy(description, stray->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(stray, strays, stray_describe);

static const struct stray *stray_now;

static void do_stray(struct kunit *other)
{
	const unsigned int depth = current->lockdep_depth;
	const u64 chain_key = current->curr_chain_key;

	schedule_timeout_uninterruptible(1);
	stray_now->code();
	/* Lockdep's record of what the task holds is from before it went off. */
	current->lockdep_depth = depth;
	current->curr_chain_key = chain_key;
}

static void stray_report_of_lockdep_is_made(struct kunit *test)
{
	struct lock_class_key *key = kunit_kzalloc(test, sizeof(*key), GFP_KERNEL);
	struct listener *listener, *warning;
	struct kunit *other;

	skip_unless_alone(test);
	KUNIT_ASSERT_NOT_NULL(test, key);
	stray_now = test->param_value;
	listener = listen_for(test, stray_now->report, in_test);
	/* Lockdep itself has nothing to complain about. */
	warning = listen_for(test, "WARNING: ", anywhere);
	lockdep_register_key(key);
	lockdep_init_map(&stray_map, "stray_map", key, 0);
	other = run_other_test(test, do_stray);
	KUNIT_EXPECT_FALSE(test, debug_locks);
	debug_locks = 1;
	lockdep_unregister_key(key);
	kunit_report_lockdep_off[0] = '\0';
	KUNIT_EXPECT_EQ(test, other->status, KUNIT_FAILURE);
	KUNIT_EXPECT_EQ(test, atomic_read(&listener->nr), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&warning->nr), 1);
}

static struct kunit_case kunit_report_cases[] = {
	KUNIT_CASE_PARAM(expected_report_is_claimed, wrong_gen_params),
	KUNIT_CASE_PARAM(unexpected_report_is_described, wrong_gen_params),
	KUNIT_CASE_PARAM(missing_report_is_described, wrong_gen_params),
	KUNIT_CASE(wrong_kind_is_described),
	KUNIT_CASE(additional_kind_is_described),
	KUNIT_CASE(one_of_many_is_of_lockdep),
	KUNIT_CASE(outermost_map_is_found),
	KUNIT_CASE(warning_says_more_than_others),
	KUNIT_CASE(held_locks_are_described),
	KUNIT_CASE(innermost_locks_are_kept),
	KUNIT_CASE(long_name_is_known),
	KUNIT_CASE(wrong_map_is_described),
	KUNIT_CASE(wrong_map_of_second_is_described),
	KUNIT_CASE(other_recursion_is_described),
	KUNIT_CASE(wrong_place_is_described),
	KUNIT_CASE(lock_left_held_is_described),
	KUNIT_CASE(lock_given_up_is_described),
	KUNIT_CASE(held_locks_survive),
	KUNIT_CASE(other_lock_held_is_described),
	KUNIT_CASE(raised_non_block_count_is_described),
	KUNIT_CASE(non_block_count_survives),
	KUNIT_CASE(spinlock_of_rt_is_not_reported),
	KUNIT_CASE(other_detector_is_not_warn),
	KUNIT_CASE(warn_as_nmi_is_of_the_task),
	KUNIT_CASE(preemption_is_no_sleep),
	KUNIT_CASE(second_report_is_not_made),
	KUNIT_CASE(what_follows_is_not_learned),
	KUNIT_CASE(claimed_circle_is_not_learned),
	KUNIT_CASE(claimed_recursion_is_not_learned),
	KUNIT_CASE(unchecked_lock_is_used),
	KUNIT_CASE(scope_is_forgotten),
	KUNIT_CASE(inner_scope_claims),
	KUNIT_CASE(other_task_is_not_claimed),
	KUNIT_CASE(expected_report_leaves_rate_limit),
	KUNIT_CASE_PARAM(claimed_report_is_not_printed, wrong_gen_params),
	KUNIT_CASE_PARAM(interrupt_is_not_claimed, interrupt_gen_params),
	KUNIT_CASE(interrupt_is_learned_from),
	KUNIT_CASE(lock_with_irqs_off_is_forgotten),
	KUNIT_CASE(claimed_usage_is_not_learned),
	KUNIT_CASE(stray_report_fails_test),
	KUNIT_CASE(schedule_report_shows_held_locks),
	KUNIT_CASE(stray_report_is_told),
	KUNIT_CASE(claimed_report_is_told),
	KUNIT_CASE(stray_report_is_left),
	KUNIT_CASE(stray_report_is_of_one_case),
	KUNIT_CASE_PARAM(each_claims_its_own, other_wrong_gen_params),
	KUNIT_CASE(unmet_expectation_fails_test),
	KUNIT_CASE_PARAM(jump_out_fails_test, jump_gen_params),
	KUNIT_CASE(jump_out_ends_non_block),
	KUNIT_CASE(second_task_is_refused),
	KUNIT_CASE(report_is_claimed_while_lockdep_learns),
	KUNIT_CASE(abort_leaves_scope),
	KUNIT_CASE(abort_leaves_all_scopes),
	KUNIT_CASE(abort_ends_non_block),
	KUNIT_CASE(dead_task_has_no_expectation),
	KUNIT_CASE(task_of_no_test_is_refused),
	KUNIT_CASE(scope_after_report_is_refused),
	KUNIT_CASE(lockdep_off_is_told_once),
	KUNIT_CASE(lockdep_off_fails_test),
	KUNIT_CASE(lockdep_off_before_all_tests_is_told),
	KUNIT_CASE(lockdep_off_in_scope_is_described),
	KUNIT_CASE_PARAM(stray_report_of_lockdep_is_made, stray_gen_params),
	{}
};

/* Teach lockdep which locks interrupts take, and which are held while they may come. */

static void take_irq_lock(struct irq_work *work)
{
	raw_spin_lock(&irq_lock);
	raw_spin_unlock(&irq_lock);
}

static void take_under_irq_lock(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&irq_lock, flags);
	raw_spin_lock(&under_irq_lock);
	raw_spin_unlock(&under_irq_lock);
	raw_spin_unlock_irqrestore(&irq_lock, flags);
}

static int kunit_report_suite_init(struct kunit_suite *suite)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(take_irq_lock);

	irq_work_queue(&work);
	irq_work_sync(&work);
	take_under_irq_lock();
	raw_spin_lock(&unsafe_lock);
	raw_spin_unlock(&unsafe_lock);
	return 0;
}

/* Asserts that lockdep is on. Within a test, that would leave the locks of the test held. */
static int kunit_report_test_init(struct kunit *test)
{
	kunit_report_scope_end(kunit_report_scope_begin(test), 0, NULL, NULL);
	return 0;
}

static struct kunit_suite kunit_report_suite = {
	.name = "kunit_report",
	.suite_init = kunit_report_suite_init,
	.init = kunit_report_test_init,
	.test_cases = kunit_report_cases,
};

kunit_test_suite(kunit_report_suite);

MODULE_DESCRIPTION("KUnit tests for expecting debug reports");
MODULE_LICENSE("GPL");
#ifdef IMPORT_NS_STRING
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
#else
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
#endif
