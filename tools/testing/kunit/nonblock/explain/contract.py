# SPDX-License-Identifier: GPL-2.0-only
"""The checks of mm/mmu_notifier.c: which of them a WARN is, and what it says of whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from . import texts
from .finding import (CONTRACT, CORE, MAYBE, NO, REFUSAL, YES, Finding, Innocent, Judgement,
                      stands_in)
from .report import Changed, Refused, Report
from .symbols import REAPER, Symbol

ITREE, RETURNS, HAS_END, RELEASE, REGISTER, PUT, MM_GONE, OPEN, TWO_PASS, NOT_IN = (
    'itree', 'returns', 'has end', 'release', 'register', 'put', 'mm gone', 'open', 'two pass',
    'not in')


@dataclass(frozen=True)
class Check:
    """A WARN: what it compares, the function that it stands in, and its lines by kernel."""
    name: str
    condition: str              # as in the source
    function: str
    lines: dict[tuple[int, int], int]


def lines(old: int, new: int) -> dict[tuple[int, int], int]:
    """Its line in 6.12 to 6.19, and from 7.1 on, where interval notifiers have two passes."""
    return {**({(6, minor): old for minor in range(12, 20)} if old else {}),
            **{(7, minor): new for minor in range(1, 4)}}


CHECKS = (
    Check(ITREE, 'WARN_ON(mmu_notifier_range_blockable(range))', 'mn_itree_invalidate',
          lines(444, 488)),
    Check(RETURNS, 'WARN_ON(mmu_notifier_range_blockable(range) ||',
          'mn_hlist_invalidate_range_start', lines(487, 534)),
    Check(HAS_END, 'WARN_ON(ops->invalidate_range_end)', 'mn_hlist_invalidate_range_start',
          lines(495, 542)),
    Check(RELEASE, 'WARN_ON(!ret)', 'mn_itree_release', lines(283, 308)),
    Check(REGISTER, 'WARN_ON_ONCE(subscription &&', '__mmu_notifier_register', lines(609, 656)),
    Check(PUT, 'WARN_ON(!subscription->users)', 'mmu_notifier_put', lines(877, 923)),
    Check(MM_GONE, 'WARN_ON(atomic_read(&mm->mm_users) <= 0)', '__mmu_interval_notifier_insert',
          lines(909, 955)),
    Check(OPEN, 'WARN_ON(mn_itree_is_invalidating(subscriptions))',
          '__mmu_interval_notifier_insert', lines(940, 986)),
    Check(TWO_PASS, 'WARN_ON_ONCE(ops->invalidate_start && !ops->invalidate_finish)',
          'mmu_interval_notifier_insert', lines(0, 1026)),
    Check(NOT_IN, 'WARN_ON(RB_EMPTY_NODE(', 'mmu_interval_notifier_remove', lines(1061, 1108)),
)
CALLERS = {'__mmu_notifier_invalidate_range_start': (ITREE, RETURNS, HAS_END),
           'mn_invalidate_range_start': (RETURNS, HAS_END),
           '__mmu_notifier_release': (RELEASE,), 'mmu_notifier_register': (REGISTER,),
           'mmu_notifier_get_locked': (REGISTER,),
           'mmu_interval_notifier_insert': (MM_GONE, OPEN, TWO_PASS),
           'mmu_interval_notifier_insert_locked': (MM_GONE, OPEN, TWO_PASS)}


# Of a trace, what is not the one who called the core
OWN = re.compile(r'_*mmu_(interval_)?notifier|_*warn|report_bug|handle_bug|_*exc_|asm_exc|'
                 r'show_regs|dump_|show_stack|_*die|do_error_trap|_*do_trap|invalid_op')
WARNED = re.compile(r'_*warn\w*|report_bug|handle_bug|asm_exc_invalid_op|exc_invalid_op')
FUNCTIONS = {*(check.function for check in CHECKS), *CALLERS}


def inner(condition: str) -> str:
    """What is compared, without the macro around it and without blanks."""
    return re.sub(r'^WARN_ON(_ONCE)?\(|\s', '', condition)


def which(report: Report, release: str) -> list[str]:
    """The checks that it may be, by condition, function and version."""
    if report.condition:
        asked = re.sub(r'\s', '', report.condition)
        found = [check.name for check in CHECKS
                 if inner(check.condition).rstrip(')') in asked or asked in inner(check.condition)]
        if RETURNS in found and '||' not in asked and '_ret' not in asked:
            found = [ITREE]
        elif RETURNS in found:
            found = [RETURNS]
        if found:
            return found
    function = report.symbol.base if report.symbol else ''
    possible = [check.name for check in CHECKS if check.function == function]
    possible += [name for name in CALLERS.get(function, ()) if name not in possible]
    if report.refused:
        refused = report.refused
        wrong = refused.blockable or refused.error != -11
        possible = [RETURNS if wrong and report.warns == 1 else HAS_END] \
            if RETURNS in possible else possible
    if len(possible) > 1 and (match := re.match(r'(\d+)\.(\d+)', release)):
        version = int(match[1]), int(match[2])
        line = int(report.file.rpartition(':')[2])
        exact = [check.name for check in CHECKS if check.lines.get(version) == line]
        possible = exact if exact and exact[0] in possible else possible
    return possible


def judge_warning(report: Report, release: str = '') -> Judgement:
    path = report.file.rpartition(':')[0]
    if report.changed:
        return judge_changed(report, report.changed)
    if not path.endswith('mm/mmu_notifier.c'):
        return Innocent(report, f'A check of {path}.' + stands_in(report))
    if report.file.endswith(':0') and not any(WARNED.fullmatch(frame.symbol.base)
                                              for frame in report.frames):
        return Innocent(report, 'A crash in the core of the notifiers.')
    checks = which(report, release)
    if report.refused and set(checks) & {RETURNS, HAS_END}:
        return judge_refused(report, report.refused, HAS_END if checks == [HAS_END] else RETURNS)
    if len(checks) == 1:
        return judge_check(report, checks[0])
    if ITREE in checks or RETURNS in checks:
        return judge_unnamed(report, checks)
    return judge_one_of(report, checks)


def judge_one_of(report: Report, checks: list[str]) -> Finding:
    """Several checks of one function, or one that is not known."""
    callers = [symbol for symbol in report.trace() if not OWN.match(symbol.base)]
    known = [SAID[check] for check in checks]
    did = ', or '.join(DID[check] for check in checks) or f'the check at {report.file}'
    return Finding(report, CONTRACT, callers[0] if callers and checks else None,
                   known[0][1] if known else MAYBE,
                   ' Or: '.join(dict.fromkeys(said[2] for said in known)) or
                   'An MMU notifier keeps to the contract of the core.', did, callers[:3],
                   ' Or: '.join(said[3] for said in known) or 'See what is checked there.',
                   ('contract', report.file, *checks), role='caller')


def judge_refused(report: Report, refused: Refused, check: str) -> Finding:
    kind = 'blockable' if refused.blockable else 'nonblocking'
    what, rule = REFUSAL, texts.BACK_OFF_ONLY_NONBLOCKING
    instead = ('Wait for the lock or the memory in a call that may block, and back off only in '
               'one that may not.')
    if check == HAS_END:
        what, rule = CONTRACT, texts.NO_END
        instead = ('Finish without blocking (a spinlock, a counter, a work item), or do without '
                   'invalidate_range_end(); an interval notifier needs none.')
    elif not refused.blockable:
        what, rule, instead = CONTRACT, texts.ONLY_EAGAIN, 'Return -EAGAIN.'
    error = '-EAGAIN' if refused.error == -11 else str(refused.error)
    return Finding(report, what, refused.symbol, YES if refused.blockable else NO, rule,
                   f'its return of {refused.error} ({error}) in a {kind} call' if error !=
                   str(refused.error) else f'its return of {error} in a {kind} call', [], instead,
                   ('contract', str(refused.symbol), str(refused.error), str(refused.blockable),
                    check))


def judge_unnamed(report: Report, checks: list[str]) -> Finding:
    """The line that names the callback is missing, and several checks stand in the function."""
    reaper = any(REAPER.fullmatch(symbol.base) for symbol in report.trace())
    did = ('an error other than -EAGAIN, or a back-off of a notifier that has an '
           'invalidate_range_end(),' if reaper or ITREE not in checks and HAS_END in checks
           and RETURNS not in checks else
           'an error, or false from an interval notifier, in a call that may block,')
    return Finding(report, CONTRACT if reaper else REFUSAL, None, NO if reaper else YES,
                   f'{texts.ONLY_EAGAIN if reaper else texts.BACK_OFF_ONLY_NONBLOCKING} '
                   f'{texts.NO_END}', f'the return of {did} '
                   f'which is checked at {report.file}', [],
                   'The line before the warning, "... callback failed with ...", names the '
                   'callback if it is no interval notifier: look for it in the whole log.',
                   ('contract', report.file, *checks))


SAID: dict[str, tuple[str, str, str, str]] = {
    ITREE: (REFUSAL, YES, texts.BACK_OFF_ONLY_NONBLOCKING,
            'Wait for the lock or the memory in a call that may block, and return false only in '
            'one that may not. The check comes after the callback has returned, so that the log '
            'does not name it: it is one of the interval notifiers of that process.'),
    RETURNS: (REFUSAL, MAYBE, texts.BACK_OFF_ONLY_NONBLOCKING + ' ' + texts.ONLY_EAGAIN,
              'The line before the warning, "... callback failed with ...", names the callback.'),
    HAS_END: (CONTRACT, NO, texts.NO_END,
              'The line before the warning, "... callback failed with ...", names the callback.'),
    RELEASE: (REFUSAL, 'yes: the process exits', texts.BACK_OFF_ONLY_NONBLOCKING,
              'An interval notifier may not return false when it is released (event '
              'MMU_NOTIFY_RELEASE): nobody comes back.'),
    REGISTER: (CONTRACT, YES, 'A notifier has invalidate_range_start() and _end(), or '
               'arch_invalidate_secondary_tlbs(), not both.', 'Give it one kind of them.'),
    PUT: (CONTRACT, YES, 'Each mmu_notifier_put() has its mmu_notifier_get().',
          'It is put once more than it was got.'),
    MM_GONE: (CONTRACT, YES, 'A notifier is registered on an mm that is in use.',
              'Hold a reference (mmget_not_zero()) until it is registered: the process has '
              'exited.'),
    OPEN: (CORE, YES, texts.INVALIDATION_ENDS,
           'mm_users is 1 and an invalidation is open: it was left open. The core does that after '
           'a back-off (-EAGAIN) in kernels without the fix of mn_itree_inv_end().'),
    TWO_PASS: (CONTRACT, YES, 'An interval notifier that has invalidate_start() has '
               'invalidate_finish().', 'Give it both, or invalidate() only.'),
    NOT_IN: (CONTRACT, YES, 'An interval notifier is removed once, after it was inserted.',
             'Do not remove what mmu_interval_notifier_insert() has refused, or what was removed.'),
}
DID = {ITREE: 'an interval notifier\'s invalidate() returned false in a call that may block',
       RETURNS: 'a callback returned an error other than -EAGAIN, or any in a call that may block',
       HAS_END: 'a callback backed off, whose notifier has an invalidate_range_end()',
       RELEASE: 'an interval notifier\'s invalidate() returned false at the exit of the process',
       REGISTER: 'a notifier with callbacks that do not go together is registered',
       PUT: 'mmu_notifier_put() without a reference',
       MM_GONE: 'an interval notifier is inserted into an mm without users',
       OPEN: 'an interval notifier is inserted while an invalidation is open that cannot be',
       TWO_PASS: 'an interval notifier with half of the two passes is inserted',
       NOT_IN: 'an interval notifier is removed that is not inserted'}


def judge_check(report: Report, check: str) -> Finding:
    what, may_block, rule, instead = SAID[check]
    callback: Optional[Symbol] = None
    path: list[Symbol] = []
    if check not in (ITREE, RETURNS, HAS_END, RELEASE):
        # Not a callback, but who calls the core.
        frames = [symbol for symbol in report.trace() if not OWN.match(symbol.base)]
        callback = next(iter(frames), None) if check != OPEN else None
        path = frames[:3]
    return Finding(report, what, callback, may_block, rule, DID[check], path, instead,
                   ('contract', check, str(callback)),
                   role='caller' if path else 'callback')


def judge_changed(report: Report, changed: Changed) -> Finding:
    return Finding(report, CONTRACT, changed.symbol, NO, texts.KEEP_NOTHING,
                   f'its return, with {changed.what} changed', [], texts.KEEPING,
                   ('changed', str(changed.symbol), changed.what))
