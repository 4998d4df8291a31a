// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lockdep's tables do not fill up: a KUnit suite that expects reports of every kind,
 * run over and over, leaves nothing behind.
 *
 * Needs CONFIG_KUNIT_DEBUGFS, and the suite: KUnit has run it at boot, or KUnit and the
 * suite are modules in the folder at the top.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "init.h"
#include "victim.h"

#define SUITE	"/sys/kernel/debug/kunit/kunit_report/"
#define STATS	"/proc/lockdep_stats"

/* Each makes more than a hundred reports: what each of them leaves would add up. */
#define ROUNDS	10
#define REPORTS	(ROUNDS * 100)

/*
 * What each report could leave behind is one entry at the least, or of the last two
 * several. A quarter of that is what the kernel itself may come to learn meanwhile: on
 * several CPUs, it takes turns that it did not take before, with KCSAN the most.
 */
static const struct {
	const char *label;
	long most;
} tables[] = {
	{ .label = "lock-classes:", .most = REPORTS / 4 },
	{ .label = "direct dependencies:", .most = REPORTS / 4 },
	{ .label = "dependency chains:", .most = REPORTS / 4 },
	{ .label = "dependency chain hlocks used:", .most = REPORTS },
	{ .label = "stack-trace entries:", .most = REPORTS * 4 },
};

#define NR_TABLES	ARRAY_SIZE(tables)

static void read_tables(long *entries)
{
	unsigned int i;

	for (i = 0; i < NR_TABLES; i++)
		entries[i] = read_number(STATS, tables[i].label);
}

FIXTURE(lockdep)
{
	int unused;
};

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -1;
	ret = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return ret;
}

FIXTURE_SETUP(lockdep)
{
	if (access(SUITE, F_OK)) {
		ASSERT_EQ(0, load("/kunit.ko"));
		ASSERT_EQ(0, load("/report-test.ko"));
	}
}

FIXTURE_TEARDOWN(lockdep)
{
}

/* How many tests of the suite failed when it ran last; -1 if it did not */
static int failures(void)
{
	FILE *file = fopen(SUITE "results", "r");
	int failed = -1;
	char line[256];

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "# Totals: pass:%*d fail:%d", &failed) == 1)
			break;
	}
	fclose(file);
	return failed;
}

TEST_F_TIMEOUT(lockdep, expected_reports_leave_no_trace, TIMEOUT)
{
	long before[NR_TABLES], after[NR_TABLES];
	unsigned int i;

	/* What lockdep learns of the kernel on the way, it has learned then. */
	ASSERT_EQ(0, write_file(SUITE "run", "1"));
	sleep_ms(1000);
	read_tables(before);
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, write_file(SUITE "run", "1"));
		ASSERT_EQ(0, failures());
		ASSERT_EQ(1, read_number(STATS, "debug_locks:"));
	}
	sleep_ms(1000);
	read_tables(after);

	for (i = 0; i < NR_TABLES; i++) {
		printf("# %s %ld before, %ld after %u runs of the suite\n", tables[i].label,
		       before[i], after[i], ROUNDS);
		ASSERT_LT(0, before[i]);
		EXPECT_GT(before[i] + tables[i].most, after[i]) TH_LOG("%s", tables[i].label);
	}
}

int main(int argc, char **argv)
{
	run_as_init();
	return test_harness_run(argc, argv);
}
