# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what becomes of KASAN's and KCSAN's reports."""

from __future__ import annotations

from nonblock.kernel import sanitizer
from nonblock.tests.fixtures import ScratchTest, write

KASAN = 'BUG: KASAN: slab-use-after-free in schedule+0x10/0x20'
TESTED = 'BUG: KCSAN: data-race in schedule / mn_itree_inv_end.isra.0'
UNKNOWN = 'BUG: KCSAN: data-race in mn_hlist_release'
OTHER = 'BUG: KCSAN: data-race in schedule / mutex_lock'


class SanitizerTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        write(self.kernel, {
            'mm/mmu_notifier.c': 'static void mn_itree_inv_end(struct x *x)\n{\n'
                                 '\tmutex_lock(x);\n}\n'
                                 'static void\nmn_hlist_release(void)\n{\n}\n',
            'mm/other.c': 'void mutex_lock(void)\n{\n}\nvoid schedule(void)\n{\n}\n'})

    def test_what_fails(self) -> None:
        for headline, expected in ((KASAN, True), (TESTED, True), (UNKNOWN, True),
                                   (OTHER, False)):
            self.assertEqual(sanitizer.fails(headline, self.kernel), expected, headline)

    def test_a_call_is_no_definition(self) -> None:
        self.assertFalse(sanitizer.is_tested('mutex_lock', self.kernel))

    def test_counts(self) -> None:
        bad, other = sanitizer.split([KASAN, OTHER, OTHER, TESTED], self.kernel)
        self.assertEqual(bad, {KASAN: 1, TESTED: 1})
        self.assertEqual(sanitizer.as_text(other), 'races in code that is not tested here:\n'
                         f'    {OTHER} (2 times)')
