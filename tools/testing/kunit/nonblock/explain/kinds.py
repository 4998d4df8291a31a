# SPDX-License-Identifier: GPL-2.0-only
"""The kinds of reports: what each begins with. And where the kernel prints what is looked for.

KNOWN is compared with the source of the kernels that the project knows, by a test and by
`make test`: a kernel that says it in other words is found that way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .symbols import FILE, SYMBOL

WAIT, RECURSION, CIRCULAR, LOCKDEP, SLEEP, SCHEDULE, WARN, HUNG, LOCKUP, TASK, STACK, TRACE, \
    UNREAPED, OTHER, HEADLESS = (
        'wait', 'recursion', 'circular', 'lockdep', 'sleep', 'schedule', 'warn', 'hung', 'lockup',
        'task', 'stack', 'trace', 'unreaped', 'other', 'headless')


@dataclass(frozen=True)
class Kind:
    name: str
    begin: str                  # what tells it, for a quick look
    headline: str               # a regular expression; its groups: file, comm, pid, seconds


WHO = r'(?P<comm>.*)[/:](?P<pid>\d+)'
KINDS = tuple((Kind(name, begin, headline), re.compile(headline)) for name, begin, headline in (
    (WAIT, 'BUG: Invalid', r'BUG: Invalid wait context'),
    (RECURSION, 'possible rec', r'(?:WARNING|INFO): possible recursive locking detected'),
    (CIRCULAR, 'possible circ', r'(?:WARNING|INFO): possible circular locking dependency detected'),
    (LOCKDEP, '', r'(?:WARNING|INFO): (?:possible irq lock inversion dependency detected|'
                  r'inconsistent lock state|suspicious RCU usage|'
                  r'\S+-safe -> \S+-unsafe lock order detected|bad unlock balance detected!?|'
                  r'Nested lock was not taken|chain_key collision)'),
    (SLEEP, 'BUG: sleeping', r'BUG: sleeping function called from invalid context at '
                             r'(?P<file>\S+:\d+)'),
    (SCHEDULE, 'BUG: scheduling in', r'BUG: scheduling in a non-blocking section: '
                                     r'(?P<comm>.*)/(?P<pid>\d+)/-?\d+'),
    (WARN, 'WARNING: ', r'WARNING: (?:CPU: \d+ PID: \d+ at )?(?:\[(?P<condition>.*)\] )?'
                        rf'(?P<file>{FILE}) (?:at )?{SYMBOL}.*'),
    (HUNG, 'blocked', rf'INFO: task {WHO} blocked(?: in I/O wait)? for more than '
                      r'(?P<seconds>\d+) seconds'),
    (LOCKUP, 'lockup', r'BUG: soft lockup - CPU#\d+ stuck for (?P<seconds>\d+)s!'
                       rf'(?: \[{WHO}\])?'),
    (LOCKUP, 'LOCKUP', r'Watchdog detected hard LOCKUP on cpu \d+|'
                       r'Watchdog CPU:\d+ Hard LOCKUP'),
    (LOCKUP, 'stall', r'INFO: \w+ (?:self-)?detected stalls? on CPUs?\S*'),
    (TASK, 'state:', r'task:(?P<comm>.*?) +state:(?P<state>\w).*?\bpid:\s*(?P<pid>\d+).*'),
    (TASK, ' 0x', r'^(?P<comm>\S.{0,14}?)\s+(?P<state>[DRSTtXZI])\s*(?:[0-9a-f]{8,16}\s+)?\d+\s+'
                  r'(?P<pid>\d+)\s+\d+ 0x[0-9a-f]{8}$'),             # before 5.10
    (UNREAPED, 'unable to reap', r'oom_reaper: unable to reap pid:(?P<pid>\d+) \((?P<comm>.*)\)'),
    (OTHER, '', r'\bBUG: .*|WARNING: .*|INFO: (?:task|rcu|possible) .*|'
                r'INFO: \w+ detected .*|Kernel panic - .*|\bOops\b.*|general protection fault.*|'
                r'UBSAN: .*|kernel BUG at .*|Unable to handle kernel .*|Internal error: .*|'
                r'Showing all locks held in the system:')))

# Cheaper than to try all of these on each line
HEADLINE = re.compile(r'BUG: |UBSAN: |kernel BUG|WARNING: |INFO: |Kernel panic|Oops|general prot|'
                      r'Showing all|task:.* state:| 0x[0-9a-f]{8}$|Unable to handle|'
                      r'Internal error|unable to reap|LOCKUP')
# What a line must have to matter to a log in which no report is open
INTEREST = re.compile(
    r'BUG: |kernel BUG|WARNING|INFO: |Oops|panic|general prot|Showing all|state:|failed with|'
    r'trying to acq|unable to reap|\[<0>\]|#0 \[|held by|Linux version|lock debugging|validator|'
    r'mmu_notif|mn_hl|mn_it|Call [Tt]race|messages dropped|replaying|cut here|={20}|LOCKUP|'
    r'Chain exists|Unable to h|Internal err|lockdep is turned|LOCKDEP|Transfer-Enc|PREEMPT_RT')
# A line that begins like this and does not match any more of it was folded.
BEGUN = re.compile(r'(?:BUG: sleeping|(?:watchdog: )?BUG: soft|BUG: scheduling in|'
                   r'WARNING: possible|WARNING: CPU|INFO: task |INFO: possible|in_atomic\(\)|'
                   r'.* callback failed|.* is trying to)')
WHOLE = re.compile(r'.*(?: at \S+:\d+(?: \S.*)?$|/\d+/-?\d+|detected|inversion|seconds|'
                   r'name: \S|blockable context|stuck for \d+s!|\[.*:\d+\]|lock:|acquire:|owner|'
                   r'owned)')


def is_begun(text: str) -> bool:
    return bool(BEGUN.match(text)) and not WHOLE.match(text)


def find_kind(text: str) -> Optional[tuple[Kind, re.Match[str]]]:
    if not HEADLINE.search(text) or '[inline]' in text:
        return None
    for kind, pattern in KINDS:
        if kind.begin in text and (match := pattern.search(text)):
            return kind, match
    return None


# The source

@dataclass(frozen=True)
class Known:
    """A text of the kernel, as it stands in a source file; or in one of two, as they moved."""
    files: tuple[str, ...]
    text: str


def known(file: str, *texts: str) -> list[Known]:
    return [Known(tuple(file.split('|')), text) for text in texts]


LOCKDEP_C = 'kernel/locking/lockdep.c'
CORE_C = 'kernel/sched/core.c'
KNOWN = (
    *known(LOCKDEP_C, 'WARNING: possible circular locking dependency detected',
           'WARNING: possible recursive locking detected', '[ BUG: Invalid wait context ]',
           'WARNING: possible irq lock inversion dependency detected',
           'WARNING: inconsistent lock state', 'WARNING: %s-safe -> %s-unsafe lock order detected',
           'WARNING: suspicious RCU usage', 'is trying to acquire lock:', 'is trying to lock:',
           'but task is already holding lock:', r'\n-> #%u', 'might help us debug this:',
           'stack backtrace:', 'INFO: lockdep is turned off.', 'Lock dependency validator: ',
           '%d lock%s held by %s/%d|locks held by %s/%d: %d',
           'turning off the locking correctness validator',
           ' locks held in the system:'),
    *known(CORE_C, 'BUG: sleeping function called from invalid context at %s:%d',
           'in_atomic(): %d, irqs_disabled(): %d, non_block: %d, pid: %d, name: %s',
           'BUG: scheduling in a non-blocking section: %s/%d/%i', 'task:%-15.15s state:%c'),
    *known('kernel/hung_task.c', 'INFO: task %s:%d blocked', ' for more than %ld seconds.'),
    *known('kernel/watchdog.c', 'BUG: soft lockup - CPU#%d stuck for %us! [%s:%d]',
           'Watchdog detected hard LOCKUP on cpu %'),
    *known('kernel/rcu/tree_stall.h', 'INFO: %s self-detected stall on CPU',
           'INFO: %s detected stalls on CPUs/tasks:'),
    *known('kernel/panic.c', 'WARNING: ', 'Disabling lock debugging due to kernel taint',
           '---[ end trace '),
    *known('mm/oom_kill.c', 'oom_reaper: unable to reap pid:%d (%s)', 'oom_reap_task_mm('),
    *known('mm/oom_kill.c', 'process_mrelease'),
    *known('mm/mmu_notifier.c', '%pS callback failed with %d in %sblockable context.',
           'mn_itree_invalidate(', 'mn_hlist_invalidate_range_start(', 'mn_itree_release(',
           'mn_hlist_release(', '__mmu_notifier_release(', 'mmu_interval_read_begin(',
           'mmu_interval_notifier_remove(', 'mmu_notifier_unregister(',
           'WARN_ON(mmu_notifier_range_blockable(range))', 'WARN_ON(ops->invalidate_range_end)',
           '_ret != -EAGAIN)', '.name = "mmu_notifier_invalidate_range_start"',
           'WARN_ON(!subscription->users)', 'mm_users) <= 0)',
           'WARN_ON(mn_itree_is_invalidating(subscriptions))', 'WARN_ON(RB_EMPTY_NODE('),
    *known('mm/page_alloc.c', 'fs_reclaim_acquire('),
    *known('lib/dump_stack.c', 'PID: %d Comm: %.20s'),
    *known('kernel/printk/printk.c', '** %lu printk messages dropped **|** %llu printk messages '
           'dropped **'),
    *known('kernel/printk/nbcon.c|kernel/printk/printk.c', 'replaying previous printk message'),
    *known('kernel/locking/spinlock_rt.c', 'rt_spin_lock'),
    *known('arch/x86/kernel/dumpstack.c', 'Call Trace:'),
    *known('arch/arm64/kernel/stacktrace.c', 'Call trace:'),
    *known('arch/arm/kernel/traps.c', 'Call trace: ', '%s %ps from %pS'),
    *known('arch/riscv/kernel/stacktrace.c', 'Call Trace:'),
    *known('arch/powerpc/kernel/process.c', 'Call Trace:', '(unreliable)'),
    *known('arch/s390/kernel/dumpstack.c', 'Call Trace:'),
    *known('arch/loongarch/kernel/traps.c', 'Call Trace:'),
)


def reworded(tree: Path) -> list[Known]:
    """Which of the known texts the source of a kernel does not have."""
    missing = []
    for one in KNOWN:
        found = [(tree / file).read_text(encoding='utf-8', errors='replace')
                 for file in one.files if (tree / file).is_file()]
        if not any(text in source for source in found for text in one.text.split('|')):
            missing.append(one)
    return missing
