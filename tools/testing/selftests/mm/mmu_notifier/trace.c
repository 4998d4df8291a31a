// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel traces of callbacks that may not block, and of the OOM reaper.
 */

#include <stdio.h>
#include <string.h>

#include "trace.h"
#include "victim.h"

int trace_start(void)
{
	return write_file(NONBLOCK "enable", "1") ||
	       write_file(TRACING "events/oom/start_task_reaping/enable", "1") ||
	       write_file(TRACING "events/oom/finish_task_reaping/enable", "1") ||
	       write_file(TRACING "trace", "") ? -1 : 0;
}

/* How often @event was traced since trace_start(); -1 if nothing can be */
int trace_count(const char *event)
{
	FILE *file = fopen(TRACING "trace", "r");
	char line[512], name[64];
	int count = 0;

	if (!file)
		return -1;
	snprintf(name, sizeof(name), " %s: ", event);
	while (fgets(line, sizeof(line), file))
		count += line[0] != '#' && strstr(line, name);
	fclose(file);
	return count;
}

static void add_calls(struct calls *calls, int nr, long long ret, long long ns)
{
	calls->nr += nr;
	calls->back_offs += ret ? nr : 0;
	calls->ns += ns;
}

/*
 * Calls of @callback, or of all if that is NULL, since trace_start(): in passes over all
 * of what is @watched, or over anything if that is NULL, and only in extra passes, or
 * only in all others
 */
struct calls trace_calls(const char *callback, const struct test_mmu_notifier *watched,
			 bool probe)
{
	FILE *file = fopen(TRACING "trace", "r");
	unsigned long start, end;
	char line[512], name[64];
	struct calls calls = {};
	int ret, in_probe;
	long long ns;

	while (file && fgets(line, sizeof(line), file)) {
		const char *call = strstr(line, " mmu_notifier_nonblock: ");
		const char *result = strstr(line, " ret=");

		if (!call || !result ||
		    sscanf(call, " %*s mm=%*s start=%lx end=%lx event=%*s callback=%63s",
			   &start, &end, name) != 3 ||
		    sscanf(result, " ret=%d ns=%lld probe=%d", &ret, &ns, &in_probe) != 3)
			continue;
		if ((callback && strcmp(callback, name)) || in_probe != probe ||
		    (watched && (watched->start < start ||
				 watched->start + watched->length > end)))
			continue;
		add_calls(&calls, 1, ret, ns);
	}
	if (file)
		fclose(file);
	return calls;
}

/* Waits until the OOM reaper has tried so often, and then for one try too many. */
void trace_wait_for_reaper(int tries)
{
	int i;

	/*
	 * It comes two seconds after the kill, and then tries for one. Until then there
	 * is no memory to be had: who asks for some spins, and where time is virtual,
	 * that makes it stand still.
	 */
	sleep_ms(4000);
	for (i = 0; i < 200 && trace_count("finish_task_reaping") < tries; i++)
		sleep_ms(100);
	sleep_ms(300);
}

/* What ftrace counts by itself; it does on machines that have CONFIG_HIST_TRIGGERS */

/* From zero, as it opens the file with O_TRUNC. Fails where there is no such thing. */
int hist_start(void)
{
	return write_file(NONBLOCK "trigger", "hist:keys=callback.sym,ret:vals=hitcount,ns");
}

/* Calls of @callback, or of all if that is NULL, since hist_start(); in extra passes, too */
struct calls hist_calls(const char *callback)
{
	FILE *file = fopen(NONBLOCK "hist", "r");
	unsigned long long ret;
	char line[512], name[64];
	struct calls calls = {};
	long long ns;
	int nr;

	while (file && fgets(line, sizeof(line), file)) {
		const char *result = strstr(line, ", ret: ");

		if (!result || sscanf(line, "{ callback: [%*x] %63s", name) != 1 ||
		    sscanf(result, ", ret: %llu } hitcount: %d ns: %lld", &ret, &nr, &ns) != 3 ||
		    (callback && strcmp(callback, name)))
			continue;
		printf("# %s", line);
		add_calls(&calls, nr, ret, ns);
	}
	if (file)
		fclose(file);
	return calls;
}
