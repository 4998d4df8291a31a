// SPDX-License-Identifier: GPL-2.0-only
/*
 * Expect debug reports in a KUnit test, see include/kunit/report.h.
 *
 * What would suppress the second report, and what is done about it here:
 *
 * - debug_locks goes off for good, __might_resched() is rate-limited: who is about
 *   to report asks kunit_claim_report() first. What is claimed is not reported.
 * - Lockdep checks a chain of locks once: each scope holds a lock of a class of its
 *   own, so that every chain within is new. Removing the class removes what the
 *   scope taught lockdep about it.
 *
 * WARN() cannot be claimed: the tracepoint of error reports tells of each.
 */

#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/visibility.h>
#include <linux/atomic.h>
#include <linux/debug_locks.h>
#include <linux/lockdep.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/seq_buf.h>
#include <linux/string.h>
#include <trace/events/error_report.h>

#include "report-impl.h"

/* One expression seldom makes more; the last place is kept for that of lockdep */
#define KUNIT_REPORT_MAX 3
#define KUNIT_REPORT_NAME 48
#define KUNIT_REPORT_HELD 16

/**
 * struct kunit_report - one report
 * @kind: what made it
 * @lock: name of the lock that was about to be acquired, if lockdep made it
 * @ip: where; or where the WARN() is
 * @nr_held: the length of @held
 * @held: name of each lock that the task held, and the ip it was acquired at;
 *	  outermost first, and the innermost ones if there are too many
 *
 * The names are copies: the locks may be gone when somebody reads this.
 */
struct kunit_report {
	enum kunit_report_kind kind;
	char lock[KUNIT_REPORT_NAME];
	unsigned long ip;
	unsigned int nr_held;
	struct {
		char name[KUNIT_REPORT_NAME];
		unsigned long ip;
	} held[KUNIT_REPORT_HELD];
};

/**
 * struct kunit_report_scope - watches one task for the time of one expression
 * @test: the test that watches
 * @outer: the enclosing scope or NULL
 * @key: class of @map, registered for this scope only
 * @map: held through the scope
 * @lockdep_depth: number of locks that the task held at the start, with @map
 * @chain_key: lockdep's key of them
 * @non_block_count: of the task at the start
 * @ended: the expression is over
 * @kinds: all kinds of report made so far
 * @nr_reports: number of @reports
 * @reports: the first ones, that of lockdep among them
 * @message: what was wrong, once the scope has ended
 */
struct kunit_report_scope {
	struct kunit *test;
	struct kunit_report_scope *outer;
	struct lock_class_key key;
	struct lockdep_map map;
	unsigned int lockdep_depth;
	u64 chain_key;
	int non_block_count;
	bool ended;
	unsigned int kinds;
	unsigned int nr_reports;
	struct kunit_report reports[KUNIT_REPORT_MAX];
	char message[1024];
};

static const struct {
	enum kunit_report_kind kind;
	const char *name;
} kunit_report_kinds[] = {
	{ KUNIT_REPORT_WAIT_CONTEXT, "invalid wait context" },
	{ KUNIT_REPORT_RECURSION, "recursive locking" },
	{ KUNIT_REPORT_CIRCULAR, "circular locking dependency" },
	{ KUNIT_REPORT_DEADLOCK, "recursive locking or circular dependency" },
	{ KUNIT_REPORT_USAGE, "inconsistent lock state" },
	{ KUNIT_REPORT_RCU, "suspicious RCU usage" },
	{ KUNIT_REPORT_MAYBE_SCHEDULE, "maybe scheduler" },
	{ KUNIT_REPORT_MIGHT_SLEEP, "might_sleep" },
	{ KUNIT_REPORT_SCHEDULE, "scheduler" },
	{ KUNIT_REPORT_WARN, "WARN()" },
	{}
};

#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
#define KUNIT_REPORT_UNAVAILABLE 0

static int *kunit_report_non_block_count(void)
{
	return &current->non_block_count;
}
#else
#define KUNIT_REPORT_UNAVAILABLE					\
	(KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_SCHEDULE |		\
	 KUNIT_REPORT_MAYBE_SCHEDULE)

static int *kunit_report_non_block_count(void)
{
	static int always_zero;

	return &always_zero;
}
#endif

