# SPDX-License-Identifier: GPL-2.0-only
"""For make test: the runner's own tests, each file of them in a process of its own."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from nonblock.common import REPO, capture, say
from nonblock.kernel import kunit_run
from nonblock.result.verdict import Verdict

PACKAGE = REPO / 'tools/testing/kunit/nonblock'


def modules() -> list[str]:
    """Of all tests, by their names."""
    return ['.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts)
            for path in sorted(PACKAGE.rglob('*_test.py'))]


def run_module(name: str) -> tuple[int, str]:
    """Its exit status, and what it said. Options of ours are not for what it runs."""
    result = capture([sys.executable, '-m', 'unittest', '--buffer', name], PACKAGE.parent,
                     kunit_run.environment())
    return result.returncode, (result.stdout + result.stderr).strip()


def run(jobs: int) -> Verdict:
    """A file of them counts as one."""
    say('== the runner\'s own tests')
    total, names = Verdict(), modules()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for name, (status, output) in zip(names, pool.map(run_module, names)):
                say(f'{name}: {output}')
                if status:
                    total.fail(name, output.splitlines()[-1], report=output)
                else:
                    total.ok(name)
        except BaseException:
            # Interrupted: it shall not wait for the others.
            pool.shutdown(wait=False, cancel_futures=True)
            kunit_run.stop_children()
            raise
    return total.tell({}, 'unit tests')
