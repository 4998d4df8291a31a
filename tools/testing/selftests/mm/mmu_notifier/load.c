// SPDX-License-Identifier: GPL-2.0-only
/*
 * The init of a kernel that has no other program: loads the modules that are its
 * arguments, one after the other, and powers off. "-NAME" unloads one. Needs nothing
 * mounted.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return fd;
	ret = syscall(SYS_finit_module, fd, "", 0);
	close(fd);
	return ret;
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		int ret = 0;

		/* UML adds arguments of its own. */
		if (argv[i][0] == '/')
			ret = load(argv[i]);
		else if (argv[i][0] == '-')
			ret = syscall(SYS_delete_module, argv[i] + 1, O_NONBLOCK);
		if (ret)
			printf("load: %s: %s\n", argv[i], strerror(errno));
	}
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
