// SPDX-License-Identifier: GPL-2.0-only
/*
 * Expect debug reports in a KUnit test, see include/kunit/report.h.
 *
 * What would suppress the second report, and what is done about it here:
 *
 * - debug_locks goes off for good, __might_resched() is rate-limited: both ask
 *   kunit_begin_report() first.
 * - After a report, lockdep's record of the locks that the task holds is wrong:
 *   the reported lock is taken but not recorded. Lockdep therefore ignores the
 *   task until the scope ends, which puts the record back as it was found.
 * - A chain of locks is checked once: each scope holds a lock of a class of its
 *   own, so that every chain within is new. Removing the class removes what the
 *   scope taught lockdep about it.
 *
 * The kind of a lockdep report is read off its headline, by way of the console
 * tracepoint, which fires in the task that prints. So is each WARN().
 */

#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <kunit/visibility.h>
#include <linux/debug_locks.h>
#include <linux/lockdep.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/seq_buf.h>
#include <linux/string.h>
#include <trace/events/printk.h>

#include "report-impl.h"

/* One expression seldom makes more than two; the rest is only counted */
#define KUNIT_REPORT_MAX 4

/**
 * struct kunit_report - one report
 * @kind: what made it
 * @lock: name of the lock that was about to be acquired, if @kind is
 *	  KUNIT_REPORT_WAIT_CONTEXT, _RECURSION or _CIRCULAR
 * @ip: where
 * @nr_held: number of locks that the task held, the length of @held
 * @held: name of each lock, and the ip it was acquired at; outermost first
 */
struct kunit_report {
	enum kunit_report_kind kind;
	const char *lock;
	unsigned long ip;
	unsigned int nr_held;
	struct {
		const char *name;
		unsigned long ip;
	} held[MAX_LOCK_DEPTH];
};

/**
 * struct kunit_report_scope - watches one task for the time of one expression
 * @test: the test that watches
 * @outer: the enclosing scope or NULL
 * @key: class of @map, registered for this scope only
 * @map: held through the scope
 * @lockdep_depth: the task's at the start of the scope, without @map
 * @chain_key: likewise
 * @softirqs_enabled: likewise
 * @non_block_count: likewise
 * @lockdep_ignored: lockdep has reported and ignores the task since
 * @kinds: all kinds of report made so far
 * @nr_reports: their number, which may be larger than the array
 * @reports: the first ones
 * @file: where a WARN() is expected, or NULL for nowhere
 * @file_seen: there was one
 * @text: what is expected to be printed, or NULL
 * @text_seen: it was
 * @in_warning: the next line may be the text of a WARN()
 * @warning: the first such text, if any
 * @message: what was wrong, once the scope has ended
 */
struct kunit_report_scope {
	struct kunit *test;
	struct kunit_report_scope *outer;
	struct lock_class_key key;
	struct lockdep_map map;
	unsigned int lockdep_depth;
	u64 chain_key;
	int softirqs_enabled;
	int non_block_count;
	bool lockdep_ignored;
	unsigned int kinds;
	unsigned int nr_reports;
	struct kunit_report reports[KUNIT_REPORT_MAX];
	const char *file;
	bool file_seen;
	const char *text;
	bool text_seen;
	bool in_warning;
	char warning[128];
	char message[512];
};

