# SPDX-License-Identifier: GPL-2.0-only
"""make explain: what a kernel log reports about MMU notifiers that may not block.

Lines of a log become Reports, in one pass (read_log). Each Report of ours becomes
a Finding (judge), and Findings of one and the same call are printed as one (explain).
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Callable, Iterable, Iterator, Optional

from common import EXIT_MACHINE, EXIT_USAGE, Failure, say

# A line of a report is far shorter. What has no lines is not read into memory at once.
LONGEST = 2048
# How many lines of others may stand between those of a report.
PATIENCE = 40

NONBLOCK = 'mmu_notifier_nonblock'


# Lines

# What may stand before the kernel's text, from the left to the right
PREFIXES = tuple(re.compile(pattern) for pattern in (
    # journalctl and syslog
    r'(?:\w{3} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?|\d{4}-\d\d-\d\d[T ][\d:.,]+(?:[+-][\d:]+|Z)?|'
    r'\[ *\d+\.\d+\]) [\w.-]+ kernel: ',
    r'(?:kern|user|daemon|syslog) *:\w+ *: ',                   # dmesg -x
    r'<\d+>',                                                   # the level, as in dmesg -r
    r'\d+,\d+,\d+,[^;]*?(?:caller=(\w+)[^;]*)?;',               # /dev/kmsg
    r'\[(?: *[+<]?\d+\.\d+>?|\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}|\w{3}\d\d \d\d:\d\d)\] ?',
))
CALLER = re.compile(r'\[ *([TC]\d+)\] ?')
REPLAYED = '** replaying previous printk message **'
DROPPED = re.compile(r'\*\* \d+ printk messages dropped \*\*')


@dataclass(frozen=True)
class Line:
    number: int
    text: str
    caller: str = ''            # who printed it, with CONFIG_PRINTK_CALLER
    stamped: bool = False       # it has what only a kernel log has
    torn: bool = False          # the log ends within it
    binary: bool = False


def clean(number: int, raw: str) -> Line:
    """Take off what is not the kernel's text."""
    text = raw.replace('\0', '').rstrip('\r\n')
    before, caller = text, ''
    for prefix in PREFIXES:
        if match := prefix.match(text):
            text = text[match.end():]
            caller = (match.lastindex and match[1]) or caller
    if match := CALLER.match(text):
        caller, text = match[1], text[match.end():]
    return Line(number, text.strip(), caller, text != before, not raw.endswith('\n'), '\0' in raw)


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """The lines, without those that were broken off to be printed again."""
    number, last = 0, None
    while raw := file.readline(LONGEST):
        number += 1
        start = raw
        while len(raw) == LONGEST and not raw.endswith(b'\n'):
            raw = file.readline(LONGEST)
        end = '\n' if raw.endswith(b'\n') else ''
        line = clean(number, start.decode('utf-8', errors='replace').rstrip('\n') + end)
        if line.text == REPLAYED:
            last = None
            continue
        if last is not None:
            yield last
        last = line
    if last is not None:
        yield last


# Reports

@dataclass(frozen=True)
class Symbol:
    name: str
    offset: str = '0x0'
    size: str = '0x0'
    module: str = ''

    def __str__(self) -> str:
        module = f' [{self.module}]' if self.module else ''
        return f'{self.name}+{self.offset}/{self.size}{module}'

    @property
    def base(self) -> str:
        """Without what the compiler adds."""
        return re.sub(r'\.(cold|part|isra|constprop|llvm)\b.*', '', self.name)

    def is_core(self) -> bool:
        return bool(CORE.fullmatch(self.base))


@dataclass(frozen=True)
class Lock:
    name: str
    outer: int
    inner: int
    at: Optional[Symbol]
    where: str                  # as it was printed


SYMBOL = r'([\w.$]+)\+(0x[0-9a-f]+)/(0x[0-9a-f]+)(?: \[(\w+)[^]]*\])?'
AT_SYMBOL = re.compile(SYMBOL)
# A sign of its own for what only lay on the stack; addresses on some machines
FRAME = re.compile(rf'(?:^|\s)(\? )?{SYMBOL}(?: \([A-Z]+\))?$')
LOCK = re.compile(r'(?:^|\s)(?:#(\d+): )?(?:0x)?[0-9a-f]+ \((.+)\)\{[^}]*\}-\{(\d+):(\d+)\}, '
                  r'at: (.+)$')
HELD = re.compile(r'(?:(\d+) locks? held by (.+)/(\d+):|locks held by (.+)/(\d+): (\d+), .*)$')
NONE_HELD = re.compile(r'no locks held by |INFO: lockdep is turned off')
TRYING = re.compile(r'(\S.*)/(\d+) is trying to (?:acquire )?lock:$')
HOLDING = 'but task is already holding lock:'
LINK = re.compile(r'-> #\d+ \((.+)\)\{[^}]*\}-\{\d+:\d+\}:$')
CONTEXT = re.compile(r'in_atomic\(\): .*\bnon_block: (\d+), pid: (\d+), name: (.+)$')
TASK = re.compile(r'CPU: \d+ (?:UID: \d+ )?PID: (\d+) Comm: (.+?) (?:Not tainted|Tainted:)')
TRACE = re.compile(r'Call [Tt]race:$')
RETURNED = re.compile(rf'{SYMBOL} returned with locks ([+-]\d+), preempt_count ([+-]\d+), '
                      r'irqs_disabled ([+-]\d+), non_block ([+-]\d+)$')
