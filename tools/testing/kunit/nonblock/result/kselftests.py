# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own mm selftests, unchanged: how they are built, and what they say.

Part of make bench: do they say the same with the series as without? hmm-tests are in
make drivers as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable

from nonblock.kernel.boot import run_tool
from nonblock.common import EXIT_BUILD, Failure, say
from nonblock.kernel.session import Session
from nonblock.result.ktap import FAILED, parse_log
from nonblock.result.verdict import Verdict

MM = 'tools/testing/selftests/mm'

# Some of those that need no arguments, no library that Debian has to be asked for, no disk
# and, under TCG, no more than a minute.
PROGRAMS = ('cow', 'droppable', 'guard-regions', 'gup_longterm', 'hmm-tests', 'hugetlb-madvise',
            'madv_populate', 'map_fixed_noreplace', 'mdwe_test', 'merge', 'mkdirty',
            'mlock2-tests', 'mrelease_test', 'mremap_dontunmap', 'mremap_test', 'mseal_test',
            'prctl_thp_disable', 'process_madv', 'uffd-wp-mremap')


def build(session: Session, names: Iterable[str]) -> Path:
    """In the kernel's build folder, with the headers that belong to them. Returns where."""
    tree, folder, jobs = session.tree, session.folder, session.jobs
    output = folder / 'selftest-mm'
    output.mkdir(exist_ok=True)
    run_tool('making the kernel\'s headers', [
        'make', '-C', tree, f'O={folder}', 'ARCH=x86_64', f'-j{jobs}', 'headers'])
    run_tool(f'building {MM}', [
        'make', '-C', tree / MM, f'O={folder}', f'OUTPUT={output}', 'LDFLAGS=-static',
        f'KHDR_INCLUDES=-isystem {folder / "usr/include"}', f'-j{jobs}',
        *(str(output / name) for name in names)])
    return output


def present(tree: Path) -> list[str]:
    """Those that this kernel has."""
    found = [name for name in PROGRAMS if (tree / MM / f'{name}.c').is_file()]
    if not found:
        raise Failure(EXIT_BUILD, f'{tree / MM}: has none of {", ".join(PROGRAMS)}')
    if missing := [name for name in PROGRAMS if name not in found]:
        say(f'selftests/mm: not in this kernel: {", ".join(missing)}')
    return found


# What they say

@dataclass
class Program:
    """The tests of a program, in the words of kselftest.h, and how it ended."""
    ended: str = ''             # '' if it did not
    tests: dict[str, str] = field(default_factory=dict)


PART = re.compile(r'bench: (?:selftest (\S+)|ended (.*))$')


def parse(lines: Iterable[str]) -> dict[str, Program]:
    """Of the init's output. A name that comes again has the worse result."""
    found: dict[str, Program] = {}
    own: list[str] = []
    name = ''
    for line in [*map(str.rstrip, lines), 'bench: ended ']:
        if not (match := PART.search(line)):
            own.append(line)
            continue
        if name:
            program = found.setdefault(name, Program())
            program.ended, log = match[2] or '', parse_log(own)
            for result in log.results + log.tests:
                if program.tests.get(result.name) != FAILED:
                    program.tests[result.name] = result.status
        own, name = [], match[1] or ''
    return found


def compare(names: list[str], before: dict[str, Program], after: dict[str, Program],
            verdict: Verdict) -> None:
    """One test for each program: what passed before has to pass after."""
    for name in names:
        one, other = before.get(name, Program()), after.get(name, Program())
        worse = [f'{test}: passed with only the fixes, {other.tests.get(test, "missing")} with all'
                 for test, status in one.tests.items()
                 if status == 'passed' and other.tests.get(test) != 'passed']
        if not one.ended:
            worse.append('did not end with only the fixes')
        elif one.ended != other.ended:
            worse.append(f'ended {one.ended} with only the fixes, '
                         f'{other.ended or "not"} with all')
        for line in worse:
            verdict.fail(f'selftest {name}', line)
        if not worse:
            verdict.ok(f'selftest {name}')
