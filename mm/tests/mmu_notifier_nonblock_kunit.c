// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for nonblocking MMU notifiers.
 *
 * Fake notifiers on a real mm do, in each kind of callback, what drivers do.
 * Each thing that may not be done in a nonblocking pass is checked three ways:
 * in a nonblocking pass it is reported (wrong), in a blockable pass the
 * annotation has nothing to say (correct), and its form that does not sleep is
 * silent in both (protected). include/linux/mmu_notifier_nonblock.h tells the
 * rule.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/report.h>
#include <kunit/resource.h>
#include <kunit/test.h>
#include <linux/debug_locks.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "mmu_notifier_acts.h"

#define START_MAP	"mmu_notifier_invalidate_range_start"

/* The VMA, and the part of it that the fake notifiers mirror; in pages */
#define VMA_PAGES	8
#define FIRST_PAGE	2
#define NR_PAGES	2

enum callback {
	NO_CALLBACK,
	RANGE_START,
	RANGE_END,
	RANGE_END_UNWIND,	/* after another notifier's start failed */
	INVALIDATE,
	INVALIDATE_START,
	INVALIDATE_FINISH,
	NR_CALLBACKS
};

/**
 * struct fake - a fake driver
 * @test: the test that it belongs to
 * @start: first address of the VMA
 * @mm: the mm of a cell, to be left to the next one; NULL in other tests
 * @callback: the callback that calls @act
 * @act: what the callback does, or NULL
 * @gfp: how, if that is to allocate, or NULL
 * @misuse: what @callback takes and keeps, or NULL
 * @backs_off: the callback that backs off: @failing's RANGE_START or one of
 *	       @interval's
 * @calls: how often each kind of callback was called; RANGE_END_UNWIND counts
 *	   as RANGE_END
 * @range: subscription with a range_start and a range_end callback
 * @failing: subscription with a range_start callback, for backing off
 * @interval: subscription with one or two interval callbacks
 * @failing_interval: subscription with one interval callback, for backing off
 * @finish: what @interval's invalidate_start hands to invalidate_finish
 */
struct fake {
	struct kunit *test;
	unsigned long start;
	struct mm_struct *mm;
	enum callback callback;
	const struct mn_act *act;
	const struct mn_gfp *gfp;
	const struct mn_misuse *misuse;
	enum callback backs_off;
	unsigned int calls[NR_CALLBACKS];
	struct mmu_notifier range;
	struct mmu_notifier failing;
	struct mmu_interval_notifier interval;
	struct mmu_interval_notifier failing_interval;
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	struct mmu_interval_notifier_finish finish;
#endif
};

/* The callbacks */

static void fake_act(struct fake *fake)
{
	unsigned int scope = fake->gfp ? fake->gfp->scope : 0;
	unsigned int flags = memalloc_flags_save(scope);

	fake->act->run(fake->gfp ? fake->gfp->flags : 0);
	memalloc_flags_restore(flags);
}

static void fake_called(struct fake *fake, enum callback callback)
{
	enum callback acts = fake->callback;

	if (acts == RANGE_END_UNWIND)
		acts = RANGE_END;

	fake->calls[callback]++;
	if (acts != callback)
		return;
	if (fake->act)
		fake_act(fake);
	if (fake->misuse)
		fake->misuse->run(0);
}

static int fake_range_start(struct mmu_notifier *subscription,
			    const struct mmu_notifier_range *range)
{
	fake_called(container_of(subscription, struct fake, range), RANGE_START);
	return 0;
}

static void fake_range_end(struct mmu_notifier *subscription,
			   const struct mmu_notifier_range *range)
{
	fake_called(container_of(subscription, struct fake, range), RANGE_END);
}

static const struct mmu_notifier_ops fake_range_ops = {
	.invalidate_range_start = fake_range_start,
	.invalidate_range_end = fake_range_end,
};

/* Has no range_end: who backs off must not have one. */
static int fake_failing_start(struct mmu_notifier *subscription,
			      const struct mmu_notifier_range *range)
{
	struct fake *fake = container_of(subscription, struct fake, failing);

	return fake->backs_off == RANGE_START ? -EAGAIN : 0;
}

static const struct mmu_notifier_ops fake_failing_ops = {
	.invalidate_range_start = fake_failing_start,
};

