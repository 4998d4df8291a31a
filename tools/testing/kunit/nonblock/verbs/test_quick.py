# SPDX-License-Identifier: GPL-2.0-only
"""make test-quick: what an edit of the runner, or of a suite, needs, on one kernel."""

from __future__ import annotations

from dataclasses import replace

from nonblock.options import Options
from nonblock.result.verdict import Verdict
from nonblock.tree.source import DEFAULT_KVER
from nonblock.verbs import Verb, test

QUICK = ('hooks', 'texts of explain', 'suites')


def run(options: Options) -> Verdict:
    kernel = options.kver or DEFAULT_KVER
    steps = [replace(step, kernels=(kernel,)) for step in test.STEPS if step.title in QUICK]
    return test.run_steps(steps, options, (kernel,))


VERB = Verb('test-quick', run, ('KVER', *test.VERB.variables))
