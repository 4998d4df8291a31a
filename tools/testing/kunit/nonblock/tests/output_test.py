# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the verdict as JUnit XML and as JSON, and that there is one however a run ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

from nonblock.common import EXIT_CODES, EXIT_HANG, EXIT_USAGE
from nonblock.result.ktap import Result
from nonblock.result.output import Output, name_of
from nonblock.result.verdict import Test, Verdict
from nonblock.tests.fixtures import DATA, HERE, TOP, ScratchTest
from nonblock.verbs import matrix

SCHEMA = DATA / 'junit.xsd'


def assert_valid(test: unittest.TestCase, path: Path) -> None:
    if not shutil.which('xmllint'):
        test.skipTest('no xmllint: it is in libxml2-utils')
    result = subprocess.run(['xmllint', '--noout', '--schema', SCHEMA, path], text=True,
                            capture_output=True, check=False)
    test.assertEqual(result.returncode, 0, result.stderr)


class FormatTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.output = Output('run', str(self.scratch / 'junit.xml'), str(self.scratch / 'json'))
        self.verdict = Verdict()
        self.verdict.take(Result(('fake', 'many', 'a/b'), 'failed', 'EXPECTATION FAILED at x.c:1',
                                 report='    \x1b[31mred\x1b[0m & <this>\n\x00'),
                          [], self.session())
        self.verdict.take(Result(('fake', 'one'), 'passed'), [], self.session())
        self.verdict.tests[-1].seconds = 0.25
        self.verdict.skip('fake.two', 'no x')
        self.verdict.fail('fake.three', 'no result within 120 s', EXIT_HANG, 'HANG')
        self.verdict.fail('other.one', 'it did not run', word='MISSING')
        self.verdict.tell(self.session().about)
        self.output.write(self.verdict)

    def test_junit(self) -> None:
        assert_valid(self, self.scratch / 'junit.xml')
        top = xml.parse(self.scratch / 'junit.xml').getroot()
        self.assertEqual((top.get('tests'), top.get('failures'), top.get('errors')),
                         ('5', '1', '2'))
        fake, other = top
        self.assertEqual((fake.get('name'), fake.get('skipped'), other.get('errors')),
                         ('fake', '1', '1'))
        self.assertEqual([(case.get('name'), [child.tag for child in case])
                          for case in fake.iter('testcase')],
                         [('many:a/b', ['failure']), ('one', []), ('two', ['skipped']),
                          ('three', ['error'])])
        self.assertEqual(top.findtext('.//failure[@message="EXPECTATION FAILED at x.c:1"]'),
                         '    \ufffd[31mred\ufffd[0m & <this>\n\ufffd')
        for path in ('skipped[@message="no x"]', 'testcase[@name="one"][@time="0.250"]',
                     'property[@name="kernel"][@value="6.12.5"]',
                     'property[@name="machine"][@value="um"]'):
            self.assertIsNotNone(top.find(f'.//{path}'), path)

    def test_json(self) -> None:
        found = json.loads((self.scratch / 'json').read_text())
        self.assertEqual((found['verb'], found['exit_status'], found['passed'], found['failed'],
                          found['skipped']), ('run', EXIT_HANG, 1, 3, 1))
        self.assertEqual([suite['name'] for suite in found['suites']], ['fake', 'other'])
        first, second, third, fourth = found['suites'][0]['tests']
        self.assertEqual(first['report'], '    \x1b[31mred\x1b[0m & <this>\n\x00')
        self.assertEqual((second['seconds'], third['reason'], fourth['kind']),
                         (0.25, 'no x', 'hang'))
        self.assertEqual(found['suites'][0]['properties']['kernel'], '6.12.5')

    def test_names(self) -> None:
        for label, where, wanted in (
                ('fake.many:a/b', (), ('fake', 'many:a/b')),
                ('device: f.v.test', (), ('device', 'f.v.test')),
                ('boot oom: log', (), ('oom', 'log')),
                ('mirror.one', ('modules on 6.12', 'in-tree'),
                 ('modules on 6.12/in-tree/mirror', 'one')),
                ('7.3: checkpatch', (), ('', '7.3: checkpatch')),
                ('kunit.py', (), ('', 'kunit.py')),
                ('', (), ('', 'all'))):
            self.assertEqual(name_of(Test(label, 'passed', where=where)), wanted)

    def test_each_name_is_once(self) -> None:
        for _ in range(2):
            self.verdict.fail('fake.one', 'results are not in the log', word='MISSING')
        tests = json.loads(self.output.as_json(self.verdict))['suites'][0]['tests']
        self.assertEqual([test['name'] for test in tests if test['name'].startswith('one')],
                         ['one', 'one (2)', 'one (3)'])