REFUSED = re.compile(rf'{SYMBOL} callback failed with (-?\d+) in (non-)?blockable context')
CORE = re.compile(r'__mmu_notifier_invalidate_range_(?:start|end)|'
                  r'mn_(?:(?:hlist|itree)_)?(?:invalidate\w*|finish_pass)')
# Where a stack ends
BOTTOM = re.compile(r'kthread|new_thread_handler|ret_from_fork\w*|entry_SYSCALL\w*|userspace|'
                    r'el0t_64_sync|fork_handler|start_kernel|secondary_startup\w*|ret_to_user')

WAIT, RECURSION, CIRCULAR, SLEEP, SCHEDULE, WARN, OTHER, HEADLESS = (
    'wait', 'recursion', 'circular', 'sleep', 'schedule', 'warn', 'other', 'headless')

HEADLINES = tuple((kind, re.compile(pattern)) for kind, pattern in (
    (WAIT, r'BUG: Invalid wait context(?= \]$)'),
    (RECURSION, r'WARNING: possible recursive locking detected$'),
    (CIRCULAR, r'WARNING: possible circular locking dependency detected$'),
    (SLEEP, r'BUG: sleeping function called from invalid context at (\S+):(\d+)$'),
    (SCHEDULE, r'BUG: scheduling in a non-blocking section: (.*)/(\d+)/-?\d+$'),
    (WARN, r'WARNING: (?:CPU: \d+ PID: \d+ at )?(\S+):(\d+) (?:at )?' + SYMBOL + '.*'),
    (OTHER, r'\b(?:BUG|WARNING): .*|INFO: (?:task|rcu|possible) .*|INFO: \w+ detected .*|'
            r'Kernel panic - .*|\bOops\b.*|general protection fault.*|'
            r'Showing all locks held in the system:|^task:\S+ +state:.*')))

# Cheaper than to try all of these on each line
HEADLINE = re.compile(r'BUG: |WARNING: |INFO: |Kernel panic|Oops|general prot|Showing all|^task:')
BEGINNING = re.compile(r'={20,}|-+\[ cut here \]-+')


@dataclass
class Report:
    kind: str
    headline: str
    line: int
    file: str = ''              # that the headline names
    symbol: Optional[Symbol] = None     # likewise
    task: str = ''
    wanted: Optional[Lock] = None
    holding: Optional[Lock] = None
    held: list[Lock] = field(default_factory=list)
    held_count: Optional[int] = None    # how many it says there are
    links: list[tuple[str, list[Symbol]]] = field(default_factory=list)
    non_block: Optional[int] = None
    returned: Optional[tuple[Symbol, list[int]]] = None
    refused: Optional[tuple[Symbol, int, bool]] = None      # errno, and was it blockable
    frames: list[tuple[bool, Symbol]] = field(default_factory=list)     # innermost first
    section: str = ''           # what comes next: 'wanted', 'holding', 'held', 'links', 'trace'
    tasked: bool = False        # the trace has <TASK>, so must have </TASK>
    ended: bool = False
    foreign: int = 0            # lines of others since its own last one
    dropped: bool = False
    cut: str = ''               # what is missing

    @property
    def nonblock(self) -> Optional[Lock]:
        return next((lock for lock in self.held if lock.name == NONBLOCK),
                    self.holding if self.holding and self.holding.name == NONBLOCK else None)

    def trace(self) -> list[Symbol]:
        """The frames that can be trusted, or if there are none, what looks like them."""
        sure = [symbol for reliable, symbol in self.frames if reliable]
        return sure or [symbol for _, symbol in self.frames if int(symbol.offset, 16)]

    def feed(self, text: str) -> bool:
        """Take one more line. Whether it was a part of the report."""
        self.foreign += 1
        mine = self._lock(text) or self._trace(text) or self._word(text)
        if mine:
            self.foreign = 0
        return mine

    def _lock(self, text: str) -> bool:
        if match := find_lock(text):
            number, name, outer, inner, where = match.groups()
            lock = Lock(name, int(outer), int(inner), to_symbol(AT_SYMBOL.search(where)), where)
            # The number tells this list from another that is mixed with it.
            if number and (self.kind == HEADLESS or int(number) == len(self.held) <
                           (self.held_count or 0)):
                self.held.append(lock)
            elif not number and self.section in ('wanted', 'holding'):
                setattr(self, self.section, lock)
                self.section = ''
            else:
                return False
            return True
        if match := HELD.search(text):
            task = find_task(text)
            if self.held_count is not None or (self.task and not self.task.endswith(task)):
                return False
            self.held_count, self.task = int(match[1] or match[6]), task
            return True
        if NONE_HELD.search(text) and self.held_count is None:
            self.held_count = 0
            return True
        return False

    def _trace(self, text: str) -> bool:
        if TRACE.search(text):
            self.ended = bool(self.frames)      # then it is another
            self.section = 'trace'
            return not self.ended
        if text.endswith('</TASK>') and self.section == 'trace':
            self.ended = True
        elif text.endswith('<TASK>') and self.section == 'trace':
            self.tasked = True
        elif match := LINK.search(text):
            self.links.append((match[1], []))
            self.section = 'links'
        elif match := FRAME.search(text):
            symbol = to_symbol(match, 2)
            assert symbol is not None
            if self.section == 'links' and self.links:
                self.links[-1][1].append(symbol)
            elif self.section == 'trace' and not self.ended:
                self.frames.append((not match[1], symbol))
            else:
                return False
        else:
            return False
        return True

    def _word(self, text: str) -> bool:
        if match := RETURNED.search(text):
            self.returned = to_symbol(match) or Symbol('?'), [int(match[n]) for n in range(5, 9)]
        elif match := CONTEXT.search(text):
            self.non_block, self.task = int(match[1]), f'{match[3]}/{match[2]}'
        elif match := TRYING.search(text):
            self.task, self.section = f'{match[1]}/{match[2]}', 'wanted'
        elif text.endswith(HOLDING):
            self.section = 'holding'
        elif TASK.search(text):
            self.task = self.task or find_task(text)
        elif '---[ end trace' in text:
            self.ended = True
        elif text.endswith(('stack backtrace:', 'might help us debug this:')):
            self.section = ''
        else:
            return False
        return True

    def has_end(self) -> bool:
        """Where nothing marks the end of a trace, it is where other lines follow."""
        return self.ended or bool(self.frames and not self.tasked and self.kind != WARN and (
            self.foreign or BOTTOM.fullmatch(self.frames[-1][1].base)))

    def close(self, why: str) -> None:
        """No line can follow: say what is missing, if something is."""
        if self.kind == OTHER:
            return
        if self.kind == HEADLESS:
            self.cut = 'its beginning is not in the log'
        elif self.dropped:
            self.cut = 'the kernel dropped lines of it'
        elif self.held_count is not None and len(self.held) < self.held_count:
            self.cut = f'{why} in its list of held locks'
        elif not self.frames:
            self.cut = f'{why} before its call trace'
        elif not self.has_end():
            self.cut = f'{why} in its call trace'


