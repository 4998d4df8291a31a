// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reaper against whatever a process does with its memory: fork, exec, mremap,
 * munmap, MADV_DONTNEED, exit; with notifiers of each kind that back off now and
 * then. With one thread and one reaper, and with several of both on all CPUs.
 *
 * Needs root and CONFIG_TEST_MMU_NOTIFIER. To be run in real time.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
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

#define ROUNDS		1000

/*
 * Caches grow, too, but stop to, later where more CPUs have some; a leak goes on. So run
 * ROUNDS again, up to so many times, until two in a row add less than this together;
 * in one alone, a cache that shrinks may hide a leak. A round that loses an mm or a
 * notifier loses 192 bytes at the least (mmu_notifier_subscriptions), which makes 384 kB.
 * What only some rounds lose is not seen.
 */
#define MAX_TIMES	8
#define LEAK_KB		96

#define PAGES		64
#define MAX_THREADS	4

/* Where a thread's memory may be: so that it does not meet that of another. */
#define PLACES		4

/**
 * struct thread - of the victim
 * @nr: its number
 * @places: where its memory may be
 * @place: where it is
 * @size: of each place
 */
struct thread {
	unsigned int nr;
	char *places;
	unsigned int place;
	size_t size;
};

static char *memory_of(const struct thread *thread)
{
	return thread->places + thread->place * thread->size;
}

static void map(struct thread *thread)
{
	if (mmap(memory_of(thread), thread->size, PROT_READ | PROT_WRITE,
		 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
		_exit(1);
}

static void move(struct thread *thread)
{
	unsigned int place = (thread->place + 1 + rand() % (PLACES - 1)) % PLACES;

	if (mremap(memory_of(thread), thread->size, thread->size, MREMAP_MAYMOVE | MREMAP_FIXED,
		   thread->places + place * thread->size) != MAP_FAILED)
		thread->place = place;
}

static void run_on_cpu(unsigned int nr)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(nr % sysconf(_SC_NPROCESSORS_ONLN), &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
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
static void *live(void *data)
{
	struct thread *thread = data;

	run_on_cpu(thread->nr);
	map(thread);
	for (;;) {
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
			move(thread);
			break;
		case 7 ... 9:
			munmap(memory_of(thread), thread->size / 2);
			break;
		case 10 ... 12:
			madvise(memory_of(thread), thread->size, MADV_DONTNEED);
			break;
		default:
			munmap(memory_of(thread), thread->size);
			map(thread);
		}
	}
}

static void add_notifiers(int device, char *memory, size_t size)
{
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
}

static void child(int device, unsigned int threads)
{
	const size_t size = PAGES * sysconf(_SC_PAGESIZE);
	struct thread thread[MAX_THREADS];
	pthread_t other;
	unsigned int i;
	char *memory;

	memory = mmap(NULL, threads * PLACES * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		_exit(1);
	add_notifiers(device, memory, threads * PLACES * size);
	for (i = 0; i < threads; i++)
		thread[i] = (struct thread){
			.nr = i, .places = memory + i * PLACES * size, .size = size,
		};
	for (i = 1; i < threads; i++) {
		if (pthread_create(&other, NULL, live, &thread[i]))
			_exit(1);
	}
	live(&thread[0]);
}

/* What came of it: a test that never meets its victim alive tests nothing. */
static unsigned int nr_reaped, nr_backed_off;

/**
 * struct reaper - who reaps a victim
 * @nr: its number
 * @pidfd: the victim
 * @device: which has the lock that makes notifiers back off, maybe
 */
struct reaper {
	unsigned int nr;
	int pidfd;
	int device;
};

/* Returns NULL, or what is wrong. */
static void *reap(void *data)
{
	const struct reaper *reaper = data;
	int i;

	for (i = 0; i < 20; i++) {
		if (!sys_process_mrelease(reaper->pidfd)) {
			__atomic_add_fetch(&nr_reaped, 1, __ATOMIC_RELAXED);
			return NULL;
		}
		if (errno == ESRCH)
			return NULL;
		if (errno == EAGAIN)
			__atomic_add_fetch(&nr_backed_off, 1, __ATOMIC_RELAXED);
		/* It may be about to exit by itself, and may not be killed yet. */
		if (errno != EAGAIN && errno != EINVAL)
			return (void *)"process_mrelease() fails with another error";
		if (i == 4)
			ioctl(reaper->device, TEST_MMU_NOTIFIER_RELEASE);
	}
	return NULL;
}

static void *reap_on_cpu(void *data)
{
	run_on_cpu(((struct reaper *)data)->nr);
	return reap(data);
}

/* By as many reapers as the victim has threads */
static const char *reap_all(int pidfd, int device, unsigned int threads)
{
	struct reaper reaper[MAX_THREADS];
	pthread_t other[MAX_THREADS];
	const char *wrong;
	unsigned int i, started;
	void *said;

	for (i = 0; i < threads; i++)
		reaper[i] = (struct reaper){ .nr = i, .pidfd = pidfd, .device = device };
	for (started = 1; started < threads; started++) {
		if (pthread_create(&other[started], NULL, reap_on_cpu, &reaper[started]))
			break;
	}
	wrong = reap(&reaper[0]);
	if (started < threads)
		wrong = "no thread";
	for (i = 1; i < started; i++) {
		pthread_join(other[i], &said);
		wrong = wrong ?: said;
	}
	return wrong;
}

static bool ends_in_time(pid_t pid, int pidfd)
{
	struct pollfd exit = { .fd = pidfd, .events = POLLIN };

	return poll(&exit, 1, 20000) == 1 && waitpid(pid, NULL, WNOHANG) == pid;
}

static const char *race_once(unsigned int seed, unsigned int threads)
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
		child(device, threads);
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
	wrong = reap_all(pidfd, mine, threads) ?: wrong;
	if (!ends_in_time(pid, pidfd))
		wrong = "the victim is still there";
	close(pidfd);
	close(mine);
	return wrong;
}

/* @first is the number of the first round, and seeds what happens in it. */
static const char *race(unsigned int first, unsigned int threads)
{
	const char *wrong = NULL;
	unsigned int i;

	for (i = first; i < first + ROUNDS && !wrong; i++)
		wrong = race_once(i, threads);
	if (wrong)
		printf("# round %u: %s\n", i, wrong);
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

FIXTURE_VARIANT(race)
{
	unsigned int threads;
};

FIXTURE_VARIANT_ADD(race, one_thread)
{
	.threads = 1,
};

FIXTURE_VARIANT_ADD(race, several_threads)
{
	.threads = MAX_THREADS,
};

FIXTURE_SETUP(race)
{
}

FIXTURE_TEARDOWN(race)
{
}

TEST_F_TIMEOUT(race, reaper_races_with_its_victim, TIMEOUT)
{
	long kb[MAX_TIMES];
	unsigned int i;

	for (i = 0; i < MAX_TIMES; i++) {
		ASSERT_EQ(NULL, race(i * ROUNDS, variant->threads));
		kb[i] = unreclaimable_kb();
		ASSERT_LT(0, kb[i]);
		printf("# unreclaimable: %ld kB after %u rounds\n", kb[i], (i + 1) * ROUNDS);
		if (i >= 2 && kb[i] < kb[i - 2] + LEAK_KB)
			break;
	}
	EXPECT_GT(MAX_TIMES, i)
		TH_LOG("it goes on to grow: something leaks");
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
