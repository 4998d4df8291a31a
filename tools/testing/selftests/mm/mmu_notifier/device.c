// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/test_mmu_notifier itself: what it counts, what it refuses, and that it
 * goes in any order.
 *
 * Needs root and CONFIG_TEST_MMU_NOTIFIER.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "init.h"
#include "victim.h"

#define NOBODY	65534

FIXTURE(device)
{
	int device;
	long page;
	char *memory;
};

FIXTURE_SETUP(device)
{
	self->page = sysconf(_SC_PAGESIZE);
	self->device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, self->device);
	self->memory = mmap(NULL, 4 * self->page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
}

FIXTURE_TEARDOWN(device)
{
	close(self->device);
}

TEST_F(device, is_for_root_only)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		/* Even where the file says that all may. */
		if (chmod(DEVICE, 0666) || setuid(NOBODY))
			_exit(1);
		_exit(open(DEVICE, O_RDWR) < 0 && errno == EPERM ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, chmod(DEVICE, 0600));
}

#define EXPECT_ERRNO(error, call)	\
	do {				\
		errno = 0;		\
		EXPECT_EQ(-1, call);	\
		EXPECT_EQ(error, errno);	\
	} while (0)

TEST_F(device, refuses_bad_arguments)
{
	struct test_mmu_notifier good = {
		.start = (unsigned long)self->memory,
		.length = self->page,
		.kind = TEST_MMU_NOTIFIER_RANGE,
	};
	struct test_mmu_notifier bad[] = { good, good, good, good, good, good, good, good, good };
	unsigned int i;

	bad[0].length = 0;
	bad[1].length = UINT64_MAX;
	bad[2].start = UINT64_MAX - 4095;
	bad[3].start = -good.length;
	bad[4].kind = TEST_MMU_NOTIFIER_TWO_PASS + 1;
	bad[5].behaviour = TEST_MMU_NOTIFIER_SLEEP + 1;
	bad[6].count = 1;
	bad[7].id = 1;
	bad[8].kind = TEST_MMU_NOTIFIER_RANGE_END;
	bad[8].behaviour = TEST_MMU_NOTIFIER_BACK_OFF;

	EXPECT_EQ(0, ioctl(self->device, TEST_MMU_NOTIFIER_ADD, &good));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		errno = 0;
		EXPECT_EQ(-1, ioctl(self->device, TEST_MMU_NOTIFIER_ADD, &bad[i]))
			TH_LOG("bad[%u]", i);
		EXPECT_EQ(EINVAL, errno) TH_LOG("bad[%u]", i);
	}
}

TEST_F(device, refuses_bad_ioctls)
{
	unsigned int id = TEST_MMU_NOTIFIER_MAX, ms = TEST_MMU_NOTIFIER_LINGER_MAX + 1;
	struct test_mmu_notifier_counts of_nobody = { .id = 5 };
	struct test_mmu_notifier nobody = { .id = UINT_MAX };

	EXPECT_ERRNO(ENOTTY, ioctl(self->device, _IO(TEST_MMU_NOTIFIER_MAGIC, 8)));
	/* Of another size */
	EXPECT_ERRNO(ENOTTY, ioctl(self->device, _IOW(TEST_MMU_NOTIFIER_MAGIC, 2, __u64), &id));
	EXPECT_ERRNO(EFAULT, ioctl(self->device, TEST_MMU_NOTIFIER_ADD, NULL));
	EXPECT_ERRNO(EFAULT, ioctl(self->device, TEST_MMU_NOTIFIER_SET, NULL));
	EXPECT_ERRNO(EFAULT, ioctl(self->device, TEST_MMU_NOTIFIER_REMOVE, NULL));
	EXPECT_ERRNO(EFAULT, ioctl(self->device, TEST_MMU_NOTIFIER_READ, NULL));
	EXPECT_ERRNO(EFAULT, ioctl(self->device, TEST_MMU_NOTIFIER_LINGER, NULL));
	EXPECT_ERRNO(ENOENT, ioctl(self->device, TEST_MMU_NOTIFIER_SET, &nobody));
	EXPECT_ERRNO(ENOENT, ioctl(self->device, TEST_MMU_NOTIFIER_REMOVE, &id));
	EXPECT_ERRNO(ENOENT, ioctl(self->device, TEST_MMU_NOTIFIER_READ, &of_nobody));
	EXPECT_ERRNO(EINVAL, ioctl(self->device, TEST_MMU_NOTIFIER_LINGER, &ms));
	EXPECT_ERRNO(EPERM, ioctl(self->device, TEST_MMU_NOTIFIER_RELEASE));
}

