// SPDX-License-Identifier: GPL-2.0-only
/*
 * Real drivers' MMU notifiers, when the OOM reaper or process_mrelease(2) takes the
 * memory that they watch. None of them may be reported.
 *
 * Needs root, CONFIG_TEST_MMU_NOTIFIER, CONFIG_HIST_TRIGGERS, tracefs and the drivers.
 * Makes the machine run out of memory: to be run in a small one of its own.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../../kselftest_harness.h"
#include "../init.h"
#include "../trace.h"
#include "attach.h"

#define MEMORY_KB	((long)VICTIM_MEMORY >> 10)
#define REAPER_TRIES	10

FIXTURE(driver)
{
	struct victim victim;
};

/*
 * One or two drivers. attach() has them watch the memory; callback is the one that
 * has to be called, or, if back_offs, that backs off; fake is the kind of a fake
 * notifier that backs off as well, if back_offs; back_offs is how often the range is
 * left alone, or ALWAYS.
 */
FIXTURE_VARIANT(driver)
{
	int (*attach)(struct victim *victim, char *memory);
	const char *callback;
	unsigned int fake;
	int back_offs;
};

#define ALWAYS	(-1)

FIXTURE_VARIANT_ADD(driver, hmm) {
	.attach = attach_hmm,
	.callback = "dmirror_interval_invalidate",
};

FIXTURE_VARIANT_ADD(driver, kvm) {
	.attach = attach_kvm,
	.callback = "kvm_mmu_notifier_invalidate_range_start",
};

FIXTURE_VARIANT_ADD(driver, kvm_and_hmm) {
	.attach = attach_kvm_and_hmm,
	.callback = "kvm_mmu_notifier_invalidate_range_start",
};

/* KVM is not called at all if an interval notifier backs off, ... */
FIXTURE_VARIANT_ADD(driver, kvm_and_interval_that_backs_off) {
	.attach = attach_kvm,
	.callback = "fake_invalidate",
	.fake = TEST_MMU_NOTIFIER_INTERVAL,
	.back_offs = 3,
};

/* ... and its range_end is called for each start if another range notifier does. */
FIXTURE_VARIANT_ADD(driver, kvm_and_range_that_backs_off) {
	.attach = attach_kvm,
	.callback = "fake_range_start",
	.fake = TEST_MMU_NOTIFIER_RANGE,
	.back_offs = 3,
};

/* The interval notifier of Soft-RoCE never does anything else. */
FIXTURE_VARIANT_ADD(driver, rxe) {
	.attach = attach_rxe,
	.callback = "rxe_ib_invalidate_range",
	.back_offs = ALWAYS,
};

FIXTURE_SETUP(driver)
{
	struct victim *victim = &self->victim;

	ASSERT_EQ(0, write_file("/proc/self/oom_score_adj", "-1000"));
	victim->device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, victim->device);
	if (variant->attach == attach_rxe && rxe_start())
		SKIP(return, "rxe has no on-demand paging");

	victim->attach = variant->attach;
	victim->linger_ms = LINGER_MS;
	if (variant->back_offs > 0) {
		victim->nr = 1;
		victim->notifier[0].kind = variant->fake;
		victim->notifier[0].behaviour = TEST_MMU_NOTIFIER_BACK_OFF;
		victim->notifier[0].count = variant->back_offs;
	}
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(0, hist_start());
}

FIXTURE_TEARDOWN(driver)
{
	victim_end(&self->victim);
	close(self->victim.device);
}

TEST_F_TIMEOUT(driver, mrelease, TIMEOUT)
{
	int i, back_offs = variant->back_offs == ALWAYS ? 5 : variant->back_offs;
	struct victim *victim = &self->victim;
	struct calls calls;

	ASSERT_EQ(0, victim_start(victim));
	ASSERT_EQ(0, victim_kill(victim));
	for (i = 0; i < back_offs; i++) {
		EXPECT_EQ(-1, victim_mrelease(victim));
		EXPECT_EQ(EAGAIN, errno);
		EXPECT_LE(MEMORY_KB, victim_rss_kb(victim));
	}
	if (variant->back_offs != ALWAYS) {
		EXPECT_EQ(0, victim_mrelease(victim));
		EXPECT_LE(0, victim_rss_kb(victim));
		EXPECT_GT(MEMORY_KB / 2, victim_rss_kb(victim));
	}

	calls = hist_calls(variant->callback);
	EXPECT_LT(0, calls.nr);
	EXPECT_EQ(back_offs, calls.back_offs);
	EXPECT_EQ(back_offs, hist_calls(NULL).back_offs);
	EXPECT_TRUE(victim_wait(victim, 60));
	EXPECT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
}