static const struct {
	enum kunit_report_kind kind;
	const char *name;
	const char *headline;
} kunit_report_kinds[] = {
	{ KUNIT_REPORT_WAIT_CONTEXT, "invalid wait context",
	  "[ BUG: Invalid wait context ]" },
	{ KUNIT_REPORT_RECURSION, "recursive locking",
	  "WARNING: possible recursive locking detected" },
	{ KUNIT_REPORT_CIRCULAR, "circular locking dependency",
	  "WARNING: possible circular locking dependency detected" },
	{ KUNIT_REPORT_DEADLOCK, "recursive locking or circular dependency", NULL },
	{ KUNIT_REPORT_LOCKDEP, "another lockdep report", NULL },
	{ KUNIT_REPORT_MAYBE_SCHEDULE, "maybe scheduler", NULL },
	{ KUNIT_REPORT_MIGHT_SLEEP, "might_sleep", NULL },
	{ KUNIT_REPORT_SCHEDULE, "scheduler",
	  "BUG: scheduling in a non-blocking section" },
	{ KUNIT_REPORT_SCHEDULE, "scheduler",
	  "BUG: scheduling while atomic" },
	{ KUNIT_REPORT_WARN, "WARN()", "[ cut here ]" },
	{ KUNIT_REPORT_RCU, "suspicious RCU usage",
	  "WARNING: suspicious RCU usage" },
};

#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
#define KUNIT_REPORT_UNAVAILABLE 0

static int kunit_report_non_block_count(void)
{
	return current->non_block_count;
}
#else
#define KUNIT_REPORT_UNAVAILABLE					\
	(KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_SCHEDULE |		\
	 KUNIT_REPORT_MAYBE_SCHEDULE)

static int kunit_report_non_block_count(void)
{
	return 0;
}
#endif

/*
 * The innermost scope, and the task that it watches. KUnit runs one test at a
 * time, so one is enough. Only that task may look at the scope.
 */
static struct kunit_report_scope *kunit_report_current;
static struct task_struct *kunit_report_task;

bool kunit_report_lockdep_was_on;
EXPORT_SYMBOL_IF_KUNIT(kunit_report_lockdep_was_on);

static struct kunit_report_scope *kunit_report_my_scope(void)
{
	if (!in_task() || READ_ONCE(kunit_report_task) != current)
		return NULL;

	return READ_ONCE(kunit_report_current);
}

static void kunit_report_watch(struct kunit_report_scope *scope)
{
	WRITE_ONCE(kunit_report_current, scope);
	WRITE_ONCE(kunit_report_task, scope ? current : NULL);
}

/* A report that no expectation claims fails the test that runs in this task. */
static void kunit_report_stray(void)
{
	if (in_task() && current->kunit_test)
		kunit_set_failure(current->kunit_test);
}

static void kunit_report_add(struct kunit_report_scope *scope,
			     enum kunit_report_kind kind)
{
	struct kunit_report *report;
	unsigned int i;

	scope->kinds |= kind;
	if (scope->nr_reports++ >= KUNIT_REPORT_MAX)
		return;

	report = &scope->reports[scope->nr_reports - 1];
	report->kind = kind;
	report->nr_held = current->lockdep_depth;
	for (i = 0; i < report->nr_held; i++) {
		report->held[i].name = current->held_locks[i].instance->name;
		report->held[i].ip = current->held_locks[i].acquire_ip;
	}
}

/* May be called by lockdep with its own lock held: just take notes. */
static int kunit_report_begin(unsigned int kind)
{
	struct kunit_report_scope *scope = kunit_report_my_scope();

	if (!scope) {
		kunit_report_stray();
		return 0;
	}

	if (kind == KUNIT_REPORT_LOCKDEP) {
		if (scope->lockdep_ignored)
			return -1;
		scope->lockdep_ignored = true;
		lockdep_off();
	}
	kunit_report_add(scope, kind);
	return 1;
}

/* Turn KUNIT_REPORT_LOCKDEP, all that kunit_report_begin() knew, into @kind */
static void kunit_report_classify(struct kunit_report_scope *scope,
				  enum kunit_report_kind kind)
{
	struct kunit_report *report;

	scope->kinds = (scope->kinds & ~KUNIT_REPORT_LOCKDEP) | kind;
	if (scope->nr_reports > KUNIT_REPORT_MAX)
		return;

	report = &scope->reports[scope->nr_reports - 1];
	report->kind = kind;
	/* What is about to be acquired is next to what is held. */
	report->lock = current->held_locks[report->nr_held].instance->name;
	report->ip = current->held_locks[report->nr_held].acquire_ip;
}

