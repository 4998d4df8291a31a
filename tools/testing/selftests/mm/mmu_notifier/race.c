// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reaper against whatever a process does with its memory: fork, exec, mremap,
 * munmap, MADV_DONTNEED, exit; with notifiers of each kind that back off now and
 * then.
 *
 * Needs root and CONFIG_TEST_MMU_NOTIFIER. To be run in real time.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "init.h"
#include "victim.h"

/* The first are for the caches to fill. */
#define WARM_UP_ROUNDS	300
#define ROUNDS		1000

/*
 * Caches grow by some 40, at times by 120. What each round would lose of an mm or of
 * its notifiers is 192 at the least (mmu_notifier_subscriptions); what only some
 * rounds lose is not seen.
 */
#define LEAK_KB		180

#define PAGES		64

static char *map(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	return memory;
}

static void fork_and_wait(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* Does what processes do, until it is killed, or execs, or exits. */
static void live(char *memory, size_t size)
{
	for (;;) {
		char *other;

		switch (rand() % 16) {
		case 0:
			execl("/proc/self/exe", "race", "exit", NULL);
			_exit(1);
		case 1:
			_exit(0);
		case 2 ... 3:
			fork_and_wait();
			break;
		case 4 ... 6:
			other = mremap(memory, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
				       memory + (rand() % 2 ? 2 : -2) * (ssize_t)size);
			if (other != MAP_FAILED)
				memory = other;
			break;
		case 7 ... 9:
			munmap(memory, size / 2);
			break;
		case 10 ... 12:
			madvise(memory, size, MADV_DONTNEED);
			break;
		default:
			munmap(memory, size);
			memory = map(size);
		}
	}
}

static void child(int device)
{
	const size_t size = PAGES * sysconf(_SC_PAGESIZE);
	char *memory = map(size);
	unsigned int i, kinds = has_two_pass(device) ? 4 : 3;

	for (i = 0; i < 4; i++) {
		unsigned int kind = rand() % kinds;
		unsigned int behaviour = TEST_MMU_NOTIFIER_SUCCEED;

		if (kind != TEST_MMU_NOTIFIER_RANGE_END && rand() % 2)
			behaviour = TEST_MMU_NOTIFIER_BACK_OFF;
		else if (kind != TEST_MMU_NOTIFIER_RANGE_END && rand() % 2)
			behaviour = TEST_MMU_NOTIFIER_TRYLOCK;
		if (notifier_add(device, memory, size, kind, behaviour,
				 behaviour == TEST_MMU_NOTIFIER_BACK_OFF ?
				 1 + rand() % 4 : 0, NULL))
			_exit(1);
	}
	live(memory, size);
}

/* What came of it: a test that never meets its victim alive tests nothing. */
static unsigned int nr_reaped, nr_backed_off;

/* Returns 0, or -1 if it says what it must not. */
static int reap(int pidfd, int device)
{
	int i;

	for (i = 0; i < 20; i++) {
		if (!sys_process_mrelease(pidfd)) {
			nr_reaped++;
			return 0;
		}
		if (errno == ESRCH)
			return 0;
		nr_backed_off += errno == EAGAIN;
		/* It may be about to exit by itself, and may not be killed yet. */
		if (errno != EAGAIN && errno != EINVAL)
			return -1;
		if (i == 4)
			ioctl(device, TEST_MMU_NOTIFIER_RELEASE);
	}
	return 0;
}

static bool ends_in_time(pid_t pid)
{
	int i;

	for (i = 0; i < 20000; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(1000);
	}
	return false;
}

static const char *race_once(unsigned int seed)
{
	int device = open(DEVICE, O_RDWR), mine = open(DEVICE, O_RDWR), pidfd;
	const char *wrong = NULL;
	pid_t pid;

	if (device < 0 || mine < 0)
		return "no device";
	srand(seed);
	pid = fork();
	if (pid < 0)
		return "no process";
	if (!pid) {
		close(mine);
		child(device);
	}

	/* From now on the child alone has it. */
	close(device);
	pidfd = sys_pidfd_open(pid);
	if (pidfd < 0)
		wrong = "no pidfd";
	if (rand() % 2)
		ioctl(mine, TEST_MMU_NOTIFIER_HOLD);
	usleep(rand() % 3000);
	if (rand() % 4 == 0)
		sys_process_mrelease(pidfd);
	kill(pid, SIGKILL);
	if (reap(pidfd, mine))
		wrong = "process_mrelease() fails with another error";
	if (!ends_in_time(pid))
		wrong = "the victim is still there";
	close(pidfd);
	close(mine);
	return wrong;
}

static const char *race(unsigned int rounds)
{
	const char *wrong = NULL;
	unsigned int i;

	for (i = 0; i < rounds && !wrong; i++)
		wrong = race_once(i);
	if (wrong)
		printf("# round %u of %u: %s\n", i, rounds, wrong);
	return wrong;
}

static long unreclaimable_kb(void)
{
	/* What RCU has yet to free */
	sleep_ms(200);
	return read_number("/proc/meminfo", "SUnreclaim:");
}

FIXTURE(race)
{
	int unused;
};

FIXTURE_SETUP(race)
{
}

FIXTURE_TEARDOWN(race)
{
}

TEST_F_TIMEOUT(race, reaper_races_with_its_victim, TIMEOUT)
{
	long before, after;

	ASSERT_EQ(NULL, race(WARM_UP_ROUNDS));
	before = unreclaimable_kb();
	ASSERT_LT(0, before);
	ASSERT_EQ(NULL, race(ROUNDS));
	after = unreclaimable_kb();
	printf("# unreclaimable: %ld kB after %u rounds, %ld kB after %u more\n", before,
	       WARM_UP_ROUNDS, after, ROUNDS);
	EXPECT_GT(before + LEAK_KB, after);
	printf("# %u victims were reaped, %u times a notifier backed off\n", nr_reaped,
	       nr_backed_off);
	EXPECT_LT(0, nr_reaped);
	EXPECT_LT(0, nr_backed_off);
	EXPECT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
}

int main(int argc, char **argv)
{
	/* What a victim becomes by exec */
	if (argc == 2 && !strcmp(argv[1], "exit"))
		return 0;

	run_as_init();
	return test_harness_run(argc, argv);
}
