# SPDX-License-Identifier: GPL-2.0-only
"""make mutants: which one-place edits of the series' code no test of the suites sees."""

from __future__ import annotations

from dataclasses import replace

from nonblock.kernel.boot import build_initramfs, command_line
from nonblock.kernel.machine import UML, UML_MODULES, uml_otherwise
from nonblock.kernel.session import Session, prepared
from nonblock.mutants.judge import judge_mutants
from nonblock.mutants.trials import Job, Trial, trial_of_suites
from nonblock.options import Options
from nonblock.result.verdict import (Verdict, expected_cases, green_cases, read_failure_rules,
                                     read_skip_rules)
from nonblock.verbs import BUILD, Verb
from nonblock.verbs.e2e import E2E, TestBoot, judge_boot
from nonblock.verbs.e2e import initramfs_files as files_of_boots
from nonblock.modules.loads import Load, boot_command, judge_load
from nonblock.modules.loads import initramfs_files as files_of_loads
from nonblock.verbs.modules import LOADS

# Of the list by hand, for make test
SAMPLE = 12
# Only of these no test is to fail.
LOADED = [load for load in LOADS if load.name == 'again']


# What the first kernel cannot show

def otherwise(session: Session) -> Job:
    """The suites, on a kernel that is another in some ways."""
    machine, ways = uml_otherwise(session.tree)
    session = replace(session, machine=machine)
    trial = trial_of_suites(session, green_cases(session.repo), read_skip_rules())
    return Job(session, {way: trial for way in ways})


def trial_of_boot(session: Session, boot: TestBoot) -> Trial:
    rules, timeout = read_skip_rules(), boot.timeout or session.machine.timeout
    return Trial(command_line(session.machine, boot), timeout // 10,
                 lambda lines, status, timed_out: judge_boot(
                     boot, session, lines, status, timed_out, rules)[0])


def trial_of_load(session: Session, load: Load) -> Trial:
    cases, rules, failures = expected_cases(session.repo), read_skip_rules(), read_failure_rules()
    return Trial(boot_command(session.machine, load), session.machine.timeout // 10,
                 lambda lines, status, timed_out: judge_load(
                     load, session, cases, lines, status, timed_out, rules, failures))


def processes(session: Session) -> Job:
    """The boots of make e2e and make modules, each by its name."""
    session = replace(session, machine=UML_MODULES)
    return Job(session, {**{boot.name: trial_of_boot(session, boot) for boot in E2E.boots},
                         **{load.name: trial_of_load(session, load) for load in LOADED}},
               pack=lambda built: build_initramfs(
                   built.folder, {**files_of_boots(built, E2E), **files_of_loads(built, LOADED)}))


def run(options: Options, limit: int = 0) -> Verdict:
    """Up to the verdict, which the caller prints."""
    with prepared(options, UML) as session:
        trial = trial_of_suites(session, green_cases(session.repo), read_skip_rules())
        return judge_mutants(Job(session, {'': trial}, only=options.only, limit=limit),
                             (otherwise(session), processes(session))).tell(session.about)


def sample(options: Options) -> Verdict:
    """Some of them, for make test."""
    return run(options, SAMPLE)


VERB = Verb('mutants', run, (*BUILD, 'ONLY'))