static bool fake_invalidate(struct mmu_interval_notifier *subscription,
			    const struct mmu_notifier_range *range,
			    unsigned long seq)
{
	struct fake *fake = container_of(subscription, struct fake, interval);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	mmu_interval_set_seq(subscription, seq);
	fake_called(fake, INVALIDATE);
	return fake->backs_off != INVALIDATE;
}

static const struct mmu_interval_notifier_ops fake_interval_ops = {
	.invalidate = fake_invalidate,
};

static bool fake_failing_invalidate(struct mmu_interval_notifier *subscription,
				    const struct mmu_notifier_range *range,
				    unsigned long seq)
{
	struct fake *fake = container_of(subscription, struct fake, failing_interval);

	mmu_interval_set_seq(subscription, seq);
	return range->event != KUNIT_MMU_NOTIFY || fake->backs_off != INVALIDATE;
}

static const struct mmu_interval_notifier_ops fake_failing_interval_ops = {
	.invalidate = fake_failing_invalidate,
};

#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
static bool fake_invalidate_start(struct mmu_interval_notifier *subscription,
				  const struct mmu_notifier_range *range,
				  unsigned long seq,
				  struct mmu_interval_notifier_finish **finish)
{
	struct fake *fake = container_of(subscription, struct fake, interval);

	if (range->event != KUNIT_MMU_NOTIFY)
		return true;

	mmu_interval_set_seq(subscription, seq);
	fake_called(fake, INVALIDATE_START);
	if (fake->backs_off == INVALIDATE_START)
		return false;

	*finish = &fake->finish;
	return true;
}

static void fake_invalidate_finish(struct mmu_interval_notifier_finish *finish)
{
	fake_called(container_of(finish, struct fake, finish), INVALIDATE_FINISH);
}

static const struct mmu_interval_notifier_ops fake_two_pass_ops = {
	.invalidate_start = fake_invalidate_start,
	.invalidate_finish = fake_invalidate_finish,
};
#else
#define fake_two_pass_ops fake_interval_ops
#endif

static const struct {
	const char *name;
	const void *address;
	/* of an interval notifier; NULL: fake_range_ops */
	const struct mmu_interval_notifier_ops *interval_ops;
} callbacks[] = {
	[RANGE_START] = { "range_start", fake_range_start },
	[RANGE_END] = { "range_end", fake_range_end },
	[RANGE_END_UNWIND] = { "range_end_unwind", fake_range_end },
	[INVALIDATE] = { "invalidate", fake_invalidate, &fake_interval_ops },
#ifdef CONFIG_MMU_NOTIFIER_TWO_PASS
	[INVALIDATE_START] = { "invalidate_start", fake_invalidate_start,
			       &fake_two_pass_ops },
	[INVALIDATE_FINISH] = { "invalidate_finish", fake_invalidate_finish,
				&fake_two_pass_ops },
#else
	[INVALIDATE_START] = { "invalidate_start" },
	[INVALIDATE_FINISH] = { "invalidate_finish" },
#endif
};

/* Set-up */

static void subscribe_interval(struct fake *fake,
			       struct mmu_interval_notifier *subscription,
			       unsigned long first, unsigned long nr,
			       const struct mmu_interval_notifier_ops *ops)
{
	kunit_mmu_interval_notifier_insert(fake->test, subscription,
					   fake->start + first * PAGE_SIZE,
					   nr * PAGE_SIZE, ops);
}

static struct fake *fake_create(struct kunit *test)
{
	struct fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->test = test;
	fake->start = kunit_mmu_notifier_mmap(test, VMA_PAGES, MAP_PRIVATE);
	return fake;
}

static void skip_without(struct kunit *test, enum callback callback)
{
	if (!callbacks[callback].address)
		kunit_skip(test, "this kernel has no two-pass interval notifiers");
}

/* Give it the notifier that has @callback */
static void fake_subscribe(struct fake *fake, enum callback callback)
{
	fake->callback = callback;
	if (callbacks[callback].interval_ops) {
		subscribe_interval(fake, &fake->interval, FIRST_PAGE, NR_PAGES,
				   callbacks[callback].interval_ops);
	} else {
		kunit_mmu_notifier_register(fake->test, &fake->range, &fake_range_ops);
		kunit_mmu_notifier_register(fake->test, &fake->failing, &fake_failing_ops);
	}
	if (callback == RANGE_END_UNWIND)
		fake->backs_off = RANGE_START;
}

