# SPDX-License-Identifier: GPL-2.0-only
"""Finds the callbacks: tables of the two types, constant or filled at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from .judge import CALLBACKS
from .module import OPS, Module

MENTION = r'mmu_(interval_)?notifier_ops'


@dataclass(frozen=True)
class Callback:
    """One function of one table."""
    source: str
    ops: str        # the type of the table
    table: str      # its name, if it has one
    name: str       # the member
    function: str   # its symbol; '?' if it is not known
    line: int

    @property
    def kind(self) -> str:
        return OPS[self.ops]


def members(ops: str, kernel_header: str) -> list[str]:
    """The members of a table in their order, as the kernel's header has them."""
    start = kernel_header.index(f'struct {ops} {{')
    body = kernel_header[start:kernel_header.index('\n};', start)]
    return [part.split(')')[0].strip() for part in body.split('(*')[1:]]


def find_callbacks(module: Module, source: str, header: str) -> Iterator[Callback]:
    seen = set()
    for table in module.tables():
        if table.type not in OPS:
            continue
        names = members(table.type, header)
        for index, function in enumerate(table.functions):
            name = names[index] if index < len(names) else ''
            if not function or name not in CALLBACKS[OPS[table.type]]:
                continue
            line = module.line_of(function).line if function in module.defined else \
                table.where.line if table.where else 0
            found = Callback(source, table.type, table.name, name, function, line)
            key = found.ops, found.name, found.function, found.table and 'table'
            if key not in seen:
                seen.add(key)
                yield found
