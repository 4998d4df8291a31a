// SPDX-License-Identifier: GPL-2.0-only
/*
 * What each MMU notifier callback did in invalidations that may not block:
 * /sys/kernel/debug/mmu_notifier/callbacks.
 *
 * There is a row for each callback, found by its address. Counting a call may
 * not sleep, nor allocate, and takes a lock in the first call only; or each time,
 * if there is no more room for rows.
 */

#include <kunit/mmu_notifier.h>
#include <kunit/visibility.h>
#include <linux/atomic.h>
#include <linux/debug_locks.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/hashtable.h>
#include <linux/init.h>
#include <linux/kallsyms.h>
#include <linux/kstrtox.h>
#include <linux/lockdep.h>
#include <linux/mmu_notifier_nonblock.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/panic.h>
#include <linux/rculist.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "mmu_notifier_stats.h"

#define NR_ROWS		128
#define SYMBOL_LEN	128

/**
 * struct mmu_notifier_stats_row - a callback
 * @node: in &rows_by_callback, for as long as @callback is what @symbol says
 * @callback: its address
 * @calls: how often it has returned
 * @back_offs: how often it then said that it cannot go on
 * @reports: in how many calls the kernel made a report
 * @longest_ns: the longest time between call and return, or from the return of
 *		another call of the same pass
 * @used: tells readers that @symbol and @module are there
 * @symbol: its name, as it was at the first call
 * @module: and that of its module, or "-"
 */
struct mmu_notifier_stats_row {
	struct hlist_node node;
	const void *callback;
	atomic64_t calls;
	atomic64_t back_offs;
	atomic64_t reports;
	atomic64_t longest_ns;
	bool used;
	char symbol[SYMBOL_LEN];
	char module[MODULE_NAME_LEN];
};

static struct mmu_notifier_stats_row rows[NR_ROWS];
/* Calls of callbacks that found no free row */
static atomic64_t calls_without_row;

/*
 * Changes of the hash table are under @rows_lock. Readers take no lock, nor need
 * they be under RCU: a row is never freed. So lockdep has nothing to check here,
 * which would cost more than the look itself.
 */
static DEFINE_HASHTABLE(rows_by_callback, 6);
static DEFINE_RAW_SPINLOCK(rows_lock);
/* Whoever reads the rows of callbacks that are gone, against who gives them up */
static DEFINE_MUTEX(read_mutex);

/* Rows: callbacks that come */

static struct mmu_notifier_stats_row *find_row(const void *callback)
{
	struct mmu_notifier_stats_row *row;

	hash_for_each_possible_rcu_notrace(rows_by_callback, row, node,
					   (unsigned long)callback) {
		if (READ_ONCE(row->callback) == callback)
			return row;
	}
	return NULL;
}

/* The row of a module that is back, at whatever address; or one that is free */
static struct mmu_notifier_stats_row *unused_row(const char *symbol, const char *module)
{
	struct mmu_notifier_stats_row *row, *unused = NULL;

	for (row = rows; row < rows + NR_ROWS; row++) {
		if (hash_hashed(&row->node))
			continue;
		if (row->used && !strncmp(row->symbol, symbol, SYMBOL_LEN - 1) &&
		    !strcmp(row->module, module))
			return row;
		if (!row->used && !unused)
			unused = row;
	}
	return unused;
}

/*
 * The name now, while the callback runs and its module cannot go. %ps is what
 * printk() does in any context.
 */
static struct mmu_notifier_stats_row *add_row_locked(const void *callback)
{
	static char text[KSYM_SYMBOL_LEN];	/* too large for the stack */
	struct mmu_notifier_stats_row *row = find_row(callback);
	const char *symbol, *module = "-";
	char *rest = text;

	lockdep_assert_held(&rows_lock);
	if (row)
		return row;

	/* "symbol" or "symbol [module]" */
	snprintf(text, sizeof(text), "%ps", callback);
	symbol = strsep(&rest, " ");
	if (rest) {
		rest[strcspn(rest, "]")] = '\0';
		module = rest + 1;
	}

	row = unused_row(symbol, module);
	if (!row)
		return NULL;
	if (!row->used) {
		strscpy(row->symbol, symbol);
		strscpy(row->module, module);
		/* Pairs with those who read the file. */
		smp_store_release(&row->used, true);
	}
	/* Somebody may still look at what it was before, see mmu_notifier_stats_forget(). */
	WRITE_ONCE(row->callback, callback);
	hash_add_rcu(rows_by_callback, &row->node, (unsigned long)callback);
	return row;
}

