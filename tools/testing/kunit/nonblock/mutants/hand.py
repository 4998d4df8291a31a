# SPDX-License-Identifier: GPL-2.0-only
"""What is written by hand: edits that no rule makes, and which edits change nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from nonblock.common import EXIT_TREE, EXIT_USAGE, Failure
from nonblock.mutants.edits import Edit, Mutant, make, same_lines
from nonblock.mutants.c_reader import Site, functions, tokenize

HEAD = re.compile(r'(\S+) @ (\S+?)(?: if (\S+))?: (.+)')


@dataclass(frozen=True)
class Written:
    """An edit of some lines of a function, or of a file where the function is "-"."""
    file: str
    function: str
    text: str           # only for kernels whose file has this
    why: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    where: str


def read_mutants(path: Path) -> list[Written]:
    found = []
    blocks = re.split(r'\n\s*\n', re.sub(r'(?m)^#.*\n', '', path.read_text(encoding='utf-8')))
    for block in blocks:
        if not block.strip():
            continue
        head, *lines = block.strip('\n').splitlines()
        match = HEAD.fullmatch(head)
        if not match or not lines or any(line[0] not in '-+' for line in lines):
            raise Failure(EXIT_USAGE, f'{path.name}: want "file @ function: what breaks", and '
                          f'lines that begin with - or +: {head}')
        found.append(Written(match[1], match[2], match[3] or '', match[4],
                             tuple(line[1:].strip() for line in lines if line[0] == '-'),
                             tuple(line[1:].strip() for line in lines if line[0] == '+'),
                             f'{path.name}: {head}'))
    return found


def find(written: Written, text: str) -> Optional[Mutant]:
    """The edit in this file; None if it is not for this kernel."""
    if written.text not in text:
        return None
    spans = [(function.start, function.end) for function in functions(text)
             if function.name == written.function] if written.function != '-' else [(0, len(text))]
    pattern = re.compile(r'\s*\n\s*'.join(re.escape(line) for line in written.old))
    matches = [(match.start(), match.end()) for start, end in spans
               for match in pattern.finditer(text, start, end)]
    if len(matches) != 1:
        raise Failure(EXIT_TREE, f'{written.where}: {len(matches)} places have '
                      f'"{written.old[0]}"; want one')
    start, end = matches[0]
    new = '\n'.join(written.new)
    # Behind a choice, if all is within one site
    for site in (site for function in functions(text) for site in function.sites):
        if site.kind == 'entry' or not start <= site.start < site.end <= end:
            continue
        inner = shared(new, text[start:site.start], text[site.end:end])
        if inner is not None and balanced(inner):
            return as_mutant(written, text, site, inner)
    return as_mutant(written, text, Site('own', start, end, written.function), new)


def as_mutant(written: Written, text: str, site: Site, new: str) -> Mutant:
    old = text[site.start:site.end]
    # What is only deleted may have been found by the rules, too.
    rule = f'by hand: {written.why}' if new else 'delete'
    return make(written.file, text, Edit(site, site.start, site.end,
                                         same_lines(old, new or ';'), rule))


def balanced(text: str) -> bool:
    depth = 0
    for token in tokenize(text):
        depth += (token.text == '{') - (token.text == '}')
        if depth < 0:
            return False
    return not depth


def shared(new: str, before: str, after: str) -> Optional[str]:
    """What the new text has between what stands before and after a site; None if neither does."""
    head, tail = (re.sub(r'\s*\n\s*', '\n', part) for part in (before, after))
    if len(new) < len(head) + len(tail) or not new.startswith(head) or not new.endswith(tail):
        return '' if not new and not head and not tail else None
    return new[len(head):len(new) - len(tail)]


def read_equivalents(path: Path) -> dict[str, str]:
    """The sentence for each key of a mutant. Keys that follow each other share theirs."""
    found: dict[str, str] = {}
    keys: list[str] = []
    for line in path.read_text(encoding='utf-8').splitlines():
        if line.startswith('#') or not line.strip():
            continue
        if line.startswith('\t'):
            for key in keys:
                found[key] = f'{found[key]} {line.strip()}'.strip()
            continue
        if keys and found[keys[-1]]:
            keys = []
        keys.append(line.strip())
        found[keys[-1]] = ''
    if nothing := [key for key, why in found.items() if not why]:
        raise Failure(EXIT_USAGE, f'{path.name}: no sentence for {nothing[0]}')
    return found
