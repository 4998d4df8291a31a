# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of make explain share."""

from __future__ import annotations

import io
import unittest
from typing import Optional

from nonblock.tests.fixtures import HERE, TOP

from nonblock.explain import explain, places, show
from nonblock.explain.answer import Answer
from nonblock.explain.finder import Finder, Log
from nonblock.explain.reader import Line, Reader
from nonblock.explain.report import Report
from nonblock.explain.symbols import Symbol
from nonblock.explain.unpack import Unpacker

DATA = HERE / 'tests/test_data/explain'
COMPOSED = DATA / 'composed'
TREES = sorted(TOP.glob('build/*/linux'))


def recorded(name: str) -> str:
    """A log of our own kernels."""
    return (DATA / f'{name}.log').read_text(encoding='utf-8')


def composed(name: str) -> str:
    """A log in the form of others' kernels."""
    return (COMPOSED / name).read_text(encoding='utf-8')


def squeeze(lines: list[str]) -> str:
    """Without the wrapping."""
    return ' '.join(' '.join(lines).split())


def as_bytes(log: str | bytes) -> bytes:
    return log if isinstance(log, bytes) else log.encode()


def clean_lines(log: str | bytes) -> list[Line]:
    return list(Reader(Unpacker(io.BytesIO(as_bytes(log)), 'the log').lines()))


def find_reports(log: str | bytes) -> tuple[list[Report], Log]:
    finder = Finder()
    reader = Reader(Unpacker(io.BytesIO(as_bytes(log)), 'the log').lines(), finder.busy)
    return sorted(finder.reports(reader), key=lambda report: report.line), finder.log


class ExplainTest(unittest.TestCase):
    def answer(self, log: str | bytes) -> Answer:
        self.found, _ = explain.explain(io.BytesIO(as_bytes(log)), 'the log')
        return self.found

    def explain(self, log: str | bytes) -> str:
        self.lines = show.show(self.answer(log), places.nowhere)
        return squeeze(self.lines)

    def assert_explained(self, log: str | bytes, *wanted: str) -> None:
        text = self.explain(log)
        for part in wanted:
            self.assertIn(part, text)

    def callbacks(self, log: str | bytes) -> list[Optional[str]]:
        return [finding.callback.base if finding.callback else None
                for finding in self.answer(log).findings]

    def assert_innocent(self, log: str | bytes, *wanted: str) -> None:
        """Nothing is found, and it is said what was recognised instead."""
        self.assert_explained(log, 'nothing found about MMU notifiers', *wanted)
        self.assertEqual(self.found.findings, [])
        self.assertEqual(self.found.status, 0, self.found.unclear)

    def essence(self, log: str | bytes) -> list[tuple[str, ...]]:
        """What may not change, whatever the log went through."""
        return [(finding.what, str(finding.callback), finding.may_block, finding.rule,
                 str([symbol.base for symbol in finding.path]), finding.report.cut)
                for finding in self.answer(log).findings]


def named(answer: Answer) -> set[str]:
    """All functions that an answer shows."""
    symbols: list[Optional[Symbol]] = []
    for finding in answer.findings:
        symbols += [finding.callback, *finding.candidates, *finding.path]
    return {symbol.base for symbol in symbols if symbol}
