// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process whose memory is taken away, see victim.h.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "victim.h"

int sys_pidfd_open(pid_t pid)
{
	return syscall(SYS_pidfd_open, pid, 0);
}

int sys_process_mrelease(int pidfd)
{
	return syscall(SYS_process_mrelease, pidfd, 0);
}

void sleep_ms(unsigned int ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* The number behind @label in the file, or -1 */
long read_number(const char *path, const char *label)
{
	FILE *file = fopen(path, "r");
	long number = -1;
	char line[256];

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		char *found = strstr(line, label);

		if (found && sscanf(found + strlen(label), " %ld", &number) == 1)
			break;
	}
	fclose(file);
	return number;
}

/* ioctls */

int notifier_add(int device, void *start, size_t length, unsigned int kind,
		 unsigned int behaviour, unsigned int count, unsigned int *id)
{
	struct test_mmu_notifier arg = {
		.start = (unsigned long)start,
		.length = length,
		.kind = kind,
		.behaviour = behaviour,
		.count = count,
	};
	int ret = ioctl(device, TEST_MMU_NOTIFIER_ADD, &arg);

	if (!ret && id)
		*id = arg.id;
	return ret;
}

/* Of a notifier that is not there, an id that nobody has */
struct test_mmu_notifier_counts notifier_counts(int device, unsigned int id)
{
	struct test_mmu_notifier_counts counts = { .id = id };

	if (ioctl(device, TEST_MMU_NOTIFIER_READ, &counts))
		counts.id = UINT_MAX;
	return counts;
}

/* Behave otherwise from now on. */
int notifier_set(int device, unsigned int id, unsigned int behaviour)
{
	struct test_mmu_notifier arg = { .id = id, .behaviour = behaviour };

	return ioctl(device, TEST_MMU_NOTIFIER_SET, &arg);
}

bool has_two_pass(int device)
{
	void *anywhere = (void *)0x10000;
	unsigned int id;

	if (notifier_add(device, anywhere, 4096, TEST_MMU_NOTIFIER_TWO_PASS,
			 TEST_MMU_NOTIFIER_SUCCEED, 0, &id))
		return false;
	return !ioctl(device, TEST_MMU_NOTIFIER_REMOVE, &id);
}

/* The victim */

struct lingering {
	struct victim *victim;
	int ready;
};

static void *linger(void *data)
{
	struct lingering *lingering = data;
	pid_t tid = syscall(SYS_gettid);

	if (write(lingering->ready, &tid, sizeof(tid)) != sizeof(tid))
		_exit(1);
	ioctl(lingering->victim->device, TEST_MMU_NOTIFIER_LINGER,
	      &lingering->victim->linger_ms);
	return NULL;
}

static void allocate_until_killed(void)
{
	const size_t step = 1 << 20;

	for (;;) {
		char *memory = mmap(NULL, step, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory != MAP_FAILED)
			memset(memory, 1, step);
	}
}

static void add_notifiers(struct victim *victim)
{
	char *memory = victim->shared;
	unsigned int i;

	if (!memory)
		memory = mmap(NULL, VICTIM_MEMORY, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS |
			      (victim->huge_pages ? MAP_HUGETLB : 0), -1, 0);
	if (memory == MAP_FAILED)
		_exit(1);
	memset(memory, 'x', VICTIM_MEMORY);

	for (i = 0; i < victim->nr; i++) {
		victim->notifier[i].start = (unsigned long)memory;
		victim->notifier[i].length = VICTIM_MEMORY;
		if (ioctl(victim->device, TEST_MMU_NOTIFIER_ADD, &victim->notifier[i]))
			_exit(2);
	}
	if (victim->attach) {
		int status = victim->attach(victim, memory);

		if (status)
			_exit(status);
	}
}