/* A report that is known by its headline only, or that is known in part */
static void kunit_report_headline(struct kunit_report_scope *scope,
				  enum kunit_report_kind kind)
{
	switch (kind) {
	case KUNIT_REPORT_SCHEDULE:
	case KUNIT_REPORT_RCU:
		if (!scope)
			kunit_report_stray();
		fallthrough;
	case KUNIT_REPORT_WARN:
		if (scope)
			kunit_report_add(scope, kind);
		break;
	default:
		/* All others have come by kunit_report_begin(). */
		if (scope && scope->kinds & KUNIT_REPORT_LOCKDEP)
			kunit_report_classify(scope, kind);
	}
}

/* The text stands next to the line that has the place, before or after it. */
static void kunit_report_warning_text(struct kunit_report_scope *scope,
				      const char *text, size_t len)
{
	if (strnstr(text, "[ cut here ]", len)) {
		scope->in_warning = !scope->warning[0];
	} else if (scope->in_warning && !strnstr(text, "WARNING: ", len)) {
		scope->in_warning = false;
		/* The next line of a WARN_ON() is one of these. */
		if (!strnstr(text, "Modules linked in", len) && !strnstr(text, "CPU: ", len))
			strscpy(scope->warning, text, min(len + 1, sizeof(scope->warning)));
		strim(scope->warning);
	}
}

/* Sees each line that is printed, in the context of who prints it. */
static void kunit_report_console(void *unused, const char *text, size_t len)
{
	struct kunit_report_scope *scope;
	unsigned int i;

	if (!static_branch_unlikely(&kunit_running))
		return;

	scope = kunit_report_my_scope();
	for (i = 0; i < ARRAY_SIZE(kunit_report_kinds); i++) {
		const char *headline = kunit_report_kinds[i].headline;

		if (headline && strnstr(text, headline, len))
			kunit_report_headline(scope, kunit_report_kinds[i].kind);
	}

	if (!scope)
		return;
	kunit_report_warning_text(scope, text, len);
	if (!scope->file)
		return;
	if (strnstr(text, "WARNING: ", len) && strnstr(text, scope->file, len))
		scope->file_seen = true;
	if (scope->text && strnstr(text, scope->text, len))
		scope->text_seen = true;
}

/*
 * Stop to watch, and put lockdep's record of the locks that the task holds back
 * to what it was when @scope began. In the task that @scope watches.
 */
static void kunit_report_unwind(struct kunit_report_scope *scope)
{
	kunit_report_watch(scope->outer);

	/* Not to be seen half done by an interrupt that takes a lock. */
	if (!scope->lockdep_ignored)
		lockdep_off();
	current->lockdep_depth = scope->lockdep_depth;
	current->curr_chain_key = scope->chain_key;
	current->softirqs_enabled = scope->softirqs_enabled;
	lockdep_on();
}

/* Runs in another task if the one of the test has ended within the scope. */
static void kunit_report_forget(void *data)
{
	struct kunit_report_scope *scope = data;

	/* It was not unwound if that task died of something worse. */
	if (READ_ONCE(kunit_report_current) == scope)
		kunit_report_watch(NULL);
	lockdep_unregister_key(&scope->key);
}

/**
 * kunit_report_scope_begin() - begin to watch for reports of this task
 * @test: the test context
 *
 * For KUNIT_EXPECT_REPORT(). Skips the test if the kernel was booted with
 * lockdep off; fails it if lockdep went off since then, because nothing would
 * be reported and no expectation mean anything.
 *
 * Context: The task that runs @test, where it may sleep.
 *
 * Return: the scope. Does not return if it skips the test or fails it.
 */
struct kunit_report_scope *kunit_report_scope_begin(struct kunit *test)
{
	struct kunit_report_scope *scope;

