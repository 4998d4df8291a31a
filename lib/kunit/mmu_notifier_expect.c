// SPDX-License-Identifier: GPL-2.0-only
/*
 * Expectations about MMU notifiers, see include/kunit/mmu_notifier.h.
 *
 * What fails them says which callback did what, and what to do instead: whoever
 * reads it knows their driver, but maybe not the rule. The callback is known from
 * the report, or from the trace event of the back-off.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/debug_locks.h>
#include <linux/err.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/seq_buf.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/mmu_notifier.h>

#include "mmu_notifier-impl.h"

#define MESSAGE_SIZE	512

/* Advice that is given more than once */
#define BACK_OFF	"or, unless this ends an invalidation, back off."
#define NO_WAIT		"Leave it to a work item that is not waited for, " BACK_OFF

/**
 * struct kunit_mmu_notifier_seen - what happened in a pass
 * @task: whose pass it is
 * @ret: what it returned
 * @callback: the first that backed off, or NULL
 * @error: what that returned
 * @waited: a callback slept for another task's lock
 * @trouble: what the report scope had to say
 * @reports: what was reported
 */
struct kunit_mmu_notifier_seen {
	struct task_struct *task;
	int ret;
	const void *callback;
	int error;
	bool waited;
	const char *trouble;
	struct kunit_report_info reports;
};

/* The notifier that backs off, for the others to be unwound */

static int kunit_mmu_notifier_back_off(struct mmu_notifier *subscription,
				       const struct mmu_notifier_range *range)
{
	return mmu_notifier_range_blockable(range) ? 0 : -EAGAIN;
}

static const struct mmu_notifier_ops kunit_mmu_notifier_back_off_ops = {
	.invalidate_range_start = kunit_mmu_notifier_back_off,
};

/* Watch a pass */

static void kunit_mmu_notifier_see_return(void *data, const struct mmu_notifier_range *range,
					  const void *callback, int ret, u64 since)
{
	struct kunit_mmu_notifier_seen *seen = data;

	if (!ret || seen->task != current || seen->callback ||
	    callback == kunit_mmu_notifier_back_off)
		return;
	seen->callback = callback;
	seen->error = ret;
}

static void kunit_mmu_notifier_see_no_more(void *data)
{
	unregister_trace_mmu_notifier_nonblock(kunit_mmu_notifier_see_return, data);
	tracepoint_synchronize_unregister();
}

static struct kunit_mmu_notifier_seen *
kunit_mmu_notifier_watch(struct kunit *test, unsigned long start, unsigned long length,
			 bool blockable)
{
	struct kunit_mmu_notifier_seen *seen = kunit_kzalloc(test, sizeof(*seen), GFP_KERNEL);
	struct kunit_report_scope *scope;

	KUNIT_ASSERT_NOT_NULL(test, seen);
	seen->task = current;
	/* Without trace events, the callback that backs off has no name. */
	if (!register_trace_mmu_notifier_nonblock(kunit_mmu_notifier_see_return, seen))
		KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
								   kunit_mmu_notifier_see_no_more,
								   seen));

	scope = kunit_report_scope_begin(test);
	if (blockable)
		kunit_mmu_notifier_blockable_pass(test, start, length);
	else
		seen->ret = kunit_mmu_notifier_nonblock_pass(test, start, length);
	seen->trouble = kunit_report_scope_end(scope, 0, NULL, NULL);
	kunit_report_scope_info(scope, KUNIT_MMU_NOTIFIER_MAP, &seen->reports);
	seen->waited = kunit_mmu_notifier_was_waited_for(test);
	kunit_release_action(test, kunit_mmu_notifier_see_no_more, seen);
	return seen;
}

/* Explain it */

static void kunit_mmu_notifier_name(struct seq_buf *s, const void *callback)
{
	if (callback)
		seq_buf_printf(s, "%ps", callback);
	else
		seq_buf_puts(s, "a callback");
}

