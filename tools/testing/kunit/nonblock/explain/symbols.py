# SPDX-License-Identifier: GPL-2.0-only
"""Functions and locks, as the kernel prints them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Optional

NONBLOCK = 'mmu_notifier_nonblock'                  # the map of the series
RANGE_MAP = 'mmu_notifier_invalidate_range_start'   # mainline's own
RECLAIM = 'fs_reclaim'

# What calls the callbacks that invalidate
INVALIDATE = re.compile(r'__mmu_notifier_invalidate_range_(?:start|end)|'
                        r'mn_(?:hlist|itree)_invalidate\w*|mn_itree_finish_pass|'
                        r'mn_invalidate_range_(?:start|end)')
# What calls those for a TLB, under the spinlock of a page table
TLB = re.compile(r'__mmu_notifier_(?:arch_invalidate_secondary_tlbs|invalidate_range)')
# What calls them when the mm goes away, or the notifier does: that may always block.
RELEASE = re.compile(r'__mmu_notifier_release|mn_(?:hlist|itree)_release|mmu_notifier_unregister')
# What runs a nonblocking invalidation
REAPER = re.compile(r'oom_reaper|__oom_reap_task_mm|oom_reap_task\w*|zap_vma_for_reaping|'
                    r'\w*sys_process_mrelease|process_mrelease')
# Where a stack ends
BOTTOM = re.compile(r'kthread|new_thread_handler|ret_from_fork\w*|entry_\w+|userspace|'
                    r'el[01][ht]?_\w+|fork_handler|start_kernel\w*|secondary_start\w*|'
                    r'common_startup_64|asm_exc_\w+|__primary_switched|'
                    r'ret_to_user|ret_fast_syscall|system_call\w*|handle_syscall|'
                    r'__?ret_from_fork|ret_from_kernel_(?:thread|user_thread)|do_syscall')


# A long log has many reports of the same few functions.
@functools.lru_cache(10000)
def base_of(name: str) -> str:
    return re.sub(r'\.(cold|part|isra|constprop|llvm)\b.*', '', name)


@dataclass(frozen=True)
class Symbol:
    name: str
    offset: str = ''            # both are missing if the line has file and line instead
    size: str = ''
    module: str = ''

    def __str__(self) -> str:
        module = f' [{self.module}]' if self.module else ''
        return f'{self.name}+{self.offset}/{self.size}{module}' if self.size else \
            self.name + module

    @property
    def base(self) -> str:
        """Without what the compiler adds."""
        return base_of(self.name)

    @property
    def called(self) -> str:
        return f'{self.base}()' + (f' [{self.module}]' if self.module else '')

    def is_core(self) -> bool:
        return bool(INVALIDATE.fullmatch(self.base) or RELEASE.fullmatch(self.base))

    def is_release(self) -> bool:
        return bool(RELEASE.fullmatch(self.base))


one_symbol = functools.lru_cache(10000)(Symbol)

# Each run of characters is bounded, so that no line takes long.
SYMBOL = (r'(?P<name>[A-Za-z_$][\w.$]{0,200})\+(?P<offset>0x[0-9a-f]{1,16})/'
          r'(?P<size>0x[0-9a-f]{1,16})(?:\s\[(?P<module>\w{1,64})[^]]{0,64}\])?')
AT_SYMBOL = re.compile(SYMBOL)
FILE = r'[\w./+-]{1,200}\.[chSs]:\d+'
# A sign of its own for what only lay on the stack; addresses on some machines
FRAME = re.compile(rf'(?:^|[\s(])(?P<guess>\? )?{SYMBOL}\)?'
                   rf'(?P<rest>$|\s+\([A-Za-z]+\)| \(?(?:\./)?{FILE}| \[inline\]|\s+[#/<=;|]|\s+$)')
# As scripts/decode_stacktrace.sh writes it; and what syzbot shows of what is inlined
DECODED = re.compile(r'(?:^|\s)(?P<guess>\? )?(?P<name>[A-Za-z_]\w{0,200}(?:\.\w+)*) '
                     rf'\({FILE}[^()]*(?:\([^()]*\))?\)(?: (?P<module>\w{{1,64}}))?\s*$')
INLINED = re.compile(rf'(?:^|\s)(?P<name>[A-Za-z_]\w{{0,200}}(?:\.\w+)*) {FILE} \[inline\]')
# As the crash utility shows a stack
CRASH = re.compile(r'#\d+ \[[0-9a-f]+\] (?P<name>[A-Za-z_][\w.]*) at [0-9a-f]+'
                   r'(?: \[(?P<module>\w+)\])?')
# Nothing but a name
BARE = re.compile(r'(?P<name>[A-Za-z_]\w*)(?:\(\))?(?: \[(?P<module>\w+)\])?$')
# 32-bit ARM names the callee as well.
ARM = re.compile(rf'(?:^|[\s(])(?P<callee>[A-Za-z_]\w{{0,200}})(?:\+0x\w+/0x\w+)?'
                 rf'(?: \[(?P<callee_module>\w+)\])?\)? from (?:\[<[0-9a-f]+>\] \()?{SYMBOL}')
NO_FRAME = re.compile(r', at: | at: |callback failed with|\bRIP: |\b(?:pc|lr|epc|ra) : |NIP \[|'
                      r'LR \[|last\s+(?:en|dis)abled at|\bPC is at|\bLR is at|key +at|WARNING: |'
                      r'BUG: | changed (?:held|irqs|pre|page|non_|the )|Workqueue: |'
                      r'\bin [\w.]+\+0x')
# Where the CPU was, and where it would return to from there
POINTER = re.compile(rf'(?:\bRIP: (?:[0-9a-f]+:)?|\bpc : (?:\[<[0-9a-f]+>\] )?|\bepc : |'
                     rf'\bNIP \[[0-9a-f]+\] |\bPC is at |\bKrnl PSW : .*\(|'
                     rf'\bERA: [0-9a-f]+ ){SYMBOL}')

RETURN = re.compile(rf'(?:\blr : (?:\[<[0-9a-f]+>\] )?|\bLR is at |\bLR \[[0-9a-f]+\] |'
                    rf'\bra : ){SYMBOL}')


def to_symbol(match: Optional[re.Match[str]]) -> Optional[Symbol]:
    if not match:
        return None
    groups = match.groupdict()
    return one_symbol(groups['name'], groups.get('offset') or '', groups.get('size') or '',
                      groups.get('module') or '')


@dataclass(frozen=True)
class Frame:
    symbol: Symbol
    sure: bool = True


def find_frames(text: str, in_trace: bool = False) -> list[Frame]:
    """The frames of a line of a call trace: one, or two on ARM, or none."""
    if '+0x' in text:
        if NO_FRAME.search(text):
            return []
        if match := ARM.search(text) if ' from ' in text else None:
            symbol = to_symbol(match)
            assert symbol
            return [Frame(one_symbol(match['callee'], '', '', match['callee_module'] or '')),
                    Frame(symbol)]
        match = FRAME.search(text)
    elif '] ' in text and (match := CRASH.search(text)):
        pass
    elif ')' in text or '[inline]' in text:
        if '[inline]' in text and NO_FRAME.search(text):
            return []
        match = DECODED.search(text) or INLINED.search(text)
    elif in_trace and '_' in text:
        match = BARE.match(text)        # as commit messages shorten it
    else:
        return []
    symbol = to_symbol(match)
    if match is None or symbol is None:
        return []
    return [Frame(symbol, not match.groupdict().get('guess'))]


@dataclass(frozen=True)
class Lock:
    name: str
    outer: int
    inner: int
    at: Optional[Symbol]
    where: str                  # as it was printed


LOCK_START = re.compile(r'(?:^|\s)(?:#(\d+):\s+)?(?:(?:0x)?[0-9a-f]{4,16}\s+)?\(')
LOCK_REST = re.compile(r'[^}]*\}(?:-\{(\d+):(\d+)\})?,? at:\s*(.*)')
LINK = re.compile(r'-> #(\d+)\s+\(')


def find_lock(text: str) -> Optional[tuple[Optional[int], Lock]]:
    """A lock with where it was taken, and its number in a list."""
    if 'at:' not in text:
        return None
    head, _, tail = text.partition('){')
    start, rest = LOCK_START.search(head), LOCK_REST.match(tail)
    if not start or not rest:
        return None
    where = rest[3].strip()
    at = to_symbol(AT_SYMBOL.search(where)) or to_symbol(INLINED.search(where)) or \
        to_symbol(BARE.match(where))
    lock = Lock(head[start.end():], int(rest[1] or -1), int(rest[2] or -1), at, where)
    return int(start[1]) if start[1] else None, lock


def find_link(text: str) -> Optional[tuple[int, str]]:
    """The number and the lock of a link of lockdep's chain."""
    match = LINK.search(text) if '-> #' in text else None
    if not match:
        return None
    name, brace, _ = text[match.end():].partition('){')
    return (int(match[1]), name) if brace else None
