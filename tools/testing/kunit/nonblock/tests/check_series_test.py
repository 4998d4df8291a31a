# SPDX-License-Identifier: GPL-2.0-only
"""Tests of make check-series: what it builds, and what it finds wrong."""

from __future__ import annotations

import os
import unittest
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from nonblock.verbs import check_series
from nonblock.verbs.check_series import (CONFIGS, PROBE, SeriesCheck, checkpatch, doc_warnings,
                                         for_config, is_built, never_built)
from nonblock.tests.fixtures import FOO_PATCH, ScratchTest, diff, quiet, write
from nonblock.kernel.kbuild import Builder, Config, base_options
from nonblock.tree.source import Base
from nonblock.result.verdict import expected_cases

TREE = Path('/tree')


class OutputTest(unittest.TestCase):
    def test_documentation_of_the_series(self) -> None:
        files = ['Documentation/mm/foo.rst', 'include/linux/foo.h']
        for line in ('Documentation/mm/foo.rst:146: ERROR: Malformed table.',
                     'Documentation/mm/foo.rst:17: WARNING: start-at pattern not found: int x',
                     'Documentation/mm/foo:23: ./include/linux/foo.h:4: WARNING: Inline emphasis '
                     'start-string without end-string.',
                     # kernel-doc of 7.3 and of 6.12
                     'WARNING: ./include/linux/foo.h:39 struct member \'x\' not described in \'y\'',
                     './include/linux/foo.h:40: warning: Excess struct member \'x\''):
            with self.subTest(line=line):
                output = f'reading sources... [ 50%] mm/foo\n{line}\nText in column margin.\n'
                self.assertEqual(doc_warnings(output, files, TREE), [line])
                self.assertEqual(doc_warnings(f'{TREE}/{line}\n' * 2, files, TREE), [line])

    def test_documentation_of_others(self) -> None:
        output = ('WARNING: dot(1) not found, for better output quality install graphviz\n'
                  '/tree/Documentation/mm/foo_bar.rst:3: WARNING: undefined label: \'x\'\n'
                  '/tree/Documentation/mm/other/mm/foo-bar.rst:3: ERROR: Malformed table.\n'
                  'writing output... [100%] mm/foo\n')
        self.assertEqual(doc_warnings(output, ['Documentation/mm/foo.rst'], TREE), [])

    def test_a_file_that_is_called_error(self) -> None:
        files = ['Documentation/mm/error.rst']
        self.assertEqual(doc_warnings('reading sources... mm/error\n', files, TREE), [])

    def test_every_configuration_has_a_name_and_a_folder(self) -> None:
        folders = {Builder(config, TREE, 1).out for config in CONFIGS}
        self.assertEqual(len(folders), len(CONFIGS))
        for config in CONFIGS:
            self.assertEqual(base_options(config.arch)['TEST_MMU_NOTIFIER'], 'y')

    def test_what_is_built(self) -> None:
        for name in ('mm/foo.c', 'include/linux/foo.h', 'mm/Makefile', 'lib/Kconfig.debug'):
            self.assertTrue(is_built(name), name)
        for name in ('MAINTAINERS', 'Documentation/mm/foo.rst', 'tools/testing/foo.c'):
            self.assertFalse(is_built(name), name)


class CheckTest(ScratchTest):
    def setUp(self) -> None:
        super().setUp()
        self.check = SeriesCheck(self.scratch, Base('7.3', self.kernel, '', '7.3.4'), 1)

    def test_each_check_counts_once(self) -> None:
        with quiet() as output:
            for name, answer in (('a', (3, '')), ('b', (3, 'no')), ('d', (0, ''))):
                self.check.one(name, lambda: answer)
        verdict = self.check.verdict
        self.assertEqual(verdict.passed, 1)
        self.assertEqual(verdict.lines, ['FAILED 7.3: b: no',
                                         'FAILED 7.3: d: has looked at nothing'])
        self.assertEqual(output.getvalue().splitlines(), [
            '== 7.3: a', 'ok: 3 looked at', '== 7.3: b', 'FAILED 7.3: b: no', '== 7.3: d',
            'FAILED 7.3: d: has looked at nothing'])

    def test_nothing_to_look_at(self) -> None:
        """Where what should be looked at is not there, no tool complains."""
        ok = CompletedProcess[str]([], 0, '', '')
        with mock.patch.object(check_series, 'capture', return_value=ok):
            for found in (self.check.html_docs(['mm/foo.c']),
                          self.check.kernel_doc(['mm/Kconfig'])):
                self.assertEqual(found, (0, ''))


