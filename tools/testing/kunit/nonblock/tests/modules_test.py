# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the boots that load modules, on a log as such a boot makes one."""

from __future__ import annotations

import unittest
from unittest import mock
from pathlib import Path

from nonblock.verbs import modules
from nonblock.common import EXIT_FAILED, EXIT_HANG, EXIT_USAGE, Failure
from nonblock.tests.fixtures import TOP, ScratchTest, quiet, write
from nonblock.kernel.machine import UML_MODULES
from nonblock.modules.loads import add_messages, boot_command, expected_in, judge_load
from nonblock.verbs.modules import LOADS
from nonblock.result.ktap import parse_log
from nonblock.result.verdict import expected_cases, read_failure_rules

OUT_OF_TREE = next(load for load in LOADS if load.name == 'out-of-tree')
RULES = read_failure_rules()
ALLOCATES = RULES['mirror_wrong.wrong_allocates']

RIGHT = [case.name for case in expected_cases(TOP) if case.suite == 'mirror']
# What each says, in the order in which they run
WRONG = {
    'wrong_waits_for_lock': 'invalidate_waits_for_lock [mirror_wrong_test] takes &mirror->lock, a '
                            'lock that sleeps, at invalidate_waits_for_lock+0x1/0x2. Try for it.',
    'wrong_allocates': 'invalidate_allocates [mirror_wrong_test] allocates memory at '
                       '__kmalloc_cache_noprof+0x1/0x2, and may wait for it. Allocate it before.',
    'wrong_waits_for_work': 'invalidate_waits_for_work [mirror_wrong_test] waits for '
                            '(work_completion)(&mirror->refill) at __flush_work+0x1/0x2, and '
                            'elsewhere that waits for memory. Leave it to a work item.',
    'wrong_minds_other_memory': 'invalidate_everything [mirror_wrong_test] backs off from a range '
                                'that it has no interest in, and keeps the OOM reaper from it.',
    'wrong_keeps_lock': 'invalidate_keeps_lock [mirror_wrong_test] makes a WARN() at f+0x1/0x2, '
                        'and the log says why: put that back.',
    'wrong_does_half': 'mirror->nr_mapped was 1, and is 0 after the back-off. Look first.',
    'wrong_waits_in_the_end': 'resume_device [mirror_wrong_test] takes &mirror->lock, a lock that '
                              'sleeps, at resume_device+0x1/0x2. Try for it.',
}
NR_RIGHT, NR_WRONG = len(RIGHT), len(WRONG)


def suite_log(name: str, results: list[str], status: str) -> str:
    lines = [f'    # Subtest: {name}', f'    1..{len(results)}', *results]
    return '\n'.join(['KTAP version 1', '1..1', '    KTAP version 1', *lines,
                      f'{status} 1 {name}']) + '\n'


RIGHT_LOG = suite_log('mirror', [f'    ok {number} {name}' for number, name in
                                 enumerate(RIGHT, 1)], 'ok')
LOG = RIGHT_LOG + suite_log('mirror_wrong', [
    f'    # {name}: EXPECTATION FAILED at mirror_wrong_kunit.c:1\n{message}\n'
    f'    not ok {number} {name}' for number, (name, message) in enumerate(WRONG.items(), 1)
], 'not ok')


