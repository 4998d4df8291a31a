# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the boots of the selftests, on logs of real boots in test_data/e2e/."""

from __future__ import annotations

import os
import re
import unittest
import xml.etree.ElementTree as xml
from dataclasses import replace
from pathlib import Path

from nonblock.verbs import e2e
from nonblock.kernel.boot import SELFTEST
from nonblock.common import EXIT_BUILD, EXIT_FAILED, EXIT_HANG, Failure
from nonblock.result.ktap import parse_log
from nonblock.verbs.e2e import E2E, TestBoot, expected_tests, missing_tests, scan_tests
from nonblock.tests.fixtures import HERE, TOP, ScratchTest, quiet, write
from nonblock.modules.guide import PAGE
from nonblock.kernel.machine import UML_E2E
from nonblock.result.verdict import SkipRule

DATA = HERE / 'tests/test_data/e2e'
RULES = [SkipRule('no two-pass', 'include/linux/mmu_notifier.h', 'invalidate_finish')]
NAME = 'mrelease.range.back_off_reaches_user_space'
REPORT = next(boot for boot in E2E.boots if boot.name == 'report-allocation')


def recorded(name: str) -> str:
    return (DATA / f'{name}.log').read_text(encoding='utf-8')


class LogTest(ScratchTest):
    def judge(self, log: str, boot: TestBoot = TestBoot('boot', 'mrelease'), status: int = 0,
              timed_out: bool = False, rules: list[SkipRule] = RULES) -> list[str]:
        with quiet() as output:
            verdict, _ = e2e.judge_boot(boot, self.session(UML_E2E), log.splitlines(), status,
                                        timed_out, rules)
        self.shown = output.getvalue()
        self.code = verdict.code
        return [*verdict.lines, str(verdict)]

    def changed(self, old: str, new: str, name: str = 'mrelease') -> str:
        log = recorded(name)
        self.assertEqual(log.count(old), 1, old)
        return log.replace(old, new)