class TreeTest(ScratchTest):
    def setUp(self) -> None:
        """A kernel whose compiler says what is in the file."""
        super().setUp()
        write(self.kernel, {
            'Makefile': 'olddefconfig syncconfig: ; @echo "# nothing"\n'
                        'mm/foo.o: ; @echo "  CC      $@"; sh mm/foo.c\n',
            'mm/Makefile': 'obj-y += foo.o\n', 'mm/foo.c': 'echo ok\n'})
        self.builder = Builder(Config('test', 'um', {'FOO': 'y'}), self.kernel, 1)
        write(self.builder.out, {'include/config/auto.conf': ''})

    def test_a_warning_is_told(self) -> None:
        self.assertEqual(self.builder.build(['mm/foo.c']), (1, '', set()))
        write(self.kernel, {'mm/foo.c': 'echo mm/foo.c:9:2: warning: new\n'})
        self.assertEqual(self.builder.build(['mm/foo.c']), (1, '', {('mm/foo.c', 'new')}))

    def test_a_file_that_nothing_builds(self) -> None:
        write(self.kernel, {'mm/never.c': '', 'tools/never.c': ''})
        names = ['mm/foo.c', 'mm/gone.c', 'tools/never.c']
        self.assertEqual(never_built(self.kernel, [self.builder], names), '')
        self.assertEqual(never_built(self.kernel, [self.builder], [*names, 'mm/never.c']),
                         'mm/never.c')

    def test_build_error(self) -> None:
        write(self.kernel, {'mm/foo.c': 'echo "mm/foo.c:1:2: error: no" >&2; exit 1\n'})
        self.assertEqual(self.builder.build(['mm/foo.c'])[:2], (1, 'mm/foo.c:1:2: error: no'))

    def test_an_option_that_is_not_as_it_should_be(self) -> None:
        write(self.kernel, {'Makefile': 'olddefconfig syncconfig: ; @echo > $(O)/.config\n'})
        self.assertEqual(self.builder.configure({'FOO'}), 'FOO is n and not y')

    def test_the_probe_where_it_can_be(self) -> None:
        um, kvm = Config('um', 'um'), Config('arm64', 'arm64', {'KVM': 'y'})
        off = Config('um, off', 'um', {'KUNIT_MMU_NOTIFIER': 'n'})
        before, later = {PROBE}, {PROBE, 'KUNIT_MMU_NOTIFIER'}
        self.assertEqual([for_config(config, symbols) for config in (um, kvm, off)
                          for symbols in (before, later)],
                         [set(), later, before, later, set(), later - {PROBE}])

    def test_checkpatch(self) -> None:
        """What is waived is said; all else is a finding, an error of its own as well."""
        script = ('print "mm/foo.c:1: WARNING:LONG_LINE: long\\n'
                  'mm/foo.c:2: WARNING:FILE_PATH_CHANGES: MAINTAINERS?\\n";'
                  'print STDERR "cannot read\\n";\n')
        write(self.kernel, {'scripts/checkpatch.pl': script})
        with quiet() as output:
            found = checkpatch(self.kernel, self.scratch / 'a.patch')
        self.assertEqual(found, ['mm/foo.c:1: WARNING:LONG_LINE: long', 'cannot read'])
        self.assertIn('waived (that each file', output.getvalue())


