# SPDX-License-Identifier: GPL-2.0-only
"""For make test: the runner's own tests, each file of them in a process of its own."""

from __future__ import annotations

import io
import time
import unittest
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from nonblock.common import REPO, say
from nonblock.kernel import kunit_run
from nonblock.result.verdict import Verdict

PACKAGE = REPO / 'tools/testing/kunit/nonblock'
# What takes the longest, and is begun with: it starts the whole runner again and again.
LONGEST = ('front_door_test', 'guard_test', 'command_test', 'hooks_test')


class Noted(unittest.TextTestResult):
    """Notes each test in a verdict."""

    def __init__(self, *arguments: Any, **more: Any):
        super().__init__(*arguments, **more)
        self.verdict = Verdict()
        self.since = 0.0

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.since = time.monotonic()

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        bad = [text for one, text in self.failures + self.errors
               if test in (one, getattr(one, 'test_case', None))]
        skips = [reason for one, reason in self.skipped if one is test]
        if bad:
            self.verdict.fail(test.id(), bad[0].strip().splitlines()[-1], report='\n'.join(bad))
        elif skips:
            self.verdict.skip(test.id(), skips[0])
        else:
            self.verdict.ok(test.id())
        self.verdict.tests[-1].seconds = time.monotonic() - self.since


def modules() -> list[str]:
    """Of all tests, by their names."""
    paths = sorted(PACKAGE.rglob('*_test.py'), key=lambda path: (path.stem not in LONGEST, path))
    return ['.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts) for path in paths]


def run_module(name: str) -> tuple[str, Verdict]:
    """What was said, and the verdict."""
    output = io.StringIO()
    runner = unittest.TextTestRunner(output, verbosity=2, resultclass=Noted, buffer=True)
    result = runner.run(unittest.defaultTestLoader.loadTestsFromName(name))
    assert isinstance(result, Noted)
    for test, text in result.errors:
        if not isinstance(test, unittest.TestCase):     # what comes before the tests of a class
            result.verdict.fail(test.id(), text.strip().splitlines()[-1], report=text)
    return output.getvalue(), result.verdict


def run(jobs: int) -> Verdict:
    say('== the runner\'s own tests')
    total = Verdict()
    with ProcessPoolExecutor(jobs) as pool:
        try:
            for future in as_completed([pool.submit(run_module, name) for name in modules()]):
                output, verdict = future.result()
                say(output.strip())
                total.add(verdict)
        except BaseException:
            # Interrupted: it shall not wait for the others.
            kunit_run.stop_children()
            raise
    return total