	KUNIT_ASSERT_PTR_EQ_MSG(test, kunit_get_current_test(), test,
				"reports can be expected in the task that runs the test only");
	if (!kunit_report_lockdep_was_on)
		kunit_skip(test, "lockdep was off before the first test");
	KUNIT_ASSERT_TRUE_MSG(test, debug_locks,
			      "an earlier report has turned lockdep off");

	scope = kunit_kzalloc(test, sizeof(*scope), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, scope);

	scope->test = test;
	scope->outer = kunit_report_my_scope();
	KUNIT_ASSERT_FALSE_MSG(test, scope->outer && scope->outer->lockdep_ignored,
			       "lockdep has reported in the enclosing scope and ignores the task");

	lockdep_register_key(&scope->key);
	lockdep_init_map(&scope->map, "kunit_report", &scope->key, 0);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kunit_report_forget,
						  scope));

	scope->lockdep_depth = current->lockdep_depth;
	scope->chain_key = current->curr_chain_key;
	scope->softirqs_enabled = current->softirqs_enabled;
	scope->non_block_count = kunit_report_non_block_count();
	lock_map_acquire(&scope->map);
	kunit_report_watch(scope);

	return scope;
}
EXPORT_SYMBOL_GPL(kunit_report_scope_begin);

/**
 * kunit_report_scope_begin_warn() - begin to watch for one WARN() of this task
 * @test: the test context
 * @file: see KUNIT_EXPECT_WARN()
 * @text: likewise
 *
 * Context: The task that runs @test, where it may sleep.
 *
 * Return: as for kunit_report_scope_begin().
 */
struct kunit_report_scope *
kunit_report_scope_begin_warn(struct kunit *test, const char *file, const char *text)
{
	struct kunit_report_scope *scope;

	if (!IS_ENABLED(CONFIG_BUG))
		kunit_skip(test, "no WARN() without CONFIG_BUG");

	scope = kunit_report_scope_begin(test);
	scope->file = file;
	/* Without it, only the function is printed. */
	scope->file_seen = !IS_ENABLED(CONFIG_DEBUG_BUGVERBOSE);
	scope->text = text;
	return scope;
}
EXPORT_SYMBOL_GPL(kunit_report_scope_begin_warn);

/* Is @report about @map, acquired at @at? */
static bool kunit_report_is_about(const struct kunit_report *report,
				  const char *map, const void *at)
{
	unsigned int i;

	if (report->kind == KUNIT_REPORT_RECURSION && strcmp(report->lock, map))
		return false;

	for (i = 0; i < report->nr_held; i++) {
		if (!strcmp(report->held[i].name, map) &&
		    (!at || report->held[i].ip == (unsigned long)at))
			return true;
	}
	return false;
}