static struct fake *fake_create_for(struct kunit *test, enum callback callback)
{
	struct fake *fake;

	skip_without(test, callback);
	fake = fake_create(test);
	fake_subscribe(fake, callback);
	return fake;
}

/* Passes over @nr pages from @first */

static int nonblock_pass_over(struct fake *fake, unsigned long first,
			      unsigned long nr)
{
	return kunit_mmu_notifier_nonblock_pass(fake->test, fake->start + first * PAGE_SIZE,
						nr * PAGE_SIZE);
}

static int nonblock_pass(struct fake *fake)
{
	return nonblock_pass_over(fake, FIRST_PAGE, NR_PAGES);
}

static void blockable_pass_over(struct fake *fake, unsigned long first,
				unsigned long nr)
{
	kunit_mmu_notifier_blockable_pass(fake->test, fake->start + first * PAGE_SIZE,
					  nr * PAGE_SIZE);
}

static void blockable_pass(struct fake *fake)
{
	blockable_pass_over(fake, FIRST_PAGE, NR_PAGES);
}

/* Wrong, correct, protected: each act in each callback */

static const enum callback nonblock_callbacks[] = {
	RANGE_START, RANGE_END, RANGE_END_UNWIND,
	INVALIDATE, INVALIDATE_START, INVALIDATE_FINISH,
};

/* Nothing fails, hence nothing is unwound, in a blockable pass. */
static const enum callback blockable_callbacks[] = {
	RANGE_START, RANGE_END,
	INVALIDATE, INVALIDATE_START, INVALIDATE_FINISH,
};

/**
 * struct cell - a test: what is done, and in which callback
 * @callback: the callback
 * @act: what it does
 * @gfp: how, if that is to allocate, or NULL
 */
struct cell {
	enum callback callback;
	const struct mn_act *act;
	const struct mn_gfp *gfp;
};

#define NR_WRONG	(MN_NR_WRONG_ACTS + MN_NR_ALLOCATORS * MN_NR_WRONG_GFPS)
#define NR_PROTECTED	(MN_NR_PROTECTED_ACTS + MN_NR_ALLOCATORS * MN_NR_PROTECTED_GFPS)

/* Filled in by mmu_notifier_nonblock_suite_init() */
static struct cell wrong_cells[NR_WRONG * ARRAY_SIZE(nonblock_callbacks)];
static struct cell protected_cells[NR_PROTECTED * ARRAY_SIZE(nonblock_callbacks)];
static struct cell blockable_wrong_cells[NR_WRONG * ARRAY_SIZE(blockable_callbacks)];
static struct cell blockable_protected_cells[NR_PROTECTED * ARRAY_SIZE(blockable_callbacks)];

static void cell_describe(struct cell *cell, char *description)
{
	snprintf(description, KUNIT_PARAM_DESC_SIZE, "%s/%s%s%s",
		 callbacks[cell->callback].name, cell->act->name,
		 cell->gfp ? "/" : "", cell->gfp ? cell->gfp->name : "");
}

KUNIT_ARRAY_PARAM(wrong, wrong_cells, cell_describe);
KUNIT_ARRAY_PARAM(protected, protected_cells, cell_describe);
KUNIT_ARRAY_PARAM(blockable_wrong, blockable_wrong_cells, cell_describe);
KUNIT_ARRAY_PARAM(blockable_protected, blockable_protected_cells, cell_describe);

/*
 * To make an mm takes long on UML, where each is a process of the host. So a cell that
 * passes leaves its own to the next one with the same callback: range notifiers never
 * get an mm that has had an interval notifier.
 */
static struct mm_struct *spare_mms[NR_CALLBACKS];

static void take_spare_mm(enum callback callback)
{
	struct mm_struct *mm = spare_mms[callback];

	if (!mm)
		return;
	spare_mms[callback] = NULL;
	kthread_use_mm(mm);
	/* When the task exits, it drops mm_users, and no more. */
	mmdrop(mm);
}

static void leave_spare_mm(void *data)
{
	const struct fake *fake = data;
	const struct cell *cell = fake->test->param_value;

	/* Not one whose lock the callback has kept: the next cell would wait for it forever. */
	if (fake->test->status == KUNIT_SUCCESS && !rwsem_is_locked(&fake->mm->mmap_lock))
		spare_mms[cell->callback] = fake->mm;
	else
		mmput_async(fake->mm);	/* so would its end */
}