/* With lockdep, the lock or the place is known. */
static bool kunit_mmu_notifier_explain_lockdep(struct seq_buf *s,
					       const struct kunit_report_info *reports)
{
	/* What interrupts have to do with it, takes more than a line. */
	if (!reports->lock || reports->kinds & KUNIT_REPORT_USAGE)
		return false;
	/* In a callback that may block, a lock that does not sleep is held around it. */
	if (reports->kinds & KUNIT_REPORT_WAIT_CONTEXT && !reports->map_at)
		return false;

	kunit_mmu_notifier_name(s, reports->map_at);
	if (reports->kinds & KUNIT_REPORT_WAIT_CONTEXT) {
		seq_buf_printf(s, " takes %s, a lock that sleeps, at %pS. ",
			       reports->lock, reports->lock_at);
		seq_buf_puts(s, "Try for it. If another task has it, ");
		seq_buf_puts(s, "leave that to a work item, " BACK_OFF);
	} else if (reports->kinds & KUNIT_REPORT_CIRCULAR) {
		seq_buf_printf(s, " waits for %s at %pS, and elsewhere that waits for memory or for what is held here. ",
			       reports->lock, reports->lock_at);
		seq_buf_puts(s, NO_WAIT);
	} else if (!strcmp(reports->lock, "mmu_notifier_invalidate_range_start")) {
		seq_buf_printf(s, " allocates memory at %pS, and reclaim may invalidate again. ",
			       reports->lock_at);
		seq_buf_puts(s, "Allocate it before, outside of the callback, or with ");
		seq_buf_puts(s, "GFP_NOWAIT: also where the callback may block.");
	} else if (!strcmp(reports->lock, KUNIT_MMU_NOTIFIER_MAP)) {
		seq_buf_printf(s, " allocates memory at %pS, and may wait for it. ",
			       reports->lock_at);
		seq_buf_puts(s, "Allocate it before, outside of the callback, or with ");
		seq_buf_puts(s, "GFP_NOWAIT, and back off if there is none.");
	} else {
		seq_buf_printf(s, " takes %s at %pS, and has it, or one of its class, already. Take it once.",
			       reports->lock, reports->lock_at);
	}
	return true;
}

static bool kunit_mmu_notifier_explain_warning(struct seq_buf *s,
					       const struct kunit_mmu_notifier_seen *seen)
{
	const struct kunit_report_info *reports = &seen->reports;

	if (!(reports->kinds & KUNIT_REPORT_WARN))
		return false;

	if (reports->map_at) {
		seq_buf_printf(s, "%ps makes a WARN() at %pS, and the log says why. ",
			       reports->map_at, reports->lock_at);
		seq_buf_puts(s, "If it has changed what it must leave as it was: put that back ");
		seq_buf_puts(s, "on each way out, also on the one that backs off.");
	} else if (seen->callback && seen->error != -EAGAIN) {
		seq_buf_printf(s, "%ps returns %pe. Back off with -EAGAIN.",
			       seen->callback, ERR_PTR(seen->error));
	} else if (seen->callback) {
		seq_buf_printf(s, "%ps backs off, but its notifier has an invalidate_range_end(), ",
			       seen->callback);
		seq_buf_puts(s, "which is called all the same. Have none, or do not back off.");
	} else {
		seq_buf_printf(s, "there was a WARN() at %pS. The log says why.",
			       reports->lock_at);
	}
	return true;
}

/* Without the lock that a test holds, it would see what it wants to see, or blame a callback. */
static bool kunit_mmu_notifier_explain_release(struct seq_buf *s, struct kunit *test)
{
	if (!kunit_mmu_notifier_was_released(test))
		return false;

	seq_buf_puts(s, "the lock of kunit_mmu_notifier_hold() is free: a callback slept, or it ");
	seq_buf_puts(s, "was held for too long. kunit_mmu_notifier_release() it, and hold it anew.");
	return true;
}

/* Reports, and waiting: wrong in each nonblocking pass, whatever it shall return */
static bool kunit_mmu_notifier_explain_block(struct seq_buf *s,
					     const struct kunit_mmu_notifier_seen *seen)
{
	const unsigned int sleeps = KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_SCHEDULE;

	if (kunit_mmu_notifier_explain_lockdep(s, &seen->reports) ||
	    kunit_mmu_notifier_explain_warning(s, seen))
		return true;

	if (seen->reports.kinds & sleeps || seen->waited) {
		kunit_mmu_notifier_name(s, seen->reports.map_at);
		seq_buf_puts(s, seen->waited ? " sleeps until another task releases its lock. " :
			     " sleeps, or calls what may. ");
		seq_buf_puts(s, NO_WAIT);
		return true;
	}
	if (seen->trouble)
		seq_buf_puts(s, seen->trouble);
	return seen->trouble;
}

static struct seq_buf kunit_mmu_notifier_begin_message(struct kunit *test)
{
	char *buffer = kunit_kzalloc(test, MESSAGE_SIZE, GFP_KERNEL);
	struct seq_buf s;

	KUNIT_ASSERT_NOT_NULL(test, buffer);
	seq_buf_init(&s, buffer, MESSAGE_SIZE);
	return s;
}

