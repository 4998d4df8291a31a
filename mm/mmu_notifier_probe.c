// SPDX-License-Identifier: GPL-2.0-only
/*
 * The nonblocking probe: ahead of an invalidation that may block comes one that
 * may not, when the fault-injection framework says so. To invalidate once more than
 * needed is always allowed.
 */

#include <kunit/visibility.h>
#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/init.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>

VISIBLE_IF_KUNIT struct fault_attr mmu_notifier_probe_attr = FAULT_ATTR_INITIALIZER;
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_probe_attr);

/* Only notifiers of this module; "kernel": only those built in; "" or NULL: all */
VISIBLE_IF_KUNIT char __rcu *mmu_notifier_probe_module;
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_probe_module);

/* An extra pass. It keeps its filter, so that each start has its end. */
struct probe {
	struct mmu_notifier_range range;
	char module[MODULE_NAME_LEN];
};

/**
 * mmu_notifier_probe_skips() - is a notifier left out of the extra pass?
 * @range: of the pass
 * @ops: the operations of the notifier
 *
 * Context: Any.
 * Return: true if @range is of an extra pass, and the filter does not want the module
 * that @ops are in.
 */
bool mmu_notifier_probe_skips(const struct mmu_notifier_range *range, const void *ops)
{
	const struct probe *probe = container_of(range, struct probe, range);

	if (!(range->flags & MMU_NOTIFIER_RANGE_PROBE) || !*probe->module)
		return false;

	guard(preempt)();
	return strcmp(module_name(__module_address((unsigned long)ops)), probe->module);
}

/**
 * mmu_notifier_probe() - perhaps invalidate without blocking, as an extra
 * @range: of the invalidation that may block, and is about to begin
 *
 * Of the framework's attributes, "space" is in pages, and "verbose" without effect.
 *
 * Context: Any that may block.
 */
void mmu_notifier_probe(const struct mmu_notifier_range *range)
{
	const char *module;
	struct probe probe;

	/* The framework would count this as one of the faults that the task asked for. */
	if (current->fail_nth || !should_fail_ex(&mmu_notifier_probe_attr,
						 (range->end - range->start) >> PAGE_SHIFT,
						 FAULT_NOWARN))
		return;

	probe.range = *range;
	probe.range.flags = MMU_NOTIFIER_RANGE_PROBE;
	rcu_read_lock();
	module = rcu_dereference(mmu_notifier_probe_module);
	strscpy(probe.module, module ?: "");
	rcu_read_unlock();
	if (!mmu_notifier_invalidate_range_start_nonblock(&probe.range))
		mmu_notifier_invalidate_range_end(&probe.range);
}
EXPORT_SYMBOL_IF_KUNIT(mmu_notifier_probe);

/* Kept for later: setup_fault_attr() may allocate, and here nobody can yet. */
static char *boot_attr;
core_param(mmu_notifier_nonblock_probe, boot_attr, charp, 0);

static int __init mmu_notifier_probe_init(void)
{
	/* The file frees what was there before. */
	char *any = kstrdup("", GFP_KERNEL);
	struct dentry *dir;

	if (!any)
		return -ENOMEM;
	rcu_assign_pointer(mmu_notifier_probe_module, any);
	if (boot_attr)
		setup_fault_attr(&mmu_notifier_probe_attr, boot_attr);
	dir = fault_create_debugfs_attr("mmu_notifier_nonblock_probe", NULL,
					&mmu_notifier_probe_attr);
	debugfs_create_str("module", 0600, dir, (char __force **)&mmu_notifier_probe_module);
	return 0;
}
late_initcall(mmu_notifier_probe_init);
