# SPDX-License-Identifier: GPL-2.0-only
"""hooks/unifdef: what in the repository's files is for some kernels only."""

from __future__ import annotations

from pathlib import Path

from nonblock.common import EXIT_TREE, Failure, capture
from nonblock.tree.hooks import CONDITION, Hook

NAMES = 'hooks/unifdef'


def read_names(repo: Path) -> list[Hook]:
    """The names that the files have #ifdef for, and for which kernels they are defined."""
    path = repo / NAMES
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        name, _, comment = (part.strip() for part in line.partition('#'))
        if not name:
            continue
        match = CONDITION.fullmatch(comment)
        if not match:
            raise Failure(EXIT_TREE, f'{NAMES}:{number}: {line}: want "NAME # if FILE has TEXT"')
        found.append(Hook(name, files=tuple(match[1].split(' or ')), text=match[2]))
    return found


def unifdef(repo: Path, kernel: Path, file: Path) -> None:
    """Resolve these names in a file that goes into a tree of this kernel."""
    names = [name for name in read_names(repo)
             if not file.is_symlink() and name.name.encode() in file.read_bytes()]
    if not names:
        return
    result = capture(['unifdef', '-m', *('-' + 'UD'[name.is_for(kernel)] + name.name
                                         for name in names), file])
    if result.returncode not in (0, 1):     # unchanged, changed
        raise Failure(EXIT_TREE, f'unifdef {file}: {result.stderr.strip()}')
