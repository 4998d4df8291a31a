/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the inits of the kernels that are compared have in common.
 */

#ifndef BENCH_INIT_H
#define BENCH_INIT_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>

static void fail(const char *what)
{
	printf("bench: failed: %s: %s\n", what, strerror(errno));
}

static void mount_at(const char *type, const char *path)
{
	if ((mkdir(path, 0755) && errno != EEXIST) || mount(type, path, type, 0, NULL))
		fail(path);
}

/* What lockdep has used of its tables; wants /proc */
static void print_lockdep(const char *when)
{
	FILE *file = fopen("/proc/lockdep_stats", "r");
	char line[256];

	if (!file)
		fail("/proc/lockdep_stats");
	while (file && fgets(line, sizeof(line), file))
		printf("lockdep %s: %s", when, line);
	if (file)
		fclose(file);
}

/* QEMU does not reboot, but ends. */
static int end(void)
{
	printf("bench: end\n");
	reboot(RB_AUTOBOOT);
	return 1;
}

#endif /* BENCH_INIT_H */