static struct mmu_notifier_stats_row *find_or_add_row(const void *callback)
{
	struct mmu_notifier_stats_row *row = find_row(callback);

	if (row)
		return row;

	raw_spin_lock(&rows_lock);
	row = add_row_locked(callback);
	raw_spin_unlock(&rows_lock);
	return row;
}

/* Rows: callbacks that go */

#if IS_ENABLED(CONFIG_MODULES) || IS_ENABLED(CONFIG_KUNIT)
/**
 * mmu_notifier_stats_forget() - the callbacks at these addresses are gone
 * @start: first address
 * @size: how many bytes from there
 *
 * What comes to be there is another callback, of another row. Those rows still
 * tell what the old ones did.
 *
 * Context: Any task. None of the callbacks may run.
 */
VISIBLE_IF_KUNIT void mmu_notifier_stats_forget(const void *start, size_t size)
{
	struct mmu_notifier_stats_row *row;

	raw_spin_lock(&rows_lock);
	for (row = rows; row < rows + NR_ROWS; row++) {
		/*
		 * If the row is used again at once, whoever walks its old bucket may
		 * end up in another one. They miss what they look for then, and to
		 * count it look again under the lock.
		 */
		if (hash_hashed(&row->node) && row->callback >= start &&
		    row->callback < start + size)
			hash_del_rcu(&row->node);
	}
	raw_spin_unlock(&rows_lock);
}
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_stats_forget);
#endif

/**
 * mmu_notifier_stats_reset() - count from zero, and give up the rows of what is gone
 *
 * Context: May sleep.
 */
VISIBLE_IF_KUNIT void mmu_notifier_stats_reset(void)
{
	struct mmu_notifier_stats_row *row;

	mutex_lock(&read_mutex);
	raw_spin_lock(&rows_lock);
	for (row = rows; row < rows + NR_ROWS; row++) {
		if (!hash_hashed(&row->node))
			row->used = false;
		atomic64_set(&row->calls, 0);
		atomic64_set(&row->back_offs, 0);
		atomic64_set(&row->reports, 0);
		atomic64_set(&row->longest_ns, 0);
	}
	atomic64_set(&calls_without_row, 0);
	raw_spin_unlock(&rows_lock);
	mutex_unlock(&read_mutex);
}
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_stats_reset);

/* Counting */

/* Off after a report; for this task only, if it was one that a KUnit test expects */
static bool lockdep_looks(void)
{
	return debug_locks && !lockdep_recursing(current);
}

/**
 * mmu_notifier_stats_begin() - the callbacks that follow are all the same
 * @section: of the pass, with its callback
 *
 * Context: That of the callback.
 */
void mmu_notifier_stats_begin(struct mmu_notifier_nonblock *section)
{
	section->row = find_or_add_row(section->callback);
	section->lockdep_looks = lockdep_looks();
	section->warned = test_taint(TAINT_WARN);
	section->since_ns = ktime_get_mono_fast_ns();
}
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_stats_begin);

/**
 * mmu_notifier_stats_count() - count a call that has returned
 * @section: given to mmu_notifier_stats_begin()
 *
 * The next one of the same callback begins here, as the core has little to do in
 * between: one look at the clock is enough for both, as it is what costs most.
 *
 * Context: That of the callback.
 */
void mmu_notifier_stats_count(struct mmu_notifier_nonblock *section)
{
	bool looks = lockdep_looks(), warned = test_taint(TAINT_WARN);
	bool reported = (section->lockdep_looks && !looks) || (!section->warned && warned);
	struct mmu_notifier_stats_row *row = section->row;
	u64 now = ktime_get_mono_fast_ns();
	s64 longest, ns = now - section->since_ns;

	section->lockdep_looks = looks;
	section->warned = warned;
	section->since_ns = now;
	if (!row) {
		atomic64_inc(&calls_without_row);
		return;
	}

	atomic64_inc(&row->calls);
	if (reported)
		atomic64_inc(&row->reports);
	longest = atomic64_read(&row->longest_ns);
	while (ns > longest && !atomic64_try_cmpxchg(&row->longest_ns, &longest, ns))
		;
}
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_stats_count);