class JudgeTest(LogTest):
    """What becomes of the tests of a boot."""

    def test_passed(self) -> None:
        self.assertEqual(self.judge(recorded('mrelease')), ['13 passed, 0 failed, 2 skipped'])
        self.assertEqual((self.code, self.shown), (0, ''))

    def test_carriage_returns_of_the_console(self) -> None:
        self.assertEqual(self.judge(recorded('mrelease').replace('\n', '\r\r\n')),
                         ['13 passed, 0 failed, 2 skipped'])

    def test_skip_of_what_the_kernel_has(self) -> None:
        write(self.kernel, {'include/linux/mmu_notifier.h': 'bool (*invalidate_finish)();\n'})
        self.assertEqual(self.judge(recorded('mrelease'))[0], (
            f'SKIPPED boot: {NAME.replace("range", "two_pass")}: not in expected-skips: '
            'this kernel has no two-pass interval notifiers'))

    def test_skip_for_an_option_of_this_kernel(self) -> None:
        rules = [SkipRule('no two-pass', '.config', 'CONFIG_X=y')]
        write(self.kernel.parent, {'um/.config': 'CONFIG_X=y\n', f'{UML_E2E.folder}/.config': ''})
        self.assertEqual(self.judge(recorded('mrelease'), rules=rules),
                         ['13 passed, 0 failed, 2 skipped'])

    def test_failed(self) -> None:
        log = self.changed(f'\nok 1 {NAME}\n', '\n# mrelease.c:150:back_off_reaches_user_space:'
                           'Expected 0 (0) == error (11)\n'
                           '# back_off_reaches_user_space: Test failed\n'
                           f'not ok 1 {NAME}\n')
        self.assertEqual(self.judge(log), [
            f'FAILED boot: {NAME}: mrelease.c:150:back_off_reaches_user_space:'
            'Expected 0 (0) == error (11)', '12 passed, 1 failed, 2 skipped'])
        self.assertEqual(self.code, EXIT_FAILED)

    def test_timeout_of_a_test(self) -> None:
        log = self.changed(f'\nok 1 {NAME}\n', '\n# back_off_reaches_user_space: Test terminated '
                           f'by timeout\nnot ok 1 {NAME}\n')
        self.assertEqual(self.judge(log)[0], f'FAILED boot: {NAME}: '
                         'back_off_reaches_user_space: Test terminated by timeout')

    def test_crash(self) -> None:
        self.assertEqual(self.judge(recorded('crash'), TestBoot('race', 'race'), status=-6), [
            'CRASH race: race.reaper_races_with_its_victim: Kernel panic - not syncing: '
            'Kernel mode fault at addr 0x40e, ip 0x6002016b',
            'FAILED boot race: log: must not have: Kernel panic - not syncing: '
            'Kernel mode fault at addr 0x40e, ip 0x6002016b', '0 passed, 2 failed'])
        self.assertEqual(self.code, EXIT_HANG)
        self.assertEqual(self.shown.count('exit_mmap+0x15d/0x630'), 1)

    def test_hang(self) -> None:
        log = recorded('mrelease').partition(f'#            OK  {NAME}')[0]
        self.assertEqual(self.judge(log, timed_out=True), [
            f'HANG boot: {NAME}: no end within {UML_E2E.timeout} s',
            '1 passed, 1 failed'])
        self.assertEqual(self.code, EXIT_HANG)
        self.assertTrue(self.shown.endswith(f'    #  RUN           {NAME} ...\n'), self.shown)

    def test_hang_after_the_last_test(self) -> None:
        self.assertEqual(self.judge(recorded('mrelease'), timed_out=True)[0],
                         f'HANG boot: after its last test: no end within {UML_E2E.timeout} s')

    def test_program_dies(self) -> None:
        log = recorded('mrelease').partition(f'#            OK  {NAME}')[0]
        self.assertEqual(self.judge(log)[0],
                         f'CRASH boot: {NAME}: the program ended without a result')

    def test_no_program(self) -> None:
        for log in ('', 'Run /mrelease as init process\ninit: /dev: No such device\n',
                    'KTAP version 1\n1..1\nok 1 suite\n'):
            with self.subTest(log):
                self.assertEqual(self.judge(log)[0], 'CRASH boot: before its first test: '
                                 'the program ended without a result')

    def test_kernel_ends_early(self) -> None:
        self.assertEqual(self.judge('', status=1)[0], 'CRASH boot: before its first test: '
                         'the kernel ended with exit status 1')

    def test_crash_after_the_last_test(self) -> None:
        self.assertEqual(self.judge(recorded('mrelease'), status=-6)[0],
                         'CRASH boot: after its last test: the kernel ended with exit status -6')

    def test_plan_not_kept(self) -> None:
        self.assertEqual(self.judge(self.changed(f'\nok 1 {NAME}\n', '\n').replace(
            f'#  RUN           {NAME} ...\n', '')), [
                'MISSING boot: 13 of 14 tests have a result', '12 passed, 1 failed, 2 skipped'])

    def test_no_test_of_that_name(self) -> None:
        boot = replace(REPORT, wanted=())
        self.assertEqual(self.judge('TAP version 13\n1..0\n', boot)[0],
                         'FAILED report-allocation: no test is called so: -v allocation')

    def test_kunit_runs_before_and_within(self) -> None:
        kunit = 'KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: suite\n    1..1\n' \
                '    ok 1 case\nok 1 suite\n'
        log = self.changed('TAP version 13\n', f'{kunit}TAP version 13\n')
        self.assertEqual(self.judge(log), ['13 passed, 0 failed, 2 skipped'])
        log = self.changed(f'\nok 1 {NAME}\n', f'\n{kunit}not ok 2 suite\nok 1 {NAME}\n')
        self.assertEqual(self.judge(log), ['13 passed, 0 failed, 2 skipped'])


