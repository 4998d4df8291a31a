# SPDX-License-Identifier: GPL-2.0-only
"""Tests of `make explain`, on reports that real kernels made: test_data/explain/."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import time
from typing import Callable
from unittest import mock

import explain
from common import EXIT_USAGE, Failure
from fixtures import HERE, TOP, ScratchTest

DATA = HERE / 'test_data/explain'
BANNER = 'Linux version 7.3.4 (someone@somewhere) (gcc, GNU ld) #1 Wed Nov 25 07:08:52 UTC 2026'


def recorded(name: str) -> str:
    return (DATA / f'{name}.log').read_text(encoding='utf-8')


def squeeze(lines: list[str]) -> str:
    """Without the wrapping."""
    return ' '.join(' '.join(lines).split())


class ExplainTest(ScratchTest):
    def read(self, log: str | bytes) -> explain.Log:
        data = log if isinstance(log, bytes) else log.encode()
        return explain.read_log(explain.read_lines(io.BytesIO(data)))

    def explain(self, log: str | bytes) -> str:
        found = explain.explain(self.read(log), 'the log', lambda _symbols: explain.nowhere)
        self.clear = found.clear
        self.lines = found.lines
        return squeeze(found.lines)

    def assert_explained(self, log: str | bytes, *wanted: str) -> None:
        text = self.explain(log)
        for part in wanted:
            self.assertIn(part, text)

    def run_explain(self, stdin: str = '', **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, HERE / 'runner.py', 'explain'], input=stdin,
                              env=self.environment(**variables), capture_output=True, text=True,
                              check=False)


class KindTest(ExplainTest):
    """Each kind of report: callback, rule, call and what to do instead."""

    def test_sleeping_lock(self) -> None:
        for name in ('mutex', 'mutex-6.12'):
            with self.subTest(name):
                self.assert_explained(
                    recorded(name), 'report 1, line 2: BUG: sleeping function called',
                    'the same call, line', 'BUG: Invalid wait context',
                    'callback fake_invalidate(), built in; run by oom_reaper/1',
                    'may not take a lock that sleeps', 'through mutex_lock(), of "mutex"',
                    'trylock', 'return false if that fails', '1 call reported')
                self.assertTrue(self.clear)

    def test_allocation(self) -> None:
        self.assert_explained(
            recorded('allocation'), 'callback fake_range_start()', 'may not wait for memory',
            'through kmalloc() fake_range_start+0x42/0x60 behave+0x183/0x200 '
            '__kmalloc_cache_noprof+0x60/0x510', 'GFP_NOWAIT, and return -EAGAIN',
            '1 call reported')

    def test_end_cannot_back_off(self) -> None:
        # Its own frame is not on the stack, as it ends in a call: the held locks name it.
        self.assert_explained(recorded('range_end'), 'callback fake_range_end()',
                              'GFP_NOWAIT, and leave it to a work item',
                              'cannot back off', '1 call reported')
        self.assertNotIn('does not name the callback', squeeze(self.lines))

    def test_preempt_rt(self) -> None:
        # There the core's inner function is not inlined.
        self.assert_explained(
            recorded('rt'), 'report 1, line 1: BUG: sleeping function called from invalid context '
            'at kernel/locking/rtmutex_api.c', 'BUG: Invalid wait context',
            'callback fake_range_start()', 'through mutex_lock(), of "mutex" '
            'fake_range_start+0x12/0x20 fake_called+0x6d/0xa0', 'and return -EAGAIN',
            '1 call reported')
        self.assertNotIn('mn_invalidate_range_start', squeeze(self.lines))

    def test_sleep(self) -> None:
        self.assert_explained(recorded('sleep'), 'callback fake_invalidate()', 'may not sleep',
                              'through msleep()', 'udelay()')

    def test_circle(self) -> None:
        self.assert_explained(
            recorded('circular'), 'callback fake_range_start()',
            'of "held_by_allocator" at act_held_by_allocator+0x33/0x50',
            'The circle: held_by_allocator -> fs_reclaim -> mmu_notifier_invalidate_range_start '
            '-> mmu_notifier_nonblock -> held_by_allocator')

    def test_work_that_allocates(self) -> None:
        self.assert_explained(recorded('flush_work'), 'through flush_work() or its like, of '
                              '"allocating_work"', 'Queue the work and do not wait for it')

    def test_circle_that_another_task_closes(self) -> None:
        self.assert_explained(
            recorded('other_side'), 'callback not in the log', 'What a nonblocking callback takes '
            '("lock#3")', 'another task, kunit_try_catch/1956',
            'Do not allocate with "lock#3" held')

    def test_callback_in_how_a_link_was_learned(self) -> None:
        # UML has no stack traces there; other machines do.
        link = '-> #3 (lock#3){+.+.}-{2:2}:\n'
        log = recorded('other_side')
        self.assertEqual(log.count(link), 1)
        self.assert_explained(
            log.replace(link, link + '       lock_acquire+0xd0/0x2f0\n'
                        '       driver_invalidate+0x33/0x50 [driver]\n'
                        '       __mmu_notifier_invalidate_range_start+0x120/0x6a0\n'),
            'callback driver_invalidate(), in module driver')

    def test_return_with_a_lock(self) -> None:
        self.assert_explained(
            recorded('returned'), 'callback fake_range_start()', 'its return, with locks +1; it '
            'still holds "kept_srcu", taken at keep_srcu_read_lock+0x72/0x90',
            'Release on each way out')

    def test_refusal_of_a_blockable_call(self) -> None:
        self.assert_explained(
            recorded('refused'), 'callback fake_failing_start()', 'may back off only if '
            '!mmu_notifier_range_blockable(range)', 'its return of -11 in a blockable call')

    def test_module(self) -> None:
        for suffix in (' [driver]', ' [driver 0123456789abcdef]'):
            with self.subTest(suffix):
                log = recorded('mutex').replace('fake_invalidate+0x0/0x60',
                                                'fake_invalidate+0x0/0x60' + suffix)
                self.assert_explained(log, 'callback fake_invalidate(), in module driver;')

    def test_lockdep_off(self) -> None:
        # As might_sleep() reports it after the first report: only the trace names the callback.
        log = recorded('allocation')
        self.assert_explained(log[log.index('BUG: sleeping'):], 'callback fake_range_start()',
                              'through kmalloc()', 'does not name the callback')

    def test_no_symbols(self) -> None:
        log = recorded('mutex').replace('fake_invalidate+0x0/0x60', '0xffffffffc0123456')
        self.assert_explained(log, 'callback 0xffffffffc0123456; run by', 'no CONFIG_KALLSYMS')

    def test_spinlock_on_preempt_rt(self) -> None:
        log = recorded('mutex')
        log = log[:log.index('=====')].replace('__mutex_lock+', 'rt_spin_lock+')
        self.assert_explained(log, 'rule None', 'Nothing in the driver')

    def test_every_remedy_can_be_printed(self) -> None:
        for primitive in explain.PRIMITIVES:
            self.assertNotIn('{', primitive.remedy.format(back_off='back off'))


class OthersTest(ExplainTest):
    """Reports that are not about MMU notifiers."""

    def test_another_mutex(self) -> None:
        self.assert_explained(recorded('another_mutex'), 'no report about nonblocking',
                              'other reports, not explained: 1 (line 3)')
        self.assertTrue(self.clear)

    def test_another_lock_in_a_nonblocking_callback(self) -> None:
        log = recorded('another_lock')
        self.assertIn('(mmu_notifier_nonblock)', log)
        self.assert_explained(log, 'no report about nonblocking', 'other reports')
        self.assertTrue(self.clear)

    def test_a_spinlock_under_a_raw_one_in_a_callback(self) -> None:
        log = recorded('mutex').replace('(mutex){....}-{4:4}', '(lock){....}-{3:3}')
        log = log[log.index('====='):]
        self.assert_explained(log, 'no report about nonblocking')

    def test_another_section_that_may_not_block(self) -> None:
        self.assert_explained(recorded('two_cpus'), 'no report about nonblocking',
                              'not explained: 2')
        self.assertTrue(self.clear)

    def test_a_sleep_in_such_a_section(self) -> None:
        log = recorded('mutex-6.12')
        log = log[:log.index('=====')].replace('mmu_notifier', 'pwm')
        self.assertIn('non_block: 1', log)
        self.assert_explained(log, 'no report about nonblocking', 'not explained: 1')
        self.assertTrue(self.clear)

    def test_back_offs(self) -> None:
        line = '[    1.000000] start+0x0/0x10 callback failed with -11 in non-blockable context.\n'
        self.assert_explained(line * 3, 'no report', 'back-offs, which are no fault: 3')

    def test_all_locks_of_the_system(self) -> None:
        log = recorded('mutex')
        held = [line for line in log.splitlines() if line.startswith(' #')][:3]
        self.assert_explained('\n'.join(['Showing all locks held in the system:',
                                         '3 locks held by oom_reaper/12:', *held, '']),
                              'no report')
        self.assertTrue(self.clear)

    def test_two_reports(self) -> None:
        self.assert_explained(recorded('sleep') + recorded('allocation'), 'report 1, line 2:',
                              'report 2, line 53:', '2 calls reported')

    def test_the_same_report_many_times(self) -> None:
        self.assert_explained(recorded('sleep') * 9, 'the same call, 5 more times',
                              '1 call reported')


class PrefixTest(ExplainTest):
    """What stands before the kernel's text, and after it."""

    def changed(self, change: Callable[[int, str], str]) -> None:
        log = recorded('mutex')
        wanted = self.explain(log)
        self.assertIn('1 call reported', wanted)
        self.assertEqual(self.explain(''.join(
            change(number, line) for number, line in enumerate(log.splitlines(keepends=True)))),
            wanted)

    def test_time_stamps(self) -> None:
        self.changed(lambda number, line: f'[{number / 1e3:12.6f}] {line}')

    def test_callers(self) -> None:
        self.changed(lambda number, line: f'[{number / 1e3:12.6f}][   T13] {line}')
        self.changed(lambda number, line: f'[{number / 1e3:12.6f}] [   T13] {line}')

    def test_levels(self) -> None:
        self.changed(lambda number, line: f'<{number % 8}>{line}')
        self.changed(lambda number, line: f'<4>[{number / 1e3:12.6f}] {line}')
        self.changed(lambda number, line: f'kern  :err   : [{number / 1e3:12.6f}] {line}')

    def test_dmesg_with_the_time_of_day(self) -> None:
        self.changed(lambda number, line: f'[Wed Nov 25 07:08:{number % 60:02} 2026] {line}')
        self.changed(lambda number, line: f'[  +0.{number:06}] {line}')

    def test_journalctl(self) -> None:
        self.changed(lambda number, line: f'Nov 25 07:08:{number % 60:02} my-host kernel: {line}')
        self.changed(lambda number, line:
                     f'2026-11-25T07:08:{number % 60:02}+0100 host kernel: {line}')
        self.changed(lambda number, line: f'[{number / 1e3:12.6f}] host kernel: {line}')

    def test_kmsg(self) -> None:
        self.changed(lambda number, line: f'4,{number},{number * 7},-;{line}')
        self.changed(lambda number, line: f'4,{number},{number * 7},-,caller=T13;{line}')

    def test_carriage_returns(self) -> None:
        self.changed(lambda _, line: line.replace('\n', '\r\n'))
        self.changed(lambda _, line: line.replace('\n', '\r\r\n'))

    def test_another_log_around_it(self) -> None:
        self.changed(lambda number, line: f'2026/11/25 machine-1 | {line}')


