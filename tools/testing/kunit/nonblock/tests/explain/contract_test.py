# SPDX-License-Identifier: GPL-2.0-only
"""The WARNs of mm/mmu_notifier.c, on kernels without the series."""

from __future__ import annotations

import re

from nonblock.explain.contract import CHECKS, DID
from nonblock.explain.finding import CONTRACT, CORE, REFUSAL
from .base import ExplainTest, composed

TRACE = 'Call Trace:\n <TASK>\n mydrv_open+0x1/0x2 [mydrv]\n do_syscall_64+0x1/0x2\n </TASK>\n'
CONDITIONS = {'itree': 'mmu_notifier_range_blockable(range)',
              'returns': 'mmu_notifier_range_blockable(range) || _ret != -11',
              'has end': 'ops->invalidate_range_end', 'release': '!ret',
              'put': '!subscription->users', 'open': 'mn_itree_is_invalidating(subscriptions)',
              'mm gone': 'atomic_read(&mm->mm_users) <= 0',
              'two pass': 'ops->invalidate_start && !ops->invalidate_finish',
              'register': 'subscription && (subscription->ops->arch_invalidate_secondary_tlbs && '
                          '(subscription->ops->invalidate_range_start))',
              'not in': 'RB_EMPTY_NODE(&interval_sub->interval_tree.rb)'}


def warn(place: str, release: str = '6.12.117', task: str = 'app/9') -> str:
    name, pid = task.split('/')
    return (f'WARNING: CPU: 1 PID: {pid} at {place}\nModules linked in: mydrv(O)\n'
            f'CPU: 1 UID: 0 PID: {pid} Comm: {name} Not tainted {release} #1\n{TRACE}')


def asked(condition: str, line: int = 1, function: str = 'f') -> str:
    return (f'WARNING: [{condition}] mm/mmu_notifier.c:{line} at {function}+0x1/0x2, CPU#1: app/9\n'
            f'CPU: 1 UID: 0 PID: 9 Comm: app Not tainted 7.9.1 #1\n{TRACE}')


class WarningTest(ExplainTest):
    def test_by_condition(self) -> None:
        self.assertEqual(CONDITIONS.keys(), {check.name for check in CHECKS})
        for name, condition in CONDITIONS.items():
            with self.subTest(name):
                self.answer(asked(condition))
                self.assertEqual([finding.did for finding in self.found.findings], [DID[name]])

    def test_by_function(self) -> None:
        for name, function in (('put', 'mmu_notifier_put'), ('release', 'mn_itree_release'),
                               ('not in', 'mmu_interval_notifier_remove'),
                               ('register', '__mmu_notifier_register'),
                               ('itree', 'mn_itree_invalidate'), ('release',
                                                                  '__mmu_notifier_release.cold')):
            with self.subTest(function):
                self.answer(warn(f'mm/mmu_notifier.c:7 {function}+0x1/0x2', '5.9.1'))
                self.assertEqual([finding.did for finding in self.found.findings], [DID[name]])

    def test_by_function_and_version(self) -> None:
        """Where several are inlined into one function, the kernel's version tells by the line."""
        for check in CHECKS:
            for (major, minor), line in check.lines.items():
                for function in ('__mmu_notifier_invalidate_range_start',
                                 'mmu_interval_notifier_insert'):
                    self.answer(warn(f'mm/mmu_notifier.c:{line} {function}+0x1/0x2',
                                     f'{major}.{minor}.3'))
                    if DID[check.name] in (did := self.found.findings[0].did):
                        with self.subTest(check.name, version=(major, minor)):
                            self.assertEqual(did, DID[check.name])

    def test_of_a_version_that_is_not_known(self) -> None:
        self.assert_explained(
            warn('mm/mmu_notifier.c:472 __mmu_notifier_invalidate_range_start+0x1f2/0x250',
                 '5.5.0-rc1'), 'false from an interval notifier, in a call that may block',
            'callback not in the log', 'names the callback if it is no interval notifier')
        self.assertEqual(self.found.findings[0].what, REFUSAL)
        self.assert_explained(warn('mm/mmu_notifier.c:932 __mmu_interval_notifier_insert+0xd/0xf',
                                   '5.15.1'), DID['mm gone'] + ', or ' + DID['open'],
                              'caller mydrv_open(), in module mydrv')

    def test_in_the_reaper(self) -> None:
        """It may back off, so that something else is wrong."""
        log = composed('warn-backs-off-with-end.log').replace('6.12.117', '5.15.1')
        self.assert_explained(log[log.index('[  700.100010]'):],
                              'an error other than -EAGAIN, or a back-off of a notifier that '
                              'has an invalidate_range_end()')
        log = log.replace(' mn_hlist_invalidate_range_start',
                          ' __mmu_notifier_invalidate_range_start')
        self.assert_explained(log[log.index('[  700.100010]'):], 'an error other than -EAGAIN')
        self.assertEqual(self.found.findings[0].what, CONTRACT)

    def test_who_called_the_core(self) -> None:
        for name in ('put', 'mm gone', 'not in', 'register', 'two pass'):
            with self.subTest(name):
                self.assertEqual(self.callbacks(asked(CONDITIONS[name])), ['mydrv_open'])
                self.assertEqual(self.found.findings[0].what, CONTRACT)
        self.assertEqual(self.callbacks(asked(CONDITIONS['open'])), [None])
        self.assertEqual(self.found.findings[0].what, CORE)

    def test_both_warnings_of_one_return(self) -> None:
        """Of a call that may block, to a notifier that has an end."""
        log = composed('warn-blockable.log')
        self.answer(log + log[log.index('[  700.100010]'):].replace(':487', ':495'))
        self.assertEqual([finding.rule.split()[-1] for finding in self.found.findings],
                         ['!mmu_notifier_range_blockable(range).', 'it.'])

    def test_the_core_says_so_without_a_warning(self) -> None:
        """Before 5.3, and in excerpts."""
        line = 'f+0x0/0x1 [m] callback failed with {} in {}blockable context.\n'
        self.assertEqual(self.callbacks(line.format(-11, '')), ['f'])
        self.assertEqual(self.found.findings[0].what, REFUSAL)
        self.assertEqual(self.callbacks(line.format(-12, 'non-')), ['f'])
        self.assertEqual(self.callbacks(line.format(-11, 'non-')), [])

    def test_without_its_first_line(self) -> None:
        log = ('[  +0.000009] RIP: 0010:mmu_interval_notifier_remove+0x327/0x340\n'
               '[  +0.000012] Call Trace:\n[  +0.000018]  ? __warn+0xa5/0x1b0\n'
               '[  +0.000047]  mydrv_unregister+0x34/0x50 [mydrv]\n'
               '[  +0.000362]  do_syscall_64+0x66/0xa0\n')
        self.assertEqual(self.callbacks(log + '\nIt should not.\n'), ['mydrv_unregister'])
        self.assert_innocent(log.replace('__warn', 'page_fault_oops') + '\nIt should not.\n',
                             'A crash in the core of the notifiers')

    def test_of_another_file(self) -> None:
        self.assert_innocent(warn('virt/kvm/kvm_main.c:529 f+0x1/0x2'),
                             'A check of virt/kvm/kvm_main.c')
        log = re.sub('at mm/mmu_notifier.c:495 .*', 'at drivers/a.c:5 f+0x1/0x2',
                     composed('warn-backs-off-with-end.log'))
        self.assert_innocent(log, '1 back-off, allowed as such')