TEST_F_TIMEOUT(driver, oom_kill, TIMEOUT)
{
	bool gives_up = variant->back_offs == ALWAYS;
	int back_offs = gives_up ? REAPER_TRIES : variant->back_offs;
	struct victim *victim = &self->victim;
	long rss;

	victim->allocates = true;
	ASSERT_EQ(0, victim_start(victim));
	trace_wait_for_reaper(back_offs + !gives_up);

	EXPECT_EQ(back_offs + !gives_up, trace_count("start_task_reaping"));
	EXPECT_EQ(back_offs, hist_calls(variant->callback).back_offs);
	rss = victim_rss_kb(victim);
	EXPECT_LE(0, rss);
	if (gives_up) {
		EXPECT_LE(MEMORY_KB, rss);
	} else {
		EXPECT_GT(MEMORY_KB / 2, rss);
	}
	EXPECT_TRUE(victim_wait(victim, 60));
	EXPECT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
}

/* A lock that the device holds, most of the time */

struct reader {
	pthread_t thread;
	int device;
	unsigned long address;
	atomic_bool *stop;
};

static void *read_all_the_time(void *data)
{
	struct reader *reader = data;
	char *to = malloc(VICTIM_MEMORY);

	while (to && !atomic_load(reader->stop))
		hmm_read(reader->device, reader->address, VICTIM_MEMORY, to);
	free(to);
	return NULL;
}

#define NR_READERS	4

static int start_readers(struct reader *readers, struct victim *victim, atomic_bool *stop)
{
	int i, device = victim_take_driver(victim);

	for (i = 0; i < NR_READERS; i++) {
		readers[i].device = device;
		readers[i].address = victim->notifier[0].start;
		readers[i].stop = stop;
		if (device < 0 ||
		    pthread_create(&readers[i].thread, NULL, read_all_the_time, &readers[i]))
			return -1;
	}
	return 0;
}

static void stop_readers(struct reader *readers, atomic_bool *stop)
{
	int i;

	atomic_store(stop, true);
	for (i = 0; i < NR_READERS; i++)
		pthread_join(readers[i].thread, NULL);
	close(readers[0].device);
}

FIXTURE(contended)
{
	struct victim victim;
};

FIXTURE_SETUP(contended)
{
	self->victim.device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, self->victim.device);
	self->victim.attach = attach_hmm;
	self->victim.linger_ms = LINGER_MS;
	/* It tells where the memory is. */
	self->victim.nr = 1;
	self->victim.notifier[0].kind = TEST_MMU_NOTIFIER_INTERVAL;
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(0, hist_start());
}

FIXTURE_TEARDOWN(contended)
{
	victim_end(&self->victim);
	close(self->victim.device);
}

/* Who reads it holds the lock that the callback tries. */
TEST_F_TIMEOUT(contended, hmm_backs_off_and_is_reaped_later, TIMEOUT)
{
	struct victim *victim = &self->victim;
	struct reader readers[NR_READERS];
	atomic_bool stop = false;
	int tries = 0, ret;

	ASSERT_EQ(0, victim_start(victim));
	ASSERT_EQ(0, start_readers(readers, victim, &stop));
	sleep_ms(500);
	ASSERT_EQ(0, victim_kill(victim));
	do {
		ret = victim_mrelease(victim);
	} while (++tries < 10 && ret && errno == EAGAIN);
	stop_readers(readers, &stop);

	printf("# tried %d times under contention\n", tries);
	EXPECT_LT(1, tries)
		TH_LOG("the lock was free, though %d threads want it", NR_READERS);
	/* It mirrors all of the mm, so that it backs off from more than one VMA. */
	EXPECT_LE(tries - !ret, hist_calls("dmirror_interval_invalidate").back_offs);
	EXPECT_EQ(0, victim_mrelease(victim));
	EXPECT_GT(MEMORY_KB / 2, victim_rss_kb(victim));
	EXPECT_TRUE(victim_wait(victim, 60));
	EXPECT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