/* What cannot be handed back must not stay behind either. */
TEST_F(device, forgets_what_it_cannot_return)
{
	char *memory = self->memory;
	struct test_mmu_notifier *arg = (void *)memory;

	arg->start = (unsigned long)memory;
	arg->length = self->page;
	ASSERT_EQ(0, mprotect(memory, self->page, PROT_READ));
	EXPECT_ERRNO(EFAULT, ioctl(self->device, TEST_MMU_NOTIFIER_ADD, memory));
	EXPECT_EQ(UINT_MAX, notifier_counts(self->device, 0).id);
}

TEST_F(device, has_a_limit)
{
	unsigned int i, id;

	for (i = 0; i < TEST_MMU_NOTIFIER_MAX; i++) {
		ASSERT_EQ(0, notifier_add(self->device, self->memory, self->page,
					  i % 2 ? TEST_MMU_NOTIFIER_INTERVAL :
					  TEST_MMU_NOTIFIER_RANGE,
					  TEST_MMU_NOTIFIER_SUCCEED, 0, &id));
		EXPECT_EQ(i, id);
	}
	EXPECT_ERRNO(ENOSPC, notifier_add(self->device, self->memory, self->page,
					  TEST_MMU_NOTIFIER_RANGE,
					  TEST_MMU_NOTIFIER_SUCCEED, 0, &id));

	/* The first that is free */
	i = 7;
	ASSERT_EQ(0, ioctl(self->device, TEST_MMU_NOTIFIER_REMOVE, &i));
	EXPECT_EQ(0, notifier_add(self->device, self->memory, self->page, TEST_MMU_NOTIFIER_RANGE,
				  TEST_MMU_NOTIFIER_SUCCEED, 0, &id));
	EXPECT_EQ(7, id);
}

TEST_F(device, one_holds_the_lock)
{
	int other = open(DEVICE, O_RDWR);

	ASSERT_LE(0, other);
	EXPECT_EQ(0, ioctl(self->device, TEST_MMU_NOTIFIER_HOLD));
	EXPECT_ERRNO(EBUSY, ioctl(other, TEST_MMU_NOTIFIER_HOLD));
	EXPECT_ERRNO(EBUSY, ioctl(self->device, TEST_MMU_NOTIFIER_HOLD));
	EXPECT_ERRNO(EPERM, ioctl(other, TEST_MMU_NOTIFIER_RELEASE));
	EXPECT_EQ(0, ioctl(self->device, TEST_MMU_NOTIFIER_RELEASE));
	EXPECT_EQ(0, ioctl(other, TEST_MMU_NOTIFIER_HOLD));
	/* The end of the file is the end of that. */
	close(other);
	EXPECT_EQ(0, ioctl(self->device, TEST_MMU_NOTIFIER_HOLD));
}

/* With the probe, an extra pass comes ahead of each that may block. */
static void expect_passes(struct __test_metadata *_metadata, int device, unsigned int id,
			  uint64_t nr, uint64_t nr_ends)
{
	struct test_mmu_notifier_counts counts = notifier_counts(device, id);

	EXPECT_EQ(nr, counts.starts);
	EXPECT_EQ(nr_ends, counts.ends);
	EXPECT_EQ(probe_is_on() ? nr : 0, counts.nonblock_starts);
	EXPECT_EQ(probe_is_on() ? nr_ends : 0, counts.nonblock_ends);
}