static struct fake *fake_create_for_cell(struct kunit *test)
{
	const struct cell *cell = test->param_value;
	struct fake *fake;

	if (cell->act->missing)
		kunit_skip(test, "%s", cell->act->missing);
	if (cell->act->missing_protected && !gfpflags_allow_blocking(cell->gfp->flags))
		kunit_skip(test, "%s", cell->act->missing_protected);

	skip_without(test, cell->callback);
	take_spare_mm(cell->callback);
	fake = fake_create(test);
	fake->mm = current->mm;
	mmget(fake->mm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, leave_spare_mm, fake));
	fake_subscribe(fake, cell->callback);

	if (cell->act->prepare)
		KUNIT_ASSERT_EQ(test, 0, cell->act->prepare());
	fake->act = cell->act;
	fake->gfp = cell->gfp;
	return fake;
}

static void expect_called_once(struct fake *fake)
{
	enum callback callback = fake->callback;

	if (callback == RANGE_END_UNWIND)
		callback = RANGE_END;
	KUNIT_EXPECT_EQ(fake->test, fake->calls[callback], 1);
}

static const struct mn_act *find_act(struct kunit *test, const char *name)
{
	size_t i;

	for (i = 0; i < MN_NR_WRONG_ACTS; i++) {
		if (!strcmp(mn_wrong_acts[i].name, name))
			return &mn_wrong_acts[i];
	}
	KUNIT_FAIL_AND_ABORT(test, "there is no act %s", name);
	return NULL;
}

/*
 * Has to come first: once an interval callback has run in a nonblocking pass,
 * lockdep knows of the dependency without mmu_notifier_nonblock_init().
 */
static void range_callback_depends_on_reclaim(struct kunit *test)
{
	struct fake *fake = fake_create_for(test, RANGE_START);

	fake->act = find_act(test, "held_by_allocator");
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, KUNIT_REPORT_CIRCULAR, fake_range_start,
					 nonblock_pass(fake));
}

static void nonblock_wrong_is_reported(struct kunit *test)
{
	const unsigned int atomic_sleep = KUNIT_REPORT_MIGHT_SLEEP | KUNIT_REPORT_SCHEDULE |
		KUNIT_REPORT_MAYBE_SCHEDULE;
	const struct cell *cell = test->param_value;
	struct fake *fake;
	int ret;

	if (!IS_ENABLED(CONFIG_DEBUG_ATOMIC_SLEEP) && !(cell->act->nonblock & ~atomic_sleep))
		kunit_skip(test, "lockdep has no map for this; needs CONFIG_DEBUG_ATOMIC_SLEEP");

	fake = fake_create_for_cell(test);
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, cell->act->nonblock,
					 callbacks[cell->callback].address,
					 ret = nonblock_pass(fake));
	KUNIT_EXPECT_EQ(test, ret, fake->backs_off ? -EAGAIN : 0);
	expect_called_once(fake);
}

static void nonblock_protected_is_silent(struct kunit *test)
{
	struct fake *fake = fake_create_for_cell(test);
	int ret;

	KUNIT_EXPECT_NO_REPORT(test, ret = nonblock_pass(fake));
	KUNIT_EXPECT_EQ(test, ret, fake->backs_off ? -EAGAIN : 0);
	expect_called_once(fake);
}

static void blockable_is_unchanged(struct kunit *test)
{
	const struct cell *cell = test->param_value;
	struct fake *fake = fake_create_for_cell(test);
	unsigned int kinds = callbacks[cell->callback].interval_ops ?
		cell->act->blockable_interval : cell->act->blockable_range;

	KUNIT_EXPECT_REPORT(test, kinds, START_MAP, NULL, blockable_pass(fake));
	expect_called_once(fake);
}

static void blockable_protected_is_silent(struct kunit *test)
{
	struct fake *fake = fake_create_for_cell(test);

	KUNIT_EXPECT_NO_REPORT(test, blockable_pass(fake));
	expect_called_once(fake);
}

/* The map stays from one notifier to the next, if that has the same callback. */

static int fake_other_range_start(struct mmu_notifier *subscription,
				  const struct mmu_notifier_range *range)
{
	return fake_range_start(subscription, range);
}

static const struct mmu_notifier_ops fake_other_range_ops = {
	.invalidate_range_start = fake_other_range_start,
};

