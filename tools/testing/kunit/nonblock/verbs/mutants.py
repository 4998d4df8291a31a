# SPDX-License-Identifier: GPL-2.0-only
"""make mutants: which one-place edits of the series' code no test of the suites sees."""

from __future__ import annotations

from nonblock.kernel.machine import UML
from nonblock.kernel.session import prepared
from nonblock.mutants.judge import judge_mutants
from nonblock.mutants.run import Job
from nonblock.options import Options
from nonblock.result.verdict import Verdict, green_cases, read_skip_rules
from nonblock.verbs import BUILD, Verb


# Of the list by hand, for make test
SAMPLE = 12


def run(options: Options, limit: int = 0) -> Verdict:
    """Up to the verdict, which the caller prints."""
    with prepared(options, UML) as session:
        return judge_mutants(Job(session, green_cases(session.repo), read_skip_rules(),
                                 options.only, limit))


def sample(options: Options) -> Verdict:
    """Some of them, for make test."""
    return run(options, SAMPLE)


VERB = Verb('mutants', run, (*BUILD, 'ONLY'))
