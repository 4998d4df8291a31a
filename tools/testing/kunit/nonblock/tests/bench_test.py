# SPDX-License-Identifier: GPL-2.0-only
"""Tests of make bench: what it reads in logs, and how it judges."""

from __future__ import annotations

import shutil
import subprocess
import unittest
from dataclasses import replace

from nonblock.kernel import machine
from nonblock.verbs import bench
from nonblock.verbs.bench import FIXES, OURS, Ratio, Measured
from nonblock.common import Failure
from nonblock.tests.fixtures import TOP, ScratchTest, write
from nonblock.tree.hooks import read_hooks
from nonblock.kernel.machine import X86_64_BENCH
from nonblock.result.verdict import Verdict

LOG = '''bench: fault_munmap 52000
[    0.900000] mmu_notifier_bench: loading out-of-tree module taints kernel.
[    1.000000] bench: kmalloc 1234.50
[    1.100000] bench: range_nonblocking_16 31000.00
bench: end
'''


def boots(values: dict[str, list[float]]) -> dict[str, list[Measured]]:
    """Of one measurement, on each side."""
    return {side: [{'kmalloc': value} for value in values[side]] for side in values}


class ParseTest(unittest.TestCase):
    def test_passes(self) -> None:
        values, trouble = bench.read_boot(LOG)
        self.assertEqual(values, {'fault_munmap': 52000, 'kmalloc': 1234.5,
                                  'range_nonblocking_16': 31000})
        self.assertEqual(trouble, '')

    def test_trouble(self) -> None:
        for line in ('bench: failed: /mmu_notifier_bench.ko: Invalid argument',
                     'WARNING: possible recursive locking detected',
                     'BUG: Invalid wait context ]'):
            self.assertEqual(bench.read_boot(f'{line}\n{LOG}')[1], line)

    def test_no_end(self) -> None:
        _, trouble = bench.read_boot(LOG.replace('bench: end\n', ''))
        self.assertEqual(trouble, 'it did not come to its end')


class InitTest(unittest.TestCase):
    def test_it_compiles(self) -> None:
        if not shutil.which('gcc'):
            self.skipTest('no gcc here')
        result = subprocess.run(['gcc', '-fsyntax-only', '-Wall', '-Werror',
                                 bench.HERE / 'bench_src/bench.c'], text=True, capture_output=True)
        self.assertEqual(result.stderr, '')


class JudgeTest(unittest.TestCase):
    def test_median(self) -> None:
        result, = bench.ratios(boots({FIXES: [100, 100, 500], OURS: [101, 101, 101]}))
        self.assertEqual((result.ratio, result.limit), (1.01, 1.01))
        self.assertTrue(result.good)

    def test_what_a_boot_lacks_is_no_result(self) -> None:
        found = boots({FIXES: [100, 100], OURS: [100, 100]})
        found[OURS][1].clear()
        self.assertEqual(bench.ratios(found), [])

    def test_verdict(self) -> None:
        verdict = Verdict()
        names = [name for name in bench.NAMES if name != 'interval_blockable_1']
        results = [Ratio(name, 2 if name == 'kmalloc' else 1, 1, bench.limit_of(name))
                   for name in names]
        bench.judge_ratios(results, verdict)
        self.assertEqual(verdict.lines, [
            'MISSING interval_blockable_1: not measured in each boot',
            'FAILED kmalloc: 2.0 against 1.0, ratio 2.000, goal 1.01'])
        self.assertEqual(verdict.passed, len(names) - 1)

    def test_goals(self) -> None:
        for name, limit in (('kmalloc', 1.01), ('kmalloc_under_mutex', 1.01),
                            ('fault_munmap', 1.01), ('interval_blockable_256', 1.01),
                            ('range_blockable_1', 1.01), ('range_nonblocking_4096', 3)):
            self.assertEqual(bench.limit_of(name), limit, name)


class OutputTest(ScratchTest):
    def test_text(self) -> None:
        results = [Ratio('kmalloc', 2, 1, 1.01), Ratio('other', 1, 1, 1.01)]
        first, second = bench.as_text(results).splitlines()[1:3]
        self.assertRegex(first, r'kmalloc +1\.0 +2\.0 +2\.000 +1\.01$')
        self.assertRegex(second, r'other +1\.0 +1\.0 +1\.000 +1\.01$')

    def test_address(self) -> None:
        prefix, lines = '__mmu_notifier_invalidate_range_', {
            'T foo': '10', 'T {}start': '20', 't {}end': '30', 'd {}start_map': '40'}
        text = ''.join(f'{address} {line.format(prefix)}\n' for line, address in lines.items())
        write(self.scratch, {'System.map': text})
        self.assertEqual(bench.module_arguments(self.scratch),
                         ('start=0x20', 'end=0x30', 'map=0x40'))
        write(self.scratch, {'System.map': text.replace('_map', '_other')})
        with self.assertRaisesRegex(Failure, 'System.map: want __mmu'):
            bench.module_arguments(self.scratch)


class TreeTest(ScratchTest):
    def test_fixes_come_first(self) -> None:
        hooks = read_hooks(TOP)
        left = [hook.name for hook in hooks if hook.topic.startswith(bench.FIX_TOPICS)]
        self.assertIn('mm-mmu_notifier-end-interval-state.patch', left)
        self.assertEqual(left, [hook.name for hook in hooks[:len(left)]])
        self.assertFalse([name for name in left if 'kunit-report' in name or 'annotate' in name])

    def test_touched_sources(self) -> None:
        write(self.repo, {'hooks/foo.patch': '--- a/mm/foo.c\n+++ b/mm/foo.c\n'
                          '--- a/include/linux/foo.h\n+++ b/include/linux/foo.h\n'
                          '--- /dev/null\n+++ b/mm/new.c\n'})
        write(self.kernel, {'include/linux/foo.h': ''})
        session = replace(self.session(), hooks=('hooks/foo.patch',))
        self.assertEqual(bench.touched_sources({FIXES: session, OURS: session}),
                         ['mm/foo.c'])

    def test_machine(self) -> None:
        # Without TCG it does not count, and the module takes addresses as they are.
        self.assertTrue(X86_64_BENCH.path)
        self.assertIn('-icount', X86_64_BENCH.run)
        config = (machine.HERE / 'x86_64.config').read_text(encoding='utf-8')
        self.assertIn('# CONFIG_RELOCATABLE is not set', config)


if __name__ == '__main__':
    unittest.main()
