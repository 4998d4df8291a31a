# SPDX-License-Identifier: GPL-2.0-only
"""Part of make bench: with lockdep off, do both trees compile to the same code?"""

from __future__ import annotations

import re
from pathlib import Path

from nonblock.common import EXIT_BUILD, Failure, capture, say
from nonblock.kernel.kbuild import ERROR, Builder, Config, base_options, includers
from nonblock.kernel.kconfig import read_config
from nonblock.kernel.machine import BENCH_CONFIG
from nonblock.kernel.session import Session
from nonblock.result.verdict import Verdict
from nonblock.tree.hooks import touched_files
from nonblock.tree.prepare import overlay_files

FIXES, OURS = SIDES = 'fixes', 'ours'
OFF = dict.fromkeys((
    'PROVE_LOCKING', 'PROVE_RAW_LOCK_NESTING', 'DEBUG_ATOMIC_SLEEP', 'FTRACE',
    'ENABLE_DEFAULT_TRACERS', 'KUNIT', 'KUNIT_DEBUGFS', 'FAULT_INJECTION_DEBUG_FS',
    'FAULT_INJECTION_STACKTRACE_FILTER', 'TEST_MMU_NOTIFIER', 'SYNC_FILE', 'DETECT_HUNG_TASK'), 'n')


def off_options() -> dict[str, str]:
    """bench.config's, and to be off what is on in the other configurations."""
    return {**read_config(BENCH_CONFIG), **OFF}


def touched_sources(sides: dict[str, Session]) -> list[str]:
    """Mainline's C files that our hooks change, themselves or in a header."""
    ours, tree = sides[OURS], sides[FIXES].tree
    names = {name for hook in ours.hooks for name in touched_files(ours.repo / hook)
             if (tree / name).is_file()}
    found = {name for name in names if name.endswith('.c')}
    found |= includers(tree, (name for name in names if name.endswith('.h')),
                       ('mm', 'kernel', 'kernel/sched', 'kernel/locking', 'lib'))
    return sorted(name for name in found if not name.startswith(('arch/', 'tools/', 'samples/')))


def disassemble(path: Path) -> str:
    """All code, with its relocations, and without the name of the file."""
    result = capture(['objdump', '--disassemble', '--reloc', path])
    if result.returncode:
        raise Failure(EXIT_BUILD, f'objdump {path}: {result.stderr.strip()}')
    return result.stdout.partition('file format')[2]


def first_difference(one: str, other: str) -> str:
    """The first line that is not the same, and the function that it is in."""
    function = ''
    for mine, theirs in zip(one.splitlines(), other.splitlines()):
        if match := re.match(r'[0-9a-f]+ <(.*)>:$', mine):
            function = match[1]
        if mine != theirs:
            return f'{function}: {" ".join(mine.split())} | {" ".join(theirs.split())}'
    return 'one is longer'


def compare_off(sides: dict[str, Session], verdict: Verdict) -> None:
    """One test for each object."""
    sources = touched_sources(sides)
    config = Config('x86_64, bench off', 'x86_64', off_options())
    builders = {side: Builder(config, session.tree, session.jobs)
                for side, session in sides.items()}
    objects: list[str] = []
    for side, builder in builders.items():
        say(f'lockdep off: building the touched objects in {builder.out.name} of {side} ...')
        trouble = builder.configure({*base_options('x86_64'), *off_options()})
        objects = builder.objects(sources) if not trouble else []
        status, output = builder.make(*objects) if objects else (1, trouble or 'no objects')
        if status:
            error = ERROR.search(output)
            verdict.fail(f'build of {side}, lockdep off',
                         error[0].strip() if error else output.strip(), EXIT_BUILD)
            return
    ours = [name for name in overlay_files(sides[OURS].repo) if name.endswith('.c') and
            name.startswith(('mm/', 'lib/'))]
    extra = builders[OURS].objects(ours)
    verdict.note('off: objects that only ours has', ' '.join(extra))
    for name in objects:
        one, other = (disassemble(builders[side].out / name) for side in SIDES)
        verdict.note(f'off: {name}', '' if one == other else first_difference(one, other))
    say(f'lockdep off: {len(objects)} objects: {" ".join(objects)}')