class JudgeTest(ScratchTest):
    def judge(self, log: str = LOG, status: int = 0, timed_out: bool = False,
              rules: dict[str, str] = RULES) -> list[str]:
        verdict = judge_load(OUT_OF_TREE, self.session(UML_MODULES), expected_cases(TOP),
                             log.splitlines(), status, timed_out, [], rules)
        self.code = verdict.code
        return [*verdict.lines, str(verdict)]

    def test_wrong_ones_fail_as_they_should(self) -> None:
        self.assertEqual(self.judge(), [f'{NR_RIGHT + NR_WRONG} passed, 0 failed'])
        self.assertEqual(self.code, 0)

    def test_wrong_ones_are_red_to_who_does_not_know(self) -> None:
        lines = self.judge(rules={})
        self.assertEqual(lines[-1], f'{NR_RIGHT} passed, {NR_WRONG} failed')
        self.assertIn('out-of-tree: FAILED mirror_wrong.wrong_allocates: EXPECTATION FAILED at '
                      f'mirror_wrong_kunit.c:1:\n    {WRONG["wrong_allocates"]}', lines)

    def test_wrong_one_passes(self) -> None:
        lines = self.judge(LOG.replace('not ok 2 wrong_allocates', 'ok 2 wrong_allocates'))
        self.assertEqual(lines[0], 'out-of-tree: FAILED mirror_wrong.wrong_allocates: passed, but '
                         f'must fail with "{ALLOCATES}"')
        self.assertEqual(self.code, EXIT_FAILED)

    def test_wrong_one_fails_otherwise(self) -> None:
        lines = self.judge(LOG.replace('invalidate_allocates', 'invalidate_relocates'))
        self.assertRegex(lines[0], r'^out-of-tree: FAILED mirror_wrong\.wrong_allocates: must fail '
                         r'with "\^invalidate_allocates .*", failed with "invalidate_relocates ')
        self.assertEqual(lines[1], f'{NR_RIGHT + NR_WRONG - 1} passed, 1 failed')

    def test_right_one_fails(self) -> None:
        lines = self.judge(LOG.replace('ok 1 mirror_does_not_block',
                                       'not ok 1 mirror_does_not_block'))
        self.assertEqual(lines[0], 'out-of-tree: FAILED mirror.mirror_does_not_block')

    def test_module_that_cannot_be_loaded(self) -> None:
        lines = self.judge('load: /out-of-tree/kunit.ko: Exec format error\n')
        self.assertIn('out-of-tree: FAILED load: /out-of-tree/kunit.ko: Exec format error', lines)
        self.assertEqual(lines[-1], f'0 passed, {NR_RIGHT + NR_WRONG + 1} failed')

    def test_crash_and_hang(self) -> None:
        begun = LOG[:LOG.index('ok 1 mirror_does_not_block')]
        self.assertIn('out-of-tree: CRASH mirror.mirror_does_not_block: the kernel ended before '
                      'it had a result', self.judge(begun, status=1))
        self.assertEqual(self.code, EXIT_HANG)
        self.assertIn('out-of-tree: HANG mirror.mirror_does_not_block: '
                      f'no result within {UML_MODULES.timeout} s',
                      self.judge(begun, timed_out=True))

    def test_kernel_fails_when_all_have_passed(self) -> None:
        self.assertEqual(self.judge(status=1)[0],
                         'out-of-tree: FAILED: the kernel ended with exit status 1')


class TableTest(unittest.TestCase):
    def test_every_suite_is_in_a_boot_of_modules(self) -> None:
        cases = expected_cases(TOP)
        in_tree = next(load for load in LOADS if load.name == 'in-tree')
        self.assertEqual(expected_in(in_tree, cases), cases)
        self.assertEqual({case.suite for case in expected_in(OUT_OF_TREE, cases)},
                         {'mirror', 'mirror_wrong'})

    def test_the_log_is_of_this_sample(self) -> None:
        self.assertEqual(list(WRONG), [case.name for case in expected_cases(TOP)
                                       if case.suite == 'mirror_wrong'])

    def test_each_wrong_one_has_a_rule(self) -> None:
        self.assertEqual(set(RULES), {
            str(case) for case in expected_cases(TOP) if case.suite == 'mirror_wrong'})

    def test_init_takes_no_more_arguments(self) -> None:
        for load in LOADS:
            command = boot_command(UML_MODULES, load)
            self.assertLessEqual(len(command[command.index('--') + 1:]), 30)


