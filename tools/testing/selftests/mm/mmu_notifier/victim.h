/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process whose memory is taken away while it cannot go: its main thread is
 * killed, and a second thread sleeps in the kernel and keeps the mm.
 */
#ifndef _VICTIM_H
#define _VICTIM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <lib/test_mmu_notifier_uapi.h>

#define DEVICE	"/dev/test_mmu_notifier"

/* What the notifiers watch, and what has to be gone when it was reaped */
#define VICTIM_MEMORY	(8UL << 20)
#define VICTIM_MAX_NOTIFIERS	4

/*
 * How long the second thread sleeps, if it is not let go: longer than the tests need
 * to see what becomes of the memory, be it in real time.
 */
#define LINGER_MS	TEST_MMU_NOTIFIER_LINGER_MAX
/* For the harness, which counts the same time */
#define TIMEOUT		600

/**
 * struct victim - a process
 * @device: an open file of the device, of the victim only if @own_device
 * @own_device: the victim opens the device itself, so that it is the one to close it
 * @linger_ms: how long its second thread sleeps; 0: has none
 * @allocates: it allocates until it is killed, or else waits
 * @shared: memory that its notifiers watch, instead of memory of its own; or NULL
 * @huge_pages: its own memory is of huge pages
 * @attach: called in the victim, to have a driver watch @VICTIM_MEMORY from there;
 *	    returns 0, or a positive exit status; or NULL
 * @driver: the victim's file descriptor of that, if @attach says so here
 * @nr: how many notifiers it has
 * @notifier: they; kind, behaviour and count are the caller's to fill in
 * @pid: its process id
 * @pidfd: likewise
 * @tid: thread id of the second thread
 */
struct victim {
	int device;
	bool own_device;
	unsigned int linger_ms;
	bool allocates;
	char *shared;
	bool huge_pages;
	int (*attach)(struct victim *victim, char *memory);
	int driver;
	unsigned int nr;
	struct test_mmu_notifier notifier[VICTIM_MAX_NOTIFIERS];
	pid_t pid;
	int pidfd;
	pid_t tid;
};

int victim_start(struct victim *victim);
int victim_take_driver(struct victim *victim);
int victim_kill(struct victim *victim);
int victim_mrelease(struct victim *victim);
long victim_memory_kb(struct victim *victim, const char *label);
long victim_rss_kb(struct victim *victim);
bool victim_wait(struct victim *victim, unsigned int seconds);
void victim_end(struct victim *victim);

int notifier_add(int device, void *start, size_t length, unsigned int kind,
		 unsigned int behaviour, unsigned int count, unsigned int *id);
struct test_mmu_notifier_counts notifier_counts(int device, unsigned int id);
int notifier_set(int device, unsigned int id, unsigned int behaviour);
bool has_two_pass(int device);

#define SKIP_WITHOUT(kind, device)						\
	do {									\
		if ((kind) == TEST_MMU_NOTIFIER_TWO_PASS && !has_two_pass(device)) \
			SKIP(return, "this kernel has no two-pass interval notifiers"); \
	} while (0)

int sys_pidfd_open(pid_t pid);
int sys_process_mrelease(int pidfd);
void sleep_ms(unsigned int ms);
int write_file(const char *path, const char *text);
long read_number(const char *path, const char *label);

/* The nonblocking probe */
#define PROBE	"/sys/kernel/debug/mmu_notifier_nonblock_probe/"

bool probe_is_on(void);

#endif /* _VICTIM_H */
