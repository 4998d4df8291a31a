# SPDX-License-Identifier: GPL-2.0-only
"""The rules: which one-place edits there are of a site."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Iterator

from nonblock.mutants.c_reader import (CLOSE, OPEN, CFunction, Site, Token, functions, matching,
                                       tokenize)

OPPOSITE = {'<': '<=', '<=': '<', '>': '>=', '>=': '>', '==': '!=', '!=': '==', '+': '-',
            '-': '+', '++': '--', '--': '++', '|=': '&=', '&=': '|=', '+=': '-=', '-=': '+=',
            '>>': '<<', '<<': '>>', 'true': 'false', 'false': 'true', 'continue': 'break',
            'break': 'continue', '&': '|', '|': '&'}

# Each is swapped for the next one of its row.
NEIGHBOURS = (
    ('LD_WAIT_FREE', 'LD_WAIT_SPIN', 'LD_WAIT_CONFIG', 'LD_WAIT_SLEEP'),
    ('EAGAIN', 'EINTR'),
    ('KUNIT_REPORT_WAIT_CONTEXT', 'KUNIT_REPORT_RECURSION', 'KUNIT_REPORT_CIRCULAR',
     'KUNIT_REPORT_USAGE', 'KUNIT_REPORT_RCU'),
    ('KUNIT_REPORT_MIGHT_SLEEP', 'KUNIT_REPORT_SCHEDULE', 'KUNIT_REPORT_WARN'),
    ('KUNIT_REPORT_LOCKDEP', 'KUNIT_REPORT_MIGHT_SLEEP'),
    ('KUNIT_REPORT_DEADLOCK', 'KUNIT_REPORT_MAYBE_SCHEDULE'),
    ('PF_MEMALLOC', 'PF_MEMALLOC_NOFS', 'PF_MEMALLOC_NOIO'),
    ('MMU_NOTIFIER_RANGE_BLOCKABLE', 'MMU_NOTIFIER_RANGE_PROBE'),
    ('MAP_PRIVATE', 'MAP_SHARED'),
    ('mmap_read_lock', 'mmap_write_lock'),
    ('mmap_read_unlock', 'mmap_write_unlock'),
)
SWAPS = {row[place]: row[(place + 1) % len(row)] for row in NEIGHBOURS
         for place in range(len(row))}
# It is the same whichever argument comes first.
SYMMETRIC = {'strcmp', 'strncmp', 'min', 'max'}
# Fails where memory or a thread is not to be had, which no test can bring about
SET_UP = re.compile(r'KUNIT_ASSERT_NOT_NULL\(|KUNIT_ASSERT_FALSE(_MSG)?\(test, IS_ERR\(')
# What stands before an operator that has two operands
OPERAND_ENDS = {')', ']'}


@dataclass(frozen=True)
class Edit:
    site: Site
    start: int
    end: int
    new: str
    rule: str


@dataclass(frozen=True)
class Mutant:
    """One edit of one file, by what it reads like and not by its line."""
    file: str
    line: int
    edit: Edit
    before: str         # the site
    after: str
    place: int = 1      # if it could be at several of a function

    @property
    def key(self) -> str:
        place = f' (place {self.place})' if self.place > 1 else ''
        return f'{self.file} @ {self.edit.site.function}: {self.what}{place}'

    @property
    def what(self) -> str:
        if self.edit.rule == 'delete':
            return f'without {squeeze(self.before)}'
        if self.edit.rule == 'return early':
            return f'begins with {squeeze(self.after)}'
        return f'{squeeze(self.before)} -> {squeeze(self.after)}'


def squeeze(text: str) -> str:
    return re.sub(r'\s+', ' ', text).strip()


def same_lines(old: str, new: str) -> str:
    """With as many lines as before, for __LINE__."""
    return new + '\n' * (old.count('\n') - new.count('\n'))


# What the rules make of one site

def _operands(tokens: list[Token]) -> Iterator[tuple[str, str, Token, Token]]:
    """Each part that && or || joins, with what would be neutral in its place."""
    for index, token in enumerate(tokens):
        if token.text not in ('&&', '||'):
            continue
        first = index - 1
        depth = 0
        while first >= 0:
            depth += (tokens[first].text in CLOSE) - (tokens[first].text in OPEN)
            if depth < 0 or (not depth and tokens[first].text in ('&&', '||', '?', ':', ',', '=',
                                                                  'return')):
                break
            first -= 1
        last = index + 1
        while last < len(tokens) and tokens[last].text not in (CLOSE | {'&&', '||', '?', ':', ',',
                                                                        ';'}):
            last = (matching(tokens, last) if tokens[last].text in OPEN else last) + 1
        neutral = '1' if token.text == '&&' else '0'
        if tokens[first].text not in ('&&', '||') or tokens[first].text == token.text:
            yield neutral, 'part', tokens[first + 1], tokens[index - 1]
        yield neutral, 'part', tokens[index + 1], tokens[last - 1]


def _arguments(tokens: list[Token], opening: int) -> list[tuple[Token, Token]]:
    found, first, close = [], opening + 1, matching(tokens, opening)
    index = first
    while index <= close:
        if index == close or tokens[index].text == ',':
            if first < index:
                found.append((tokens[first], tokens[index - 1]))
            first = index + 1
        index = (matching(tokens, index) if tokens[index].text in OPEN else index) + 1
    return found


def _of_expression(text: str, site: Site, tokens: list[Token]) -> Iterator[Edit]:
    seen = set()
    for neutral, rule, first, last in _operands(tokens):
        if (first.start, last.end) not in seen:
            seen.add((first.start, last.end))
            yield Edit(site, first.start, last.end, neutral, rule)
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else Token('', '', 0, 0)
        binary = before.kind in ('name', 'number') and before.text != 'return' \
            or before.text in OPERAND_ENDS
        if token.text == '!' and site.kind == 'condition':
            continue            # each part of it is made true and false
        if token.text == '!':
            yield Edit(site, token.start, token.end, '!!', 'negate')
        elif token.text in ('+', '-', '&', '|', '<', '>') and not binary:
            continue
        elif token.text in OPPOSITE:
            yield Edit(site, token.start, token.end, OPPOSITE[token.text], 'operator')
        elif token.text in SWAPS:
            yield Edit(site, token.start, token.end, SWAPS[token.text], 'constant')
        elif token.text == '?' and tokens[index + 1].text == ':':
            yield Edit(site, token.start, tokens[index + 1].end, '&& 0 ?:', 'condition')
        elif token.text == '?':
            yield Edit(site, token.start, token.end, '&& 0 ?', 'condition')
            yield Edit(site, token.start, token.end, '|| 1 ?', 'condition')
        elif token.kind == 'number' and re.fullmatch(r'\d+', token.text):
            # Truth: 2 is as true as 1.
            if token.text != '1' or before.text not in ('return', '=') or \
                    [other.text for other in tokens[index + 1:]] != [';']:
                yield Edit(site, token.start, token.end, str(int(token.text) + 1), 'off by one')
            if token.text == '1':
                yield Edit(site, token.start, token.end, '0', 'off by one')
        elif token.text == '(' and before.kind == 'name' and 'KUNIT_' not in before.text \
                and before.text not in SYMMETRIC:
            arguments = _arguments(tokens, index)
            for (one, end), (two, last) in zip(arguments, arguments[1:]):
                left, right = text[one.start:end.end], text[two.start:last.end]
                # What an allocation gets instead of its flags, only a shortage shows.
                if '"' not in left + right and left != right and 'GFP_' not in left + right:
                    yield Edit(site, one.start, last.end,
                               f'{right}{text[end.end:two.start]}{left}', 'swap')


def of_site(text: str, site: Site) -> Iterator[Edit]:
    body = text[site.start:site.end]
    tokens = [token._replace(start=token.start + site.start, end=token.end + site.start)
              for token in tokenize(body)]
    if site.kind == 'entry':
        words = site.result.split()
        if words[-1:] == ['bool']:
            yield Edit(site, site.start, site.end, ' return false;', 'return early')
            yield Edit(site, site.start, site.end, ' return true;', 'return early')
        elif '__noreturn' not in words:
            value = '' if words[-1:] == ['void'] else ' 0'
            yield Edit(site, site.start, site.end, f' return{value};', 'return early')
        return
    if site.kind in ('statement', 'own') and not body.startswith('return ') and \
            body not in ('break;', 'continue;') and not SET_UP.match(body):
        yield Edit(site, site.start, site.end, same_lines(body, ';'), 'delete')
    if site.kind == 'condition' and body not in ('0', '1', 'true'):
        yield Edit(site, site.start, site.end, same_lines(body, '1'), 'condition')
        yield Edit(site, site.start, site.end, same_lines(body, '0'), 'condition')
    if re.match(r'return (?!\d+;|true|false)', body):
        # Into what else? 0 is what most of them may be.
        yield Edit(site, site.start, site.end, same_lines(body, 'return 0;'), 'return')
    yield from _of_expression(text, site, tokens)


# What they make of a file

def line_of(text: str, offset: int) -> int:
    return text.count('\n', 0, offset) + 1


def make(name: str, text: str, edit: Edit) -> Mutant:
    site = edit.site
    after = text[site.start:edit.start] + edit.new + text[edit.end:site.end]
    return Mutant(name, line_of(text, edit.start), edit, text[site.start:site.end], after)


def of_file(name: str, text: str, lines: set[int]) -> tuple[list[Mutant], list[str]]:
    """All edits of what is on these lines, and which functions could not be read."""
    found: dict[str, Mutant] = {}
    trouble = []

    def ours(start: int, end: int) -> bool:
        return line_of(text, start) in lines and line_of(text, max(start, end - 1)) in lines

    def add(function: CFunction) -> None:
        for site in function.sites:
            if site.kind == 'entry' and (not ours(function.start, function.start)
                                         or re.match(r'\s*return\b', text[site.end:])):
                continue
            for edit in of_site(text, site):
                # Conditions that are partly ours: only what is ours of them
                if ours(edit.start, edit.end):
                    mutant = make(name, text, edit)
                    if squeeze(mutant.before) != squeeze(mutant.after) or site.kind == 'entry':
                        found.setdefault(f'{site.start} {squeeze(mutant.after)}', mutant)

    for function in functions(text):
        if any(line in lines for line in range(line_of(text, function.start),
                                               line_of(text, function.end) + 1)):
            if function.trouble:
                trouble.append(f'{name}: {function.name}(): {function.trouble}')
            add(function)
    places: Counter[str] = Counter()
    mutants = []
    for mutant in sorted(found.values(), key=lambda mutant: mutant.edit.start):
        places[mutant.key] += 1
        mutants.append(replace(mutant, place=places[mutant.key]))
    return mutants, trouble