static void kunit_report_print_kinds(struct seq_buf *s, unsigned int kinds)
{
	const char *separator = "";
	unsigned int i;

	if (!kinds)
		seq_buf_puts(s, "nothing");

	for (i = 0; i < ARRAY_SIZE(kunit_report_kinds); i++) {
		if (!(kinds & kunit_report_kinds[i].kind))
			continue;
		kinds &= ~kunit_report_kinds[i].kind;
		seq_buf_printf(s, "%s%s", separator, kunit_report_kinds[i].name);
		separator = " and ";
	}
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

/* Compare what was reported with what was expected. */
static void kunit_report_check(struct kunit_report_scope *scope, struct seq_buf *s,
			       unsigned int kinds, const char *map,
			       const void *at)
{
	unsigned int got = scope->kinds & ~KUNIT_REPORT_UNAVAILABLE;
	unsigned int i, nr = min(scope->nr_reports, KUNIT_REPORT_MAX);

	kinds &= ~KUNIT_REPORT_UNAVAILABLE;
	if (!kunit_report_kinds_match(got, kinds)) {
		seq_buf_puts(s, "expected ");
		kunit_report_print_kinds(s, kinds);
		seq_buf_puts(s, ", got ");
		kunit_report_print_kinds(s, got);
		seq_buf_puts(s, "; ");
	}

	for (i = 0; map && i < nr; i++) {
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

static void kunit_report_check_warn(struct kunit_report_scope *scope, struct seq_buf *s)
{
	if (!scope->file || scope->kinds != KUNIT_REPORT_WARN)
		return;

	if (scope->nr_reports > 1)
		seq_buf_printf(s, "%u warnings; ", scope->nr_reports);
	if (!scope->file_seen)
		seq_buf_printf(s, "the warning is not in %s; ", scope->file);
	if (scope->text && !scope->text_seen)
		seq_buf_printf(s, "nobody printed \"%s\"; ", scope->text);
}

/* What was taken within the scope must have been put back. */
static void kunit_report_check_balance(struct kunit_report_scope *scope,
				       struct seq_buf *s)
{
	unsigned int depth = scope->lockdep_depth + 1; /* scope->map */
	int non_block = kunit_report_non_block_count();

	if (!debug_locks)
		seq_buf_puts(s, "lockdep is off, somebody else had a report; ");

	else if (!scope->lockdep_ignored && current->lockdep_depth != depth)
		seq_buf_printf(s, "holds %d locks more than before; ",
			       current->lockdep_depth - depth);

	if (non_block != scope->non_block_count)
		seq_buf_printf(s, "non_block_count is %d, was %d; ",
			       non_block, scope->non_block_count);
}

/**
 * kunit_report_scope_end() - stop watching, and compare with what was expected
 * @scope: the return of kunit_report_scope_begin(), the innermost one
 * @kinds: see KUNIT_EXPECT_REPORT()
 * @map: likewise
 * @at: likewise
 *
 * For KUNIT_EXPECT_REPORT(). Puts lockdep's record of the locks that the task
 * holds back to what it was when the scope began.
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
	kunit_report_unwind(scope);
	kunit_report_log(scope);
	kunit_report_check(scope, &s, kinds, map, at);
	kunit_report_check_warn(scope, &s);
	kunit_release_action(scope->test, kunit_report_forget, scope);

	return seq_buf_used(&s) ? seq_buf_str(&s) : NULL;
}
EXPORT_SYMBOL_GPL(kunit_report_scope_end);

/* Of those that are made together, that of lockdep says most. */
static unsigned int kunit_report_weight(const struct kunit_report *report)
{
	if (report->lock)
		return 2;
	return report->kind == KUNIT_REPORT_WARN;
}

/**
 * kunit_report_scope_info() - what was reported, for who explains it
 * @scope: the scope, which has ended
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
		.warning = scope->warning,
	};
	for (i = 0; i < min(scope->nr_reports, KUNIT_REPORT_MAX); i++) {
		if (!best || kunit_report_weight(&scope->reports[i]) > kunit_report_weight(best))
			best = &scope->reports[i];
	}
	if (!best)
		return;

	info->lock = best->lock;
	info->lock_at = (void *)best->ip;
	for (i = 0; i < best->nr_held; i++) {
		if (!strcmp(best->held[i].name, map))
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
		kunit_report_unwind(scope);
}

/**
 * kunit_report_test_exit() - fail a test that has turned lockdep off
 * @test: the test context
 *
 * To be the exit function of a suite that expects reports, or to be called by it:
 * the report that did it was made outside of any expectation, or in another task.
 *
 * Context: May sleep.
 */
void kunit_report_test_exit(struct kunit *test)
{
	if (kunit_report_lockdep_was_on)
		KUNIT_EXPECT_TRUE_MSG(test, debug_locks, "a report has turned lockdep off");
}
EXPORT_SYMBOL_GPL(kunit_report_test_exit);

void kunit_report_init(void)
{
	kunit_report_lockdep_was_on = debug_locks;
	if (WARN_ON(register_trace_console(kunit_report_console, NULL)))
		return;
	kunit_hooks.begin_report = kunit_report_begin;
}

void kunit_report_exit(void)
{
	unregister_trace_console(kunit_report_console, NULL);
	tracepoint_synchronize_unregister();
}