static void kunit_report_print_kinds(struct seq_buf *s, unsigned int kinds)
{
	const char *separator = "";
	unsigned int i;

	if (!kinds)
		seq_buf_puts(s, "nothing");

	for (i = 0; kunit_report_kinds[i].name; i++) {
		if (!(kinds & kunit_report_kinds[i].kind))
			continue;
		seq_buf_printf(s, "%s%s", separator, kunit_report_kinds[i].name);
		separator = " and ";
	}
}

/* The task that has expectations, and the innermost one: only that task looks at it. */
static struct task_struct *kunit_report_task;
static struct kunit_report_scope *kunit_report_current;

/* What the task of a test reported outside of any expectation */
static atomic_t kunit_report_unexpected = ATOMIC_INIT(0);

/* Which test turned lockdep off, and by what? */
VISIBLE_IF_KUNIT char kunit_report_lockdep_off[128];
EXPORT_SYMBOL_IF_KUNIT(kunit_report_lockdep_off);

static struct kunit_report_scope *kunit_report_my_scope(void)
{
	return READ_ONCE(kunit_report_task) == current ? kunit_report_current : NULL;
}

static void kunit_report_add(struct kunit_report_scope *scope, enum kunit_report_kind kind,
			     const char *lock, unsigned long ip)
{
	const unsigned int max = KUNIT_REPORT_MAX - !(kind & KUNIT_REPORT_LOCKDEP);
	const struct held_lock *held;
	struct kunit_report *report;
	unsigned int i;

	scope->kinds |= kind;
	if (scope->nr_reports >= max)
		return;

	report = &scope->reports[scope->nr_reports++];
	report->kind = kind;
	strscpy(report->lock, lock ?: "");
	report->ip = ip;
	/* Once lockdep is off, its record of what is held is an old one. */
	report->nr_held = debug_locks ? min(current->lockdep_depth, KUNIT_REPORT_HELD) : 0;
	held = &current->held_locks[current->lockdep_depth - report->nr_held];
	for (i = 0; i < report->nr_held; i++, held++) {
		strscpy(report->held[i].name, held->instance->name);
		report->held[i].ip = held->acquire_ip;
	}
}

/* Lockdep calls this with its own lock held: just take notes. */
static bool kunit_report_claim(unsigned int kind, const char *lock, unsigned long ip)
{
	struct kunit_report_scope *scope;

	if (!in_task() || !current->kunit_test)
		return false;

	scope = kunit_report_my_scope();
	if (!scope) {
		atomic_or(kind, &kunit_report_unexpected);
		kunit_set_failure(current->kunit_test);
		return false;
	}
	/* Lockdep makes one: what follows from it says nothing new. */
	if (!(kind & KUNIT_REPORT_LOCKDEP) || !(scope->kinds & KUNIT_REPORT_LOCKDEP))
		kunit_report_add(scope, kind, lock, ip);
	return true;
}

static bool kunit_report_has_claimed(unsigned int kinds)
{
	struct kunit_report_scope *scope = kunit_report_my_scope();

	return scope && scope->kinds & kinds;
}

/*
 * Where a WARN() is a trap that counts as an NMI, it counts as a hardirq as well. So one
 * of an NMI counts as the task's.
 */
static bool kunit_report_warn_in_interrupt(void)
{
	return hardirq_count() > (in_nmi() ? HARDIRQ_OFFSET : 0) || in_serving_softirq();
}

static void kunit_report_warn(void *unused, enum error_detector detector, unsigned long ip)
{
	struct kunit_report_scope *scope;

	if (detector != ERROR_DETECTOR_WARN || kunit_report_warn_in_interrupt())
		return;

	scope = kunit_report_my_scope();
	if (scope)
		kunit_report_add(scope, KUNIT_REPORT_WARN, NULL, ip);
}

static void kunit_report_watch(struct kunit_report_scope *scope)
{
	kunit_report_current = scope;
	if (!scope)
		/* Pairs with the cmpxchg() of the next task: it finds no old scope. */
		smp_store_release(&kunit_report_task, NULL);
}

/* May run in another task, if that of the test has ended within the scope. */
static void kunit_report_forget(void *data)
{
	struct kunit_report_scope *scope = data;

	/* That task died of something worse than an assertion. */
	if (kunit_report_current == scope)
		kunit_report_watch(NULL);
	lockdep_unregister_key(&scope->key);
}

