# SPDX-License-Identifier: GPL-2.0-only
"""make audit: a static verdict on every callback.

What does it is imported where it is called, so that the other verbs start sooner.
"""

from __future__ import annotations

from nonblock.common import REPO
from nonblock.kernel.machine import UML
from nonblock.kernel.session import prepared
from nonblock.options import Options
from nonblock.result.verdict import Verdict
from nonblock.tree.prepare import overlay_files
from nonblock.verbs import TREE, Verb


EXIT_CODES = """exit codes:
  0  nothing may block, or only what BASELINE has
  1  a callback may block
  5  something did not compile, and was not judged
The others are those of all verbs: see --help without one."""


def check(options: Options) -> None:
    from nonblock.audit import audit
    audit.find_paths(options.driver, options.baseline)


def run(options: Options) -> int:
    from nonblock.audit import audit
    with prepared(options, UML) as session:
        return audit.run(session, options.driver, options.baseline, overlay_files(REPO))


def of_known_drivers(options: Options) -> Verdict:
    """For make test: what it says of drivers that are known, and of what the suites do."""
    from nonblock.audit import selftest
    with prepared(options, UML) as session:
        return selftest.run(session).tell(session.about)


VERB = Verb('audit', run, (*TREE, 'JOBS', 'DRIVER', 'BASELINE'), check=check,
            exit_codes=EXIT_CODES)
