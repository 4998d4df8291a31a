# SPDX-License-Identifier: GPL-2.0-only
"""A verdict as it is given to people and to machines: one object for each callback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Iterable

from .find import Callback
from .judge import BLOCK, UNDECIDED, Judged
from .sleeps import base_name
from .walk import LastCall

Row = dict[str, Any]
Baseline = set[tuple[str, str, str]]      # what key_of() gives
# The worst first
ORDER = ('may-block', 'undecided', 'always-backs-off', 'may-back-off', 'clean')
GROUPS = ('drivers/gpu/drm/amd/', 'drivers/gpu/drm/', 'drivers/iommu/')   # of drivers
ADVICE = {
    'always-backs-off': 'The reaper never gets what this driver holds: do without sleeping what '
                        'can be done so, and back off only from what remains.',
    'undecided': 'Read what could not be followed.',
}


def chain_of(finding: LastCall) -> list[dict[str, Any]]:
    return [{'function': step.place.function, 'file': step.place.file, 'line': step.place.line,
             'calls': base_name(step.calls)} for step in finding.chain]


def plain_function(name: str) -> str:
    return name.split('.s')[0]


def driver_name(source: str, driver: str = '') -> str:
    if driver:
        return driver
    parts = source.split('/')
    for group in GROUPS:
        if source.startswith(group):
            # The folder behind that, or the file
            return parts[group.count('/')].removesuffix('.c')
    return parts[-2] if len(parts) > 2 else parts[-1].removesuffix('.c')


def row(callback: Callback, result: Judged, driver: str = '') -> Row:
    # The shortest way says it best.
    findings = sorted(result.findings, key=lambda finding: len(finding.chain))
    first = findings[0] if findings and result.verdict in (BLOCK, UNDECIDED) else None
    others = list(dict.fromkeys(base_name(finding.name) for finding in findings[1:]))
    return {
        'driver': driver_name(callback.source, driver), 'file': callback.source,
        'line': callback.line, 'ops': callback.ops, 'kind': callback.kind,
        'callback': callback.name, 'function': plain_function(callback.function),
        'verdict': result.verdict, 'chain': chain_of(first) if first else [],
        'reason': f'{base_name(first.name)}: {first.knowledge.why}' if first else result.remark,
        'also': others if first else [],
    }


def key_of(one: Row) -> tuple[str, str, str]:
    """What stays the same when lines move."""
    return one['file'], one['callback'], one['function']


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda one: (ORDER.index(one['verdict']), one['file'], one['line']))


def read_baseline(path: Path) -> Baseline:
    """The may-block ones of an audit.json."""
    content = json.loads(path.read_text(encoding='utf-8'))
    if not isinstance(content, list):
        raise ValueError('not a list of rows')
    return {key_of(one) for one in content if one['verdict'] == BLOCK}


# For people

def as_table(rows: list[Row]) -> str:
    lines = [('VERDICT', 'DRIVER', 'CALLBACK', 'KIND', 'FUNCTION', 'REMARK')]
    for one in rows:
        remark = one['reason'] if one['verdict'] not in (BLOCK, UNDECIDED) else \
            f'{one["reason"].split(":")[0]}, see below' if one['chain'] else one['reason']
        lines.append((one['verdict'], one['driver'], one['callback'], one['kind'],
                      one['function'], remark))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return '\n'.join('  '.join([*(text.ljust(width) for text, width in zip(line, widths)),
                                line[5]]).rstrip() for line in lines)


def as_warning(one: Row) -> str:
    """Like Smatch: the place, the function, and how it came there."""
    what = 'may block in a nonblocking pass' if one['verdict'] == BLOCK else 'cannot be followed'
    where = one['chain'][-1] if one['chain'] else one
    name, _, advice = one['reason'].partition(': ')
    lines = [f'{where["file"]}:{where["line"]} {where["function"]}() warn: {what}: {name}'
             + ('()' if name.isidentifier() else '')]
    lines += [f'    {step["file"]}:{step["line"]} {step["function"]}() -> {step["calls"]}'
              + ('()' if step['calls'].isidentifier() else '') for step in one['chain']]
    if advice:
        lines.append(f'    {advice}')
    if one['also']:
        lines.append('    also: ' + ', '.join(one['also'][:8])
                     + (', ...' if len(one['also']) > 8 else ''))
    return '\n'.join(lines)


# For machines

def as_json(rows: list[Row]) -> str:
    return json.dumps(rows, indent=1) + '\n'


def _location(file: str, line: int, text: str = '') -> dict[str, Any]:
    uri = Path(file).as_uri() if os.path.isabs(file) else file
    found: dict[str, Any] = {'physicalLocation': {
        'artifactLocation': {'uri': uri}, 'region': {'startLine': max(line, 1)}}}
    if text:
        found['message'] = {'text': text}
    return found


def as_sarif(rows: list[Row]) -> str:
    levels = {'may-block': 'error', 'undecided': 'warning', 'always-backs-off': 'note'}
    results = []
    for one in rows:
        if one['verdict'] not in levels:
            continue
        result: dict[str, Any] = {
            'ruleId': one['verdict'], 'level': levels[one['verdict']],
            'message': {'text': f'{one["function"]}() ({one["callback"]}): {one["verdict"]}'
                        + (f': {one["reason"]}' if one['reason'] else '')},
            'locations': [_location(one['file'], one['line'])],
            'partialFingerprints': {'callback/v1': '/'.join(key_of(one))},
        }
        if one['chain']:
            result['codeFlows'] = [{'threadFlows': [{'locations': [
                {'location': _location(step['file'], step['line'],
                                       f'{step["function"]} calls {step["calls"]}')}
                for step in one['chain']]}]}]
        results.append(result)
    rules = [{'id': name, 'shortDescription': {'text': text}} for name, text in (
        ('may-block', 'An MMU notifier callback may block in a nonblocking pass'),
        ('undecided', 'An MMU notifier callback does what could not be followed'),
        ('always-backs-off', 'An MMU notifier callback does nothing in a nonblocking pass'))]
    return json.dumps({
        '$schema': 'https://json.schemastore.org/sarif-2.1.0.json', 'version': '2.1.0',
        'runs': [{'tool': {'driver': {
            'name': 'make audit', 'rules': rules,
            'informationUri': 'https://docs.kernel.org/mm/mmu_notifier.html'}},
            'results': results}]}, indent=1) + '\n'