class ReportTest(LogTest):
    """What the log must show and must not."""

    def test_report(self) -> None:
        self.assertEqual(self.judge(recorded('report'), REPORT), ['2 passed, 0 failed'])
        shown = self.shown.splitlines()
        self.assertEqual(shown[0], 'boot report-allocation made this report:')
        self.assertEqual(shown[2], '    WARNING: possible recursive locking detected')
        self.assertEqual(len(shown), 1 + e2e.EXCERPT)

    def test_report_where_none_may_be(self) -> None:
        self.assertEqual(self.judge(recorded('report')), [
            'FAILED boot boot: log: must not have: WARNING: possible recursive locking detected',
            '1 passed, 1 failed'])
        self.assertIn('oom_reaper/12 is trying to acquire lock:', self.shown)

    def test_each_kind_of_trouble(self) -> None:
        for line in ('BUG: sleeping function called from invalid context at mm/x.c:1',
                     '[ BUG: Invalid wait context ]', 'WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x1',
                     'WARNING: mm/x.c:1 at f+0x1, CPU#0: x/1', 'possible deadlock detected',
                     'INFO: task x:12 blocked for more than 120 seconds.'):
            with self.subTest(line):
                log = self.changed('# Totals', f'{line}\n# Totals')
                self.assertEqual(self.judge(log)[0],
                                 f'FAILED boot boot: log: must not have: {line}')

    def test_hung_task_in_a_boot_that_shows_a_report(self) -> None:
        line = 'INFO: task x:12 blocked for more than 120 seconds.'
        log = self.changed('# Totals', f'{line}\n# Totals', 'report')
        self.assertEqual(self.judge(log, REPORT)[0],
                         f'FAILED boot report-allocation: log: must not have: {line}')

    def test_sanitizer_in_a_boot_that_shows_a_report(self) -> None:
        line = 'BUG: KASAN: slab-use-after-free in a+0x1/0x2'
        log = self.changed('# Totals', f'{line}\n# Totals', 'report')
        self.assertEqual(self.judge(log, REPORT)[0],
                         f'FAILED boot report-allocation: log: must not have: {line}')

    def test_race_in_other_code_is_shown(self) -> None:
        line = 'BUG: KCSAN: data-race in a / b'
        log = self.changed('# Totals', f'[    1.0] {line}\n# Totals')
        self.assertEqual(self.judge(log), ['13 passed, 0 failed, 2 skipped'])
        self.assertIn(f'{line} (1 times)\n', self.shown)

    def test_no_report(self) -> None:
        log = recorded('report').replace('possible recursive locking', '')
        self.assertEqual(self.judge(log, REPORT), [
            'FAILED boot report-allocation: log: has no line for '
            '"possible recursive locking detected"', '1 passed, 1 failed'])

    def test_report_of_another_callback(self) -> None:
        log = recorded('report').replace('at: fake_range_start', 'at: fake_range_end')
        self.assertRegex(self.judge(log, REPORT)[0], 'log: has no line for ".*fake_range_start')

    def test_callback_before_the_report_does_not_count(self) -> None:
        line = '0 (mmu_notifier_nonblock){+.+.}-{1:3}, at: fake_range_start+0x0/0x50\n'
        log = line + recorded('report').replace('at: fake_range_start', 'at: fake_range_end')
        self.assertRegex(self.judge(log, REPORT)[0], 'log: has no line for ".*fake_range_start')


class ScanTest(ScratchTest):
    def test_all_kinds(self) -> None:
        self.assertEqual(scan_tests('''
            /* TEST(not_this) */
            // TEST_F(nor, this)
            TEST(one)
            { RUN_TEST(two); }
            TEST_SIGNAL(dies, SIGABRT)
            FIXTURE(plain) { };
            TEST_F(plain, first)
            TEST_F_SIGNAL(plain, second, SIGABRT)
            FIXTURE_VARIANT_ADD(with, a) { };
            FIXTURE_VARIANT_ADD(with,
                                b) { };
            TEST_F_TIMEOUT(with, third, 600)
        '''), ['global.one', 'global.dies', 'plain.first', 'plain.second',
               'with.a.third', 'with.b.third'])

    def test_the_log_has_what_the_source_has(self) -> None:
        ran = [result.name for result in parse_log(recorded('mrelease').splitlines()).tests]
        source = '\n'.join(
            f'FIXTURE_VARIANT_ADD({match[1]}, {match[2]})\n' if match[2] else ''
            for match in re.finditer(r'^ok \d+ (\w+)\.(?:(\w+)\.)?\w+', recorded('mrelease'),
                                     re.MULTILINE))
        source += ('TEST_F(mrelease, back_off_reaches_user_space)\n'
                   'TEST_F(other, with_both_kinds_exits)\n'
                   'TEST_F(other, with_shared_memory_keeps_it)')
        self.assertEqual(scan_tests(source), ran)

    def test_no_tests(self) -> None:
        with self.assertRaisesRegex(Failure, 'there is no TEST'):
            expected_tests(self.repo)

    def test_test_without_a_boot(self) -> None:
        write(self.repo, {f'{SELFTEST}/one.c': 'TEST(a)\nTEST(b)\n',
                          f'{SELFTEST}/two.c': 'TEST(a)\n',
                          f'{SELFTEST}/library.c': 'int f(void);\n'})
        expected = expected_tests(self.repo)
        self.assertEqual(missing_tests(expected, {'one': {'global.a'}}).lines, [
            'MISSING one: global.b: no boot has run it',
            'MISSING two: global.a: no boot has run it'])
        self.assertEqual(missing_tests(expected, {
            'one': {'global.a', 'global.b'}, 'two': {'global.a'}}).lines, [])


class TableTest(unittest.TestCase):
    def test_the_table(self) -> None:
        expected = expected_tests(TOP)
        self.assertEqual({boot.program for boot in E2E.boots}, set(expected))
        self.assertEqual(len({boot.name for boot in E2E.boots}), len(E2E.boots))
        for boot in E2E.boots:
            self.assertLessEqual(len(boot.arguments), 30)
            for pattern in (*boot.wanted, *boot.unwanted):
                re.compile(pattern)

    def test_the_hist_trigger_is_the_one_that_is_shown(self) -> None:
        """A test runs what the commit message and the guide show."""
        [trigger] = re.findall(r'"(hist:[^"]+)"', (TOP / SELFTEST / 'trace.c').read_text())
        for path, times in (('hooks/mm-mmu_notifier-trace-callbacks.patch', 1), (PAGE, 0)):
            shown = re.findall(r"'(hist:[^']+)'", (TOP / path).read_text())
            self.assertGreaterEqual(len(shown), times, path)
            self.assertEqual(set(shown) | {trigger}, {trigger}, path)


