// SPDX-License-Identifier: GPL-2.0-only
/*
 * The nonblocking probe: an ordinary madvise(2) or munmap(2) calls MMU notifiers once
 * more, as the OOM reaper does, and then does what it ever did.
 *
 * Needs root, CONFIG_TEST_MMU_NOTIFIER, CONFIG_MMU_NOTIFIER_NONBLOCK_PROBE, debugfs
 * and tracefs.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "init.h"
#include "trace.h"
#include "victim.h"

/* A notifier on some memory, in a process whose invalidations are probed */

struct probed {
	int device;
	long page;
	char *memory;
	unsigned int id;
};

static void probe_set(struct __test_metadata *_metadata, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), PROBE "%s", file);
	ASSERT_EQ(0, write_file(path, text)) TH_LOG("%s: %s", path, text);
}

static void probed_start(struct __test_metadata *_metadata, struct probed *probed)
{
	probed->page = sysconf(_SC_PAGESIZE);
	probed->device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, probed->device);
	probed->memory = mmap(NULL, 2 * probed->page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, probed->memory);
	memset(probed->memory, 'x', 2 * probed->page);

	probe_set(_metadata, "probability", "100");
	probe_set(_metadata, "interval", "1");
	probe_set(_metadata, "times", "-1");
	probe_set(_metadata, "task-filter", "N");
	probe_set(_metadata, "module", "\n");
	ASSERT_EQ(0, trace_start());
}

static void probed_end(struct __test_metadata *_metadata, struct probed *probed)
{
	probe_set(_metadata, "probability", "0");
	close(probed->device);
}

static void add(struct __test_metadata *_metadata, struct probed *probed, unsigned int kind,
		unsigned int behaviour)
{
	ASSERT_EQ(0, notifier_add(probed->device, probed->memory, probed->page, kind, behaviour,
				  0, &probed->id));
}

/* One invalidation; to look at what is there then makes for another, at the next write. */
static void take_away(struct __test_metadata *_metadata, struct probed *probed)
{
	probed->memory[0] = 'x';
	ASSERT_EQ(0, madvise(probed->memory, probed->page, MADV_DONTNEED));
}

FIXTURE(probe)
{
	struct probed probed;
};

FIXTURE_VARIANT(probe)
{
	unsigned int kind;
	const char *callback;
};

FIXTURE_VARIANT_ADD(probe, range) {
	.kind = TEST_MMU_NOTIFIER_RANGE,
	.callback = "fake_range_start",
};

FIXTURE_VARIANT_ADD(probe, interval) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.callback = "fake_invalidate",
};

FIXTURE_VARIANT_ADD(probe, two_pass) {
	.kind = TEST_MMU_NOTIFIER_TWO_PASS,
	.callback = "fake_invalidate_start",
};

FIXTURE_SETUP(probe)
{
	probed_start(_metadata, &self->probed);
	SKIP_WITHOUT(variant->kind, self->probed.device);
}

FIXTURE_TEARDOWN(probe)
{
	probed_end(_metadata, &self->probed);
}

#define ROUNDS	10

/* Each extra pass is backed off from, and the memory goes all the same. */
TEST_F_TIMEOUT(probe, back_offs_change_nothing, TIMEOUT)
{
	struct probed *probed = &self->probed;
	struct test_mmu_notifier_counts counts;
	unsigned int i;

	add(_metadata, probed, variant->kind, TEST_MMU_NOTIFIER_BACK_OFF);
	for (i = 0; i < ROUNDS; i++)
		take_away(_metadata, probed);

	counts = notifier_counts(probed->device, probed->id);
	EXPECT_EQ(ROUNDS, counts.nonblock_starts);
	EXPECT_EQ(ROUNDS, counts.back_offs);
	EXPECT_EQ(ROUNDS, counts.starts);
	EXPECT_EQ(0, probed->memory[0]);
	EXPECT_EQ(ROUNDS, trace_calls(variant->callback, NULL, true).back_offs);
	EXPECT_EQ(0, trace_calls(NULL, NULL, false).nr);
}

/* Who succeeds is called in the extra pass, to its end, and again in the real one. */
TEST_F_TIMEOUT(probe, success_changes_nothing, TIMEOUT)
{
	struct probed *probed = &self->probed;
	struct test_mmu_notifier_counts counts;
	unsigned int i;

	add(_metadata, probed, variant->kind, TEST_MMU_NOTIFIER_SUCCEED);
	for (i = 0; i < ROUNDS; i++)
		take_away(_metadata, probed);

	counts = notifier_counts(probed->device, probed->id);
	EXPECT_EQ(ROUNDS, counts.nonblock_starts);
	EXPECT_EQ(counts.ends, counts.nonblock_ends);
	EXPECT_EQ(ROUNDS, counts.starts);
	EXPECT_EQ(0, probed->memory[0]);
}

