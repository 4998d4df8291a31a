// SPDX-License-Identifier: GPL-2.0-only
/*
 * The nonblocking probe: an invalidation that may block first tries to do without.
 *
 * What an MMU notifier does in an invalidation that may not block runs only when
 * memory is short. With this, each munmap(2) can run it. If no notifier backs
 * off, that was the invalidation: they have done their work. If one does, what
 * was begun is unwound, as it is for the OOM reaper, and the invalidation that
 * may block follows.
 *
 * When that is to be tried, the fault-injection framework decides.
 */

#include <kunit/visibility.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fault-inject.h>
#include <linux/init.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/mmu_notifier.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "mmu_notifier_probe.h"

VISIBLE_IF_KUNIT struct mmu_notifier_probe mmu_notifier_probe = {
	.attr = FAULT_ATTR_INITIALIZER,
};
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_probe);

/**
 * mmu_notifier_probe_start() - perhaps try an invalidation without blocking
 * @range: of the invalidation, which is about to begin
 *
 * Of the framework's attributes, "space" is in pages, and "verbose" without effect.
 *
 * Context: Any that may block, if @range may.
 * Return: true if that was done, and nobody backed off: the invalidation has begun.
 */
bool mmu_notifier_probe_start(struct mmu_notifier_range *range)
{
	struct mmu_notifier_range probe;

	if (!mmu_notifier_range_blockable(range))
		return false;
	/* It is not a failure that is forced here, so do not say so, time and again. */
	if (!should_fail_ex(&mmu_notifier_probe.attr,
			    (range->end - range->start) >> PAGE_SHIFT, FAULT_NOWARN))
		return false;

	probe = *range;
	probe.flags &= ~MMU_NOTIFIER_RANGE_BLOCKABLE;
	probe.flags |= MMU_NOTIFIER_RANGE_PROBED;
	if (__mmu_notifier_invalidate_range_start(&probe))
		return false;

	/* For mmu_notifier_probe_end() */
	range->flags |= MMU_NOTIFIER_RANGE_PROBED;
	return true;
}

/* @name is "symbol", or "symbol [module]" */
static bool has_symbol(const char *name, const char *symbol)
{
	size_t length = strcspn(name, " ");

	return !*symbol || (strlen(symbol) == length && !strncmp(name, symbol, length));
}

static bool is_in_module(const char *name, const char *module)
{
	const char *bracket = strchr(name, '[');

	if (!*module)
		return true;
	if (!bracket)
		return !strcmp(module, "-");
	return strstarts(bracket + 1, module) && bracket[1 + strlen(module)] == ']';
}

static bool callback_matches(const void *callback, const char *symbol, const char *module)
{
	char name[KSYM_SYMBOL_LEN];

	if (!callback)
		return false;

	snprintf(name, sizeof(name), "%ps", callback);
	return has_symbol(name, symbol) && is_in_module(name, module);
}

/**
 * mmu_notifier_probe_matches() - whether the filter lets a notifier be probed
 * @first: a callback of the notifier, or NULL
 * @second: likewise
 *
 * One of them has to match: a notifier is probed as a whole.
 *
 * Context: Any.
 * Return: true if it does.
 */
bool mmu_notifier_probe_matches(const void *first, const void *second)
{
	const char *symbol, *module;
	bool matches;

	rcu_read_lock();
	symbol = rcu_dereference(mmu_notifier_probe.callback) ?: "";
	module = rcu_dereference(mmu_notifier_probe.module) ?: "";
	matches = (!*symbol && !*module) || callback_matches(first, symbol, module) ||
		  callback_matches(second, symbol, module);
	rcu_read_unlock();
	return matches;
}

/* Kept for later: setup_fault_attr() may allocate, and here nobody can yet. */
static char *boot_attr __initdata;

static int __init mmu_notifier_probe_setup(char *str)
{
	boot_attr = str;
	return 1;
}
__setup("mmu_notifier_nonblock_probe=", mmu_notifier_probe_setup);

static int __init mmu_notifier_probe_boot(void)
{
	if (boot_attr)
		setup_fault_attr(&mmu_notifier_probe.attr, boot_attr);
	return 0;
}
core_initcall(mmu_notifier_probe_boot);

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS

/* The file frees what was there before. */
static int __init create_filter(const char *name, struct dentry *dir, char __rcu **filter)
{
	char *any = kstrdup("", GFP_KERNEL);

	if (!any)
		return -ENOMEM;
	rcu_assign_pointer(*filter, any);
	debugfs_create_str(name, 0600, dir, (char __force **)filter);
	return 0;
}

static int __init mmu_notifier_probe_init(void)
{
	struct dentry *dir;

	dir = fault_create_debugfs_attr("mmu_notifier_nonblock_probe", NULL,
					&mmu_notifier_probe.attr);
	if (IS_ERR(dir))
		return PTR_ERR(dir);

	return create_filter("callback", dir, &mmu_notifier_probe.callback) ?:
	       create_filter("module", dir, &mmu_notifier_probe.module);
}
late_initcall(mmu_notifier_probe_init);

#endif /* CONFIG_FAULT_INJECTION_DEBUG_FS */
