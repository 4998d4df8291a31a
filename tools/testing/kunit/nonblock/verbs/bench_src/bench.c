// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of a kernel that is measured: page faults first, then what the module
 * measures. Its arguments are those of the module.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MODULE		"/mmu_notifier_bench.ko"
#define NR_BATCHES	101
#define NR_PAGES	16
#define PAGE		4096

static void fail(const char *what)
{
	printf("bench: failed: %s: %s\n", what, strerror(errno));
}

static long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	long long one = *(const long long *)a, other = *(const long long *)b;

	return (one > other) - (one < other);
}

static void fault_and_munmap(void)
{
	char *memory = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	if (memory == MAP_FAILED) {
		fail("mmap");
		return;
	}
	for (i = 0; i < NR_PAGES; i++)
		((volatile char *)memory)[i * PAGE] = 1;
	munmap(memory, NR_PAGES * PAGE);
}

/* The median, so that a timer interrupt makes no difference */
static void measure_faults(void)
{
	long long ns[NR_BATCHES], since;
	int i;

	for (i = 0; i < 20; i++)
		fault_and_munmap();
	for (i = 0; i < NR_BATCHES; i++) {
		since = now_ns();
		fault_and_munmap();
		ns[i] = now_ns() - since;
	}
	qsort(ns, NR_BATCHES, sizeof(ns[0]), compare);
	printf("bench: fault_munmap %lld\n", ns[NR_BATCHES / 2]);
}

static void load(char **argv)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC);
	char text[256] = "";

	for (; *argv; argv++) {
		strncat(text, *argv, sizeof(text) - strlen(text) - 1);
		strncat(text, " ", sizeof(text) - strlen(text) - 1);
	}
	if (fd < 0 || syscall(SYS_finit_module, fd, text, 0))
		fail(MODULE);
}

int main(int argc, char **argv)
{
	/* Whatever it prints shall keep its place among what the kernel prints. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	measure_faults();
	load(argv + 1);
	printf("bench: end\n");
	/* QEMU does not reboot, but ends. */
	reboot(RB_AUTOBOOT);
	return 1;
}
