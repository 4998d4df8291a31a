# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel tree says of a nonblocking pass: its range, its event, its flags."""

from __future__ import annotations

import re
from pathlib import Path

from nonblock.common import EXIT_TREE, Failure

from .compiler import Compiler
from .specialise import RangeLayout

HEADER = 'include/linux/mmu_notifier.h'
PROBE = '''#include <linux/gfp.h>
#include <linux/mmu_notifier.h>
unsigned int audit_reclaim = __GFP_DIRECT_RECLAIM;
unsigned int audit_event = {event};
MODULE_LICENSE("GPL");
'''


def reaper_event(tree: Path) -> str:
    """The name of the event of the OOM reaper and of process_mrelease().

    They call __oom_reap_task_mm(), which sets the range up, or what does so for it.
    """
    events: set[str] = set()
    for name in ('mm/oom_kill.c', 'mm/memory.c'):
        text = (tree / name).read_text(encoding='utf-8')
        for call in re.finditer(r'mmu_notifier_invalidate_range_start_nonblock\(', text):
            inits = re.findall(r'mmu_notifier_range_init\(\s*&\w+,\s*(\w+)', text[:call.start()])
            events.update(inits[-1:])
    if len(events) != 1:
        raise Failure(EXIT_TREE, 'mm/oom_kill.c, mm/memory.c: what is the event of '
                      f'mmu_notifier_invalidate_range_start_nonblock()? Found: {sorted(events)}')
    return events.pop()


def range_members(tree: Path) -> tuple[str, ...]:
    text = (tree / HEADER).read_text(encoding='utf-8')
    match = re.search(r'^struct mmu_notifier_range \{(.*?)^\};', text, re.MULTILINE | re.DOTALL)
    members = tuple(re.findall(r'(\w+);', match[1])) if match else ()
    if not {'flags', 'event', 'start', 'end'} <= set(members) or \
            set(members) - {'mm', 'start', 'end', 'flags', 'event', 'owner'}:
        raise Failure(EXIT_TREE, f'{HEADER}: struct mmu_notifier_range is not known: {members}')
    return members


def read_kernel(compiler: Compiler, folder: Path) -> tuple[RangeLayout, int]:
    """Of the range, and the bit of an allocation that may reclaim: as the compiler has it."""
    folder.mkdir(parents=True, exist_ok=True)
    event = reaper_event(compiler.tree)
    for name, text in (('probe.c', '#include <linux/module.h>\n' + PROBE.format(event=event)),
                       ('Kbuild', 'obj-m := probe.o\n')):
        if not (folder / name).exists() or (folder / name).read_text(encoding='utf-8') != text:
            (folder / name).write_text(text, encoding='utf-8')
    found, errors = compiler.compile_external(folder)
    path = found.get(str(folder / 'probe.c'))
    if not path:
        raise Failure(EXIT_TREE, 'the tree\'s headers do not compile:\n    '
                      + '\n    '.join(errors))
    values = dict(re.findall(r'^@audit_(\w+) = .*global i32 (\d+)', path.read_text(
        encoding='utf-8'), re.MULTILINE))
    return RangeLayout(range_members(compiler.tree), int(values['event'])), int(values['reclaim'])
