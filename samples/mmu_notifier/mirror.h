/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A driver, for the sake of its MMU notifier: a device has a page table of its own,
 * which mirrors a range of a process's memory.
 */
#ifndef _SAMPLE_MIRROR_H
#define _SAMPLE_MIRROR_H

#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>

/* Of the range, and of the pool */
#define MIRROR_PAGES	16
#define MIRROR_SIZE	(MIRROR_PAGES * PAGE_SIZE)
#define MIRROR_COMMANDS	4

/**
 * struct mirror_command - tells the device to forget about some pages
 * @node: in one of the lists of &struct mirror
 * @first: the first page
 * @nr: and how many
 */
struct mirror_command {
	struct list_head node;
	unsigned long first;
	unsigned long nr;
};

/**
 * struct mirror - a device's page table
 * @notifier: tells when the process's page table changes
 * @start: address of the first page
 * @lock: protects what follows; whoever holds it may wait for the device
 * @mapped: pages that the device can access
 * @nr_mapped: their number
 * @pool: commands to be used
 * @sent: commands that the device has, or has done
 * @refill: fills @pool up to MIRROR_COMMANDS, once the device is done with @sent
 */
struct mirror {
	struct mmu_interval_notifier notifier;
	unsigned long start;
	struct mutex lock;	/* of what follows */
	bool mapped[MIRROR_PAGES];
	unsigned int nr_mapped;
	struct list_head pool;
	struct list_head sent;
	struct work_struct refill;
};

/* For whoever opens the device */
struct mirror *mirror_create(unsigned long start);
void mirror_destroy(struct mirror *mirror);

/* For the device, which cannot access a page */
void mirror_fault(struct mirror *mirror, unsigned int page);

/**
 * struct mirror_grant - lets the device access the range until that changes
 * @notifier: watches all of the process's memory
 * @mirror: whose range
 * @lock: whoever holds it is telling the device to access the range
 * @revoked: it must not, from now on
 */
struct mirror_grant {
	struct mmu_notifier notifier;
	struct mirror *mirror;
	struct mutex lock;	/* of @revoked */
	bool revoked;
};

extern const struct mmu_notifier_ops mirror_grant_ops;

/* The parts of a callback, to be put together in one way or another */
struct mirror *mirror_create_with(unsigned long start, unsigned long first,
				  unsigned long length,
				  const struct mmu_interval_notifier_ops *ops);
struct mirror_command *mirror_take_command(struct mirror *mirror);
void mirror_unmap(struct mirror *mirror, const struct mmu_notifier_range *range);
void mirror_send(struct mirror *mirror, struct mirror_command *command,
		 const struct mmu_notifier_range *range);

#endif /* _SAMPLE_MIRROR_H */
