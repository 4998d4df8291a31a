// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lets a test program be the init of a kernel that has no other program.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest.h"
#include "init.h"

static const struct {
	const char *type;
	const char *path;
} mounts[] = {
	{ .type = "proc", .path = "/proc" },
	{ .type = "sysfs", .path = "/sys" },
	{ .type = "devtmpfs", .path = "/dev" },
	/* sysfs has folders for these */
	{ .type = "debugfs", .path = "/sys/kernel/debug" },
	{ .type = "tracefs", .path = "/sys/kernel/tracing" },
};

static void power_off(void)
{
	/* An init that exits would be a panic */
	/* Not every machine can be turned off; under QEMU, -no-reboot does it. */
	reboot(getenv("at_end") ? RB_AUTOBOOT : RB_POWER_OFF);
	perror("init: power off");
	for (;;)
		pause();
}

static void die(const char *what)
{
	fprintf(stderr, "init: %s: %s\n", what, strerror(errno));
	power_off();
}

static void mount_all(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mounts); i++) {
		if (mkdir(mounts[i].path, 0755) && errno != EEXIST)
			die(mounts[i].path);
		if (mount(mounts[i].type, mounts[i].path, mounts[i].type, 0, NULL))
			die(mounts[i].path);
	}
}

/*
 * A PC takes a second to find out how fast its clock is. It then says so, perhaps in the
 * middle of a line of a test.
 */
static void wait_for_clock(void)
{
	const char *path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
	bool early = true;
	char name[32];
	FILE *file;
	int i;

	for (i = 0; i < 100 && early; i++) {
		file = fopen(path, "r");
		early = file && fgets(name, sizeof(name), file) && !strcmp(name, "tsc-early\n");
		if (file)
			fclose(file);
		if (early)
			usleep(50000);
	}
}

/**
 * run_as_init() - do what is init's part, if this is init
 *
 * Returns at once to a program that is not. For init, it returns in a child,
 * which is to run the tests. Init itself waits for that, and powers off.
 */
void run_as_init(void)
{
	pid_t tests, pid;
	int status;

	if (getpid() != 1)
		return;
	mount_all();
	wait_for_clock();
	tests = fork();
	if (tests < 0)
		die("fork");
	if (!tests)
		return;
	/* Others are orphans that the tests left */
	do {
		pid = wait(&status);
	} while (pid != tests && (pid > 0 || errno == EINTR));
	if (pid == tests && WIFSIGNALED(status))
		fprintf(stderr, "init: the tests were ended by signal %d\n", WTERMSIG(status));
	power_off();
}
