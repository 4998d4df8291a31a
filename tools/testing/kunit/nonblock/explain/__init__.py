# SPDX-License-Identifier: GPL-2.0-only
"""make explain: what a kernel log says about MMU notifiers that may not block.

unpack    bytes to lines of text, whatever they are packed in
mail      the transfer encodings of mail
reader    lines of text to clean lines: the kernel's text, its time, and who printed it
kinds     the kinds of reports: what each begins with, and where the kernel prints that
report    one report, which takes its parts from the lines
finder    clean lines to reports, of several CPUs at once
judge     a report to a finding, or to why it is none; circles, stuck and contract do a part of it
texts     all that is said to the user, and the sections of the guide
answer    findings to text or JSON
"""