/* Tells the parent the ids of its notifiers, its driver, and its second thread. */
static void victim_main(struct victim *victim, int ready, int go)
{
	struct lingering lingering = { .victim = victim, .ready = ready };
	pthread_t thread;
	char c;

	/* Not to be left behind by a test that fails */
	prctl(PR_SET_PDEATHSIG, SIGKILL);

	if (victim->own_device) {
		victim->device = open(DEVICE, O_RDWR);
		if (victim->device < 0)
			_exit(3);
	}
	if (victim->allocates && write_file("/proc/self/oom_score_adj", "1000"))
		_exit(4);

	add_notifiers(victim);
	if (write(ready, victim->notifier, sizeof(victim->notifier)) !=
	    sizeof(victim->notifier) ||
	    write(ready, &victim->driver, sizeof(victim->driver)) != sizeof(victim->driver))
		_exit(5);
	if (victim->linger_ms && pthread_create(&thread, NULL, linger, &lingering))
		_exit(6);

	/* Until the second thread sleeps, and cannot be killed any more */
	if (read(go, &c, 1) != 1)
		_exit(7);
	if (victim->allocates)
		allocate_until_killed();
	for (;;)
		pause();
}

static bool read_all(int fd, void *to, size_t size)
{
	return read(fd, to, size) == (ssize_t)size;
}

/* Waits until the second thread sleeps in the kernel. */
static bool wait_until_asleep(struct victim *victim)
{
	char path[64], state = '?';
	int tries;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", victim->pid, victim->tid);
	for (tries = 0; tries < 1000 && state != 'D'; tries++) {
		FILE *file = fopen(path, "r");

		sleep_ms(1);
		if (!file)
			return false;
		if (fscanf(file, "%*d %*s %c", &state) != 1)
			state = '?';
		fclose(file);
	}
	return state == 'D';
}

/* Returns 0 when the victim has its memory and its notifiers. */
int victim_start(struct victim *victim)
{
	int ready[2], go[2];
	bool is_ready;

	if (pipe2(ready, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		return -1;
	victim->pid = fork();
	if (victim->pid < 0)
		return -1;
	if (!victim->pid) {
		close(ready[0]);
		close(go[1]);
		victim_main(victim, ready[1], go[0]);
	}

	close(ready[1]);
	close(go[0]);
	victim->pidfd = sys_pidfd_open(victim->pid);
	is_ready = read_all(ready[0], victim->notifier, sizeof(victim->notifier)) &&
		   read_all(ready[0], &victim->driver, sizeof(victim->driver));
	if (is_ready && victim->linger_ms)
		is_ready = read_all(ready[0], &victim->tid, sizeof(victim->tid)) &&
			   wait_until_asleep(victim);
	if (is_ready)
		is_ready = write(go[1], "g", 1) == 1;
	close(ready[0]);
	close(go[1]);
	return is_ready && victim->pidfd >= 0 ? 0 : -1;
}

/* A file descriptor of the caller for the victim's driver, or -1 */
int victim_take_driver(struct victim *victim)
{
	return syscall(SYS_pidfd_getfd, victim->pidfd, victim->driver, 0);
}

int victim_kill(struct victim *victim)
{
	return kill(victim->pid, SIGKILL);
}

int victim_mrelease(struct victim *victim)
{
	return sys_process_mrelease(victim->pidfd);
}

/* What /proc has behind @label; -1 if the victim is gone */
long victim_memory_kb(struct victim *victim, const char *label)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", victim->pid,
		 victim->tid ?: victim->pid);
	return read_number(path, label);
}

/* What is left of its anonymous memory; -1 if it is gone */
long victim_rss_kb(struct victim *victim)
{
	return victim_memory_kb(victim, "RssAnon:");
}

/* Lets it go. Returns whether it has ended in time. */
bool victim_wait(struct victim *victim, unsigned int seconds)
{
	unsigned int waited;

	ioctl(victim->device, TEST_MMU_NOTIFIER_WAKE);
	for (waited = 0; waited < seconds * 20; waited++) {
		pid_t ended = waitpid(victim->pid, NULL, WNOHANG);

		if (ended == victim->pid || (ended < 0 && errno == ECHILD)) {
			victim->pid = 0;
			return true;
		}
		sleep_ms(50);
	}
	return false;
}

/* For the end of a test, however it went */
void victim_end(struct victim *victim)
{
	if (victim->pid > 0) {
		victim_kill(victim);
		victim_wait(victim, 60);
	}
	if (victim->pidfd > 0)
		close(victim->pidfd);
	victim->pidfd = 0;
}

/* An extra pass comes ahead of each that may block, if this was booted so. */
bool probe_is_on(void)
{
	return read_number("/proc/cmdline", "mmu_notifier_nonblock_probe=") > 0;
}
