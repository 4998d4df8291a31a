# SPDX-License-Identifier: GPL-2.0-only
"""An answer as text, and as JSON."""

from __future__ import annotations

import textwrap
from typing import Any, Optional

from . import texts
from .answer import Answer
from .finding import Finding
from .kinds import UNREAPED
from .places import Locate
from .symbols import Symbol

WIDTH = 11


def row(title: str, text: str) -> list[str]:
    return textwrap.wrap(' '.join(text.split()), 80, initial_indent=f'  {title:<{WIDTH}}',
                         subsequent_indent=' ' * (WIDTH + 2), break_long_words=False,
                         break_on_hyphens=False)


def start_of(symbol: Symbol) -> Symbol:
    """The address of the function itself, not one within it."""
    return Symbol(symbol.name, '0x0', symbol.size, symbol.module) if symbol.size else symbol


def symbols_of(answer: Answer) -> set[Symbol]:
    """All that have a place."""
    found = {symbol for finding in answer.findings for symbol in finding.path}
    return found | {start_of(finding.callback) for finding in answer.findings if finding.callback}


def name_symbol(symbol: Symbol, place: Locate) -> str:
    module = f'in module {symbol.module}' if symbol.module else 'built in'
    return ', '.join(filter(None, (f'{symbol.base}()', module, place(start_of(symbol)))))


def name_callback(finding: Finding, place: Locate) -> str:
    report = finding.report
    if finding.candidates:
        text = 'one of ' + '; '.join(name_symbol(symbol, place) for symbol in finding.candidates)
    elif finding.callback:
        text = name_symbol(finding.callback, place)
    elif report.nonblock and not report.nonblock.at:
        text = report.nonblock.where
    else:
        text = 'not in the log'
    task = 'not reaped:' if report.kind == UNREAPED else 'run by'
    return text + (f'; {task} {report.task}' if report.task else '')


def show_finding(number: int, finding: Finding, place: Locate) -> list[str]:
    report = finding.report
    lines = [f'report {number}, line {report.line}: {report.headline}']
    lines += [f'  the same call, line {other.line}: {other.headline}' for other in finding.others]
    if (more := finding.again - len(finding.others)) > 0:
        lines.append(f'  the same call, {more} more times')
    lines += row('what', finding.what)
    lines += row(finding.role, name_callback(finding, place))
    lines += row('may block', finding.may_block)
    lines += row('rule', finding.rule)
    lines += row('did', finding.did)
    lines += [f'{"":<{WIDTH + 4}}{frame}' + (f'  {where}' if (where := place(frame)) else '')
              for frame in finding.path]
    lines += row('instead', finding.instead)
    lines += row('see', texts.section(finding.section))
    for note in finding.notes:
        lines += row('note', note)
    if report.cut:
        lines += row('CUT OFF', f'{report.cut}. What is above may be incomplete.')
    return lines


def plural(count: int, word: str) -> str:
    return f'{count} {word}{"" if count == 1 else "s"}'


def show(answer: Answer, place: Locate) -> list[str]:
    lines: list[str] = []
    for number, finding in enumerate(answer.findings, 1):
        lines += [*show_finding(number, finding, place), '']
    for unclear in answer.unclear:
        lines += [f'unclear, line {unclear.report.line}: {unclear.report.headline}',
                  *row('CUT OFF', f'{unclear.why}: whether it is about MMU notifiers cannot be '
                       'told. Look for a whole log.'), '']
    if answer.seen:
        lines.append('recognised, and no callback to blame:')
        for seen in answer.seen:
            where = ', '.join(map(str, seen.lines)) + (', ...' if seen.count > len(seen.lines)
                                                       else '')
            lines += textwrap.wrap(f'line {where}: {seen.headline}', 100, initial_indent='  ',
                                   subsequent_indent='    ')
            lines += row('', seen.why)
        lines.append('')
    if answer.unsaid:
        lines.append(f'{texts.NOT_SEEN}:')
        for why in answer.unsaid:
            lines += textwrap.wrap(why, 80, initial_indent='  - ', subsequent_indent='    ')
        lines.append('')
    lines.append(summary(answer))
    return lines


def summary(answer: Answer) -> str:
    """The last line."""
    found = len(answer.findings) + answer.more
    parts = [f'{plural(found, "finding")} about MMU notifiers' if found else
             'nothing found about MMU notifiers']
    parts[0] += f' in {plural(answer.lines, "line")} of {answer.name}'
    cut = sum(bool(finding.report.cut) for finding in answer.findings) + len(answer.unclear)
    if cut:
        parts.append(f'{plural(cut, "report")} cut off')
    if answer.more:
        parts.append(f'{answer.more} of them not shown')
    if answer.back_offs:
        parts.append(f'{plural(len(answer.back_offs), "back-off")}, allowed as such')
    if answer.blamed_back_offs:
        parts.append(f'{plural(len(answer.blamed_back_offs), "back-off")} of callbacks that are '
                     'blamed above')
    if answer.trouble:
        parts.append(f'not all of it could be read: {answer.trouble}')
    return '; '.join(parts)


def symbol_json(symbol: Optional[Symbol]) -> Any:
    return {'function': symbol.base, 'module': symbol.module} if symbol else None


def as_json(answer: Answer) -> dict[str, Any]:
    return {
        'log': answer.name, 'lines': answer.lines, 'status': answer.status,
        'findings': [{
            'line': finding.report.line, 'headline': finding.report.headline,
            'what': finding.what, 'role': finding.role,
            finding.role: symbol_json(finding.callback),
            'candidates': [symbol_json(symbol) for symbol in finding.candidates],
            'task': finding.report.task, 'may_block': finding.may_block, 'rule': finding.rule,
            'did': finding.did, 'path': [str(symbol) for symbol in finding.path],
            'instead': ' '.join(finding.instead.split()), 'section': texts.section(finding.section),
            'notes': finding.notes, 'cut': finding.report.cut,
            'again': finding.again, 'again_lines': [other.line for other in finding.others]}
            for finding in answer.findings],
        'unclear': [{'line': unclear.report.line, 'headline': unclear.report.headline,
                     'why': unclear.why} for unclear in answer.unclear],
        'recognised': [{'lines': seen.lines, 'count': seen.count, 'headline': seen.headline,
                        'why': seen.why} for seen in answer.seen],
        'back_offs': [{'line': one.line, 'callback': symbol_json(one.symbol)}
                      for one in answer.back_offs + answer.blamed_back_offs],
        'not_seen': answer.unsaid, 'trouble': answer.trouble}