static const char *kunit_mmu_notifier_message(struct seq_buf *s)
{
	return seq_buf_used(s) ? seq_buf_str(s) : NULL;
}

/* Reports of fixtures that are used outside of an expectation */

/**
 * kunit_mmu_notifier_guard_begin() - claim reports if no expectation does
 * @test: the test context
 *
 * A wrong callback is wrong when the memory is unmapped, too. Unclaimed, the report
 * would turn lockdep off, and all later tests would fail.
 *
 * Context: The task that runs @test, where it may sleep.
 *
 * Return: for kunit_mmu_notifier_guard_end(); or NULL if nothing is to be claimed.
 */
struct kunit_report_scope *kunit_mmu_notifier_guard_begin(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_KUNIT_REPORT) || !debug_locks || kunit_report_is_expected())
		return NULL;
	return kunit_report_scope_begin(test);
}

/**
 * kunit_mmu_notifier_guard_end() - fail a test whose callbacks made a report
 * @test: the test context
 * @scope: of kunit_mmu_notifier_guard_begin()
 *
 * Context: As for kunit_mmu_notifier_guard_begin().
 */
void kunit_mmu_notifier_guard_end(struct kunit *test, struct kunit_report_scope *scope)
{
	struct kunit_mmu_notifier_seen seen = {};
	struct seq_buf s;

	if (!scope)
		return;
	kunit_report_scope_info(scope, KUNIT_MMU_NOTIFIER_MAP, &seen.reports);
	/* The core's WARN()s are in the log, and no test of a driver's wants them hidden. */
	seen.trouble = kunit_report_scope_end(scope, seen.reports.kinds & KUNIT_REPORT_WARN,
					      NULL, NULL);
	if (!seen.trouble)
		return;

	s = kunit_mmu_notifier_begin_message(test);
	kunit_mmu_notifier_explain_block(&s, &seen);
	KUNIT_FAIL(test, "%s", seq_buf_str(&s));
}

/**
 * kunit_mmu_notifier_check_clean() - see KUNIT_EXPECT_MMU_NOTIFIER_CLEAN()
 * @test: the test context
 * @start: of the range
 * @length: of the range
 *
 * Return: what is wrong, or NULL.
 */
const char *kunit_mmu_notifier_check_clean(struct kunit *test, unsigned long start,
					   unsigned long length)
{
	struct kunit_mmu_notifier_seen *seen = kunit_mmu_notifier_watch(test, start, length,
									false);
	struct seq_buf s = kunit_mmu_notifier_begin_message(test);

	if (!kunit_mmu_notifier_explain_block(&s, seen) && seen->ret) {
		kunit_mmu_notifier_name(&s, seen->callback);
		seq_buf_puts(&s, " backs off, and the OOM reaper goes without the range. ");
		seq_buf_puts(&s, "Do the work if nothing is in the way.");
	}
	return kunit_mmu_notifier_message(&s);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_check_clean);

/**
 * kunit_mmu_notifier_check_backs_off() - see KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF()
 * @test: the test context
 * @start: of the range
 * @length: of the range
 *
 * Return: what is wrong, or NULL.
 */
const char *kunit_mmu_notifier_check_backs_off(struct kunit *test, unsigned long start,
					       unsigned long length)
{
	struct seq_buf s = kunit_mmu_notifier_begin_message(test);
	struct kunit_mmu_notifier_seen *seen;

	if (kunit_mmu_notifier_explain_release(&s, test))
		return kunit_mmu_notifier_message(&s);

	seen = kunit_mmu_notifier_watch(test, start, length, false);
	if (!kunit_mmu_notifier_explain_block(&s, seen) && !seen->ret) {
		seq_buf_puts(&s, "no callback backs off: it goes on without what it has to have, ");
		seq_buf_puts(&s, "or is not called for this range. Return -EAGAIN from ");
		seq_buf_puts(&s, "invalidate_range_start(), false from an interval notifier.");
	}
	return kunit_mmu_notifier_message(&s);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_check_backs_off);

/**
 * kunit_mmu_notifier_check_ignores() - see KUNIT_EXPECT_MMU_NOTIFIER_IGNORES()
 * @test: the test context
 * @start: of the range
 * @length: of the range
 *
 * Return: what is wrong, or NULL.
 */