def to_symbol(match: Optional[re.Match[str]], first: int = 1) -> Optional[Symbol]:
    if not match:
        return None
    name, offset, size, module = match.groups()[first - 1:first + 3]
    return one_symbol(name, offset, size, module or '')


# A long log has many reports of the same few functions.
one_symbol = functools.lru_cache(10000)(Symbol)


def find_task(text: str) -> str:
    """Whose held locks follow, or whose trace."""
    if match := HELD.search(text) if ' held by ' in text else None:
        return f'{match[2] or match[4]}/{match[3] or match[5]}'
    if match := TASK.search(text) if 'PID: ' in text else None:
        return f'{match[2]}/{match[1]}'
    return ''


def find_lock(text: str) -> Optional[re.Match[str]]:
    return LOCK.search(text) if '}, at: ' in text else None


def find_headline(line: Line) -> Optional[Report]:
    if not HEADLINE.search(line.text):
        return None
    for kind, pattern in HEADLINES:
        if match := pattern.search(line.text):
            report = Report(kind, match[0], line.number)
            if kind in (SLEEP, WARN):
                report.file = f'{match[1]}:{match[2]}'
            if kind == WARN:
                report.symbol = to_symbol(match, 3)
            if kind == SCHEDULE:
                report.task = f'{match[1]}/{match[2]}'
            return report
    return None


@dataclass
class Log:
    lines: int = 0
    binary: int = 0             # of the lines, those with what is no text
    is_kernels: bool = False
    banner: str = ''            # "Linux version ..."
    reports: list[Report] = field(default_factory=list)
    back_offs: int = 0


def read_log(lines: Iterable[Line]) -> Log:
    """Collect the reports.

    If several CPUs report at once, their lines are told from each other by the caller
    that CONFIG_PRINTK_CALLER prints, or else by the tasks that the lines name.
    """
    log = Log()
    opened: dict[str, Report] = {}
    broken: dict[str, Report] = {}      # by task: which may go on
    refused: dict[str, tuple[int, tuple[Symbol, int, bool]]] = {}
    line = Line(0, '')
    for line in lines:
        log.is_kernels = log.is_kernels or line.stamped
        log.binary += line.binary
        report = opened.get(line.caller)
        if DROPPED.search(line.text):
            for other in opened.values():
                other.dropped = other.dropped or not other.has_end()
        elif match := REFUSED.search(line.text):
            symbol = to_symbol(match)
            assert symbol is not None
            refused[line.caller] = (line.number, (symbol, int(match[5]), not match[6]))
            log.back_offs += bool(match[6])
        elif found := find_headline(line):
            if report:
                report.close('another report begins')
                if report.cut and report.task:
                    broken[report.task] = report
            if line.torn and found.kind == OTHER:
                found.cut = 'the log ends in its first line'
            log.is_kernels = True
            log.reports.append(found)
            opened[line.caller] = found
            number, what = refused.pop(line.caller, (0, None))
            if found.kind == WARN and line.number - number <= PATIENCE:
                found.refused = what
        elif report and report.kind != OTHER:
            task = find_task(line.text)
            if task != report.task and task in broken:
                report.close('another report goes on')
                if report.cut and report.task:
                    broken[report.task] = report
                report = opened[line.caller] = broken.pop(task)
                report.cut = ''
            if not report.feed(line.text) and line.torn:
                report.foreign = 0      # That may have been a part of it.
            if report.foreign > PATIENCE:
                report.close('other lines follow')
                del opened[line.caller]
        elif not report and (match := find_lock(line.text)) and match[1] and match[2] == NONBLOCK:
            orphan = Report(HEADLESS, '(the beginning is missing)', line.number)
            orphan.feed(line.text)
            log.is_kernels = True
            log.reports.append(orphan)
            opened[line.caller] = orphan
        elif report:
            # Of others' reports, only where they end matters: their locks are not ours.
            report.foreign = 0 if find_lock(line.text) or FRAME.search(line.text) \
                else report.foreign + 1
            if report.foreign > PATIENCE:
                del opened[line.caller]
        if not log.banner and (found_at := line.text.find('Linux version ')) >= 0:
            log.banner, log.is_kernels = line.text[found_at:], True
    for report in opened.values():
        report.close('the log ends')
    if BEGINNING.fullmatch(line.text):
        log.reports.append(Report(OTHER, line.text, line.number, cut='the log ends in it'))
    log.lines = line.number
    return log