/**
 * kunit_report_scope_begin() - begin to watch for reports of this task
 * @test: the test context
 *
 * For KUNIT_EXPECT_REPORT(). Fails the test and ends it if lockdep is off: nothing
 * would be reported, and no expectation mean anything.
 *
 * Context: The task that runs @test, where it may sleep.
 *
 * Return: the scope. Does not return if it fails the test.
 */
struct kunit_report_scope *kunit_report_scope_begin(struct kunit *test)
{
	struct kunit_report_scope *scope;
	struct task_struct *other;

	KUNIT_ASSERT_PTR_EQ_MSG(test, kunit_get_current_test(), test,
				"reports can be expected in the task that runs the test only");
	KUNIT_ASSERT_TRUE_MSG(test, debug_locks, "lockdep is off: %s",
			      kunit_report_lockdep_off[0] ? kunit_report_lockdep_off :
			      "there was a report in this test");

	scope = kunit_kzalloc(test, sizeof(*scope), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, scope);

	scope->test = test;
	scope->outer = kunit_report_my_scope();
	KUNIT_ASSERT_FALSE_MSG(test, scope->outer && (scope->outer->kinds & KUNIT_REPORT_LOCKDEP),
			       "lockdep has reported in the enclosing expectation");

	lockdep_register_key(&scope->key);
	lockdep_init_map(&scope->map, "kunit_report", &scope->key, 0);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kunit_report_forget,
						  scope));

	other = cmpxchg(&kunit_report_task, NULL, current);
	KUNIT_ASSERT_TRUE_MSG(test, !other || other == current,
			      "another task of this test has an expectation");

	scope->non_block_count = *kunit_report_non_block_count();
	lock_map_acquire(&scope->map);
	scope->lockdep_depth = current->lockdep_depth;
	scope->chain_key = current->curr_chain_key;
	kunit_report_watch(scope);

	return scope;
}
EXPORT_SYMBOL_GPL(kunit_report_scope_begin);

static bool kunit_report_same(const char *kept, const char *name)
{
	return !strncmp(kept, name, KUNIT_REPORT_NAME - 1);
}

/* Is @report about @map, acquired at @at? */
static bool kunit_report_is_about(const struct kunit_report *report,
				  const char *map, const void *at)
{
	unsigned int i;

	if (report->kind == KUNIT_REPORT_RECURSION && !kunit_report_same(report->lock, map))
		return false;

	for (i = 0; i < report->nr_held; i++) {
		if (kunit_report_same(report->held[i].name, map) &&
		    (!at || report->held[i].ip == (unsigned long)at))
			return true;
	}
	return false;
}

static void kunit_report_print_held(struct seq_buf *s,
				    const struct kunit_report *report)
{
	unsigned int i;

	for (i = 0; i < report->nr_held; i++)
		seq_buf_printf(s, "%s %s at %ps", i ? "," : "",
			       report->held[i].name,
			       (void *)report->held[i].ip);
}

static bool kunit_report_kinds_match(unsigned int got, unsigned int expected)
{
	const unsigned int either = KUNIT_REPORT_RECURSION | KUNIT_REPORT_CIRCULAR;

	if ((expected & KUNIT_REPORT_DEADLOCK) && (got & either))
		got = (got & ~either) | KUNIT_REPORT_DEADLOCK;
	if (expected & KUNIT_REPORT_MAYBE_SCHEDULE)
		got = (got & ~KUNIT_REPORT_SCHEDULE) | KUNIT_REPORT_MAYBE_SCHEDULE;

	return got == expected;
}

/* For the log: what came, whether expected or not */
static void kunit_report_log(struct kunit_report_scope *scope)
{
	char kinds[128];
	struct seq_buf s;

	seq_buf_init(&s, kinds, sizeof(kinds));
	kunit_report_print_kinds(&s, scope->kinds);
	kunit_info(scope->test, "reported: %s\n", seq_buf_str(&s));
}

/**
 * kunit_report_is_expected() - has the current task an expectation?
 *
 * Context: Any task.
 *
 * Return: true if its reports are claimed now.
 */
bool kunit_report_is_expected(void)
{
	return kunit_report_my_scope();
}
EXPORT_SYMBOL_GPL(kunit_report_is_expected);

