# SPDX-License-Identifier: GPL-2.0-only
"""The logs of test_data/explain/composed: kernels without the series, as people post them."""

from __future__ import annotations

from nonblock.explain.finding import CONTRACT, NO, NONBLOCKING, RECLAIM, REFUSAL, YES
from .base import COMPOSED, ExplainTest, composed

WRAPPED = ('colour.log', 'lava.yaml', 'journal-1.json', 'file-line-appended.log',
           'mail-wrapped.log', 'utf16.log', 'mutex.gz', 'mutex.xz', 'lines-merged.log')

# Log, callback, what it is, may it block, and texts of the answer
ANSWERS: dict[str, tuple[str | None, str, str, tuple[str, ...]]] = {
    'circle-through-reclaim.log': ('mydrv_invalidate', RECLAIM, YES, (
        'mutex_lock(), of "&ctx->table_lock", taken in an invalidation',
        'mydrv_grow_table() [mydrv] allocates (kmalloc()) with "&ctx->grow_lock" held (link #2)',
        'link #1: mydrv_grow_table() [mydrv] takes "&ctx->grow_lock" with "&ctx->table_lock" held',
        'may not be held, directly or through others, over an allocation that reclaims',
        'In a nonblocking call the same mutex_lock() would sleep')),
    'recursion-range-start-map.log': ('mydrv_invalidate', RECLAIM, YES, (
        'kmalloc(), within the invalidation', "mainline's own map", 'GFP_NOWAIT')),
    'hung-reaper.log': ('mydrv_invalidate', NONBLOCKING, NO, (
        'waits: mutex_lock(); oom_reaper/61 waits in it for more than 120 s',
        'the machine is out of memory')),
    'softlockup.log': ('mydrv_invalidate', NONBLOCKING, NO, (
        'does not get out of it for 26 s', 'unable to reap pid:900 (victim)',
        'report 1 is about mydrv_invalidate()')),
    'mutex-arm64.log': ('mydrv_range_start', NONBLOCKING, NO, (
        'did mutex_lock()', 'return -EAGAIN (only from invalidate_range_start()',
        '1 back-off of callbacks that are blamed above')),
    'warn-backs-off-with-end.log': ('mydrv_range_start', CONTRACT, NO, (
        'invalidate_range_end() may not back off', '1 back-off of callbacks that are blamed')),
    'warn-with-condition.log': ('mydrv_range_start', CONTRACT, NO, (
        'invalidate_range_end() may not back off', '1 back-off of callbacks that are blamed')),
    'warn-other-errno.log': ('mydrv_range_start', CONTRACT, NO, (
        'returns -EAGAIN and no other error', 'its return of -12')),
    'warn-blockable.log': ('mydrv_range_start', REFUSAL, YES, (
        'its return of -11 (-EAGAIN) in a blockable call',)),
    'warn-interval-false-in-blockable.log': (None, REFUSAL, YES, (
        "an interval notifier's invalidate() returned false in a call that may block",)),
    'lockdep-was-off.log': ('mydrv_range_start', NONBLOCKING, NO, (
        'mutex_lock()', 'lockdep was off from line 2 on', 'not seen is not the same as not there')),
}


class ComposedTest(ExplainTest):
    def test_each_has_an_answer(self) -> None:
        known = {*ANSWERS, *WRAPPED, 'two-cpus-interleaved.log', 'riscv-powerpc-s390.log'}
        self.assertEqual({path.name for path in COMPOSED.iterdir()}, known)

    def test_answers(self) -> None:
        for name, (callback, what, may_block, texts) in ANSWERS.items():
            with self.subTest(name):
                self.assert_explained((COMPOSED / name).read_bytes(), *texts)
                finding, = self.found.findings
                self.assertEqual(finding.callback and finding.callback.base, callback)
                self.assertEqual((finding.what, finding.may_block), (what, may_block))
                self.assertEqual(self.found.status, 1)
                self.assertEqual(finding.report.cut, '')

    def test_only_the_wrapping_differs(self) -> None:
        wanted = self.essence(composed('mutex-arm64.log'))
        self.assertEqual(len(wanted), 1)
        for name in WRAPPED:
            with self.subTest(name):
                # What is behind a frame instead of the module cannot tell it.
                self.assertEqual(
                    [tuple(part.replace(' [mydrv]', '') for part in found)
                     for found in self.essence((COMPOSED / name).read_bytes())],
                    [tuple(part.replace(' [mydrv]', '') for part in found) for found in wanted])
                self.assertEqual(len(self.found.blamed_back_offs), 1)

    def test_two_cpus_line_by_line(self) -> None:
        self.assert_explained(composed('two-cpus-interleaved.log'), 'run by oom_reaper/61',
                              'run by victim/777', 'the frames are not one call path')
        self.assertEqual(len(self.found.findings), 2)
        for finding in self.found.findings:
            self.assertEqual((finding.callback, finding.path), (None, []))
            self.assertEqual({symbol.base for symbol in finding.candidates},
                             {'mydrv_range_start', 'otherdrv_range_start'})

    def test_four_architectures(self) -> None:
        self.explain(composed('riscv-powerpc-s390.log'))
        self.assertEqual([finding.callback and str(finding.callback).split('+')[0]
                          for finding in self.found.findings],
                         ['mydrv_range_start', 'other_range_start', 'third_range_start',
                          'fourth_range_start'])
        self.assertEqual([finding.report.cut for finding in self.found.findings], [''] * 4)
        self.assertEqual([finding.did for finding in self.found.findings], ['mutex_lock()'] * 4)
