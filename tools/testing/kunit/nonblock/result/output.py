# SPDX-License-Identifier: GPL-2.0-only
"""The verdict as a file for programs: JUNIT=FILE and JSON=FILE. See Documentation/runner.rst.

A file that says that the run did not come to its end is there from the begin, so that none
of an earlier run is taken for its verdict, however this one ends.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import time
import xml.etree.ElementTree as xml
from dataclasses import dataclass, field
from pathlib import Path
from typing import Collection, Mapping

from nonblock.common import EXIT_FAILED, EXIT_USAGE, Failure, user_path, write_atomically
from nonblock.result.ktap import FAILED, SKIPPED
from nonblock.result.verdict import Test, Verdict

VERSION = 1                     # of the JSON
# What XML cannot hold, and a log may
NOT_XML = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
# A label that begins with a suite, or with a boot
GROUP = re.compile(r'(?:boot )?([A-Za-z_][\w-]*)(?:\.|: )(?!py$|c$)(\S.*)', re.DOTALL)


def name_of(test: Test) -> tuple[str, str]:
    """Those of its suite, which has where it ran, and its own."""
    match = GROUP.fullmatch(test.label)
    group, name = match.groups() if match else ('', test.label or 'all')
    if test.suite:
        group, name = test.suite, test.label
    return '/'.join(filter(None, (*test.where, group))), name


def kind_of(test: Test) -> str:
    """failure: a test that failed. error: it could not tell."""
    return 'error' if test.code != EXIT_FAILED or test.word == 'MISSING' else 'failure'


@dataclass
class Output:
    verb: str
    junit: str = ''
    json: str = ''
    start: float = field(default_factory=time.time)

    def begin(self) -> None:
        asked = {name: text for name, text in (('JUNIT', self.junit), ('JSON', self.json)) if text}
        self.junit = self.json = ''
        for name, text in asked.items():
            path = user_path(name, text)
            if text in ('0', '1') or not path.parent.is_dir() or \
                    path.exists() and not path.is_file():
                raise Failure(EXIT_USAGE, f'{name}={text}: want a file, in a folder that is there')
            if not os.access(path.parent, os.W_OK):
                raise Failure(EXIT_USAGE, f'{name}={text}: nothing may be written to that folder')
            asked[name] = str(path)
        if len(set(asked.values())) < len(asked):
            raise Failure(EXIT_USAGE, 'JUNIT= and JSON= are the same file: want two')
        self.junit, self.json = asked.get('JUNIT', ''), asked.get('JSON', '')
        self.fail('it did not come to its end', EXIT_FAILED)

    def fail(self, why: str, code: int) -> None:
        """There is no verdict."""
        verdict = Verdict()
        verdict.fail('', why, code, 'ERROR')
        self.write(verdict)

    def write(self, verdict: Verdict) -> None:
        if self.junit:
            write_atomically(Path(self.junit), self.as_junit(verdict))
        if self.json:
            write_atomically(Path(self.json), self.as_json(verdict))

    def suites(self, verdict: Verdict) -> dict[str, dict[str, Test]]:
        """The tests of each suite, by their names. One that failed twice has two."""
        found: dict[str, dict[str, Test]] = {}
        for test in verdict.tests:
            suite, name = name_of(test)
            tests = found.setdefault(suite or self.verb, {})
            again = (f'{name} ({number})' for number in itertools.count(2))
            tests[next(one for one in itertools.chain([name], again) if one not in tests)] = test
        return found

    def as_json(self, verdict: Verdict) -> str:
        return json.dumps({
            'version': VERSION, 'verb': self.verb, 'exit_status': verdict.code,
            'started': self.started, 'seconds': round(time.time() - self.start, 3),
            'passed': verdict.passed, 'failed': verdict.failed, 'skipped': verdict.skipped,
            'suites': [{
                'name': suite, 'properties': dict(about_of(tests)),
                'tests': [{'name': name, 'status': test.status, 'reason': test.reason,
                           'kind': test.word.lower(), 'seconds': test.seconds,
                           'report': test.report} for name, test in tests.items()]
            } for suite, tests in self.suites(verdict).items()]}, indent=1) + '\n'

    @property
    def started(self) -> str:
        return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(self.start))

    def as_junit(self, verdict: Verdict) -> str:
        top = element(None, 'testsuites', name=self.verb, time=time.time() - self.start,
                      **counts(verdict.tests))
        for suite, tests in self.suites(verdict).items():
            one = element(top, 'testsuite', name=suite, timestamp=self.started,
                          skipped=sum(test.status == SKIPPED for test in tests.values()),
                          time=sum(test.seconds or 0 for test in tests.values()),
                          **counts(tests.values()))
            properties = element(one, 'properties')
            for name, value in about_of(tests).items():
                element(properties, 'property', name=name, value=value)
            for name, test in tests.items():
                case = element(one, 'testcase', classname=suite, name=name,
                               **({} if test.seconds is None else {'time': test.seconds}))
                if test.status == SKIPPED:
                    element(case, 'skipped', message=test.reason)
                elif test.status == FAILED:
                    element(case, kind_of(test), type=test.word,
                            message=test.reason or test.word).text = clean(test.report)
        xml.indent(top, ' ')
        return xml.tostring(top, 'unicode', xml_declaration=True) + '\n'


def about_of(tests: Mapping[str, Test]) -> Mapping[str, str]:
    return next(iter(tests.values())).about


def counts(tests: Collection[Test]) -> dict[str, int]:
    kinds = [kind_of(test) for test in tests if test.status == FAILED]
    return {'tests': len(tests), 'failures': kinds.count('failure'),
            'errors': kinds.count('error')}


def clean(text: str) -> str:
    return NOT_XML.sub('\ufffd', text)


def element(parent: xml.Element | None, tag: str, **attributes: str | int | float) -> xml.Element:
    found = {name: f'{value:.3f}' if isinstance(value, float) else clean(str(value))
             for name, value in attributes.items()}
    return xml.Element(tag, found) if parent is None else xml.SubElement(parent, tag, found)
