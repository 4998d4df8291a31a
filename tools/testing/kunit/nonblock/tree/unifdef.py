# SPDX-License-Identifier: GPL-2.0-only
"""hooks/unifdef: what in the repository's files is for some kernels only."""

from __future__ import annotations

from pathlib import Path

from nonblock.common import EXIT_TREE, Failure, capture
from nonblock.tree.hooks import CONDITION, Hook

NAMES = 'hooks/unifdef'


def unifdef(repo: Path, kernel: Path, file: Path) -> None:
    """Resolve the names that files have #ifdef for, in one that goes into this kernel's tree."""
    path, options = repo / NAMES, []
    if file.is_symlink() or not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        name, _, comment = (part.strip() for part in line.partition('#'))
        match = CONDITION.fullmatch(comment)
        if name and not match:
            raise Failure(EXIT_TREE, f'{NAMES}:{number}: {line}: want "NAME # if FILE has TEXT"')
        if name and match and name.encode() in file.read_bytes():
            there = Hook(name, files=tuple(match[1].split(' or ')), text=match[2]).is_for(kernel)
            options.append(f'-{"D" if there else "U"}{name}')
    if not options:
        return
    result = capture(['unifdef', '-m', *options, file])
    if result.returncode not in (0, 1):     # unchanged, changed
        raise Failure(EXIT_TREE, f'unifdef {file}: {result.stderr.strip()}')