static bool fake_other_invalidate(struct mmu_interval_notifier *subscription,
				  const struct mmu_notifier_range *range,
				  unsigned long seq)
{
	return fake_invalidate(subscription, range, seq);
}

static const struct mmu_interval_notifier_ops fake_other_interval_ops = {
	.invalidate = fake_other_invalidate,
};

/* Of the notifiers of a pass, in no certain order: same, same, other, same */
#define NR_OF_MANY	4
#define OTHER_OF_MANY	2

/**
 * struct of_many - a test: which one of several notifiers does wrong
 * @callback: RANGE_START or INVALIDATE
 * @wrong: its number
 */
struct of_many {
	enum callback callback;
	unsigned int wrong;
};

static const struct of_many of_many[] = {
	{ RANGE_START, 0 }, { RANGE_START, 1 }, { RANGE_START, 2 }, { RANGE_START, 3 },
	{ INVALIDATE, 0 }, { INVALIDATE, 1 }, { INVALIDATE, 2 }, { INVALIDATE, 3 },
};

static void of_many_describe(const struct of_many *param, char *description)
{
	snprintf(description, KUNIT_PARAM_DESC_SIZE, "%s/%u",
		 callbacks[param->callback].name, param->wrong);
}

KUNIT_ARRAY_PARAM(of_many, of_many, of_many_describe);

static void subscribe_of_many(struct fake *fake, unsigned int nr, enum callback callback)
{
	bool other = nr == OTHER_OF_MANY;

	fake->callback = callback;
	if (callback == INVALIDATE)
		subscribe_interval(fake, &fake->interval, nr, 1,
				   other ? &fake_other_interval_ops : &fake_interval_ops);
	else
		kunit_mmu_notifier_register(fake->test, &fake->range,
					    other ? &fake_other_range_ops : &fake_range_ops);
}

static void one_of_many_is_named(struct kunit *test)
{
	const struct of_many *param = test->param_value;
	struct fake *fakes[NR_OF_MANY];
	const void *name = callbacks[param->callback].address;
	unsigned int i;

	fakes[0] = fake_create(test);
	for (i = 1; i < NR_OF_MANY; i++) {
		fakes[i] = kunit_kzalloc(test, sizeof(*fakes[i]), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, fakes[i]);
		fakes[i]->test = test;
		fakes[i]->start = fakes[0]->start;
	}
	for (i = 0; i < NR_OF_MANY; i++)
		subscribe_of_many(fakes[i], i, param->callback);

	fakes[param->wrong]->act = find_act(test, "mutex_lock");
	if (param->wrong == OTHER_OF_MANY)
		name = param->callback == INVALIDATE ? (void *)fake_other_invalidate :
						       (void *)fake_other_range_start;
	KUNIT_EXPECT_MMU_NOTIFIER_REPORT(test, fakes[param->wrong]->act->nonblock, name,
					 nonblock_pass_over(fakes[0], 0, NR_OF_MANY));
	for (i = 0; i < NR_OF_MANY; i++)
		expect_called_once(fakes[i]);
}

/* Misuse: a callback returns with more or less than it was called with */

/**
 * struct misuse_cell - a test: which misuse, and in which callback
 * @callback: the callback
 * @misuse: what it does
 */
struct misuse_cell {
	enum callback callback;
	const struct mn_misuse *misuse;
};

/* Filled in by mmu_notifier_nonblock_suite_init() */
static struct misuse_cell misuse_cells[MN_NR_MISUSES * ARRAY_SIZE(nonblock_callbacks)];

static void misuse_describe(struct misuse_cell *cell, char *description)
{
	snprintf(description, KUNIT_PARAM_DESC_SIZE, "%s/%s",
		 callbacks[cell->callback].name, cell->misuse->name);
}

KUNIT_ARRAY_PARAM(misuse, misuse_cells, misuse_describe);

/* Of what is printed about a callback */
#define MAX_TEXT	256

static void misuse_pass(struct fake *fake)
{
	if (fake->misuse->before)
		fake->misuse->before();
	nonblock_pass(fake);
	if (fake->misuse->after)
		fake->misuse->after();
}