# What blocks

@dataclass(frozen=True)
class Primitive:
    functions: str      # a regular expression
    said: str
    remedy: str
    files: str = ''     # where might_sleep() stands in it, if it is inlined


LOCKING = '''Take it with a trylock if !mmu_notifier_range_blockable(range), and {back_off} if that
fails and the range is one that the notifier has an interest in. Check that first, without the
lock: who backs off from what is none of its business defeats the OOM reaper.'''
ALLOCATING = '''Allocate before, outside of the callback; or with GFP_NOWAIT, and {back_off} if
that fails. GFP_NOFS and GFP_NOIO wait for memory as well. An allocation that may reclaim is wrong
in a call that may block, too: reclaim calls MMU notifiers itself.'''
WORKING = '''Queue the work and do not wait for it; let it take the range from a list that a
spinlock protects. If the callback must not return before the work is done, {back_off}.'''
WAITING = '''Look whether it is over, without waiting (try_wait_for_completion(),
dma_fence_is_signaled(), the condition itself), and {back_off} if it is not; or leave the rest to a
work item that nobody waits for here.'''
GRACE = '''Do not wait for readers: free with call_rcu(), call_srcu() or kfree_rcu(), which return
at once.'''
SLEEPING = '''Do not sleep for the device: poll it for a short time with udelay(), or hand the
rest to a work item, or {back_off}.'''
FAULTING = '''Do not touch user memory here, it may fault and wait for I/O, for memory, or for
mmap_lock. Copy or pin it before, outside of the callback.'''
FREEING = '''Free it elsewhere: put it on a list for a work item, or use vfree_atomic(),
kfree_rcu().'''
UNKNOWN = '''Take locks by trylock and {back_off} if that fails; allocate before, or with
GFP_NOWAIT; leave what has to sleep to a work item, and do not wait for that.'''
SPINNING = '''Nothing in the driver: a spinlock is right here. On PREEMPT_RT a kernel without the
hook sched-rt-spinlock-in-nonblock reports it.'''
KEEPING = '''Release on each way out, also on that of an error, what was taken; do not take in one
callback what its partner is to release.'''

PRIMITIVES = (
    Primitive(r'rt_(spin|read|write)_lock\w*', 'spin_lock() on PREEMPT_RT', SPINNING,
              r'kernel/locking/spinlock_rt\.c'),
    Primitive(r'mmap_(read|write)_lock\w*', 'mmap_read_lock() or mmap_write_lock()', LOCKING),
    Primitive(r'pcpu_alloc\w*', 'alloc_percpu()', ALLOCATING),
    Primitive(r'mempool_alloc\w*', 'mempool_alloc()', ALLOCATING),
    Primitive(r'(__)?kv[mz]alloc\w*', 'kvmalloc()', ALLOCATING),
    Primitive(r'(__)?v[mz]alloc\w*|__get_vm_area\w*|alloc_vmap_area|vmap', 'vmalloc()', ALLOCATING),
    Primitive(r'(__)?k[mz]alloc\w*|(__)?krealloc\w*|kmemdup\w*|kstrdup\w*', 'kmalloc()',
              ALLOCATING),
    Primitive(r'kmem_cache_alloc\w*', 'kmem_cache_alloc()', ALLOCATING),
    Primitive(r'xas_(nomem|alloc)|__xas_nomem|xa_(insert|store|alloc)\w*|__xa_\w+',
              'an xarray that allocates', ALLOCATING),
    Primitive(r'(__)?(folio_)?alloc_(frozen_)?pages?\w*|get_free_pages\w*|__folio_alloc\w*',
              'alloc_pages()', ALLOCATING),
    Primitive(r'(__)?(vfree|kvfree|vunmap)\w*', 'vfree()', FREEING),
    Primitive(r'(__)?flush_(delayed_)?work\w*|__flush_workqueue|(__)?cancel_(delayed_)?work_sync|'
              r'drain_workqueue|kthread_flush_\w+', 'flush_work() or its like', WORKING,
              r'kernel/workqueue\.c'),
    Primitive(r'kthread_(stop|park)\w*', 'kthread_stop()', WAITING),
    Primitive(r'dma_(fence|resv)_(default_)?wait\w*', 'dma_fence_wait()', WAITING,
              r'drivers/dma-buf/dma-(fence|resv)\.c'),
    Primitive(r'synchronize_\w+|__synchronize_srcu|wait_rcu_gp|rcu_barrier\w*|__wait_rcu_gp',
              'synchronize_rcu() or its like', GRACE, r'kernel/rcu/.*'),
    Primitive(r'(__)?might_fault|_?copy_(from|to)_user\w*|strn\w+_user\w*|(__)?[gp]et_user\w*|'
              r'(get|pin)_user_pages\w*', 'an access to user memory', FAULTING),
    Primitive(r'(__)?rt_mutex_(slow)?lock\w*', 'rt_mutex_lock()', LOCKING,
              r'kernel/locking/rtmutex\w*\.c'),
    Primitive(r'(__)?ww_mutex_lock\w*', 'ww_mutex_lock()', LOCKING),
    Primitive(r'(__)?mutex_lock\w*', 'mutex_lock()', LOCKING, r'kernel/locking/mutex\.c'),
    Primitive(r'(__)?percpu_down_(read|write)\w*', 'percpu_down_read()', LOCKING,
              r'include/linux/percpu-rwsem\.h'),
    Primitive(r'(__)?down_read\w*|rwsem_down_read\w*', 'down_read()', LOCKING),
    Primitive(r'(__)?down_write\w*|rwsem_down_write\w*', 'down_write()', LOCKING,
              r'kernel/locking/rwsem\.c'),
    Primitive(r'(__)?down(_interruptible|_killable|_timeout|_common)?', 'down()', LOCKING,
              r'kernel/locking/semaphore\.c'),
    Primitive(r'(__)?folio_lock\w*|(__)?lock_page\w*', 'folio_lock()', LOCKING,
              r'include/linux/pagemap\.h'),
    Primitive(r'(__)?wait_for_(common|completion)\w*', 'wait_for_completion()', WAITING,
              r'kernel/sched/completion\.c'),
    Primitive(r'wait_woken|out_of_line_wait_on_\w+|prepare_to_wait\w*|do_wait_intr\w*|'
              r'folio_wait_\w+|wait_on_page_\w+', 'wait_event() or its like', WAITING),
    Primitive(r'msleep\w*|usleep_range\w*|fsleep|schedule_(hr)?timeout\w*|io_schedule\w*|'
              r'schedule|(__)?cond_resched\w*', 'a function that sleeps', SLEEPING),
    # An allocation that the trace does not name
    Primitive(r'fs_reclaim_acquire|__mmu_notifier_nonblock_might_reclaim', 'an allocation',
              ALLOCATING, r'include/linux/sched/mm\.h'),
)

