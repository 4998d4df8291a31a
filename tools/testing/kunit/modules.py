# SPDX-License-Identifier: GPL-2.0-only
"""The suites as modules, and the sample driver as one that is built outside of the tree.

A UML kernel's init loads them; a suite runs when its module is loaded. The sample's
wrong MMU notifiers are among them, whose tests must fail.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import e2e
import kunit_run
from common import EXIT_BUILD, EXIT_TREE, Failure, say
from machine import Machine
from verdict import (Case, FailureRule, SkipRule, Verdict, claim_failures, expected_cases, judge,
                     parse_log)

SAMPLE = 'samples/mmu_notifier'
OUT_OF_TREE = 'out-of-tree'
PROGRAM = 'load'


@dataclass(frozen=True)
class Boot:
    name: str
    modules: tuple[str, ...]    # in the build folder, in the order in which they are loaded
    suites: tuple[str, ...]     # only these, if any


BOOTS = (
    Boot('in-tree', ('lib/kunit/kunit.ko', 'lib/kunit/report-test.ko',
                     'lib/kunit/mmu_notifier-test.ko', 'mm/mmu_notifier_nonblock_kunit.ko',
                     f'{SAMPLE}/mirror_test.ko', f'{SAMPLE}/mirror_wrong_test.ko'), ()),
    Boot('out-of-tree', ('lib/kunit/kunit.ko', f'{OUT_OF_TREE}/mirror_test.ko',
                         f'{OUT_OF_TREE}/mirror_wrong_test.ko'), ('mirror', 'mirror_wrong')),
)


def copy_sample(repo: Path, folder: Path) -> None:
    """The sample as somebody would keep it who is not in the tree: sources and a Kbuild."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in [*(repo / SAMPLE).glob('*.[ch]'), repo / SAMPLE / OUT_OF_TREE / 'Kbuild']:
        shutil.copy(path, folder)


def out_of_tree_command(tree: Path, um: Path) -> list[str | Path]:
    return ['make', '-C', tree, 'ARCH=um', f'O={um}', f'M={um / OUT_OF_TREE}', 'modules']


def boot_command(machine: Machine, boot: Boot) -> list[str]:
    """Where time travels, sleeps cost nothing."""
    assert machine.is_uml
    names = [f'/{boot.name}/{Path(module).name}' for module in boot.modules]
    return ['./linux', 'mem=128M', 'initrd=initramfs.cpio', 'uml_dir=uml', 'time-travel=inf-cpu',
            f'rdinit=/{PROGRAM}', '--', *names]


def expected_in(boot: Boot, cases: list[Case]) -> list[Case]:
    return [case for case in cases if not boot.suites or case.suite in boot.suites]


def judge_boot(boot: Boot, machine: Machine, cases: list[Case], lines: list[str],
               outcome: tuple[int, bool], rules: list[SkipRule], failures: list[FailureRule],
               tree: Path) -> Verdict:
    status, timed_out = outcome
    log = parse_log(lines)
    claim_failures(log, failures)
    verdict = judge(expected_in(boot, cases), log, rules, tree, 0, timed_out, machine.timeout,
                    machine.folder)
    for line in lines:
        if line.startswith(f'{PROGRAM}: '):
            verdict.fail(f'FAILED {line}')
    if status and not verdict.failed:
        verdict.fail(f'FAILED: the kernel ended with exit status {status}')
    verdict.lines = [f'{boot.name}: {line}' for line in verdict.lines]
    return verdict


def run(repo: Path, tree: Path, machine: Machine, jobs: int, raw: bool, memory: Path,
        rules: list[SkipRule], failures: list[FailureRule]) -> Verdict:
    """Build all in the folder next to the prepared tree, boot all, and judge."""
    cases = expected_cases(repo)
    unknown = {rule.case for rule in failures} - {str(case) for case in cases}
    if unknown:
        raise Failure(EXIT_TREE, f'expected-failures has {", ".join(sorted(unknown))}, and no '
                      'such test is in the sources')
    um = tree.with_name(machine.folder)
    total = Verdict()
    outcome = kunit_run.build(tree, machine, jobs, memory)
    if not outcome.built:
        total.fail(f'FAILED build: {outcome.error}', EXIT_BUILD)
        return total
    copy_sample(repo, um / OUT_OF_TREE)
    e2e.run_tool('building the sample out of the tree', out_of_tree_command(tree, um))
    programs = e2e.build_programs(tree, um, e2e.SELFTEST)
    e2e.build_initramfs(um, {f'/{PROGRAM}': programs / PROGRAM, **{
        f'/{boot.name}/{Path(module).name}': um / module
        for boot in BOOTS for module in boot.modules}})
    for boot in BOOTS:
        since = time.monotonic()
        path = um / f'{boot.name}.log'
        ended = e2e.start(boot_command(machine, boot), machine.timeout, um, path)
        text = path.read_text(encoding='utf-8', errors='replace')
        if raw:
            say(text)
        verdict = judge_boot(boot, machine, cases, text.splitlines(), ended, rules, failures,
                             tree)
        say(f'boot {boot.name}: {verdict}, {time.monotonic() - since:.0f} s, '
            f'log: {os.path.relpath(path, repo)}')
        total.add(verdict)
    return total
