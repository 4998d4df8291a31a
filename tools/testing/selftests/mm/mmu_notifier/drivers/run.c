// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lets a program that knows nothing of init run in a kernel that has no other.
 */

#include <stdio.h>
#include <unistd.h>

#include "../init.h"

int main(int argc, char **argv)
{
	run_as_init();
	if (argc > 1)
		execv(argv[1], argv + 1);
	perror("run: no such program");
	return 1;
}