# What stands between a primitive and the report of it, and what UML finds on the stack
NOISE = re.compile(
    r'__might_(resched|sleep)|__schedule(_bug)?|dump_stack\w*|show_stack|_?printk|print_\w+|'
    r'(__)?lock_(acquire|release|is_held\w*)|__lock_acquire|__lockdep\w*|lockdep_\w+|mark_\w+|'
    r'validate_chain|check_\w+|save_trace|match_held_lock|um_[gs]et_signals|_raw_spin_\w+|'
    r'__?warn\w*|warn_slowpath\w*|report_bug|handle_bug|exc_\w+|asm_exc_\w+|'
    r'debug_lockdep\w*|__mmu_notifier_nonblock_(enter|exit)|new_thread_handler|__wake_up\w*')


def find_primitive(frames: Iterable[Symbol]) -> tuple[Optional[int], Optional[Primitive]]:
    """The outermost, that which the driver called; frames are outermost first."""
    for number, frame in enumerate(frames):
        if 'trylock' not in frame.base:
            for primitive in PRIMITIVES:
                if re.fullmatch(primitive.functions, re.sub('_noprof$', '', frame.base)):
                    return number, primitive
    return None, None


def by_file(file: str) -> Optional[Primitive]:
    path = file.rpartition(':')[0]
    return next((primitive for primitive in PRIMITIVES if primitive.files and
                 re.search(rf'(?:^|/){primitive.files}$', path)), None)


# Findings

@dataclass
class Finding:
    report: Report
    callback: Optional[Symbol]
    rule: str
    through: str
    path: list[Symbol]          # from the callback to the primitive
    instead: str
    key: tuple[str, ...]        # of the same call, whatever reported it
    notes: list[str] = field(default_factory=list)
    others: list[Report] = field(default_factory=list)


def is_ours(report: Report) -> Optional[bool]:
    """None if too little is there to tell."""
    unknown = None if report.cut else False
    nonblock, wanted = report.nonblock, report.wanted
    if report.kind == HEADLESS:
        return True
    if report.kind == OTHER:
        return unknown
    if report.kind == WAIT:
        if report.held_count is not None and len(report.held) == report.held_count:
            unknown = False
        # Another lock that is held may forbid it, too: then it has nothing to do with us.
        return wanted.outer > nonblock.inner if nonblock and wanted else unknown
    if report.kind == RECURSION:
        return wanted.name == NONBLOCK if wanted else unknown
    if report.kind == CIRCULAR:
        names = [name for name, _ in report.links]
        names += [lock.name for lock in (wanted, report.holding) if lock]
        return True if NONBLOCK in names else unknown
    if report.kind in (SLEEP, SCHEDULE):
        # Others have sections that may not block, too: PWM, for one.
        if report.non_block == 0:
            return False
        return True if nonblock or any(frame.is_core() for frame in report.trace()) else unknown
    if report.kind == WARN:
        path = report.file.rpartition(':')[0]
        if path.endswith('mm/mmu_notifier_nonblock.c'):
            return True
        return path.endswith('mm/mmu_notifier.c') and bool(report.symbol and
                                                           report.symbol.is_core())
    return False


def find_path(report: Report) -> tuple[Optional[Symbol], list[Symbol]]:
    """The core's frame, and what it called, outermost first."""
    frames = report.trace()
    core = next((number for number, frame in enumerate(frames) if frame.is_core()), None)
    if core is None:
        return None, []
    path: list[Symbol] = []
    for frame in reversed(frames[:core]):
        if not NOISE.fullmatch(frame.base) and not (path and path[-1].name == frame.name):
            path.append(frame)
    return frames[core], path


def say_back_off(report: Report, core: Optional[Symbol]) -> str:
    """How this callback backs off, as far as the report tells which it is."""
    name = core.base if core else ''
    hlist = 'hlist' in name or any(lock.name == 'srcu' and CORE.match(lock.where)
                                   for lock in report.held)
    if name.endswith(('range_end', 'finish_pass')):
        return 'leave it to a work item (this is called at the end, and cannot back off)'
    if hlist:
        return 'return -EAGAIN (only from invalidate_range_start(): the end cannot back off)'
    if report.held and core:
        return 'return false'
    return 'back off (return -EAGAIN, false from an interval notifier)'


