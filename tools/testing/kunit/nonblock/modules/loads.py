# SPDX-License-Identifier: GPL-2.0-only
"""Modules that a UML kernel's init loads, each a boot, and what their suites say."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from nonblock.kernel.boot import (SELFTEST, build_initramfs, build_programs, run_boot,
                                  uml_command_line)
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.machine import Machine
from nonblock.kernel.session import Session
from nonblock.result.ktap import FAILED, TestLog, parse_log
from nonblock.result.verdict import Case, SkipRule, Verdict, claim_failures, judge

PROGRAM = 'load'


@dataclass(frozen=True)
class Load:
    name: str
    # In the build folder, in the order in which they are loaded; "-NAME" unloads one
    modules: tuple[str, ...]
    suites: tuple[str, ...]     # only these, if any


def out_of_tree_command(tree: Path, um: Path, folder: Path) -> list[str | Path]:
    return ['make', '-C', tree, 'ARCH=um', f'O={um}', f'M={folder}', 'modules']


def boot_command(machine: Machine, load: Load) -> list[str]:
    """Where time travels, sleeps cost nothing."""
    assert machine.is_uml
    names = [module if module.startswith('-') else f'/{load.name}/{Path(module).name}'
             for module in load.modules]
    return uml_command_line(['time-travel=inf-cpu', f'rdinit=/{PROGRAM}', '--', *names])


def initramfs_files(session: Session, loads: Sequence[Load]) -> dict[str, Path]:
    programs = build_programs(session.tree, session.folder, SELFTEST)
    return {f'/{PROGRAM}': programs / PROGRAM, **{
        f'/{load.name}/{Path(module).name}': session.folder / module
        for load in loads for module in load.modules if not module.startswith('-')}}


def expected_in(load: Load, cases: list[Case]) -> list[Case]:
    return [case for case in cases if not load.suites or case.suite in load.suites]


def add_messages(log: TestLog) -> None:
    """Of a failed expectation, what it says as well as where it is; not what came after that."""
    for one in log.results:
        message = re.split(r'(?:^| )(?:BUG: |WARNING: |={20}|# \w+: )', one.message)[0]
        if one.status == FAILED and 'FAILED at' in one.reason and message:
            one.reason += f':\n    {textwrap.shorten(message, 300, placeholder=" ...")}'


def judge_load(load: Load, session: Session, cases: list[Case], lines: list[str],
               status: int, timed_out: bool, rules: list[SkipRule],
               failures: dict[str, str]) -> Verdict:
    log = parse_log(lines)
    claim_failures(log, failures)
    add_messages(log)
    verdict = judge(expected_in(load, cases), log, rules, session, Outcome(timed_out=timed_out))
    for line in lines:
        if line.startswith(f'{PROGRAM}: '):
            verdict.fail(PROGRAM, line.removeprefix(f'{PROGRAM}: '))
    if status and not verdict.failed:
        verdict.fail('', f'the kernel ended with exit status {status}')
    return verdict.within(load.name)


def run_loads(loads: Sequence[Load], session: Session, cases: list[Case], rules: list[SkipRule],
              failures: dict[str, str]) -> Verdict:
    """Put the modules of all of them into one initramfs, boot each, and judge."""
    total = Verdict()
    build_initramfs(session.folder, initramfs_files(session, loads))
    for load in loads:
        booted = run_boot(session, load.name, boot_command(session.machine, load))
        verdict = judge_load(load, session, cases, booted.lines, booted.status, booted.timed_out,
                             rules, failures)
        booted.say(load.name, verdict, session.repo)
        total.add(verdict.tell({**session.about, 'run_seconds': f'{booted.seconds:.0f}'}))
    return total
