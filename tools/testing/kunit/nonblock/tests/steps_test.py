# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the steps of `make test` and `make test-all`."""

from __future__ import annotations

import os
import time
import unittest
from unittest import mock

from nonblock.kernel.kunit_run import descendants
from nonblock.kernel.session import Impossible, check_machine
from nonblock.options import Options
from nonblock.verbs import test as verb, test_quick
from nonblock.verbs.test import OTHERS, STEPS, Step
from nonblock.common import EXIT_BUILD, EXIT_USAGE, REPO, Failure
from nonblock.tests.fixtures import HERE, ScratchTest, quiet, write
from nonblock.tree.source import DEFAULT_KVER, SUITES, TESTED
from nonblock.result.verdict import Test, Verdict

OPTIONS = Options('6.12')


def passed(count: int) -> Verdict:
    return Verdict([Test('test', 'passed')] * count)


def passes(_options: Options) -> Verdict:
    return passed(2)


def fails(_options: Options) -> Verdict:
    raise Failure(EXIT_BUILD, 'no compiler')


def cannot_be(_options: Options) -> Verdict:
    raise Impossible(EXIT_USAGE, 'no such machine')


class StepTest(unittest.TestCase):
    def run_steps(self, *steps: Step) -> Verdict:
        with quiet() as output, \
                mock.patch.object(verb, 'unit_tests', return_value=passed(1)):
            verdict = verb.run_steps(steps, OPTIONS)
        self.shown = output.getvalue()
        return verdict

    def test_each_step_on_each_kernel(self) -> None:
        verdict = self.run_steps(Step('one', passes), Step('two', passes))
        self.assertEqual(str(verdict), f'{1 + 4 * len(TESTED)} passed, 0 failed')
        for kver in TESTED:
            self.assertIn(f' s  two on {kver}\n', self.shown)
        self.assertEqual([test.about.get('step_seconds') for test in verdict.tests],
                         [None, *['0'] * 4 * len(TESTED)])

    def test_a_failure_does_not_end_it(self) -> None:
        verdict = self.run_steps(Step('one', fails), Step('two', passes))
        self.assertEqual(verdict.code, EXIT_BUILD)
        self.assertEqual(verdict.lines[0], 'one on 6.12: FAILED: no compiler')
        self.assertEqual((verdict.passed, verdict.failed), (1 + 2 * len(TESTED), len(TESTED)))

    def test_what_cannot_be_is_skipped_by_name(self) -> None:
        verdict = self.run_steps(Step('one', cannot_be))
        self.assertEqual(str(verdict), f'1 passed, 0 failed, {len(TESTED)} skipped')
        self.assertEqual(verdict.code, 0)
        self.assertIn('skipped one on 6.12: no such machine\n', self.shown)

    def test_a_step_gets_its_machine(self) -> None:
        seen: list[Options] = []

        def look(options: Options) -> Verdict:
            seen.append(options)
            return Verdict()

        self.run_steps(Step('one', look, 'x86_64', 4, True, True, 'kasan'))
        self.assertEqual([(one.kver, one.arch, one.smp, one.rt, one.llvm, one.san)
                          for one in seen],
                         [(kver, 'x86_64', 4, True, True, 'kasan') for kver in TESTED])

    def test_step_for_one_kernel(self) -> None:
        verdict = self.run_steps(Step('one', passes, kernels=('7.3',)))
        self.assertEqual(str(verdict), '3 passed, 0 failed')

    def test_quick_is_on_one_kernel(self) -> None:
        for given, kernel in (('', DEFAULT_KVER), ('7.2', '7.2')):
            ran: list[tuple[str, str]] = []

            def note(step: Step, options: Options) -> Verdict:
                ran.append((step.title, options.kver))
                return passed(1)

            with quiet(), mock.patch.object(verb, 'unit_tests', return_value=passed(1)), \
                    mock.patch.object(verb, 'run_step', note):
                verdict = test_quick.run(Options(given))
            self.assertEqual(ran, [(title, kernel) for title in test_quick.QUICK])
            self.assertEqual(str(verdict), '4 passed, 0 failed')

    def test_hooks_and_suites_on_every_kernel(self) -> None:
        for title in ('hooks', 'suites'):
            step = next(step for step in STEPS if step.title == title)
            self.assertEqual(step.kernels, tuple(SUITES))

    def test_the_table(self) -> None:
        self.assertEqual(len({step.title for step in STEPS}), len(STEPS))
        for step in STEPS:
            self.assertLessEqual(set(step.kernels), set(SUITES))
            check_machine(Options(arch=step.arch, smp=step.smp, rt=step.rt, llvm=step.llvm,
                                  san=step.san))
        makefile = (REPO / 'Makefile').read_text(encoding='utf-8')
        self.assertIn(f'$(if $(filter test-all,$@),{" ".join(OTHERS)} clang test-all)', makefile)


