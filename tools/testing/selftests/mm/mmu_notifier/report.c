// SPDX-License-Identifier: GPL-2.0-only
/*
 * A notifier that blocks in a real OOM kill: what its author gets to see.
 *
 * Lockdep is off after its first report, so each test wants a boot of its own.
 * What the report says has to be looked for in the log.
 *
 * Needs root, CONFIG_TEST_MMU_NOTIFIER and tracefs. Makes the machine run out of
 * memory.
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

FIXTURE(report)
{
	struct victim victim;
};

FIXTURE_VARIANT(report)
{
	unsigned int kind;
	unsigned int behaviour;
	bool lockdep;
};

FIXTURE_VARIANT_ADD(report, mutex) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_MUTEX,
	.lockdep = true,
};

FIXTURE_VARIANT_ADD(report, allocation) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.behaviour = TEST_MMU_NOTIFIER_ALLOC_NOFS,
	.lockdep = true,
};

FIXTURE_VARIANT_ADD(report, range_end) {
	.kind = TEST_MMU_NOTIFIER_RANGE_END,
	.behaviour = TEST_MMU_NOTIFIER_ALLOC,
	.lockdep = true,
};

FIXTURE_VARIANT_ADD(report, sleep) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_SLEEP,
};

FIXTURE_SETUP(report)
{
	struct victim *victim = &self->victim;

	ASSERT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
	ASSERT_EQ(0, write_file("/proc/self/oom_score_adj", "-1000"));
	victim->device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, victim->device);
	victim->linger_ms = LINGER_MS;
	victim->allocates = true;
	victim->nr = 1;
	victim->notifier[0].kind = variant->kind;
	victim->notifier[0].behaviour = variant->behaviour;
	ASSERT_EQ(0, trace_start());
	ASSERT_EQ(0, victim_start(victim));
}

FIXTURE_TEARDOWN(report)
{
	victim_end(&self->victim);
	close(self->victim.device);
}

TEST_F_TIMEOUT(report, is_made_once, TIMEOUT)
{
	struct victim *victim = &self->victim;
	unsigned int id = victim->notifier[0].id;
	long rss;

	trace_wait_for_reaper(1);
	EXPECT_EQ(1, notifier_counts(victim->device, id).nonblock_starts);
	EXPECT_EQ(!variant->lockdep, read_number("/proc/lockdep_stats", "debug_locks:"));
	/* It is a report, and no more: the reaper goes on. */
	rss = victim_rss_kb(victim);
	EXPECT_LE(0, rss);
	EXPECT_GT((long)VICTIM_MEMORY >> 11, rss);
	EXPECT_TRUE(victim_wait(victim, 60));
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
