# SPDX-License-Identifier: GPL-2.0-only
"""The runner around kunit_tool. Data takes this way, and imports run only back along it:

common, options   errors, locks, other programs; what the user asked for
tree/             the kernel source, the hooks, the prepared tree, the series
kernel/           configuration, machine, build, boot; a Session has what all need
result/           from the log to the results, the verdict, JUnit XML and JSON
explain/, audit/  from any log, and from a driver's code, to what is wrong
modules/          what UML loads: suites, the guide's examples, drivers without their hardware
mutants/          edits of the series' code that the suites are to see
verbs/            a file for each verb: what it takes, and what it does
cli               the command line
guard             what was started ends with the runner

How to add to it, and where the tests are, is in Documentation/files.rst.
"""
