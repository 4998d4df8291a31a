# SPDX-License-Identifier: GPL-2.0-only
"""What became of the edits: a table, JSON, and the source with a colour for each line."""

from __future__ import annotations

import html
import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from nonblock.mutants.edits import Mutant, squeeze

FAILED, CRASHED, HUNG = KILLED = 'a test failed', 'crashed', 'hung'
SURVIVED, EXPLAINED, SAME, LEFT = 'survived', 'explained', 'not counted', 'not run'
ELSEWHERE = 'another kernel'            # shows it


@dataclass
class Tried:
    outcome: str
    by: str = ''                # the first test that failed; or why it is not counted
    seconds: float = 0


Rows = list[tuple[Mutant, Tried]]


def short(text: str, width: int) -> str:
    return text if len(text) <= width else text[:width - 3] + '...'


def edit_of(mutant: Mutant) -> str:
    """With little around it: the table shows the line."""
    edit = mutant.edit
    if edit.rule == 'delete' or edit.rule == 'return early':
        return mutant.what
    start = edit.start - edit.site.start
    old = mutant.before[start:start + edit.end - edit.start]
    return f'{squeeze(old)} -> {squeeze(edit.new)}'


def as_text(rows: Rows) -> str:
    lines = []
    for mutant, result in rows:
        if result.outcome == SAME:
            continue
        place = f'{mutant.file}:{mutant.line}'
        lines.append(f'{place:36} {short(edit_of(mutant), 60):60} '
                     f'{result.outcome if result.outcome not in (FAILED,) else ""}'
                     f'{" " if result.outcome != FAILED else ""}{short(result.by, 110)}')
    return '\n'.join(lines)


def counts(rows: Rows) -> Counter[str]:
    return Counter(result.outcome for _, result in rows)


def summary(rows: Rows, seconds: float) -> str:
    number = counts(rows)
    same = Counter(result.by for _, result in rows if result.outcome == SAME)
    counted = len(rows) - number[SAME]
    return (f'{counted} mutants: {number[FAILED]} fail a test, {number[CRASHED]} crash the kernel, '
            f'{number[HUNG]} hang, {number[ELSEWHERE]} only another kernel shows, '
            f'{number[EXPLAINED]} are explained, {number[SURVIVED]} survive. Not counted: ' +
            (', '.join(f'{count} ({why})' for why, count in same.items()) or 'none') +
            f'. {seconds:.0f} s')


def as_json(rows: Rows) -> str:
    return json.dumps({'counts': counts(rows), 'mutants': [
        {'file': mutant.file, 'line': mutant.line, 'function': mutant.edit.site.function,
         'rule': mutant.edit.rule, 'edit': mutant.what, 'outcome': result.outcome,
         'by': result.by} for mutant, result in rows]}, indent=1) + '\n'


STYLE = '''body { font: 14px sans-serif; margin: 2em }
pre { line-height: 1.25 }
.killed { background: #d6f5d6 } .survived { background: #f9c0c0 }
.explained { background: #fbf0c0 }'''


def as_html(rows: Rows, texts: dict[str, str]) -> str:
    """A line has the colour of its worst mutant, and tells of all when pointed at."""
    parts = ['<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Mutants</title>'
             f'<style>\n{STYLE}\n</style></head><body><h1>What the tests see</h1>',
             f'<p>{html.escape(summary(rows, 0).rpartition(". ")[0])}.</p><p>'
             '<span class="killed">Each edit of the line fails a test</span>, '
             '<span class="explained">or changes nothing that one could see</span>, '
             '<span class="survived">or is not seen</span>.</p>']
    lines: dict[tuple[str, int], Rows] = defaultdict(list)
    for mutant, result in rows:
        if result.outcome != SAME:
            lines[mutant.file, mutant.line].append((mutant, result))
    for name in dict.fromkeys(mutant.file for mutant, _ in rows):
        numbers = [line for file, line in lines if file == name]
        parts.append(f'<h2>{html.escape(name)}</h2><pre>')
        for number, line in enumerate(texts[name].splitlines(), 1):
            if not any(abs(number - other) <= 12 for other in numbers):
                continue
            here = lines.get((name, number), [])
            outcomes = {result.outcome for _, result in here}
            colour = ('survived' if SURVIVED in outcomes else 'explained' if EXPLAINED in outcomes
                      else 'killed' if here else '')
            title = '\n'.join(f'{edit_of(mutant)}: {result.outcome}: {result.by}'
                              for mutant, result in here)
            parts.append(f'<span class="{colour}" title="{html.escape(title)}">{number:5} '
                         f'{html.escape(line.expandtabs())}</span>')
        parts.append('</pre>')
    return '\n'.join([*parts, '</body></html>\n'])