const char *kunit_mmu_notifier_check_ignores(struct kunit *test, unsigned long start,
					     unsigned long length)
{
	struct seq_buf s = kunit_mmu_notifier_begin_message(test);
	struct kunit_mmu_notifier_seen *seen;

	if (kunit_mmu_notifier_explain_release(&s, test))
		return kunit_mmu_notifier_message(&s);

	seen = kunit_mmu_notifier_watch(test, start, length, false);
	if (!kunit_mmu_notifier_explain_block(&s, seen) && seen->ret) {
		kunit_mmu_notifier_name(&s, seen->callback);
		seq_buf_puts(&s, " backs off from a range that it has no interest in, and keeps ");
		seq_buf_puts(&s, "the OOM reaper from it. Look first whether the range is one of ");
		seq_buf_puts(&s, "the driver's, or subscribe to that only.");
	}
	return kunit_mmu_notifier_message(&s);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_check_ignores);

/**
 * kunit_mmu_notifier_check_undone() - see KUNIT_EXPECT_MMU_NOTIFIER_BACKS_OFF()
 * @test: the test context
 * @state: the expression
 * @before: its value before the pass
 * @after: and after
 *
 * Return: what is wrong, or NULL.
 */
const char *kunit_mmu_notifier_check_undone(struct kunit *test, const char *state,
					    u64 before, u64 after)
{
	struct seq_buf s = kunit_mmu_notifier_begin_message(test);

	if (before != after) {
		seq_buf_printf(&s, "%s was %llu, and is %llu after the back-off. ",
			       state, before, after);
		seq_buf_puts(&s, "Look first whether all can be done, or undo what was.");
	}
	return kunit_mmu_notifier_message(&s);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_check_undone);

static const char *kunit_mmu_notifier_check_unwound(struct kunit *test, unsigned long start,
						    unsigned long length)
{
	struct mmu_notifier *other = kunit_kzalloc(test, sizeof(*other), GFP_KERNEL);
	struct kunit_mmu_notifier_seen *seen;
	struct seq_buf s = kunit_mmu_notifier_begin_message(test);

	KUNIT_ASSERT_NOT_NULL(test, other);
	kunit_mmu_notifier_register(test, other, &kunit_mmu_notifier_back_off_ops);
	seen = kunit_mmu_notifier_watch(test, start, length, false);
	kunit_mmu_notifier_unregister_now(test, other);

	kunit_mmu_notifier_explain_block(&s, seen);
	return kunit_mmu_notifier_message(&s);
}

static const char *kunit_mmu_notifier_check_blockable(struct kunit *test, unsigned long start,
						      unsigned long length)
{
	return kunit_mmu_notifier_watch(test, start, length, true)->trouble;
}

/**
 * kunit_mmu_notifier_check_pass() - see KUNIT_EXPECT_MMU_NOTIFIER_PAIRED()
 * @test: the test context
 * @start: of the range
 * @length: of the range
 * @pass: how the pass shall end
 *
 * Return: what is wrong, or NULL.
 */
const char *kunit_mmu_notifier_check_pass(struct kunit *test, unsigned long start,
					  unsigned long length,
					  enum kunit_mmu_notifier_pass pass)
{
	switch (pass) {
	case KUNIT_MMU_NOTIFIER_UNWOUND:
		return kunit_mmu_notifier_check_unwound(test, start, length);
	case KUNIT_MMU_NOTIFIER_BLOCKABLE:
		return kunit_mmu_notifier_check_blockable(test, start, length);
	default:
		return kunit_mmu_notifier_check_clean(test, start, length);
	}
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_check_pass);

/**
 * kunit_mmu_notifier_check_paired() - see KUNIT_EXPECT_MMU_NOTIFIER_PAIRED()
 * @test: the test context
 * @state: the expression
 * @before: its value before the pass
 * @after: and after
 * @pass: how the pass ended
 *
 * Return: what is wrong, or NULL.
 */
const char *kunit_mmu_notifier_check_paired(struct kunit *test, const char *state,
					    u64 before, u64 after,
					    enum kunit_mmu_notifier_pass pass)
{
	static const char * const passes[] = {
		[KUNIT_MMU_NOTIFIER_ENDED] = "a nonblocking pass",
		[KUNIT_MMU_NOTIFIER_UNWOUND] =
			"a nonblocking pass in which another notifier backed off",
		[KUNIT_MMU_NOTIFIER_BLOCKABLE] = "a blockable pass",
	};
	struct seq_buf s = kunit_mmu_notifier_begin_message(test);

	if (before != after) {
		seq_buf_printf(&s, "%s was %llu, and is %llu after %s. ",
			       state, before, after, passes[pass]);
		seq_buf_puts(&s, "Undo in invalidate_range_end() what each ");
		seq_buf_puts(&s, "invalidate_range_start() did.");
	}
	return kunit_mmu_notifier_message(&s);
}
EXPORT_SYMBOL_GPL(kunit_mmu_notifier_check_paired);
