// SPDX-License-Identifier: GPL-2.0-only
/*
 * process_mrelease(2), and MMU notifiers that back off: -EAGAIN all the way to user
 * space, and success when it tries again.
 *
 * Needs root, CONFIG_TEST_MMU_NOTIFIER and tracefs.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "init.h"
#include "trace.h"
#include "victim.h"

/* process_mrelease(2) on a victim with one notifier */

/* By kind: what the device calls its callbacks, first and second */
static const char * const callbacks[][2] = {
	[TEST_MMU_NOTIFIER_RANGE] = { "fake_range_start" },
	[TEST_MMU_NOTIFIER_RANGE_END] = { "fake_range_start", "fake_range_end" },
	[TEST_MMU_NOTIFIER_INTERVAL] = { "fake_invalidate" },
	[TEST_MMU_NOTIFIER_TWO_PASS] = { "fake_invalidate_start", "fake_invalidate_finish" },
};

FIXTURE(mrelease)
{
	struct victim victim;
};

FIXTURE_VARIANT(mrelease)
{
	unsigned int kind;
	unsigned int behaviour;
	unsigned int count;
	bool lock_held;
	int back_offs;		/* how often it backs off, until it is told not to */
};

FIXTURE_VARIANT_ADD(mrelease, range) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
};

FIXTURE_VARIANT_ADD(mrelease, range_end) {
	.kind = TEST_MMU_NOTIFIER_RANGE_END,
};

FIXTURE_VARIANT_ADD(mrelease, interval) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
};

FIXTURE_VARIANT_ADD(mrelease, two_pass) {
	.kind = TEST_MMU_NOTIFIER_TWO_PASS,
};

FIXTURE_VARIANT_ADD(mrelease, range_backs_off) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.back_offs = 5,
};

FIXTURE_VARIANT_ADD(mrelease, interval_backs_off) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.back_offs = 5,
};

FIXTURE_VARIANT_ADD(mrelease, two_pass_backs_off) {
	.kind = TEST_MMU_NOTIFIER_TWO_PASS,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.back_offs = 5,
};

FIXTURE_VARIANT_ADD(mrelease, range_backs_off_twice) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.count = 2,
	.back_offs = 2,
};

FIXTURE_VARIANT_ADD(mrelease, interval_backs_off_twice) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.count = 2,
	.back_offs = 2,
};

FIXTURE_VARIANT_ADD(mrelease, range_lock_held) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.behaviour = TEST_MMU_NOTIFIER_TRYLOCK,
	.lock_held = true,
	.back_offs = 3,
};

FIXTURE_VARIANT_ADD(mrelease, interval_lock_held) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_TRYLOCK,
	.lock_held = true,
	.back_offs = 3,
};

FIXTURE_VARIANT_ADD(mrelease, interval_lock_free) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_TRYLOCK,
};

FIXTURE_SETUP(mrelease)
{
	struct victim *victim = &self->victim;

	victim->device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, victim->device);
	SKIP_WITHOUT(variant->kind, victim->device);

	victim->linger_ms = LINGER_MS;
	victim->nr = 1;
	victim->notifier[0].kind = variant->kind;
	victim->notifier[0].behaviour = variant->behaviour;
	victim->notifier[0].count = variant->count;
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(0, victim_start(victim));
	if (variant->lock_held) {
		ASSERT_EQ(0, ioctl(victim->device, TEST_MMU_NOTIFIER_HOLD));
	}
}

FIXTURE_TEARDOWN(mrelease)
{
	victim_end(&self->victim);
	close(self->victim.device);
}

/* What is traced of the memory that is watched is what the device has counted. */
static void expect_traced(struct __test_metadata *_metadata, struct victim *victim)
{
	const struct test_mmu_notifier *watched = &victim->notifier[0];
	struct test_mmu_notifier_counts counts = notifier_counts(victim->device, watched->id);
	struct calls first = trace_calls(callbacks[watched->kind][0], watched, false), second;

	EXPECT_EQ(counts.nonblock_starts, first.nr);
	EXPECT_EQ(counts.back_offs, first.back_offs);
	EXPECT_LT(0, first.ns);
	if (callbacks[watched->kind][1]) {
		second = trace_calls(callbacks[watched->kind][1], watched, false);
		EXPECT_EQ(counts.nonblock_ends, second.nr);
		EXPECT_EQ(0, second.back_offs);
	}
	/* Of all VMAs, nobody backs off from another. */
	EXPECT_EQ(counts.back_offs, trace_calls(NULL, NULL, false).back_offs);
}

TEST_F_TIMEOUT(mrelease, back_off_reaches_user_space, TIMEOUT)
{
	struct victim *victim = &self->victim;
	unsigned int id = victim->notifier[0].id;
	const long memory_kb = VICTIM_MEMORY >> 10;
	long rss;
	int i;

	/* It does not die yet: that would be no reason to take its memory. */
	ASSERT_EQ(-1, victim_mrelease(victim));
	ASSERT_EQ(EINVAL, errno);

	ASSERT_EQ(0, victim_kill(victim));
	for (i = 0; i < variant->back_offs; i++) {
		EXPECT_EQ(-1, victim_mrelease(victim));
		EXPECT_EQ(EAGAIN, errno);
		EXPECT_LE(memory_kb, victim_rss_kb(victim));
	}

	/* Always: until it is told otherwise, or the lock is free. */
	if (variant->lock_held) {
		ASSERT_EQ(0, ioctl(victim->device, TEST_MMU_NOTIFIER_RELEASE));
	} else if (variant->back_offs && !variant->count) {
		ASSERT_EQ(0, notifier_set(victim->device, id, TEST_MMU_NOTIFIER_SUCCEED));
	}
	EXPECT_EQ(0, victim_mrelease(victim));
	rss = victim_rss_kb(victim);
	EXPECT_LE(0, rss);
	EXPECT_GT(memory_kb / 2, rss);

	EXPECT_EQ(variant->back_offs, notifier_counts(victim->device, id).back_offs);
	EXPECT_EQ(variant->back_offs + 1, notifier_counts(victim->device, id).nonblock_starts);
	expect_traced(_metadata, victim);
	EXPECT_TRUE(victim_wait(victim, 60));
}

