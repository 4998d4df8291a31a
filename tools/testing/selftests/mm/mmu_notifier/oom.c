// SPDX-License-Identifier: GPL-2.0-only
/*
 * The OOM reaper, and MMU notifiers that back off: it tries again, and succeeds or
 * gives up; and whatever it does, the machine lives on.
 *
 * Needs root, CONFIG_TEST_MMU_NOTIFIER and tracefs. Makes the machine run out of
 * memory: to be run in a small one of its own.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "init.h"
#include "trace.h"
#include "victim.h"

/* A real OOM kill, and the reaper's ten tries */

FIXTURE(oom)
{
	struct victim victim;
};

FIXTURE_VARIANT(oom)
{
	unsigned int kind;
	unsigned int behaviour;
	unsigned int count;
	bool reaped;
};

FIXTURE_VARIANT_ADD(oom, range) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.reaped = true,
};

FIXTURE_VARIANT_ADD(oom, interval) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.reaped = true,
};

FIXTURE_VARIANT_ADD(oom, two_pass) {
	.kind = TEST_MMU_NOTIFIER_TWO_PASS,
	.reaped = true,
};

FIXTURE_VARIANT_ADD(oom, range_backs_off_three_times) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.count = 3,
	.reaped = true,
};

FIXTURE_VARIANT_ADD(oom, interval_backs_off_three_times) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.count = 3,
	.reaped = true,
};

FIXTURE_VARIANT_ADD(oom, two_pass_backs_off_three_times) {
	.kind = TEST_MMU_NOTIFIER_TWO_PASS,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
	.count = 3,
	.reaped = true,
};

FIXTURE_VARIANT_ADD(oom, range_backs_off) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
};

FIXTURE_VARIANT_ADD(oom, interval_backs_off) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_BACK_OFF,
};

FIXTURE_SETUP(oom)
{
	struct victim *victim = &self->victim;

	ASSERT_EQ(0, write_file("/proc/self/oom_score_adj", "-1000"));
	/* Compaction, which makes them, invalidates what it moves: more calls of the probe. */
	write_file("/sys/kernel/mm/transparent_hugepage/enabled", "never");
	victim->device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, victim->device);
	SKIP_WITHOUT(variant->kind, victim->device);

	victim->linger_ms = LINGER_MS;
	victim->allocates = true;
	victim->nr = 1;
	victim->notifier[0].kind = variant->kind;
	victim->notifier[0].behaviour = variant->behaviour;
	victim->notifier[0].count = variant->count;
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(0, victim_start(victim));
}

FIXTURE_TEARDOWN(oom)
{
	victim_end(&self->victim);
	close(self->victim.device);
}

#define REAPER_TRIES	10

TEST_F_TIMEOUT(oom, reaper_retries_after_back_off, TIMEOUT)
{
	struct victim *victim = &self->victim;
	unsigned int id = victim->notifier[0].id;
	int back_offs = variant->reaped ? (int)variant->count : REAPER_TRIES;
	int tries = back_offs + variant->reaped;
	const long memory_kb = VICTIM_MEMORY >> 10;
	long rss;

	trace_wait_for_reaper(tries);
	EXPECT_EQ(tries, trace_count("start_task_reaping"));
	EXPECT_EQ(back_offs, trace_calls(NULL, NULL, false).back_offs);
	EXPECT_EQ(back_offs, notifier_counts(victim->device, id).back_offs);
	EXPECT_EQ(tries, notifier_counts(victim->device, id).nonblock_starts);
	rss = victim_rss_kb(victim);
	EXPECT_LE(0, rss);
	if (variant->reaped) {
		EXPECT_GT(memory_kb / 2, rss);
	} else {
		EXPECT_LE(memory_kb, rss);
	}

	/* Reaped or not, it exits in the end, and nothing is left behind. */
	EXPECT_TRUE(victim_wait(victim, 60));
	EXPECT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