class MixedTest(ExplainTest):
    """Lines that do not belong together."""

    def test_lines_of_others_between(self) -> None:
        log = recorded('mutex').replace('\n', '\neth0: link is up\n')
        self.assert_explained(log, 'callback fake_invalidate()', 'through mutex_lock(), of "mutex"',
                              '1 call reported')
        self.assertTrue(self.clear)

    def test_two_cpus_with_callers(self) -> None:
        one, other = recorded('mutex').splitlines(), recorded('allocation').splitlines()
        lines = []
        for number in range(max(len(one), len(other))):
            lines += [f'[    1.000000][  T{task}] {log[number]}\n'
                      for task, log in ((13, one), (14, other)) if number < len(log)]
        self.assert_explained(''.join(lines), 'callback fake_invalidate()', 'of "mutex"',
                              'callback fake_range_start()', 'through kmalloc()',
                              '2 calls reported')
        self.assertTrue(self.clear)

    def test_two_cpus_without_callers(self) -> None:
        # Recorded: one task's headline, all of the other's report, and the first one's rest.
        first, second = self.read(recorded('two_cpus')).reports
        self.assertEqual((first.task, second.task),
                         ('kunit_try_catch/3451', 'kunit_report/3452'))
        self.assertEqual((len(first.held), len(second.held)), (1, 0))
        self.assertEqual((first.cut, second.cut), ('', ''))

    def test_two_cpus_that_cannot_be_told_apart(self) -> None:
        one, other = recorded('mutex').splitlines(), recorded('sleep').splitlines()
        mixed = ''.join(f'{first}\n{second.replace("oom_reaper", "other")}\n'
                        for first, second in zip(one, other))
        self.assert_explained(mixed, 'CUT OFF')
        self.assertFalse(self.clear)

    def test_lines_printed_twice(self) -> None:
        log = recorded('mutex')
        line = (' #2: 0000000060480060 (mmu_notifier_nonblock){+.+.}-{1:3}, at: '
                'fake_invalidate+0x0/0x60\n')
        self.assertEqual(log.count(line), 2)
        for end in (10, 60, -1):
            broken = line[:end].rstrip('\n') + '\n** replaying previous printk message **\n' + line
            with self.subTest(end):
                self.assert_explained(log.replace(line, broken), 'callback fake_invalidate()',
                                      '1 call reported')
                self.assertTrue(self.clear)

    def test_headline_printed_twice(self) -> None:
        # The half of it would be a report of another kind.
        line = 'BUG: scheduling in a non-blocking section: oom_reaper/13/1\n'
        log = recorded('sleep').replace(
            line, line[:-3] + '\n** replaying previous printk message **\n' + line)
        self.assertNotIn('other reports', self.explain(log))
        self.assertTrue(self.clear)

    def test_locks_of_others_between(self) -> None:
        log = recorded('sleep')
        first = next(line for line in log.splitlines(keepends=True) if line.startswith(' #0:'))
        self.assert_explained(log.replace(first, first + first), 'callback fake_invalidate()')
        self.assertNotIn('does not name the callback', squeeze(self.lines))
        self.assertTrue(self.clear)

    def test_dropped_lines(self) -> None:
        log = recorded('sleep').replace('Call Trace:',
                                        '** 7 printk messages dropped **\nCall Trace:')
        self.assert_explained(log, 'the kernel dropped lines of it')
        self.assertFalse(self.clear)

    def test_lines_dropped_after_a_report(self) -> None:
        self.explain(recorded('sleep') + '** 7 printk messages dropped **\n')
        self.assertTrue(self.clear)

    def test_garbage(self) -> None:
        garbage = bytes(range(256)) * 3
        log = recorded('mutex').encode()
        self.assert_explained(garbage + b'\n' + log + garbage, '1 call reported')

    def test_bad_bytes_in_a_report(self) -> None:
        log = recorded('mutex').encode().replace(b'Stack:', b'\xff\xfe\x00Stack:')
        self.assert_explained(log, '1 call reported')
        self.assertTrue(self.clear)