class TopicTest(ScratchTest):
    """A series of two topics, on a kernel whose make and kunit.py do as told."""

    def setUp(self) -> None:
        super().setUp()
        write(self.kernel, {
            'Makefile': 'VERSION = 6\nPATCHLEVEL = 12\n'
                        'olddefconfig: ; @:\n'
                        'syncconfig: ; @mkdir -p $(O)/include/config; '
                        'cp $(O)/.config $(O)/include/config/auto.conf\n'
                        '%.o: ; @echo "  CC      $@"\n',
            'mm/Makefile': 'obj-y += foo.o bar.o tests/fake_kunit.o\n',
            'mm/Kconfig': 'config KUNIT\nconfig LIST_KUNIT_TEST\n', 'scripts/checkpatch.pl': ''})
        write(self.repo, {
            'hooks/series': '# topic one\nbar.patch\n# topic two\nfoo.patch\n',
            'hooks/cover/one': 'Subject: one\nDate: 2022-01-01T00:00:00Z\n\nText.\n',
            'hooks/cover/two': 'Subject: two\nDate: 2022-01-01T00:00:00Z\nDepends: one\n\n'
                               'Text.\n',
            'hooks/files': 'foo.patch\n\tmm/tests/\n',
            'hooks/bar.patch': 'Subject: change bar\n\nText.\n---\n'
                               + diff('mm/bar.c', 'int bar;\n', 'int bar = 1;\n'),
            'hooks/foo.patch': f'Subject: change foo\n\nText.\n---\n{FOO_PATCH}',
            'mm/tests/.kunitconfig': 'CONFIG_KUNIT=y\nCONFIG_NOT_YET=y\n'})
        self.cases = expected_cases(self.repo)

    def check(self, topic: str, log: str) -> SeriesCheck:
        """With what the kernel prints when it boots."""
        write(self.scratch, {'log': log})
        base = Base('6.12', self.kernel, 'a kernel', '6.12.5')
        check = SeriesCheck(self.repo, base, 1, (Config('test', 'um'),))
        self.run_topic(check, topic)
        return check

    def run_topic(self, check: SeriesCheck, topic: str) -> None:
        with quiet() as output, mock.patch.dict(os.environ, {
                'FAKE': 'passed', 'FAKE_LOG': str(self.scratch / 'log')}):
            check.run(topic)
        self.output = output.getvalue()

    def log(self, *suites: str) -> str:
        text = 'KTAP version 1\n'
        for number, suite in enumerate(suites, 1):
            names = [case.name for case in self.cases if case.suite == suite] or ['a']
            text += f'    KTAP version 1\n    # Subtest: {suite}\n'
            for case, name in enumerate(names, 1):
                params = f'        # Subtest: {name}\n        ok 1 x\n' if name == 'many' else ''
                text += f'{params}    ok {case} {name}\n'
            text += f'ok {number} {suite}\n'
        return text

    def test_topic_without_suites(self) -> None:
        """Its kernel boots, with the options that it has by then; nobody misses the others'."""
        check = self.check('one', self.log('list-kunit-test'))
        self.assertEqual(check.verdict.lines, [])
        self.assertEqual(check.git('log', '--format=%s').split('\n')[:2],
                         ['change bar', 'Linux 6.12.5'])
        self.assertEqual((check.folder / 'topic.config').read_text(),
                         'CONFIG_KUNIT=y\nCONFIG_LIST_KUNIT_TEST=y\n')

    def test_topic_on_another(self) -> None:
        check = self.check('two', self.log('list-kunit-test', 'fake'))
        self.assertEqual(check.verdict.lines, [])
        self.assertEqual(check.git('log', '--format=%s').split('\n')[:3],
                         ['change foo', 'change bar', 'Linux 6.12.5'])
        self.assertEqual([test.label for test in check.verdict.tests][:-1], [
            f'6.12: 0001-change-foo.patch: {what}' for what in ('checkpatch', 'test', 'compiled')])

    def test_one_after_the_other(self) -> None:
        """The next topic begins from the kernel as it was, which is not copied again."""
        check = self.check('two', self.log('list-kunit-test', 'fake'))
        self.assertIn('git add of all files', self.output)
        self.run_topic(check, 'one')
        self.assertNotIn('git add of all files', self.output)
        self.assertEqual(check.git('log', '--format=%s').split('\n')[:2],
                         ['change bar', 'Linux 6.12.5'])
        self.assertFalse((check.tree / 'mm/tests').exists())

    def test_a_warning_is_a_failure(self) -> None:
        makefile = self.kernel / 'Makefile'
        makefile.write_text(makefile.read_text() + 'mm/bar.o: ; @echo "mm/bar.c:1: warning: new"\n')
        check = self.check('one', self.log('list-kunit-test'))
        self.assertEqual(check.verdict.lines,
                         ['FAILED 6.12: 0001-change-bar.patch: test: mm/bar.c: new'])

    def test_a_configuration_that_cannot_be(self) -> None:
        """It is told once, and not asked again."""
        write(self.kernel, {'arch/um/Kconfig': 'config SMP\n'})
        makefile = self.kernel / 'Makefile'
        makefile.write_text(makefile.read_text().replace('fig: ; @:', 'fig: ; @false'))
        check = self.check('one', self.log('list-kunit-test'))
        self.assertRegex(check.verdict.lines[0], '^FAILED 6.12: before one, test: olddefconfig: ')
        self.assertEqual(check.verdict.failed, 2)       # And nothing compiles its file.

    def test_topic_of_no_prepared_tree(self) -> None:
        """It is applied and read, and nothing is built: no kernel boots here."""
        series = self.repo / 'hooks/series'
        series.write_text(series.read_text().replace('topic one', 'topic one, in no prepared tree'))
        check = self.check('one', '')
        self.assertEqual(check.verdict.lines, [])
        self.assertEqual([test.label for test in check.verdict.tests],
                         ['6.12: 0001-change-bar.patch: checkpatch'])
        self.assertEqual(check.git('log', '--format=%s').split('\n')[0], 'change bar')
        self.assertFalse((check.folder / 'topic.config').exists())

    def test_suite_that_does_not_run(self) -> None:
        check = self.check('two', self.log('list-kunit-test'))
        self.assertEqual(check.verdict.failed, 1)
        self.assertIn('topic two: a kernel with it boots, and its suites pass: MISSING fake.one',
                      check.verdict.lines[0])
