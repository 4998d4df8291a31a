# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel counts of each callback in nonblocking invalidations, as a table.

init prints it at the end of a boot. It is in debugfs, see
Documentation/mm/mmu_notifier_nonblock.rst.
"""

from __future__ import annotations

import json
from typing import Iterable

COLUMNS = ('calls', 'back_offs', 'longest_ns', 'reports')
# By callback
Table = dict[str, dict[str, int]]


def parse(lines: Iterable[str]) -> Table:
    """The last table in a log. Columns that are not known are left out."""
    table: Table = {}
    header: list[str] = []
    for line in lines:
        words = line.split()
        if words[:2] == ['#', 'callback']:
            header, table = words[1:], {}
        elif header and words[:1] == ['#'] and len(words) == len(header) + 1:
            row = dict(zip(header, words[1:]))
            if all(row.get(column, '').isdecimal() for column in COLUMNS):
                table[row['callback']] = {column: int(row[column]) for column in COLUMNS}
        else:
            header = []
    return table


def add(total: Table, table: Table) -> None:
    for callback, row in table.items():
        known = total.setdefault(callback, dict.fromkeys(COLUMNS, 0))
        for column in COLUMNS:
            known[column] = (max(known[column], row[column]) if column == 'longest_ns'
                             else known[column] + row[column])


def as_text(table: Table) -> str:
    width = max(map(len, ['callback', *table]))
    lines = [' '.join([f'{"callback":{width}}', *(f'{column:>12}' for column in COLUMNS)])]
    lines += [' '.join([f'{callback:{width}}', *(f'{row[column]:>12}' for column in COLUMNS)])
              for callback, row in sorted(table.items())]
    return '\n'.join(lines)


def as_json(table: Table) -> str:
    return json.dumps(table, indent=1, sort_keys=True) + '\n'
