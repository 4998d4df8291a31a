// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of a kernel that runs the tests of others: each program in /selftests, one
 * after the other. Given a number of seconds, again and again as a load, until these
 * are over; what the programs then say does not count. What lockdep has used, before
 * that and after.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define FOLDER		"/selftests"

static void run(const char *path, bool quiet)
{
	pid_t program = fork(), pid;
	int status, null;

	if (program < 0) {
		fail("fork");
		return;
	}
	if (!program) {
		/* A session of its own, so that what it leaves behind can be ended. */
		setsid();
		null = quiet ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;
		if (!quiet || (dup2(null, 1) == 1 && dup2(null, 2) == 2)) {
			if (!chdir("/tmp"))
				execl(path, path, NULL);
		}
		fail(path);
		_exit(127);
	}
	/* Others are orphans of the programs. */
	do {
		pid = wait(&status);
	} while (pid != program && (pid > 0 || errno == EINTR));
	kill(-program, SIGKILL);
	if (quiet)
		return;
	if (WIFSIGNALED(status))
		printf("bench: ended by signal %d\n", WTERMSIG(status));
	else
		printf("bench: ended with status %d\n", WEXITSTATUS(status));
}

static int is_program(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void run_all(bool quiet)
{
	struct dirent **names;
	char path[512];
	int i, nr;

	nr = scandir(FOLDER, &names, is_program, alphasort);
	if (nr <= 0)
		fail(FOLDER);
	for (i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), FOLDER "/%s", names[i]->d_name);
		if (!quiet)
			printf("bench: selftest %s\n", names[i]->d_name);
		run(path, quiet);
		free(names[i]);
	}
	if (nr >= 0)
		free(names);
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

int main(int argc, char **argv)
{
	time_t until = now() + (argc > 1 ? atoi(argv[1]) : 0);
	int rounds = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("devtmpfs", "/dev");
	mount_at("debugfs", "/sys/kernel/debug");
	mount_at("tmpfs", "/tmp");
	print_lockdep("before the selftests");
	do {
		run_all(rounds > 0);
		rounds++;
	} while (now() < until);
	printf("bench: rounds %d\n", rounds);
	print_lockdep("after the selftests");
	return end();
}