class PageTest(FormatTest):
    """Documentation/runner.rst has each name, and each exit status."""

    def setUp(self) -> None:
        super().setUp()
        self.page = (TOP / 'Documentation/runner.rst').read_text(encoding='utf-8')

    def test_names_are_documented(self) -> None:
        found = json.loads((self.scratch / 'json').read_text())
        suite = found['suites'][0]
        for name in (*found, *suite, *suite['properties'], *suite['tests'][0]):
            self.assertIn(f'``{name}``', self.page)

    def test_kinds_are_documented(self) -> None:
        kinds = {kind for path in HERE.rglob('*.py') if 'test' not in path.name
                 for kind in re.findall(r"word(?:: str)? ?= ?'([A-Z]+)'",
                                        path.read_text(encoding='utf-8'))}
        self.assertIn('SURVIVED', kinds)
        for kind in (*kinds, 'HANG', 'CRASH', 'ERROR', matrix.MISS, matrix.FALSE):
            self.assertIn(f'*{kind.lower()}*', self.page)

    def test_exit_statuses_are_documented(self) -> None:
        table = self.page.partition('\nExit statuses\n')[2].partition('If there')[0]
        documented = re.findall(r'^(\d+) +(\w.*)$', table, re.MULTILINE)
        self.assertEqual(documented, re.findall(r'^  (\d+)  (.*)$', EXIT_CODES, re.MULTILINE))


class FilesTest(ScratchTest):
    """However it ends, there is a whole file that says so, and none of an earlier run."""

    def setUp(self) -> None:
        super().setUp()
        self.copy_runner()
        self.junit, self.json = self.scratch / 'junit.xml', self.scratch / 'verdict.json'
        for path in (self.junit, self.json):
            path.write_text('of an earlier run')

    def variables(self, what: str, log: str) -> dict[str, str]:
        return {'KDIR': str(self.kernel), 'FAKE': what, 'FAKE_LOG': str(DATA / f'{log}.log'),
                'JUNIT': str(self.junit), 'JSON': str(self.json)}

    def assert_written(self, status: int, *parts: str) -> None:
        assert_valid(self, self.junit)
        found = json.loads(self.json.read_text())
        self.assertEqual(found['exit_status'], status)
        for text in (self.junit.read_text(), self.json.read_text()):
            for part in parts:
                self.assertIn(part, text)
        self.assertEqual({path.name for path in self.scratch.iterdir() if path.is_file()},
                         {self.junit.name, self.json.name})


class EndTest(FilesTest):
    """Other ends are in front_door_test.py."""

    def test_refused(self) -> None:
        given = self.variables('passed', 'passed')
        self.make('run', **{**given, 'KDIR': '', 'KVER': '5.4'})
        self.assert_written(EXIT_USAGE, '5.4')
        for refused in ({'KDIR': '/no/such'}, {'TOPIC': 'x'}, {'SMP': 'many'}):
            self.call('--check', 'run', **{**given, **refused})
            self.assert_written(EXIT_USAGE, *refused.values())

    def test_no_folder_for_it(self) -> None:
        pipe = self.scratch / 'pipe'
        os.mkfifo(pipe)
        for variable in ('JUNIT', 'JSON'):
            result = self.call('--check', 'run', KDIR=str(self.kernel), **{variable: '/no/such/x'})
            self.assertEqual(result.returncode, EXIT_USAGE)
            self.assertIn(f'{variable}=/no/such/x', result.stderr)
            for wrong in ('.', str(self.scratch), str(pipe), '~nosuchuser/x'):
                with self.subTest(wrong):
                    result = self.call('--check', 'run', KDIR=str(self.kernel),
                                       **{variable: wrong})
                    self.assertEqual(result.returncode, EXIT_USAGE, result.stderr)
                    self.assertIn(f'{variable}={wrong}', result.stderr)
        self.assertTrue(pipe.is_fifo())
        with contextlib.chdir(self.repo):
            self.assertIn('JSON=1: "run" does not take it; "explain" does',
                          self.call('--check', 'run', JSON='1').stderr)
            self.assertIn('JUNIT=1: want a file', self.call('--check', 'run', JUNIT='1').stderr)
        self.assertFalse((self.repo / '1').exists())

    def test_both_in_one_file(self) -> None:
        link = self.scratch / 'link'
        link.symlink_to(self.json)
        result = self.call('--check', 'run', KDIR=str(self.kernel), JUNIT=str(self.json),
                           JSON=str(link))
        self.assertEqual(result.returncode, EXIT_USAGE)
        self.assertIn('are the same file', result.stderr)
        # Where a link leads is written; the link stays.
        self.call('--check', 'run', KDIR=str(self.kernel), JSON=str(link))
        self.assertTrue(link.is_symlink() and self.json.is_file())

    def test_killed(self) -> None:
        env = self.environment(**self.variables('wait', 'passed'), PYTHONUNBUFFERED='1')
        for number in (signal.SIGTERM, signal.SIGKILL):
            with subprocess.Popen([sys.executable, 'tools/testing/kunit/nonblock', 'run'],
                                  cwd=self.repo, env=env, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as process:
                assert process.stdout
                child = next(int(line.split()[1]) for line in process.stdout
                             if line.startswith('child '))
                self.assert_written(1, 'it did not come to its end')
                process.send_signal(number)
                if number == signal.SIGKILL:
                    os.kill(child, signal.SIGKILL)
                process.wait(30)
            if number == signal.SIGTERM:
                self.assert_written(130, 'interrupted')
            else:
                # The worker may have the time to say so.
                status = json.loads(self.json.read_text(encoding='utf-8'))['exit_status']
                self.assertIn(status, (1, 130))


if __name__ == '__main__':
    unittest.main()