class RuleTest(ScratchTest):
    def test_bad_line(self) -> None:
        path = self.scratch / 'expected-failures'
        path.write_text('# one\nmirror_wrong.wrong_allocates\n', encoding='utf-8')
        with self.assertRaises(Failure) as caught:
            read_failure_rules(path)
        self.assertIn(f'{path}:2: want "suite.case | message"', str(caught.exception))

    def test_rule_for_no_test(self) -> None:
        rules = {'mirror_wrong.gone': 'x'}
        with self.assertRaises(Failure) as caught, quiet(), \
                mock.patch.object(modules, 'read_failure_rules', return_value=rules):
            modules.run_suites(self.session())
        self.assertIn('mirror_wrong.gone', str(caught.exception))
        self.assertIn('no such test', str(caught.exception))

    def test_sample_out_of_the_tree(self) -> None:
        folder = self.scratch / 'out-of-tree'
        modules.copy_sample(TOP, folder)
        names = {path.name for path in folder.iterdir()}
        self.assertLessEqual({'Kbuild', 'mirror.c', 'mirror.h', 'mirror_kunit.c'}, names)
        self.assertNotIn('Makefile', names)


class DriverTest(ScratchTest):
    """A driver of the user's own."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.scratch / 'driver'
        modules.copy_sample(TOP, self.folder)

    def assert_refused(self, folder: Path, message: str) -> None:
        with self.assertRaises(Failure) as caught:
            modules.driver_cases(folder)
        self.assertEqual(caught.exception.code, EXIT_USAGE)
        self.assertIn(message, str(caught.exception))

    def test_cases(self) -> None:
        self.assertEqual({case.suite for case in modules.driver_cases(self.folder)},
                         {'mirror', 'mirror_wrong'})

    def test_bad_folder(self) -> None:
        self.assert_refused(self.scratch / 'gone', 'there is no such folder')
        blank = self.scratch / 'my driver'
        self.folder.rename(blank)
        self.assert_refused(blank, 'no module can be built in a folder with a blank')

    def test_no_test(self) -> None:
        for path in self.folder.glob('*_kunit.c'):
            path.unlink()
        self.assert_refused(self.folder, 'there is no KUNIT_CASE in any *.c')

    def test_any_skip(self) -> None:
        write(self.scratch, {'um/.config': 'CONFIG_KUNIT=y\n'})
        self.assertTrue(modules.ANY_SKIP.allows('no device', self.session()))
        self.assertTrue(modules.ANY_SKIP.allows('', self.session(UML_MODULES)))

    def test_modules(self) -> None:
        """As 7.3 and as 6.12 list them."""
        for names in ('b.o\nsub/a.o\n', f'{self.folder}/b.o\n{self.folder}/sub/a.o\n'):
            (self.folder / 'modules.order').write_text(names, encoding='utf-8')
            self.assertEqual(modules.driver_modules(self.folder),
                             [self.folder / 'b.ko', self.folder / 'sub/a.ko'])

    def test_what_follows_a_message_is_none_of_it(self) -> None:
        for following in ('BUG: Invalid wait context', '=' * 30, '    # b: reported: nothing'):
            log = parse_log('KTAP version 1\n    # Subtest: a\n'
                            '    # b: EXPECTATION FAILED at c.c:1\none\n    two\n'
                            f'{following}\n    not ok 1 b\n'.splitlines())
            add_messages(log)
            self.assertEqual(next(log.of(2)).reason,
                             'EXPECTATION FAILED at c.c:1:\n    one two')

    def test_long_message_is_cut(self) -> None:
        log = parse_log(f'KTAP version 1\n    # Subtest: a\n    # b: ASSERTION FAILED at c.c:1\n'
                        f'{"word " * 200}\n    not ok 1 b\nnot ok 1 a\n'.splitlines())
        add_messages(log)
        self.assertRegex(next(log.of(2)).reason,
                         r'(?s)^ASSERTION .*c\.c:1:\n    word .*d \.\.\.$')
        self.assertLess(len(next(log.of(2)).reason), 350)