/* By module, and "kernel" is what is built in. */
TEST_F_TIMEOUT(probe, filter_chooses_notifiers, TIMEOUT)
{
	bool is_module = !access("/sys/module/test_mmu_notifier/refcnt", F_OK);
	struct probed *probed = &self->probed;

	add(_metadata, probed, variant->kind, TEST_MMU_NOTIFIER_SUCCEED);
	probe_set(_metadata, "module", "some_other_module\n");
	take_away(_metadata, probed);
	EXPECT_EQ(0, notifier_counts(probed->device, probed->id).nonblock_starts);
	probe_set(_metadata, "module", is_module ? "test_mmu_notifier\n" : "kernel\n");
	take_away(_metadata, probed);
	EXPECT_EQ(1, notifier_counts(probed->device, probed->id).nonblock_starts);
	EXPECT_EQ(2, notifier_counts(probed->device, probed->id).starts);
}

TEST_F_TIMEOUT(probe, task_filter_chooses_processes, TIMEOUT)
{
	struct probed *probed = &self->probed;

	add(_metadata, probed, variant->kind, TEST_MMU_NOTIFIER_SUCCEED);
	probe_set(_metadata, "task-filter", "Y");
	take_away(_metadata, probed);
	EXPECT_EQ(0, notifier_counts(probed->device, probed->id).nonblock_starts);
	ASSERT_EQ(0, write_file("/proc/self/make-it-fail", "1"));
	take_away(_metadata, probed);
	EXPECT_EQ(1, notifier_counts(probed->device, probed->id).nonblock_starts);
}

/* A task that waits for a fault of its own gets no extra pass. */
TEST_F_TIMEOUT(probe, fail_nth_is_for_faults, TIMEOUT)
{
	struct probed *probed = &self->probed;

	add(_metadata, probed, variant->kind, TEST_MMU_NOTIFIER_SUCCEED);
	ASSERT_EQ(0, write_file("/proc/thread-self/fail-nth", "2"));
	take_away(_metadata, probed);
	EXPECT_EQ(0, notifier_counts(probed->device, probed->id).nonblock_starts);
	EXPECT_EQ(2, read_number("/proc/thread-self/fail-nth", ""));
	ASSERT_EQ(0, write_file("/proc/thread-self/fail-nth", "0"));
	take_away(_metadata, probed);
	EXPECT_EQ(1, notifier_counts(probed->device, probed->id).nonblock_starts);
}

/* To be run on its own: the others set the probe as they want it. */
TEST(is_set_by_command_line)
{
	if (!probe_is_on())
		SKIP(return, "the command line does not set the probe");
	EXPECT_EQ(100, read_number(PROBE "probability", ""));
}

/*
 * A notifier that blocks, and no OOM kill in sight. What the report says has to be
 * looked for in the log; lockdep is off then, so each wants a boot of its own.
 */

FIXTURE(probe_report)
{
	struct probed probed;
};

FIXTURE_VARIANT(probe_report)
{
	unsigned int kind;
	unsigned int behaviour;
};

FIXTURE_VARIANT_ADD(probe_report, mutex) {
	.kind = TEST_MMU_NOTIFIER_INTERVAL,
	.behaviour = TEST_MMU_NOTIFIER_MUTEX,
};

FIXTURE_VARIANT_ADD(probe_report, range_end) {
	.kind = TEST_MMU_NOTIFIER_RANGE_END,
	.behaviour = TEST_MMU_NOTIFIER_ALLOC,
};

FIXTURE_SETUP(probe_report)
{
	ASSERT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
	probed_start(_metadata, &self->probed);
}

FIXTURE_TEARDOWN(probe_report)
{
	probed_end(_metadata, &self->probed);
}

TEST_F_TIMEOUT(probe_report, munmap_is_reported, TIMEOUT)
{
	struct probed *probed = &self->probed;

	add(_metadata, probed, variant->kind, variant->behaviour);
	EXPECT_EQ(0, munmap(probed->memory, probed->page));
	EXPECT_EQ(1, notifier_counts(probed->device, probed->id).nonblock_starts);
	EXPECT_EQ(1, notifier_counts(probed->device, probed->id).starts);
	EXPECT_EQ(0, read_number("/proc/lockdep_stats", "debug_locks:"));
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
