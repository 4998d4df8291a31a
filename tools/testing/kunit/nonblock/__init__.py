# SPDX-License-Identifier: GPL-2.0-only
"""The runner around kunit_tool. Data takes this way, and imports run only back along it:

common, options   errors, locks, other programs; what the user asked for
tree/             the kernel source, the hooks, the prepared tree, the series
kernel/           configuration, machine, build, boot; a Session has what all need
result/           from the log to the results, the verdict, JUnit XML and JSON
explain/, audit/  from any log, and from a driver's code, to what is wrong
verbs/            a file for each verb: what it takes, and what it does
cli               the command line

To change or to add
a verb            a file in verbs/ with a VERB, its line in cli.VERBS, help.txt, the Makefile
a right skip      a line in result/expected-skips
a kernel version  tree/source.py, SUITES
a machine         kernel/machine.py, ARCHES
what explain sees explain/kinds.py, KINDS
More is in Documentation/files.rst.

tests/ has the tests, test_data/ there what they read. Those of the audit are beside it.
"""