/* munmap() of one page each: the notifier's, one that is not, one of two */
TEST_F(device, counts_calls_for_its_range)
{
	unsigned int range, interval;
	long page = self->page;

	memset(self->memory, 1, 4 * page);
	ASSERT_EQ(0, notifier_add(self->device, self->memory + page, 2 * page,
				  TEST_MMU_NOTIFIER_RANGE_END,
				  TEST_MMU_NOTIFIER_SUCCEED, 0, &range));
	ASSERT_EQ(0, notifier_add(self->device, self->memory + page, 2 * page,
				  TEST_MMU_NOTIFIER_INTERVAL,
				  TEST_MMU_NOTIFIER_SUCCEED, 0, &interval));

	EXPECT_EQ(0, munmap(self->memory, page));
	expect_passes(_metadata, self->device, range, 0, 0);
	expect_passes(_metadata, self->device, interval, 0, 0);
	EXPECT_EQ(0, munmap(self->memory + page, page));
	expect_passes(_metadata, self->device, range, 1, 1);
	expect_passes(_metadata, self->device, interval, 1, 0);
	EXPECT_EQ(0, munmap(self->memory + 2 * page, 2 * page));
	expect_passes(_metadata, self->device, range, 2, 2);
	expect_passes(_metadata, self->device, interval, 2, 0);
}

/* The mm first or the file first: a child has both, we the file, or nobody. */
TEST_F(device, goes_in_any_order)
{
	unsigned int way;

	for (way = 0; way < 4; way++) {
		int device = open(DEVICE, O_RDWR), status;
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			int mine = way & 1 ? open(DEVICE, O_RDWR) : device;
			unsigned int kind;

			for (kind = TEST_MMU_NOTIFIER_RANGE; kind <= TEST_MMU_NOTIFIER_INTERVAL;
			     kind++) {
				if (notifier_add(mine, self->memory, self->page, kind,
						 TEST_MMU_NOTIFIER_SUCCEED, 0, NULL))
					_exit(1);
			}
			if (way & 2)
				close(mine);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		/* Its mm is gone, and what watched it can still be asked. */
		EXPECT_EQ(way & 1 ? UINT_MAX : 0, notifier_counts(device, 0).id);
		EXPECT_EQ(0, close(device));
	}
}

/* Random ioctls, most of them almost right, by processes that come and go */

#define FUZZ_ROUNDS	50
#define FUZZ_CALLS	200

static uint64_t interesting(unsigned long around)
{
	switch (rand() % 8) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX - rand() % 8192;
	case 2:
		return (uint64_t)rand() << 33 | rand();
	default:
		return around + rand() % 3 * 4096;
	}
}

static void fuzz_call(int device, char *memory)
{
	static const unsigned long commands[] = {
		TEST_MMU_NOTIFIER_ADD, TEST_MMU_NOTIFIER_SET, TEST_MMU_NOTIFIER_REMOVE,
		TEST_MMU_NOTIFIER_READ, TEST_MMU_NOTIFIER_HOLD, TEST_MMU_NOTIFIER_RELEASE,
		TEST_MMU_NOTIFIER_LINGER, TEST_MMU_NOTIFIER_WAKE,
	};
	unsigned long command = commands[rand() % ARRAY_SIZE(commands)];
	union {
		struct test_mmu_notifier notifier;
		struct test_mmu_notifier_counts counts;
		__u32 number;
	} arg = {
		.notifier = {
			.start = interesting((unsigned long)memory),
			.length = interesting(4096),
			.kind = rand() % 5,
			/* What is wrong would be reported. */
			.behaviour = rand() % (probe_is_on() ? 3 : 9),
			.count = rand() % 4 ? 0 : rand() % 10,
			.id = rand() % 4 ? 0 : rand() % 70,
		},
	};

	/* An id, or a time to sleep */
	if (command != TEST_MMU_NOTIFIER_ADD && command != TEST_MMU_NOTIFIER_SET)
		arg.number = rand() % 70;
	if (rand() % 20 == 0)
		command ^= 1UL << rand() % 32;
	ioctl(device, command, rand() % 20 ? (void *)&arg : (void *)interesting((long)memory));
}

static void fuzz(int device, char *memory, unsigned int seed)
{
	unsigned int i;

	srand(seed);
	for (i = 0; i < FUZZ_CALLS; i++) {
		fuzz_call(device, memory);
		if (i % 10 == 0)
			madvise(memory, 4096, MADV_DONTNEED);
	}
}

TEST_F_TIMEOUT(device, survives_random_ioctls, TIMEOUT)
{
	unsigned int i;

	for (i = 0; i < FUZZ_ROUNDS; i++) {
		int device = i % 3 ? open(DEVICE, O_RDWR) : self->device, status;
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid) {
			fuzz(device, self->memory, i);
			_exit(0);
		}
		fuzz(device, self->memory, i + FUZZ_ROUNDS);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		if (i % 3)
			ASSERT_EQ(0, close(device));
	}
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
