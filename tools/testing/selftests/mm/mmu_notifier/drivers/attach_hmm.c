// SPDX-License-Identifier: GPL-2.0-only
/*
 * A mirror of a process's memory in the fake device of lib/test_hmm.c.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <lib/test_hmm_uapi.h>

#include "attach.h"

int hmm_read(int device, unsigned long address, size_t length, char *to)
{
	struct hmm_dmirror_cmd command = {
		.addr = address,
		.ptr = (uintptr_t)to,
		.npages = length / sysconf(_SC_PAGESIZE),
	};

	return ioctl(device, HMM_DMIRROR_READ, &command);
}

int attach_hmm(struct victim *victim, char *memory)
{
	char *copy = malloc(VICTIM_MEMORY);

	victim->driver = open("/dev/hmm_dmirror0", O_RDWR);
	if (victim->driver < 0)
		return 10;
	if (!copy || hmm_read(victim->driver, (unsigned long)memory, VICTIM_MEMORY, copy))
		return 11;
	if (copy[VICTIM_MEMORY - 1] != 'x')
		return 12;
	free(copy);
	return 0;
}