static void misuse_is_reported(struct kunit *test)
{
	const struct misuse_cell *cell = test->param_value;
	struct fake *fake;
	char *text;

	if (cell->misuse->missing)
		kunit_skip(test, "%s", cell->misuse->missing);

	fake = fake_create_for(test, cell->callback);
	fake->misuse = cell->misuse;
	text = kunit_kmalloc(test, MAX_TEXT, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, text);
	snprintf(text, MAX_TEXT, "%pS returned with %s",
		 callbacks[cell->callback].address, cell->misuse->warning);
	KUNIT_EXPECT_WARN(test, "mm/mmu_notifier_nonblock.c", text, misuse_pass(fake));
	expect_called_once(fake);
}

static void misuse_name(const struct mn_misuse *misuse, char *description)
{
	strscpy(description, misuse->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(misuse_of_one, mn_misuses, misuse_name);

/* And not the next notifier's, which has the same callback and finds it so. */
static void misuse_of_one_is_told_once(struct kunit *test)
{
	const struct mn_misuse *misuse = test->param_value;
	struct fake *next, *fake;
	char *text;

	if (misuse->missing)
		kunit_skip(test, "%s", misuse->missing);

	/* Who has come last is called first, and nobody in between. */
	next = fake_create(test);
	fake = fake_create(test);
	subscribe_of_many(next, 0, RANGE_START);
	subscribe_of_many(fake, 0, RANGE_START);
	fake->misuse = misuse;
	text = kunit_kmalloc(test, MAX_TEXT, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, text);
	snprintf(text, MAX_TEXT, "%pS returned with %s", fake_range_start, misuse->warning);
	KUNIT_EXPECT_WARN(test, "mm/mmu_notifier_nonblock.c", text, misuse_pass(fake));
	expect_called_once(fake);
	expect_called_once(next);
}

/* A report in the callback turns lockdep off, which then no longer counts locks. */

static void turn_lockdep_off(gfp_t gfp)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	debug_locks = 0;
	spin_unlock(&lock);
}

static const struct mn_misuse no_misuse = { .name = "lockdep_off", .run = turn_lockdep_off };

static void lockdep_off_is_no_misuse(struct kunit *test)
{
	struct kunit_report_scope *scope;
	struct kunit_report_info info;
	struct fake *fake;

	if (IS_ENABLED(CONFIG_SMP) || IS_ENABLED(CONFIG_PREEMPTION))
		kunit_skip(test, "lockdep goes off for other tasks as well");

	fake = fake_create_for(test, RANGE_START);
	fake->misuse = &no_misuse;
	/* The end puts back lockdep's record of the task, which that has left as it was. */
	scope = kunit_report_scope_begin(test);
	nonblock_pass(fake);
	debug_locks = 1;
	kunit_report_scope_end(scope, 0, NULL, NULL);
	kunit_report_scope_info(scope, "mmu_notifier_nonblock", &info);
	KUNIT_EXPECT_EQ(test, info.kinds, 0);
	expect_called_once(fake);
}

/* Backing off */

static const enum callback backing_off[] = {
	RANGE_START, INVALIDATE, INVALIDATE_START,
};

static void callback_describe(const enum callback *callback, char *description)
{
	strscpy(description, callbacks[*callback].name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(backing_off, backing_off, callback_describe);

static void back_off_returns_eagain(struct kunit *test)
{
	const enum callback *callback = test->param_value;
	struct fake *fake = fake_create_for(test, *callback);

	fake->backs_off = *callback;
	KUNIT_EXPECT_EQ(test, nonblock_pass(fake), -EAGAIN);
	KUNIT_EXPECT_EQ(test, fake->calls[INVALIDATE_FINISH], 0);

	fake->backs_off = NO_CALLBACK;
	KUNIT_EXPECT_EQ(test, nonblock_pass(fake), 0);
}

/* Ranges and the interval of the fake, in pages */

struct overlap {
	const char *name;
	unsigned long first;
	unsigned long nr;
	bool called;
};

static const struct overlap overlaps[] = {
	{ "one_page_before", FIRST_PAGE - 2, 1, false },
	{ "ends_at_start", 0, FIRST_PAGE, false },
	{ "first_page", FIRST_PAGE, 1, true },
	{ "last_page", FIRST_PAGE + NR_PAGES - 1, 1, true },
	{ "spans", 0, VMA_PAGES, true },
	{ "starts_at_end", FIRST_PAGE + NR_PAGES, 1, false },
	{ "one_page_after", FIRST_PAGE + NR_PAGES + 1, 1, false },
};

static void overlap_describe(const struct overlap *overlap, char *description)
{
	strscpy(description, overlap->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(overlap, overlaps, overlap_describe);

/* A notifier that would back off must not be asked about what is not its own. */
static void only_overlap_is_called(struct kunit *test)
{
	const struct overlap *overlap = test->param_value;
	struct fake *fake = fake_create_for(test, INVALIDATE);

	blockable_pass_over(fake, overlap->first, overlap->nr);
	KUNIT_EXPECT_EQ(test, fake->calls[INVALIDATE], overlap->called);

	fake->backs_off = INVALIDATE;
	KUNIT_EXPECT_EQ(test, nonblock_pass_over(fake, overlap->first, overlap->nr),
			overlap->called ? -EAGAIN : 0);
	KUNIT_EXPECT_EQ(test, fake->calls[INVALIDATE], 2 * overlap->called);
}

/*
 * The interval pass comes first. If a range_start callback backs off after it,
 * the interval pass has to be ended, although nobody will call range_end.
 */
static void back_off_ends_interval_pass(struct kunit *test)
{
	const struct overlap *overlap = test->param_value;
	struct fake *fake = fake_create_for(test, RANGE_START);
	unsigned long seq;

	subscribe_interval(fake, &fake->interval, FIRST_PAGE, NR_PAGES,
			   &fake_interval_ops);
	fake->backs_off = RANGE_START;
	KUNIT_EXPECT_EQ(test, nonblock_pass_over(fake, overlap->first, overlap->nr),
			-EAGAIN);
	KUNIT_EXPECT_EQ(test, fake->calls[INVALIDATE], overlap->called);
	/* The one that backs off comes first, and the other is called still. */
	KUNIT_EXPECT_EQ(test, fake->calls[RANGE_START], 1);
	KUNIT_EXPECT_EQ(test, fake->calls[RANGE_END], 1);

	/* Would wait, if the pass just now had not been mended or ended. */
	seq = mmu_interval_read_begin(&fake->interval);
	KUNIT_EXPECT_FALSE(test, mmu_interval_read_retry(&fake->interval, seq));

	/* And when nobody backs off, the interval pass must not end early. */
	fake->backs_off = NO_CALLBACK;
	KUNIT_EXPECT_EQ(test, nonblock_pass_over(fake, overlap->first, overlap->nr), 0);
}

/* Who has started an interval pass finishes it, although another backs off. */
static void back_off_finishes_interval_pass(struct kunit *test)
{
	struct fake *fake = fake_create_for(test, INVALIDATE_FINISH);

	subscribe_interval(fake, &fake->failing_interval, FIRST_PAGE + 1, 1,
			   &fake_failing_interval_ops);
	fake->backs_off = INVALIDATE;
	KUNIT_EXPECT_NO_REPORT(test, KUNIT_EXPECT_EQ(test, nonblock_pass(fake), -EAGAIN));
	KUNIT_EXPECT_EQ(test, fake->calls[INVALIDATE_START], 1);
	KUNIT_EXPECT_EQ(test, fake->calls[INVALIDATE_FINISH], 1);
}

/*
 * A callback must not fail in a blockable pass. If it does all the same, the
 * caller takes no notice (the core warns) and ends the pass, so it must not be
 * ended twice.
 */
static void blockable_error_ends_interval_pass_once(struct kunit *test)
{
	const struct overlap *overlap = test->param_value;
	struct fake *fake = fake_create_for(test, RANGE_START);

	subscribe_interval(fake, &fake->interval, FIRST_PAGE, NR_PAGES,
			   &fake_interval_ops);
	fake->backs_off = RANGE_START;
	blockable_pass_over(fake, overlap->first, overlap->nr);
	KUNIT_EXPECT_EQ(test, fake->calls[INVALIDATE], overlap->called);
}

/* Set-up of the suite */

static struct cell *fill_callbacks(struct cell *cell, const enum callback *in, size_t nr_in,
				   const struct mn_act *act, const struct mn_gfp *gfp)
{
	size_t i;

	for (i = 0; i < nr_in; i++)
		*cell++ = (struct cell){ in[i], act, gfp };
	return cell;
}

static void fill_wrong(struct cell *cell, const enum callback *in, size_t nr_in)
{
	size_t i, j;

	for (i = 0; i < MN_NR_WRONG_ACTS; i++)
		cell = fill_callbacks(cell, in, nr_in, &mn_wrong_acts[i], NULL);
	for (i = 0; i < MN_NR_ALLOCATORS; i++) {
		for (j = 0; j < MN_NR_WRONG_GFPS; j++)
			cell = fill_callbacks(cell, in, nr_in, &mn_allocators[i],
					      &mn_wrong_gfps[j]);
	}
}

static void fill_protected(struct cell *cell, const enum callback *in, size_t nr_in)
{
	size_t i, j;

	for (i = 0; i < MN_NR_PROTECTED_ACTS; i++)
		cell = fill_callbacks(cell, in, nr_in, &mn_protected_acts[i], NULL);
	for (i = 0; i < MN_NR_ALLOCATORS; i++) {
		for (j = 0; j < MN_NR_PROTECTED_GFPS; j++)
			cell = fill_callbacks(cell, in, nr_in, &mn_allocators[i],
					      &mn_protected_gfps[j]);
	}
}

static void fill_misuse(struct misuse_cell *cell)
{
	size_t i, j;

	for (i = 0; i < MN_NR_MISUSES; i++) {
		for (j = 0; j < ARRAY_SIZE(nonblock_callbacks); j++)
			*cell++ = (struct misuse_cell){ nonblock_callbacks[j], &mn_misuses[i] };
	}
}

static int mmu_notifier_nonblock_suite_init(struct kunit_suite *suite)
{
	int ret;

	fill_wrong(wrong_cells, nonblock_callbacks, ARRAY_SIZE(nonblock_callbacks));
	fill_protected(protected_cells, nonblock_callbacks, ARRAY_SIZE(nonblock_callbacks));
	fill_wrong(blockable_wrong_cells, blockable_callbacks,
		   ARRAY_SIZE(blockable_callbacks));
	fill_protected(blockable_protected_cells, blockable_callbacks,
		       ARRAY_SIZE(blockable_callbacks));

	fill_misuse(misuse_cells);

	ret = mn_acts_init();
	if (ret)
		mn_acts_exit(); /* KUnit does not call suite_exit then. */
	return ret;
}

static void mmu_notifier_nonblock_suite_exit(struct kunit_suite *suite)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(spare_mms); i++) {
		if (spare_mms[i])
			mmput(spare_mms[i]);
		spare_mms[i] = NULL;
	}
	mn_acts_exit();
}

static struct kunit_case mmu_notifier_nonblock_cases[] = {
	KUNIT_CASE(range_callback_depends_on_reclaim),
	KUNIT_CASE_PARAM(nonblock_wrong_is_reported, wrong_gen_params),
	KUNIT_CASE_PARAM(nonblock_protected_is_silent, protected_gen_params),
	KUNIT_CASE_PARAM(blockable_is_unchanged, blockable_wrong_gen_params),
	KUNIT_CASE_PARAM(blockable_protected_is_silent, blockable_protected_gen_params),
	KUNIT_CASE_PARAM(one_of_many_is_named, of_many_gen_params),
	KUNIT_CASE_PARAM(misuse_is_reported, misuse_gen_params),
	KUNIT_CASE_PARAM(misuse_of_one_is_told_once, misuse_of_one_gen_params),
	KUNIT_CASE(lockdep_off_is_no_misuse),
	KUNIT_CASE_PARAM(back_off_returns_eagain, backing_off_gen_params),
	KUNIT_CASE_PARAM(back_off_ends_interval_pass, overlap_gen_params),
	KUNIT_CASE(back_off_finishes_interval_pass),
	KUNIT_CASE_PARAM(blockable_error_ends_interval_pass_once, overlap_gen_params),
	KUNIT_CASE_PARAM(only_overlap_is_called, overlap_gen_params),
	{}
};

static struct kunit_suite mmu_notifier_nonblock_suite = {
	.name = "mmu_notifier_nonblock",
	.suite_init = mmu_notifier_nonblock_suite_init,
	.suite_exit = mmu_notifier_nonblock_suite_exit,
	.exit = kunit_report_test_exit,
	.test_cases = mmu_notifier_nonblock_cases,
};

kunit_test_suite(mmu_notifier_nonblock_suite);

MODULE_DESCRIPTION("KUnit tests for nonblocking MMU notifiers");
MODULE_LICENSE("GPL");
/* What MODULE_IMPORT_NS() stands for; its argument became a string in 6.13 */
MODULE_INFO(import_ns, "EXPORTED_FOR_KUNIT_TESTING");