/* process_mrelease(2) on other victims */

FIXTURE(other)
{
	struct victim victim;
};

FIXTURE_SETUP(other)
{
	self->victim.device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, self->victim.device);
	ASSERT_EQ(0, trace_start());
}

FIXTURE_TEARDOWN(other)
{
	victim_end(&self->victim);
	close(self->victim.device);
}

/*
 * A range notifier backs off after the interval notifiers were called. If nobody
 * ends their pass, the victim waits forever in exit, where it closes the device.
 */
TEST_F_TIMEOUT(other, with_both_kinds_exits, TIMEOUT)
{
	struct victim *victim = &self->victim;
	bool exited;

	victim->own_device = true;
	victim->linger_ms = LINGER_MS;
	victim->nr = 2;
	victim->notifier[0].kind = TEST_MMU_NOTIFIER_RANGE;
	victim->notifier[0].behaviour = TEST_MMU_NOTIFIER_BACK_OFF;
	victim->notifier[1].kind = TEST_MMU_NOTIFIER_INTERVAL;
	ASSERT_EQ(0, victim_start(victim));

	EXPECT_EQ(0, victim_kill(victim));
	EXPECT_EQ(-1, victim_mrelease(victim));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(1, trace_calls("fake_range_start", NULL, false).back_offs);
	exited = victim_wait(victim, 60);
	EXPECT_TRUE(exited)
		TH_LOG("the victim hangs in exit, in wait for a pass that is over");
	if (!exited)
		victim->pid = 0;	/* and so would the teardown */
}

/* Shared memory is not reaped, so nobody is asked about it. */
TEST_F_TIMEOUT(other, with_shared_memory_keeps_it, TIMEOUT)
{
	struct victim *victim = &self->victim;
	char *shared = mmap(NULL, VICTIM_MEMORY, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, shared);
	memset(shared, 'x', VICTIM_MEMORY);
	victim->shared = shared;
	victim->linger_ms = LINGER_MS;
	victim->nr = 1;
	victim->notifier[0].kind = TEST_MMU_NOTIFIER_INTERVAL;
	victim->notifier[0].behaviour = TEST_MMU_NOTIFIER_BACK_OFF;
	ASSERT_EQ(0, victim_start(victim));

	EXPECT_EQ(0, victim_kill(victim));
	EXPECT_EQ(0, victim_mrelease(victim));
	EXPECT_EQ(0, notifier_counts(victim->device, victim->notifier[0].id).nonblock_starts);
	EXPECT_EQ('x', shared[VICTIM_MEMORY - 1]);
	EXPECT_TRUE(victim_wait(victim, 60));
}

/* Nor are huge pages. */
TEST_F_TIMEOUT(other, with_huge_pages_keeps_them, TIMEOUT)
{
	struct victim *victim = &self->victim;

	if (write_file("/proc/sys/vm/nr_hugepages", "8"))
		SKIP(return, "this kernel has no huge pages");

	victim->huge_pages = true;
	victim->linger_ms = LINGER_MS;
	victim->nr = 1;
	victim->notifier[0].kind = TEST_MMU_NOTIFIER_INTERVAL;
	victim->notifier[0].behaviour = TEST_MMU_NOTIFIER_BACK_OFF;
	ASSERT_EQ(0, victim_start(victim));

	EXPECT_EQ(0, victim_kill(victim));
	EXPECT_EQ(0, victim_mrelease(victim));
	EXPECT_EQ(0, notifier_counts(victim->device, victim->notifier[0].id).nonblock_starts);
	EXPECT_LE((long)VICTIM_MEMORY >> 10, victim_memory_kb(victim, "HugetlbPages:"));
	EXPECT_TRUE(victim_wait(victim, 60));
	EXPECT_EQ(0, write_file("/proc/sys/vm/nr_hugepages", "0"));
}

/* The table that ftrace makes of the events */
TEST_F_TIMEOUT(other, is_counted_by_hist_trigger, TIMEOUT)
{
	struct victim *victim = &self->victim;
	struct calls calls;
	int i;

	if (access(NONBLOCK "hist", F_OK))
		SKIP(return, "this kernel has no hist triggers");

	victim->linger_ms = LINGER_MS;
	victim->nr = 1;
	victim->notifier[0].kind = TEST_MMU_NOTIFIER_INTERVAL;
	victim->notifier[0].behaviour = TEST_MMU_NOTIFIER_BACK_OFF;
	victim->notifier[0].count = 2;
	ASSERT_EQ(0, victim_start(victim));
	ASSERT_EQ(0, hist_start());

	EXPECT_EQ(0, victim_kill(victim));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(i < 2 ? -1 : 0, victim_mrelease(victim));
	calls = hist_calls("fake_invalidate");
	EXPECT_EQ(3, calls.nr);
	EXPECT_EQ(2, calls.back_offs);
	EXPECT_LT(0, calls.ns);
	EXPECT_EQ(3, hist_calls(NULL).nr);
	EXPECT_TRUE(victim_wait(victim, 60));
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