def judge(report: Report) -> Finding:
    if report.kind == WARN:
        return judge_returned(report) if report.returned else judge_contract(report)
    core, path = find_path(report)
    number, primitive = find_primitive(path)
    lock = report.wanted if report.wanted and report.wanted.name != NONBLOCK else None
    if primitive is None:
        # Inlined, or without a frame: then where it was reported must do.
        primitive = by_file(report.file) if report.kind == SLEEP else None
        if primitive is None and report.kind == WAIT:
            primitive = Primitive('', 'a lock that sleeps', LOCKING)
        if primitive is None and report.kind == RECURSION:
            primitive = Primitive('', 'an allocation', ALLOCATING)
    elif number is not None:
        path = path[:number + 1]
        if primitive.remedy is SLEEPING:
            primitive = replace(primitive, said=f'{path[-1].base}()')
    remedy = primitive.remedy if primitive else UNKNOWN
    said = primitive.said if primitive else \
        f'might_sleep() at {report.file}' if report.file else 'what is not known'
    nonblock = report.nonblock
    named = nonblock.at if nonblock else None
    callback = named or (path[0] if path and not nonblock else None)
    notes = []
    if nonblock and not named:
        notes.append(f'The kernel printed the callback as {nonblock.where}: it has no '
                     'CONFIG_KALLSYMS.')
    elif not named and callback:
        notes.append('The list of held locks does not name the callback: lockdep is off, or the '
                     'kernel has no annotation. The call trace does, unless the callback ends in '
                     'a call of another function.')
    if report.kind == CIRCULAR and not (report.holding and report.holding.name == NONBLOCK):
        return judge_other_side(report)
    rule = say_rule(report, remedy, lock)
    if lock:
        said = (said if primitive else 'a lock') + f', of "{lock.name}"' + (
            '' if report.kind == WAIT else f' at {lock.where}')
    notes += say_circle(report)
    inner = tuple(str(frame) for frame in path if number is None or frame != path[-1])
    key = (str(core), *inner, primitive.said if primitive else said) if path else \
        (report.kind, str(callback), said)
    if report.frames and not any(reliable for reliable, _ in report.frames) and path:
        notes.append('Each frame of the call trace has a "?": it is what lay on the stack, and '
                     'may show functions that were not called here.')
    return Finding(report, callback, rule, said, path,
                   remedy.format(back_off=say_back_off(report, core)), key, notes)


def say_rule(report: Report, remedy: str, lock: Optional[Lock]) -> str:
    if remedy is SPINNING:
        return 'None: a spinlock may be taken in a nonblocking callback.'
    if report.kind == WAIT:
        return 'A nonblocking callback may not take a lock that sleeps.'
    if report.kind == RECURSION or remedy is ALLOCATING:
        return ('A nonblocking callback may not wait for memory: the OOM reaper calls it to get '
                'some.')
    if report.kind == CIRCULAR:
        name = f'"{lock.name}"' if lock else 'a lock'
        return (f'A nonblocking callback may not depend on an allocation through others: {name} is '
                'held elsewhere by who waits for memory.')
    return 'A nonblocking callback may not sleep.'


def say_circle(report: Report) -> list[str]:
    links = [name for name, _ in reversed(report.links)]
    return ['The circle: ' + ' -> '.join([*links, links[0]])] if links else []


def judge_other_side(report: Report) -> Finding:
    """Another task closed the circle: the callback is in how lockdep learned of a link."""
    callback, path = None, []
    for _, frames in report.links:
        core = next((number for number, frame in enumerate(frames) if frame.is_core()), None)
        inner = [frame for frame in reversed(frames[:core or 0]) if not NOISE.fullmatch(frame.base)]
        if inner and not callback:
            callback, path = inner[0], inner
    names = [name for name, _ in reversed(report.links)]
    # The circle goes on from the callback to what that takes.
    taken = names[(names.index(NONBLOCK) + 1) % len(names)] if NONBLOCK in names else '?'
    wanted = f'"{report.wanted.name}" at {report.wanted.where}' if report.wanted else 'another lock'
    held = f', with "{report.holding.name}" held' if report.holding else ''
    return Finding(report, callback, f'What a nonblocking callback takes ("{taken}") may not be '
                   'held by anybody who waits for memory, nor for what waits for memory.',
                   f'another task, {report.task}, not the callback: it takes {wanted}{held}', path,
                   f'Do not allocate with "{taken}" held: allocate before that is taken, or with '
                   'GFP_NOWAIT. Or do not take it in the callback.',
                   ('circle', wanted, held, *names), say_circle(report))


def judge_returned(report: Report) -> Finding:
    assert report.returned is not None
    callback, deltas = report.returned
    names = ('locks', 'preempt_count', 'irqs_disabled', 'non_block')
    wrong = [f'{name} {delta:+d}' for name, delta in zip(names, deltas) if delta]
    kept: list[Lock] = []
    for number, lock in enumerate(report.held):
        if lock.name == NONBLOCK:
            kept = report.held[number + 1:]
    through = 'its return, with ' + ', '.join(wrong)
    if kept:
        through += '; it still holds ' + ', '.join(f'"{lock.name}", taken at {lock.where}'
                                                   for lock in kept)
    return Finding(report, callback, 'A callback returns with the locks, the preemption count and '
                   'the interrupt state that it was called with: its caller would run on under '
                   'what is left.', through, [lock.at for lock in kept if lock.at], KEEPING,
                   ('returned', str(callback), *wrong))


