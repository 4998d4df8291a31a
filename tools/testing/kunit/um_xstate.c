// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded to UML, so that processes run in it on every CPU.
 *
 * UML 6.12 has room for 2696 bytes of a process's FPU state. That is enough for
 * all that processes use. But where the CPU can have more (with AMX, 11008 bytes),
 * the host takes back the whole of it or nothing, and UML kills each process:
 * "ptrace set fp regs failed". So append zeroes: nothing more is in use. Newer
 * kernels hand over the whole.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...)
{
	/* Larger than any CPU's; the host reads as much as it wants */
	static char state[65536];
	struct iovec whole = { .iov_base = state, .iov_len = sizeof(state) };
	long (*real_ptrace)(enum __ptrace_request request, ...);
	void *addr, *data;
	va_list args;
	pid_t pid;

	va_start(args, request);
	pid = va_arg(args, pid_t);
	addr = va_arg(args, void *);
	data = va_arg(args, void *);
	va_end(args);

	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
		const struct iovec *part = data;

		memcpy(state, part->iov_base, part->iov_len);
		data = &whole;
	}
	real_ptrace = dlsym(RTLD_NEXT, "ptrace");
	return real_ptrace(request, pid, addr, data);
}