void __mmu_notifier_nonblock_back_off(const struct mmu_notifier_nonblock *section)
{
	if (section->row)
		atomic64_inc(&section->row->back_offs);
}

#if IS_ENABLED(CONFIG_KUNIT)
/**
 * mmu_notifier_read_stats() - what is counted of a callback
 * @callback: its address
 * @stats: filled in; all zero if it was never called in a nonblocking pass
 *
 * Context: Any.
 */
void mmu_notifier_read_stats(const void *callback, struct mmu_notifier_stats *stats)
{
	struct mmu_notifier_stats_row *row;

	*stats = (struct mmu_notifier_stats){};
	row = find_row(callback);
	if (row) {
		stats->calls = atomic64_read(&row->calls);
		stats->back_offs = atomic64_read(&row->back_offs);
		stats->reports = atomic64_read(&row->reports);
		stats->longest_ns = atomic64_read(&row->longest_ns);
	}
}
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_read_stats);
#endif

/* The file */

static void show_rows(struct seq_file *m, int symbol_width, int module_width)
{
	struct mmu_notifier_stats_row *row;

	seq_printf(m, "%-*s %-*s %12s %12s %12s %12s\n", symbol_width, "callback",
		   module_width, "module", "calls", "back_offs", "longest_ns", "reports");
	for (row = rows; row < rows + NR_ROWS; row++) {
		/* Pairs with add_row_locked(). */
		if (!smp_load_acquire(&row->used))
			continue;
		seq_printf(m, "%-*s %-*s %12lld %12lld %12lld %12lld\n",
			   symbol_width, row->symbol, module_width, row->module,
			   atomic64_read(&row->calls), atomic64_read(&row->back_offs),
			   atomic64_read(&row->longest_ns), atomic64_read(&row->reports));
	}
}

VISIBLE_IF_KUNIT int mmu_notifier_stats_show(struct seq_file *m, void *unused)
{
	int symbol_width = strlen("callback"), module_width = strlen("module");
	s64 lost = atomic64_read(&calls_without_row);
	struct mmu_notifier_stats_row *row;

	mutex_lock(&read_mutex);
	for (row = rows; row < rows + NR_ROWS; row++) {
		/* Pairs with add_row_locked(). */
		if (!smp_load_acquire(&row->used))
			continue;
		symbol_width = max_t(int, symbol_width, strlen(row->symbol));
		module_width = max_t(int, module_width, strlen(row->module));
	}
	show_rows(m, symbol_width, module_width);
	mutex_unlock(&read_mutex);
	if (lost)
		seq_printf(m, "# full: not counted are %lld calls of other callbacks\n", lost);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_stats_show);

static ssize_t mmu_notifier_stats_write(struct file *file, const char __user *user,
					size_t count, loff_t *pos)
{
	unsigned int value;
	int ret = kstrtouint_from_user(user, count, 0, &value);

	if (ret)
		return ret;
	if (value)
		return -EINVAL;
	mmu_notifier_stats_reset();
	return count;
}

DEFINE_SHOW_STORE_ATTRIBUTE(mmu_notifier_stats);

#ifdef CONFIG_MODULES
static int mmu_notifier_stats_module(struct notifier_block *block, unsigned long event,
				     void *data)
{
	struct module *module = data;

	/* It has unsubscribed: its callbacks are at an end. */
	if (event == MODULE_STATE_GOING) {
		for_each_mod_mem_type(type)
			mmu_notifier_stats_forget(module->mem[type].base,
						  module->mem[type].size);
	}
	return NOTIFY_OK;
}

static struct notifier_block mmu_notifier_stats_module_block = {
	.notifier_call = mmu_notifier_stats_module,
};

static void __init mmu_notifier_stats_watch_modules(void)
{
	register_module_notifier(&mmu_notifier_stats_module_block);
}
#else
static void __init mmu_notifier_stats_watch_modules(void)
{
}
#endif

static int __init mmu_notifier_stats_init(void)
{
	mmu_notifier_stats_watch_modules();
	debugfs_create_file("callbacks", 0600, debugfs_create_dir("mmu_notifier", NULL), NULL,
			    &mmu_notifier_stats_fops);
	return 0;
}
late_initcall(mmu_notifier_stats_init);
