# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what the audit writes, for people and for machines."""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path
from typing import Any

from nonblock.common import EXIT_USAGE, Failure

from nonblock.audit import html, ir, rows, sleeps
from nonblock.audit.audit import find_paths
from nonblock.audit.find import Callback
from nonblock.audit.judge import ALWAYS, BLOCK, UNDECIDED, Judged
from nonblock.audit.sleeps import Knowledge
from nonblock.audit.walk import LastCall, ChainStep

# What SARIF 2.1.0's schema has of the objects that we write; "!" is required there. The
# schema itself is too long to be kept here; it had no complaint about audit.sarif.
TEXT = {'text!': '.'}
LOCATION = {'physicalLocation': {'artifactLocation': {'uri': r'[\w.+/:%-]+$'},
                                 'region': {'startLine': r'[1-9]\d*$'}}, 'message': TEXT}
SARIF = {'$schema': 'https://', 'version!': r'2\.1\.0$', 'runs!': [{
    'tool!': {'driver!': {'name!': '.', 'informationUri': 'https://',
                          'rules': [{'id!': '.', 'shortDescription': TEXT}]}},
    'results': [{'ruleId': '.', 'level': '(none|note|warning|error)$', 'message!': TEXT,
                 'locations': [LOCATION], 'partialFingerprints': {'callback/v1': '.'},
                 'codeFlows': [{'threadFlows!': [{'locations!': [{'location': LOCATION}]}]}]}]}]}


def check_shape(value: Any, shape: Any, where: str = 'log') -> None:
    """Of an object its members, of an array each element, of others their text."""
    if isinstance(shape, list):
        assert isinstance(value, list) and value, f'{where}: no array, or an empty one'
        for one in value:
            check_shape(one, shape[0], where)
    elif isinstance(shape, dict):
        assert isinstance(value, dict), f'{where}: no object'
        known = {name.rstrip('!'): one for name, one in shape.items()}
        unknown = set(value) - set(known)
        missing = {name[:-1] for name in shape if name[-1] == '!'} - set(value)
        assert not unknown | missing, f'{where}: {", ".join(sorted(unknown | missing))}'
        for name, one in value.items():
            check_shape(one, known[name], name)
    else:
        assert isinstance(value, (str, int)) and re.match(shape, str(value)), f'{where}: {value}'


class RowsTest(unittest.TestCase):
    def rows(self) -> list[rows.Row]:
        callback = Callback('drivers/x/a.c', 'mmu_interval_notifier_ops', 'ops', 'invalidate',
                            'f<>.s123456', 7)
        chain = [ChainStep(ir.Place('f<>', 'drivers/x/a.c', 9), 'mutex_lock')]
        finding = LastCall('mutex_lock', Knowledge(True, sleeps.LOCK), chain)
        return rows.sort_rows([rows.row(callback, Judged(ALWAYS)),
                               rows.row(callback, Judged(BLOCK, [finding])),
                               rows.row(callback, Judged(UNDECIDED, remark='took too long'))])

    def test_driver_name(self) -> None:
        for source, name in (('drivers/gpu/drm/i915/gem/a.c', 'i915'),
                             ('drivers/gpu/drm/drm_gpusvm.c', 'drm_gpusvm'),
                             ('drivers/gpu/drm/amd/amdkfd/a.c', 'amdkfd'),
                             ('lib/test_hmm.c', 'test_hmm'), ('drivers/xen/gntdev.c', 'xen')):
            self.assertEqual(rows.driver_name(source), name)

    def test_text(self) -> None:
        text = rows.as_warning(self.rows()[0])
        self.assertIn('drivers/x/a.c:9 f<>() warn: may block in a nonblocking pass: mutex_lock()',
                      text)
        self.assertEqual(len(rows.as_table(self.rows()).splitlines()), 4)

    def test_json(self) -> None:
        first = json.loads(rows.as_json(self.rows()))[0]
        self.assertLessEqual({'driver', 'file', 'line', 'ops', 'kind', 'callback', 'verdict',
                              'chain'}, set(first))
        self.assertEqual((first['driver'], first['kind'], first['verdict']),
                         ('x', 'interval', BLOCK))

    def test_sarif(self) -> None:
        content = json.loads(rows.as_sarif(self.rows()))
        check_shape(content, SARIF)
        run = content['runs'][0]
        self.assertEqual({one['ruleId'] for one in run['results']} -
                         {one['id'] for one in run['tool']['driver']['rules']}, set())
        first = run['results'][0]
        self.assertEqual(first['locations'][0]['physicalLocation']['region'], {'startLine': 7})
        self.assertEqual(len(first['codeFlows'][0]['threadFlows'][0]['locations']), 1)
        first['locations'][0]['physicalLocation']['line'] = 7
        with self.assertRaisesRegex(AssertionError, 'physicalLocation: line'):
            check_shape(content, SARIF)

    def test_html(self) -> None:
        text = html.as_html('a & b', self.rows(), ['x: needs <y>'])
        self.assertIn('f&lt;&gt;()', text)
        self.assertNotIn('f<>', text)
        self.assertIn('needs &lt;y&gt;', text)
        self.assertEqual(text.count('<details>'), text.count('</details>'))

    def test_baseline(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'audit.json'
            path.write_text(rows.as_json(self.rows()), encoding='utf-8')
            self.assertEqual(rows.read_baseline(path), {('drivers/x/a.c', 'invalidate', 'f<>')})
            self.assertEqual(find_paths('', str(path)), (None, rows.read_baseline(path)))

    def test_what_is_no_baseline(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'audit.json'
            for content in (b'', b'no', b'\xff', b'7', b'{}', b'["a"]', b'[7]', b'[{}]',
                            b'[{"verdict": "may-block"}]'):
                path.write_bytes(content)
                with self.subTest(content), self.assertRaises(Failure) as caught:
                    find_paths('', str(path))
                self.assertEqual(str(caught.exception), f'BASELINE={path}: is not an audit.json of '
                                 'make audit')
                self.assertEqual(caught.exception.code, EXIT_USAGE)


if __name__ == '__main__':
    unittest.main()