def judge_contract(report: Report) -> Finding:
    if not report.refused:
        return Finding(report, None, 'An MMU notifier keeps to the contract of the core.',
                       f'the check at {report.file}', [], 'See what is checked there. Only a '
                       'nonblocking call may be refused (return -EAGAIN, or false).',
                       ('contract', report.file))
    callback, error, blockable = report.refused
    if blockable:
        rule = 'A callback may back off only if !mmu_notifier_range_blockable(range).'
        instead = ('Wait for the lock or the memory in a call that may block, and back off only '
                   'in one that may not.')
    elif error != -11:
        rule = 'A callback that backs off returns -EAGAIN and no other error.'
        instead = 'Return -EAGAIN.'
    else:
        rule = 'A notifier that has invalidate_range_end() may not back off: nothing tells it.'
        instead = ('Finish without blocking (a spinlock, a counter, a work item), or do without '
                   'invalidate_range_end(); an interval notifier needs none.')
    kind = 'blockable' if blockable else 'nonblocking'
    return Finding(report, callback, rule, f'its return of {error} in a {kind} call', [],
                   instead, ('contract', str(callback), str(error), str(blockable)))


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """One for each call: lockdep and might_sleep() may both report it, and time and again."""
    merged: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        first = merged.get(finding.key)
        if first is None:
            merged[finding.key] = finding
            continue
        first.others.append(finding.report)
        if finding.report.nonblock and finding.report.nonblock.at and not (
                first.report.nonblock and first.report.nonblock.at):
            # What names the callback is worth more.
            finding.report, finding.others = finding.report, first.others
            finding.others.remove(finding.report)
            finding.others.insert(0, first.report)
            merged[finding.key] = finding
        elif finding.report.kind == CIRCULAR != first.report.kind:
            first.notes += [note for note in say_circle(finding.report)
                            if note not in first.notes]
        elif finding.report.kind == WAIT and first.report.kind == SLEEP:
            first.rule, first.through = finding.rule, finding.through
    return list(merged.values())


# Text

Place = Callable[[Symbol], str]


def row(title: str, text: str) -> list[str]:
    return textwrap.wrap(' '.join(text.split()), 80, initial_indent=f'  {title:<10}',
                         subsequent_indent=' ' * 12, break_long_words=False,
                         break_on_hyphens=False)


def name_callback(finding: Finding, place: Place) -> str:
    callback, report = finding.callback, finding.report
    if not callback:
        if not report.nonblock:
            return 'not in the log'
        text = report.nonblock.where
    else:
        module = f'in module {callback.module}' if callback.module else 'built in'
        # The address of the function itself, not one within it
        start = Symbol(callback.name, '0x0', callback.size, callback.module)
        text = ', '.join(filter(None, (f'{callback.base}()', module, place(start))))
    return text + (f'; run by {report.task}' if report.task else '')


def format_finding(number: int, finding: Finding, place: Place) -> list[str]:
    report = finding.report
    lines = [f'report {number}, line {report.line}: {report.headline}']
    shown = finding.others[:3]
    lines += [f'  the same call, line {other.line}: {other.headline}' for other in shown]
    if (more := len(finding.others) - len(shown)) > 0:
        lines.append(f'  the same call, {more} more times')
    lines += row('callback', name_callback(finding, place))
    lines += row('rule', finding.rule)
    lines += row('through', finding.through)
    lines += [f'              {frame}' + (f'  {where}' if (where := place(frame)) else '')
              for frame in finding.path]
    lines += row('instead', finding.instead)
    for note in finding.notes:
        lines += row('note', note)
    if report.cut:
        lines += row('CUT OFF', f'{report.cut}. What is above may be wrong.')
    return lines


@dataclass
class Explanation:
    lines: list[str]
    clear: bool         # nothing is cut off or unclear


def explain(log: Log, name: str, locate: Callable[[set[Symbol]], Place]) -> Explanation:
    if not log.lines:
        raise Failure(EXIT_USAGE, f'{name} is empty')
    if log.binary > log.lines // 10 + 1:
        raise Failure(EXIT_USAGE, f'{name} is not text: {log.binary} of its {log.lines} lines have '
                      'zero bytes. If it is compressed, unpack it first.')
    if not log.is_kernels:
        raise Failure(EXIT_USAGE, f'{name} does not look like a kernel log: none of its '
                      f'{log.lines} lines has a time stamp, a "Linux version" or a report. Give '
                      'what `dmesg` or `journalctl -k` prints, or what was on the console.')
    findings, unclear, foreign = [], [], []
    for report in log.reports:
        ours = is_ours(report)
        if ours:
            findings.append(judge(report))
        elif ours is None:
            unclear.append(report)
        elif report.kind != OTHER or 'WARNING' in report.headline or 'BUG' in report.headline:
            foreign.append(report)
    whole = merge(finding for finding in findings if not finding.report.cut)
    whole += [finding for finding in findings if finding.report.cut]
    whole.sort(key=lambda finding: finding.report.line)
    symbols = {symbol for finding in whole for symbol in finding.path}
    symbols |= {Symbol(finding.callback.name, '0x0', finding.callback.size,
                       finding.callback.module) for finding in whole if finding.callback}
    place = locate(symbols)
    lines: list[str] = []
    for number, finding in enumerate(whole, 1):
        lines += [*format_finding(number, finding, place), '']
    for report in unclear:
        lines += [f'unclear, line {report.line}: {report.headline}',
                  *row('CUT OFF', f'{report.cut}: whether it is about MMU notifiers cannot be '
                       'told. Look for a whole log.'), '']
    cut = len(unclear) + sum(bool(finding.report.cut) for finding in whole)
    calls = f'{len(whole)} call{"" if len(whole) == 1 else "s"}'
    lines.append(f'{calls} reported in nonblocking MMU notifiers' if whole else
                 'no report about nonblocking MMU notifiers')
    lines[-1] += f' in {log.lines} lines of {name}'
    if cut:
        lines[-1] += f'; {cut} report{"" if cut == 1 else "s"} cut off'
    if foreign:
        where = ', '.join(str(report.line) for report in foreign[:10])
        lines.append(f'other reports, not explained: {len(foreign)} (line {where}'
                     + (', ...)' if len(foreign) > 10 else ')'))
    if log.back_offs:
        lines.append(f'back-offs, which are no fault: {log.back_offs}')
    return Explanation(lines, not cut)