class CutTest(ExplainTest):
    """Logs that are not whole."""

    def cuts(self, name: str, headline: str, end: str) -> None:
        """Cut a log in each line of its report, and at its end."""
        lines = recorded(name).splitlines(keepends=True)
        first = next(number for number, line in enumerate(lines) if headline in line)
        last = next(number for number, line in enumerate(lines) if number > first and end in line)
        for number in range(first, last):
            half = lines[number + 1][:len(lines[number + 1]) // 2] if number + 1 < last else ''
            for log in (''.join(lines[:number + 1]), ''.join(lines[:number + 1]) + half):
                with self.subTest(name, line=number + 1):
                    self.explain(log)
                    self.assertFalse(self.clear, log[-200:])
                    self.assertIn('CUT OFF', squeeze(self.lines))
        self.explain(''.join(lines[:last + 1]))
        self.assertTrue(self.clear)

    def test_in_the_middle(self) -> None:
        self.cuts('allocation', 'WARNING: possible', 'kthread+')
        self.cuts('sleep', 'BUG: scheduling', 'kthread+')
        self.cuts('mutex-6.12', 'BUG: sleeping', 'kthread+')
        self.cuts('circular', 'WARNING: possible', 'kthread+')
        self.cuts('returned', 'WARNING: ', 'end trace')

    def test_before_the_headline(self) -> None:
        self.explain('[    1.000000] ================================\n')
        self.assertFalse(self.clear)

    def test_what_is_known_is_said(self) -> None:
        log = recorded('sleep')
        self.assert_explained(log[:log.index('Call Trace:')], 'callback fake_invalidate()',
                              'CUT OFF the log ends before its call trace', '1 report cut off')

    def test_at_the_beginning(self) -> None:
        log = recorded('sleep')
        self.assert_explained(log[log.index(' #0:'):], 'callback fake_invalidate()',
                              'its beginning is not in the log')
        self.assertFalse(self.clear)

    def test_another_report_that_is_whole_so_far(self) -> None:
        # Its held locks are all there, and ours is not among them.
        log = recorded('another_mutex')
        self.explain(log[:log.index('Call Trace:')])
        self.assertTrue(self.clear)

    def test_trace_without_its_end(self) -> None:
        log = recorded('sleep').replace('Call Trace:\n', 'Call Trace:\n <TASK>\n')
        self.assert_explained(log, 'CUT OFF')
        self.assertFalse(self.clear)
        log = log.replace('oom_reaper: reaped', ' </TASK>\noom_reaper: reaped')
        self.assert_explained(log, '1 call reported')
        self.assertTrue(self.clear)

    def test_empty(self) -> None:
        with self.assertRaisesRegex(Failure, 'the log is empty') as caught:
            self.explain('')
        self.assertEqual(caught.exception.code, EXIT_USAGE)

    def test_no_kernel_log(self) -> None:
        with self.assertRaisesRegex(Failure, 'does not look like a kernel log') as caught:
            self.explain('#include <stdio.h>\n' * 9)
        self.assertEqual(caught.exception.code, EXIT_USAGE)

    def test_binary(self) -> None:
        with self.assertRaisesRegex(Failure, 'is not text'):
            self.explain(b'\x7fELF\0\0\0\n' * 99)


class SizeTest(ExplainTest):
    def seconds(self, log: bytes) -> float:
        start = time.process_time()
        self.explain(log)
        return time.process_time() - start

    def test_linear(self) -> None:
        block = recorded('mutex').encode() + b'[    1.000000] something else happened\n' * 900
        short, long = self.seconds(block * 10), self.seconds(block * 100)
        self.assertIn('1 call reported', squeeze(self.lines))
        # Ten times as much; quadratic, it would be a hundred.
        self.assertLess(long, 30 * short + 1)

    def test_no_lines_at_all(self) -> None:
        self.assert_explained(recorded('mutex').encode() + b'a (' * 10_000_000,
                              '1 call reported in nonblocking MMU notifiers in 113 lines')

    def test_lines_that_nearly_match(self) -> None:
        nearly = b'0 (' * 600 + b')){}-{1:1' + b'}, at: ' * 30 + b'\n'
        self.assertLess(self.seconds(recorded('mutex').encode() + nearly * 50), 20)


class PlaceTest(ExplainTest):
    """Files and lines."""

    def setUp(self) -> None:
        super().setUp()
        self.vmlinux = self.scratch / 'vmlinux'

    def locate(self, banner: str = '', kdir: str = '') -> None:
        explain.locator(str(self.vmlinux), '', kdir, TOP, banner)({explain.Symbol('f')})

    def test_bad_vmlinux(self) -> None:
        with self.assertRaisesRegex(Failure, 'vmlinux: No such file'):
            self.locate()
        self.vmlinux.write_bytes(b'MZ')
        with self.assertRaisesRegex(Failure, 'is not an ELF file'):
            self.locate()
        self.vmlinux.write_bytes(b'\x7fELF')
        with self.assertRaisesRegex(Failure, 'is not a Linux kernel'):
            self.locate()
        self.vmlinux.write_bytes(b'\x7fELF' + BANNER.encode() + b'\n')
        with self.assertRaisesRegex(Failure, 'is not the kernel of this log'):
            self.locate(BANNER.replace('#1', '#2'))
        with self.assertRaisesRegex(Failure, 'KDIR=/nowhere has no scripts'):
            self.locate(BANNER, '/nowhere')

    def test_lines_by_the_kernels_own_script(self) -> None:
        script = next(iter(sorted(TOP.glob('build/*/linux/scripts/decode_stacktrace.sh'))), None)
        if not script or not shutil.which('addr2line'):
            self.skipTest('no prepared tree, or no addr2line')
        source = self.scratch / 'kernel.c'
        source.write_text(f'const char banner[] = "{BANNER}\\n";\n\n'
                          'int fake_invalidate(void)\n{\n\treturn banner[0];\n}\n\n'
                          'int main(void)\n{\n\treturn fake_invalidate();\n}\n', encoding='utf-8')
        # Not a kernel, but with what the script reads: symbols and lines.
        subprocess.run(['gcc', '-g', '-o', self.vmlinux, source], check=True)
        log = f'{BANNER}\n' + recorded('sleep')
        (self.scratch / 'dmesg').write_text(log, encoding='utf-8')
        result = self.run_explain(LOG=str(self.scratch / 'dmesg'), VMLINUX=str(self.vmlinux),
                                  KDIR=str(script.parents[1]))
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertIn('kernel.c:4', result.stdout)


class CommandTest(ExplainTest):
    """`runner.py explain` itself."""

    def test_file_and_standard_input(self) -> None:
        result = self.run_explain(LOG=str(DATA / 'mutex.log'))
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertIn('1 call reported in nonblocking MMU notifiers in 112 lines of /',
                      result.stdout)
        piped = self.run_explain(recorded('mutex'))
        self.assertEqual(piped.returncode, 0)
        self.assertIn('in 112 lines of standard input', piped.stdout)

    def test_bad_input(self) -> None:
        cut = self.scratch / 'cut'
        cut.write_text(recorded('mutex')[:900], encoding='utf-8')
        cases: dict[str, tuple[dict[str, str], str]] = {
            'missing': ({'LOG': '/no/such'}, 'LOG=/no/such: No such file or directory'),
            'directory': ({'LOG': str(self.scratch)}, 'Is a directory'),
            'empty': ({}, 'standard input is empty'),
            'cut': ({'LOG': str(cut)}, ''),
            'modules': ({'MODULES': '/no'}, 'MODULES=/no: only with VMLINUX')}
        for what, (variables, message) in cases.items():
            with self.subTest(what):
                result = self.run_explain('', **variables)
                self.assertEqual(result.returncode, EXIT_USAGE)
                self.assertIn(message, result.stderr)
                self.assertNotIn('Traceback', result.stderr)

    def test_terminal(self) -> None:
        with mock.patch('sys.stdin.isatty', return_value=True):
            with self.assertRaisesRegex(Failure, 'no log: give LOG='):
                explain.open_log('')
