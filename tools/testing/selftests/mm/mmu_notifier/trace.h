/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel traces of callbacks that may not block, and of the OOM reaper.
 */
#ifndef _TRACE_H
#define _TRACE_H

#include <stdbool.h>

#define TRACING		"/sys/kernel/tracing/"
#define NONBLOCK	TRACING "events/mmu_notifier/mmu_notifier_nonblock/"

/**
 * struct calls - of callbacks that may not block
 * @nr: how many there were
 * @back_offs: how many of them failed
 * @ns: how long they took together
 */
struct calls {
	int nr;
	int back_offs;
	long long ns;
};

struct test_mmu_notifier;

int trace_start(void);
int trace_count(const char *event);
struct calls trace_calls(const char *callback, const struct test_mmu_notifier *watched,
			 bool probe);
void trace_wait_for_reaper(int tries);

int hist_start(void);
struct calls hist_calls(const char *callback);

#endif /* _TRACE_H */