def interrupt(*_: object) -> None:
    """When the first one runs."""
    while not descendants(os.getpid()):
        time.sleep(0.05)
    raise KeyboardInterrupt


class UnitTestsTest(ScratchTest):
    def test_all_files_are_run(self) -> None:
        self.assertEqual(set(verb.files_of_tests()), {
            '.'.join(path.relative_to(HERE.parent).with_suffix('').parts)
            for path in HERE.rglob('*_test.py')})

    def test_files_in_processes_of_their_own(self) -> None:
        """All that they say is shown, and each file counts."""
        text = 'import os, unittest\nclass A(unittest.TestCase):\n    def test_a(self):\n        '
        write(self.scratch / 'scratch', {
            '__init__.py': '', 'good_test.py': f'{text}pass\n',
            'bad_test.py': f'{text}print("noise")\n        self.fail(os.getpid())\n',
            'skip_test.py': f'{text}self.skipTest("not here")\n', 'broken_test.py': 'import no\n'})
        with mock.patch.object(verb, 'PACKAGE', self.scratch / 'scratch'), \
                quiet() as output:
            verdict = verb.unit_tests(2)
        self.assertEqual(verdict.lines, ['FAILED scratch.bad_test: FAILED (failures=1)',
                                         'FAILED scratch.broken_test: FAILED (errors=1)'])
        self.assertEqual(verdict.passed, 2)
        self.assertTrue(all(test.seconds for test in verdict.tests))
        self.assertNotIn(f'AssertionError: {os.getpid()}\n', output.getvalue())
        for said in ('noise', 'No module named \'no\'', 'OK (skipped=1)'):
            self.assertIn(said, output.getvalue())

    def test_options_are_not_for_the_tests(self) -> None:
        write(self.scratch / 'scratch', {'__init__.py': '', 'x_test.py': (
            'import os, unittest\n\n\nclass XTest(unittest.TestCase):\n'
            '    def test_x(self):\n        self.assertNotIn("JSON", os.environ)\n')})
        with mock.patch.object(verb, 'PACKAGE', self.scratch / 'scratch'), \
                mock.patch.dict(os.environ, JSON='results.json'):
            self.assertEqual(0, verb.run_file('scratch.x_test')[0])

    def test_interrupted(self) -> None:
        """It waits neither for those that run nor for those that do not yet."""
        text = ('import time, unittest\nclass A(unittest.TestCase):\n'
                '    def test_a(self):\n        time.sleep(20)\n')
        write(self.scratch / 'scratch', {'__init__.py': '', 'a_test.py': text, 'b_test.py': text})
        since = time.monotonic()
        with mock.patch.object(verb, 'PACKAGE', self.scratch / 'scratch'), quiet(), \
                mock.patch.object(verb, 'zip', interrupt, create=True), \
                self.assertRaises(KeyboardInterrupt):
            verb.unit_tests(1)
        self.assertLess(time.monotonic() - since, 15)


if __name__ == '__main__':
    unittest.main()
