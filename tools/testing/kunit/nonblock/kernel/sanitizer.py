# SPDX-License-Identifier: GPL-2.0-only
"""Which reports of KASAN and KCSAN fail a run.

All of KASAN's do. KCSAN finds races all over the kernel, not the same in each run, and most of
them are meant to be: one that is in none of the functions that are tested here is shown and
counted, and fails nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterable

HEADLINE = re.compile(r'(BUG: K[AC]SAN: .*)')
RACE = re.compile(r'BUG: KCSAN: (?:data-race|assert: race) in ([\w.]+)(?: / ([\w.]+))?')

# What is tested, and the tests
OURS = ('include/linux/mmu_notifier*.h', 'lib/kunit/*.c', 'lib/test_mmu_notifier.c',
        'mm/mmu_notifier*.c', 'mm/oom_kill.c', 'mm/tests/*mmu_notifier*.c',
        'mm/tests/oom_reap*.c', 'samples/mmu_notifier/*.c')


def is_tested(function: str, tree: Path) -> bool:
    """Whether it is defined in one of these files: the kernel's style has its name in a line that
    begins without a blank."""
    name = re.escape(function.partition('.')[0])        # without .isra.0 and the like
    definition = re.compile(rf'^(?=\w)[^\n;=]*\b{name}\(', re.MULTILINE)
    return any(definition.search(path.read_text(encoding='utf-8', errors='replace'))
               for pattern in OURS for path in tree.glob(pattern))


def fails(headline: str, tree: Path) -> bool:
    race = RACE.search(headline)
    return not race or any(is_tested(name, tree) for name in race.groups() if name)


def split(headlines: Iterable[str], tree: Path) -> tuple[dict[str, int], dict[str, int]]:
    """How often there was each that fails the run, and each that does not."""
    bad: dict[str, int] = {}
    other: dict[str, int] = {}
    for headline in headlines:
        counts = bad if fails(headline, tree) else other
        counts[headline] = counts.get(headline, 0) + 1
    return bad, other


def as_text(other: dict[str, int]) -> str:
    return '\n'.join(['races in code that is not tested here:',
                      *(f'    {headline} ({count} times)' for headline, count in other.items())])
