// SPDX-License-Identifier: GPL-2.0-only
/*
 * Real drivers' MMU notifiers under a real load: stress-ng uses up the memory, over and
 * over, while processes with a mirror and a virtual machine are killed, for it by the
 * OOM killer or for the sake of it.
 *
 * Needs root, CONFIG_TEST_MMU_NOTIFIER, CONFIG_HIST_TRIGGERS, tracefs, the drivers, and
 * /stress-ng.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../kselftest_harness.h"
#include "../init.h"
#include "../trace.h"
#include "attach.h"

#define SECONDS		"60"
/* What the load may leave in caches */
#define LEFT_KB		(32 << 10)

static pid_t start_load(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	execl("/stress-ng", "stress-ng", "--timeout", SECONDS, "--temp-path", "/tmp",
	      "--pathological", "--oom-pipe", "1", "--bigheap", "1",
	      "--vm", "1", "--vm-bytes", "60%", "--mremap", "1", "--mremap-bytes", "16M",
	      "--mmapfork", "1", "--kvm", "1", "--metrics-brief", NULL);
	_exit(127);
}

static void wait_for_reaper(void)
{
	int i, reaps = trace_count("start_task_reaping");

	for (i = 0; i < 200 && trace_count("start_task_reaping") == reaps; i++)
		sleep_ms(100);
}

/* Returns whether the kernel took its memory before it was gone. */
static bool one_victim(struct victim *victim, unsigned int round)
{
	bool reaped = false;

	victim->attach = attach_kvm_and_hmm;
	victim->allocates = round % 4 == 0;
	/* The OOM reaper comes after two seconds, if there is something left to reap. */
	victim->linger_ms = victim->allocates ? LINGER_MS : 500;
	/* Under such a load it may be killed before it is ready. */
	if (!victim_start(victim)) {
		if (victim->allocates) {
			wait_for_reaper();
			victim_wait(victim, 10);
		} else {
			victim_kill(victim);
			reaped = !victim_mrelease(victim);
		}
	}
	victim_end(victim);
	return reaped;
}

FIXTURE(stress)
{
	struct victim victim;
};

FIXTURE_SETUP(stress)
{
	ASSERT_EQ(0, write_file("/proc/self/oom_score_adj", "-1000"));
	self->victim.device = open(DEVICE, O_RDWR);
	ASSERT_LE(0, self->victim.device);
	ASSERT_EQ(0, access("/stress-ng", X_OK));
	ASSERT_EQ(0, write_file(TRACING "events/oom/mark_victim/enable", "1"));
	ASSERT_EQ(0, write_file(TRACING "events/oom/start_task_reaping/enable", "1"));
	/* There are more calls than the trace can hold. */
	ASSERT_EQ(0, hist_start());
}

FIXTURE_TEARDOWN(stress)
{
	victim_end(&self->victim);
	close(self->victim.device);
}

static long available_kb(void)
{
	sleep_ms(1000);
	return read_number("/proc/meminfo", "MemAvailable:");
}

TEST_F_TIMEOUT(stress, drivers_under_load, TIMEOUT)
{
	long before = available_kb(), after;
	unsigned int victims = 0, reaped = 0;
	pid_t load = start_load();
	int status, oom_kills, oom_reaps, ends;

	ASSERT_LT(0, load);
	while (!waitpid(load, &status, WNOHANG)) {
		reaped += one_victim(&self->victim, victims);
		victims++;
	}
	after = available_kb();
	oom_kills = trace_count("mark_victim");
	oom_reaps = trace_count("start_task_reaping");
	printf("# %u victims, %u of them reaped; %d OOM kills, %d of them reaped\n",
	       victims, reaped, oom_kills, oom_reaps);
	printf("# %ld kB available before, %ld kB after\n", before, after);

	EXPECT_NE(127, WEXITSTATUS(status));
	EXPECT_LT(0, reaped);
	EXPECT_LT(0, oom_kills);
	EXPECT_LT(0, oom_reaps);
	EXPECT_GT(LEFT_KB, before - after);
	EXPECT_LT(0, hist_calls("dmirror_interval_invalidate").nr);
	ends = hist_calls("kvm_mmu_notifier_invalidate_range_end").nr;
	EXPECT_LT(0, ends);
	/* A virtual machine may go between the two. */
	EXPECT_LE(ends, hist_calls("kvm_mmu_notifier_invalidate_range_start").nr);
	EXPECT_EQ(1, read_number("/proc/lockdep_stats", "debug_locks:"));
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
