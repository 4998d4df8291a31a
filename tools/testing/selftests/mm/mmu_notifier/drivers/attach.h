/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Let a driver watch the memory of a process. What has "attach" in its name is for
 * struct victim: it runs in the victim, and returns 0 or an exit status.
 */
#ifndef _ATTACH_H
#define _ATTACH_H

#include "../victim.h"

/* The device of lib/test_hmm.c mirrors it; victim->driver is its file. */
int attach_hmm(struct victim *victim, char *memory);
/* Has the device read it once: takes the lock that its callback tries. */
int hmm_read(int device, unsigned long address, size_t length, char *to);

/* It is the memory of a virtual machine, whose guest has written to some of it. */
int attach_kvm(struct victim *victim, char *memory);
static inline int attach_kvm_and_hmm(struct victim *victim, char *memory)
{
	return attach_kvm(victim, memory) ?: attach_hmm(victim, memory);
}

/* It is an on-demand memory region of a Soft-RoCE device, if rxe_start() made one. */
int attach_rxe(struct victim *victim, char *memory);
/* Returns 0, or -1 if there is no such device, or one without on-demand paging. */
int rxe_start(void);

#endif /* _ATTACH_H */
