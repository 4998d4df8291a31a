# SPDX-License-Identifier: GPL-2.0-only
"""Lines that do not belong together, and logs that are not whole."""

from __future__ import annotations

from nonblock.common import EXIT_USAGE, Failure

from .base import ExplainTest, composed, find_reports, recorded


class MixedTest(ExplainTest):
    """Lines that do not belong together."""

    def test_lines_of_others_between(self) -> None:
        log = recorded('mutex').replace('\n', '\neth0: link is up\n')
        self.assert_explained(log, 'callback fake_invalidate()', 'did mutex_lock(), of "mutex"',
                              '1 finding about')
        self.assertNotIn('CUT OFF', self.explain(log))

    def test_two_cpus_with_callers(self) -> None:
        one, other = recorded('mutex').splitlines(), recorded('allocation').splitlines()
        lines = []
        for number in range(max(len(one), len(other))):
            lines += [f'[    1.000000][  T{task}] {log[number]}\n'
                      for task, log in ((13, one), (14, other)) if number < len(log)]
        self.assert_explained(''.join(lines), 'callback fake_invalidate()', 'of "mutex"',
                              'callback fake_range_start()', 'did kmalloc()', '2 findings about')
        self.assertNotIn('mixed', self.explain(''.join(lines)))

    def test_two_cpus_of_others_kernels_with_callers(self) -> None:
        log = composed('two-cpus-interleaved.log')
        lines = log.splitlines(keepends=True)
        log = ''.join(line.replace('] ', f'][    C{number % 2}] ', 1)
                      for number, line in enumerate(lines))
        self.assertEqual(self.callbacks(log), ['mydrv_range_start', 'otherdrv_range_start'])

    def test_two_cpus_without_callers(self) -> None:
        # Recorded: one task's headline, all of the other's report, and the first one's rest.
        (first, second), _ = find_reports(recorded('two_cpus'))
        self.assertEqual((first.task, second.task),
                         ('kunit_try_catch/3451', 'kunit_report/3452'))
        self.assertEqual((len(first.held), len(second.held)), (1, 0))
        self.assertEqual((first.cut, second.cut), ('', ''))
        self.assertEqual((first.mixed, second.mixed), (False, False))

    def test_two_cpus_that_cannot_be_told_apart(self) -> None:
        one, other = recorded('mutex').splitlines(), recorded('sleep').splitlines()
        mixed = ''.join(f'{first}\n{second.replace("oom_reaper", "other")}\n'
                        for first, second in zip(one, other))
        self.explain(mixed)
        self.assertTrue(any(finding.report.mixed or finding.report.cut
                            for finding in self.found.findings) or self.found.unclear)

    def test_lines_printed_twice(self) -> None:
        log = recorded('mutex')
        line = (' #2: 0000000060480060 (mmu_notifier_nonblock){+.+.}-{1:3}, at: '
                'fake_invalidate+0x0/0x60\n')
        self.assertEqual(log.count(line), 2)
        for end in (10, 60, -1):
            broken = line[:end].rstrip('\n') + '\n** replaying previous printk message **\n' + line
            with self.subTest(end):
                self.assertEqual(self.essence(log.replace(line, broken)), self.essence(log))

    def test_headline_printed_twice(self) -> None:
        # The half of it would be a report of another kind.
        line = 'BUG: scheduling in a non-blocking section: oom_reaper/13/1\n'
        log = recorded('sleep').replace(
            line, line[:-3] + '\n** replaying previous printk message **\n' + line)
        self.assertNotIn('recognised', self.explain(log))
        self.assertEqual(len(self.found.findings), 1)

    def test_locks_of_others_between(self) -> None:
        log = recorded('sleep')
        first = next(line for line in log.splitlines(keepends=True) if line.startswith(' #0:'))
        other = first.replace('&mm->mmap_lock', 'other')
        self.assert_explained(log.replace(first, first + other), 'callback fake_invalidate()')
        self.assertNotIn('does not name the callback', self.explain(log))

    def test_dropped_lines(self) -> None:
        log = recorded('sleep').replace('Call Trace:',
                                        '** 7 printk messages dropped **\nCall Trace:')
        self.assert_explained(log, 'CUT OFF the kernel dropped lines of it')

    def test_lines_dropped_after_a_report(self) -> None:
        self.assertNotIn('CUT OFF', self.explain(recorded('sleep') +
                                                 '** 7 printk messages dropped **\n'))

    def test_traces_of_other_cpus(self) -> None:
        """A stall shows where all CPUs are: each trace is one of its own."""
        log = composed('softlockup.log')
        trace = log[log.index('[  500.000001]'):log.index('[  501')]
        other = trace.replace('mydrv_invalidate', 'cpu_idle').replace(
            '__mmu_notifier_invalidate_range_start', 'do_idle')
        self.assertEqual(self.callbacks(log[:log.index('[  500.000001]')] + other + trace),
                         ['mydrv_invalidate'])


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
                    self.assertIn('CUT OFF', self.explain(log), log[-200:])
                    self.assertNotEqual(self.found.status, 0)
        self.assertNotIn('CUT OFF', self.explain(''.join(lines[:last + 1])))
        self.assertEqual(self.found.status, 1)

    def test_in_the_middle(self) -> None:
        self.cuts('allocation', 'WARNING: possible', 'kthread+')
        self.cuts('sleep', 'BUG: scheduling', 'kthread+')
        self.cuts('mutex-6.12', 'BUG: sleeping', 'kthread+')
        self.cuts('circular', 'WARNING: possible', 'kthread+')
        self.cuts('changed', 'WARNING: ', 'kthread+')

    def test_before_the_headline(self) -> None:
        self.explain('[    1.000000] ================================\n')
        self.assertEqual(self.found.status, 2)

    def test_what_is_known_is_said(self) -> None:
        log = recorded('sleep')
        self.assert_explained(log[:log.index('Call Trace:')], 'callback fake_invalidate()',
                              'CUT OFF the log ends before its call trace', '1 report cut off')

    def test_at_the_beginning(self) -> None:
        log = recorded('sleep')
        self.assert_explained(log[log.index(' #0:'):], 'callback fake_invalidate()',
                              'its beginning is not in the log')

    def test_without_its_headline(self) -> None:
        """As those post it who begin their excerpt one line too late."""
        log = composed('circle-through-reclaim.log')
        whole = self.essence(log)
        self.assertEqual(self.essence(log[log.index('[  811.204466] worker'):]), whole)
        log = composed('mutex-arm64.log')
        self.assertEqual(self.essence(log[log.index('[ 4123.502129]'):]), self.essence(log))

    def test_summary_of_a_circle_only(self) -> None:
        log = composed('circle-through-reclaim.log')
        self.assert_explained(log[log.index('[  811.205083] Chain'):log.index('[  811.205188]')] +
                              '\nThat is all I have.\n', 'unclear, line 1', 'Chain exists of')
        self.assertEqual(self.found.status, 2)

    def test_two_excerpts_without_headlines(self) -> None:
        circle = composed('circle-through-reclaim.log')
        circle = circle[circle.index('[  811.204466] worker'):]
        sleep = composed('mutex-arm64.log')
        trace = sleep[sleep.index('[ 4123.502159]'):sleep.index('[ 4123.510000]')].replace(
            '__might_', 'something_')
        sleep = sleep[sleep.index('[ 4123.502129]'):]
        self.assertEqual(self.callbacks(trace + '\nAnd:\n' + circle + '\nAnd:\n' + sleep),
                         ['mydrv_invalidate', 'mydrv_range_start'])

    def test_excerpt_that_ends_early(self) -> None:
        """What a commit message leaves out does not matter, if the rest tells enough."""
        log = composed('circle-through-reclaim.log')
        cut = log[:log.index('[  811.205068]')] + '\nThis is fixed by what follows.\n'
        self.assertEqual(self.essence(cut), self.essence(log))

    def test_another_report_that_is_whole_so_far(self) -> None:
        # Its held locks are all there, and ours is not among them.
        log = recorded('another_mutex')
        self.assert_innocent(log[:log.index('Call Trace:')])

    def test_another_report_of_which_too_little_is_there(self) -> None:
        log = recorded('another_mutex')
        self.assert_explained(log[:log.index('other info')], 'unclear, line 3',
                              'whether it is about MMU notifiers cannot be told')
        self.assertEqual(self.found.status, 2)

    def test_trace_without_its_end(self) -> None:
        log = recorded('sleep').replace('Call Trace:\n', 'Call Trace:\n <TASK>\n')
        cut = log[:log.index('[<600e78e7>]')]
        self.assert_explained(cut, 'CUT OFF')
        self.assertNotIn('CUT OFF', self.explain(f'{cut}asm_exc_page_fault+0x26/0x30\n'))
        self.assertNotIn('CUT OFF', self.explain(log.replace('oom_reaper: reaped',
                                                             ' </TASK>\noom_reaper: reaped')))

    def test_closing_rule(self) -> None:
        """That of a report of KASAN is no beginning."""
        rule = '=' * 66 + '\n'
        log = (f'{rule}BUG: KASAN: slab-use-after-free in f+0x1/0x2\nCall Trace:\n f+0x1/0x2\n'
               f' kthread+0x1/0x2\n{rule}')
        self.assert_innocent(log)
        self.assert_innocent(log.replace('BUG: KASAN', 'UBSAN'))
        self.assertEqual(self.answer(f'[    1.0] booted\n{rule}').status, 2)

    def test_empty(self) -> None:
        with self.assertRaisesRegex(Failure, 'the log is empty') as caught:
            self.explain('')
        self.assertEqual(caught.exception.code, EXIT_USAGE)

    def test_no_kernel_log(self) -> None:
        with self.assertRaisesRegex(Failure, 'does not look like a kernel log'):
            self.explain('#include <stdio.h>\n' * 9)