/* A claimed report is not printed, so say what it was about. */
static void kunit_report_describe(struct seq_buf *s, const struct kunit_report *report)
{
	kunit_report_print_kinds(s, report->kind);
	if (*report->lock)
		seq_buf_printf(s, " of %s", report->lock);
	seq_buf_printf(s, " at %pS, with", (void *)report->ip);
	kunit_report_print_held(s, report);
	seq_buf_puts(s, " held; ");
}

/* Compare what was reported with what was expected. */
static void kunit_report_check(struct kunit_report_scope *scope, struct seq_buf *s,
			       unsigned int kinds, const char *map,
			       const void *at)
{
	unsigned int got = scope->kinds & ~KUNIT_REPORT_UNAVAILABLE;
	unsigned int i;

	kinds &= ~KUNIT_REPORT_UNAVAILABLE;
	if (!kunit_report_kinds_match(got, kinds)) {
		seq_buf_puts(s, "expected ");
		kunit_report_print_kinds(s, kinds);
		seq_buf_puts(s, ", got ");
		kunit_report_print_kinds(s, got);
		seq_buf_puts(s, "; ");
		for (i = 0; i < scope->nr_reports; i++)
			kunit_report_describe(s, &scope->reports[i]);
	}

	for (i = 0; map && i < scope->nr_reports; i++) {
		const struct kunit_report *report = &scope->reports[i];

		if (kunit_report_is_about(report, map, at))
			continue;
		kunit_report_print_kinds(s, report->kind);
		seq_buf_printf(s, " is not about %s", map);
		if (at)
			seq_buf_printf(s, " at %ps", at);
		if (report->kind == KUNIT_REPORT_RECURSION)
			seq_buf_printf(s, ", but about %s", report->lock);
		seq_buf_puts(s, ", with");
		kunit_report_print_held(s, report);
		seq_buf_puts(s, " held; ");
	}
}

/* What was taken within the scope must have been put back. */
static void kunit_report_check_balance(struct kunit_report_scope *scope,
				       struct seq_buf *s)
{
	int locks = current->lockdep_depth - scope->lockdep_depth;
	int non_block = *kunit_report_non_block_count();

	if (!debug_locks)
		seq_buf_puts(s, "lockdep is off: an odd report, or another task's; ");
	else if (locks)
		seq_buf_printf(s, "holds %d locks %s than before; ", abs(locks),
			       locks > 0 ? "more" : "less");
	else if (current->curr_chain_key != scope->chain_key)
		seq_buf_puts(s, "holds other locks than before; ");

	if (non_block != scope->non_block_count)
		seq_buf_printf(s, "non_block_count is %d, was %d; ",
			       non_block, scope->non_block_count);
}

/* To lockdep, locks that were taken within and not released are free: it stays on. */
static void kunit_report_leave(struct kunit_report_scope *scope)
{
	const struct held_lock *top;

	while (debug_locks && current->lockdep_depth) {
		top = &current->held_locks[current->lockdep_depth - 1];
		if (top->instance == &scope->map)
			break;
		lock_release(top->instance, _THIS_IP_);
	}
	lock_map_release(&scope->map);
	/* Or all that follows would be reported. */
	*kunit_report_non_block_count() = scope->non_block_count;
	scope->ended = true;
	kunit_report_watch(scope->outer);
}

/**
 * kunit_report_scope_end() - stop watching, and compare with what was expected
 * @scope: the return of kunit_report_scope_begin(), the innermost one
 * @kinds: see KUNIT_EXPECT_REPORT()
 * @map: likewise
 * @at: likewise
 *
 * For KUNIT_EXPECT_REPORT().
 *
 * Context: The task that runs the test, where it may sleep.
 *
 * Return: what was wrong, in memory that lasts as long as the test, or NULL.
 */
const char *kunit_report_scope_end(struct kunit_report_scope *scope,
				   unsigned int kinds, const char *map,
				   const void *at)
{
	struct seq_buf s;

	seq_buf_init(&s, scope->message, sizeof(scope->message));
	kunit_report_check_balance(scope, &s);
	kunit_report_leave(scope);
	kunit_release_action(scope->test, kunit_report_forget, scope);
	kunit_report_log(scope);
	kunit_report_check(scope, &s, kinds, map, at);

	return seq_buf_used(&s) ? seq_buf_str(&s) : NULL;
}
EXPORT_SYMBOL_GPL(kunit_report_scope_end);

