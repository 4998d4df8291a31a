# SPDX-License-Identifier: GPL-2.0-only
"""make test-all: everything on every kernel and every machine."""

from __future__ import annotations

from nonblock.options import Options
from nonblock.result.verdict import Verdict
from nonblock.verbs import Verb, test


def run(options: Options) -> Verdict:
    return test.run_steps(test.STEPS, options)


VERB = Verb('test-all', run, test.VERB.variables)