class NotSeenTest(ExplainTest):
    """Silence is no all-clear where nothing could have been seen."""

    STAMPED = '[    1.000000] something happened\n'

    def test_lockdep_turned_off(self) -> None:
        for text in ('INFO: lockdep is turned off.', 'Disabling lock debugging due to kernel taint',
                     'WARNING: inconsistent lock state'):
            with self.subTest(text):
                self.assert_innocent(self.STAMPED * 4 + f'[    2.000000] {text}\n' + self.STAMPED,
                                     'lockdep was off from line 5 on')

    def test_no_lockdep(self) -> None:
        boot = '[    0.000000] Linux version 6.12.1 (a@b) (gcc) #1 SMP\n' + self.STAMPED * 200
        self.assert_innocent(boot, 'a kernel without lockdep')
        self.assertNotIn('without lockdep', self.explain(
            boot + '[    0.1] Lock dependency validator: Copyright (c) 2006 Red Hat\n'))

    def test_too_old(self) -> None:
        self.assert_innocent('[    0.000000] Linux version 5.3.1 (a@b) #1 SMP\n',
                             'Linux 5.3.1 does not check callbacks at all')

    def test_a_kernel_without_the_series(self) -> None:
        self.assert_innocent(self.STAMPED, 'is not checked by a kernel without the series')
        self.assertNotIn('without the series', self.explain(recorded('mutex')))