# A kernel that runs a program in the initramfs, as far as the runner can see
FAKE_LINUX = '''#!/bin/sh
for word; do
	case $word in
		initrd=*) initrd=${word#initrd=} ;;
		rdinit=/*) program=${word#rdinit=/} ;;
	esac
done
if grep -q "^file /$program .*/selftest/$program " "$initrd"; then
	printf 'TAP version 13\\n1..1\\n#  RUN           global.%s ...\\n' $program
	printf 'ok 1 global.%s\\n' $program
fi
'''


class RunTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.copy_runner()
        write(self.repo, {
            f'{SELFTEST}/Makefile': 'all:\n\ttouch $(OUTPUT)/one $(OUTPUT)/two\n',
            f'{SELFTEST}/one.c': 'TEST(one)\n', f'{SELFTEST}/two.c': 'TEST(two)\n'})
        write(self.scratch, {'linux': FAKE_LINUX, 'gen_init_cpio': '#!/bin/sh\ncat "$1"\n'})
        # The real table is about the real programs.
        path = self.repo / 'tools/testing/kunit/nonblock/verbs/e2e.py'
        text, count = re.subn(r'E2E = Suite\(SELFTEST, \(\n.*?\n\)\)\n',
                              'E2E = Suite(SELFTEST, '
                              '(TestBoot("a", "one"), TestBoot("b", "two")))\n',
                              path.read_text(), flags=re.DOTALL)
        self.assertEqual(count, 1)
        path.write_text(text)

    def run_fake(self, what: str = 'passed', **variables: str) -> list[str]:
        self.result = self.make('e2e', KDIR=str(self.kernel), FAKE=what,
                                FAKE_UM=str(self.scratch), **variables)
        return self.result.stdout.splitlines()

    def others(self) -> set[str]:
        """What is not in the build folder."""
        return {str(path) for path in self.repo.rglob('*') if '__pycache__' not in path.parts
                and path.relative_to(self.repo).parts[0] != 'build'}

    def test_passed(self) -> None:
        path, before = self.scratch / 'junit.xml', self.others()
        lines = self.run_fake(JUNIT=str(path))
        self.assertEqual(self.result.returncode, 0, self.result.stderr)
        self.assertEqual(lines[-1], '4 passed, 0 failed')
        log = next(line.split()[-1] for line in lines if line.startswith('boot b: 2 passed'))
        self.assertTrue((self.repo / log).exists())
        self.assertEqual(self.others(), before)
        self.assertEqual(os.listdir(self.kernel / 'tools/testing'), ['kunit'])
        self.for_programs(path)
        # And again
        self.assertEqual(self.run_fake()[-1], '4 passed, 0 failed')

    def for_programs(self, path: Path) -> None:
        found = {(case.get('classname'), case.get('name')): case.get('time')
                 for case in xml.parse(path).iter('testcase')}
        self.assertEqual(sorted(found), [('a', 'global.one'), ('a', 'log'), ('b', 'global.two'),
                                         ('b', 'log')])
        # That of the log is the time of the boot.
        self.assertEqual([name for (_, name), time in found.items() if time], 2 * ['log'])

    def test_build_error(self) -> None:
        lines = self.run_fake('build error')
        self.assert_error(self.result, EXIT_BUILD)
        self.assertRegex(lines[-2], r"^FAILED build: mm/foo.c:3:1: error: expected ';'")

    def test_program_does_not_build(self) -> None:
        write(self.repo, {f'{SELFTEST}/Makefile':
                          'all:\n\t@echo "one.c:1: error: x" >&2; false\n'})
        self.run_fake()
        self.assert_error(self.result, EXIT_BUILD, 'error: building tools/testing/selftests',
                          'one.c:1: error: x')

    def test_program_that_no_boot_runs(self) -> None:
        write(self.repo, {f'{SELFTEST}/Makefile':
                          'all:\n\tcd $(OUTPUT) && touch one two three\n',
                          f'{SELFTEST}/three.c': 'TEST(three)\n'})
        lines = self.run_fake()
        self.assert_error(self.result, EXIT_FAILED)
        self.assertEqual(lines[-2:], ['MISSING three: global.three: no boot has run it',
                                      '4 passed, 1 failed'])