# Files and lines

def nowhere(_symbol: Symbol) -> str:
    return ''


def find_script(vmlinux: Path, kdir: str, repo: Path) -> Path:
    name = 'scripts/decode_stacktrace.sh'
    if kdir:
        tops = [Path(kdir)]
    else:
        folder = vmlinux.resolve().parent
        tops = [folder, folder / 'source', folder.parent / 'linux',
                *sorted((repo / 'build').glob('*/linux'), reverse=True)]
    for top in tops:
        if (top / name).is_file():
            return top / name
    where = f'KDIR={kdir} has no {name}' if kdir else \
        f'there is no {name} next to {vmlinux}, nor in a prepared tree'
    raise Failure(EXIT_USAGE, f'{where}. Give a kernel tree with KDIR=, or run `make tree`.')


def check_vmlinux(path: Path, banner: str) -> None:
    """Lines of another kernel would mislead."""
    try:
        image = path.read_bytes()
    except OSError as error:
        raise Failure(EXIT_USAGE, f'VMLINUX={path}: {error.strerror}') from None
    if not image.startswith(b'\x7fELF'):
        raise Failure(EXIT_USAGE, f'VMLINUX={path} is not an ELF file. Give the vmlinux of the '
                      'build, not bzImage or vmlinuz.')
    # There may be one without the build's number and time as well.
    found = [match.decode().strip() for match in
             re.findall(rb'Linux version \d[ -~]{20,}', image)]
    if not found:
        raise Failure(EXIT_USAGE, f'VMLINUX={path} is not a Linux kernel')
    if banner and banner.strip() not in found:
        raise Failure(EXIT_USAGE, f'VMLINUX={path} is not the kernel of this log:\n'
                      f'    {max(found, key=len)}\n    {banner.strip()}')


def decode(script: Path, vmlinux: Path, modules: str, symbols: set[Symbol]) -> dict[Symbol, str]:
    """What the kernel's own script makes of them: file and line, where it finds any."""
    order = sorted(symbols, key=str)
    command = ['bash', str(script), str(vmlinux.resolve()), 'auto', *([modules] if modules else [])]
    try:
        result = subprocess.run(command, input=''.join(f' {symbol}\n' for symbol in order),
                                capture_output=True, text=True, errors='replace', check=False)
    except FileNotFoundError:
        raise Failure(EXIT_MACHINE, 'bash: not found; decode_stacktrace.sh needs it, and '
                      'binutils') from None
    lines = result.stdout.splitlines()
    if result.returncode or len(lines) != len(order):
        raise Failure(EXIT_MACHINE, f'{script} failed: '
                      + (result.stderr.strip().splitlines() or ['no message'])[-1])
    places = {}
    for symbol, line in zip(order, lines):
        if match := re.search(r'\(([^()]+:\d+[^()]*)\)', line):
            places[symbol] = match[1]
    return places


def locator(vmlinux: str, modules: str, kdir: str, repo: Path,
            banner: str) -> Callable[[set[Symbol]], Place]:
    def locate(symbols: set[Symbol]) -> Place:
        if not vmlinux:
            return nowhere
        path = Path(vmlinux)
        check_vmlinux(path, banner)
        places = decode(find_script(path, kdir, repo), path, modules, symbols) if symbols else {}
        if symbols and not places:
            say(f'VMLINUX={vmlinux} gives no line: it was built without CONFIG_DEBUG_INFO, or the '
                'code is in a module and MODULES= does not have that with debug info.\n')
        elif places and not banner:
            say('The log does not say which kernel it is from. The lines below are right only if '
                f'that is {vmlinux}.\n')
        return lambda symbol: places.get(symbol, '')
    return locate


# make explain

def open_log(path: str) -> BinaryIO:
    if not path:
        if sys.stdin.isatty():
            raise Failure(EXIT_USAGE, 'no log: give LOG=dmesg.txt, or pipe one in: '
                          'dmesg | make explain')
        return sys.stdin.buffer
    try:
        return open(path, 'rb')
    except OSError as error:
        raise Failure(EXIT_USAGE, f'LOG={path}: {error.strerror}') from None


def run(repo: Path, kdir: str) -> int:
    """0 if the log is clear, with reports or without; 2 if it is cut off."""
    path = os.environ.get('LOG', '')
    vmlinux, modules = os.environ.get('VMLINUX', ''), os.environ.get('MODULES', '')
    if modules and not vmlinux:
        raise Failure(EXIT_USAGE, f'MODULES={modules}: only with VMLINUX')
    if modules and not os.path.isdir(modules):
        raise Failure(EXIT_USAGE, f'MODULES={modules}: there is no such folder')
    with open_log(path) as file:
        log = read_log(read_lines(file))
    explanation = explain(log, path or 'standard input',
                          locator(vmlinux, modules, kdir, repo, log.banner))
    for line in explanation.lines:
        say(line)
    return 0 if explanation.clear else EXIT_USAGE