/**
 * kunit_report_scope_left() - fail a test that jumps out of an expectation
 * @scope: of the expectation
 *
 * For KUNIT_EXPECT_REPORT(): its scope is left, at its end or by return, break or
 * goto.
 *
 * Context: The task that runs the test, where it may sleep.
 */
void kunit_report_scope_left(struct kunit_report_scope **scope)
{
	if ((*scope)->ended)
		return;

	kunit_report_leave(*scope);
	KUNIT_FAIL((*scope)->test, "a jump out of an expectation: what was reported is not known");
}
EXPORT_SYMBOL_GPL(kunit_report_scope_left);

/* Of those that are made together, that of lockdep says most, and a WARN() more than others. */
static unsigned int kunit_report_weight(const struct kunit_report *report)
{
	return *report->lock ? 2 : report->kind == KUNIT_REPORT_WARN;
}

/**
 * kunit_report_scope_info() - what was reported, for who explains it
 * @scope: the scope
 * @map: name of a lock
 * @info: filled in; valid as long as the test
 *
 * Context: Any.
 */
void kunit_report_scope_info(const struct kunit_report_scope *scope, const char *map,
			     struct kunit_report_info *info)
{
	const struct kunit_report *best = NULL;
	unsigned int i;

	*info = (struct kunit_report_info){
		.kinds = scope->kinds & ~KUNIT_REPORT_UNAVAILABLE,
	};
	for (i = 0; i < scope->nr_reports; i++) {
		if (!best || kunit_report_weight(&scope->reports[i]) > kunit_report_weight(best))
			best = &scope->reports[i];
	}
	if (!best)
		return;

	info->lock = *best->lock ? best->lock : NULL;
	info->lock_at = (void *)best->ip;
	for (i = 0; i < best->nr_held; i++) {
		if (kunit_report_same(best->held[i].name, map))
			info->map_at = (void *)best->held[i].ip;
	}
}
EXPORT_SYMBOL_GPL(kunit_report_scope_info);

/**
 * kunit_report_abort() - leave all scopes, because a failed assertion ends the task
 *
 * Context: The task that runs the test.
 */
void kunit_report_abort(void)
{
	struct kunit_report_scope *scope;

	while ((scope = kunit_report_my_scope()))
		kunit_report_leave(scope);
}

/**
 * kunit_report_case_end() - say why a test failed that reported what nobody expected
 * @test: the test context, all of whose tasks are at an end
 *
 * A test that has turned lockdep off fails: no later one could see anything.
 *
 * Context: May sleep.
 */
void kunit_report_case_end(struct kunit *test)
{
	unsigned int kinds = atomic_xchg(&kunit_report_unexpected, 0);
	char text[128];
	struct seq_buf s;

	seq_buf_init(&s, text, sizeof(text));
	if (kinds)
		kunit_report_print_kinds(&s, kinds);
	else
		seq_buf_puts(&s, "a report of lockdep");

	if (kinds)
		kunit_err(test, "reported, and no expectation claimed it: %s\n", seq_buf_str(&s));
	if (debug_locks || kunit_report_lockdep_off[0])
		return;

	snprintf(kunit_report_lockdep_off, sizeof(kunit_report_lockdep_off),
		 "it went off while %s ran: %s", test->name, seq_buf_str(&s));
	kunit_err(test, "lockdep is off now: %s\n", seq_buf_str(&s));
	kunit_set_failure(test);
}
EXPORT_SYMBOL_IF_KUNIT(kunit_report_case_end);

/* Is lockdep off before any test has run? None is to blame then. */
VISIBLE_IF_KUNIT void kunit_report_note_lockdep(void)
{
	if (!debug_locks)
		strscpy(kunit_report_lockdep_off, "there was a report before the first test");
}
EXPORT_SYMBOL_IF_KUNIT(kunit_report_note_lockdep);

void kunit_report_init(void)
{
	kunit_report_note_lockdep();
	if (WARN_ON(register_trace_error_report_end(kunit_report_warn, NULL)))
		return;
	kunit_hooks.report_claimed = kunit_report_has_claimed;
	kunit_hooks.claim_report = kunit_report_claim;
}

void kunit_report_exit(void)
{
	unregister_trace_error_report_end(kunit_report_warn, NULL);
	tracepoint_synchronize_unregister();
}
