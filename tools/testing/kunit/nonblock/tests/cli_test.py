# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the command line: what each verb takes, from options and from the environment."""

from __future__ import annotations

import ast
import contextlib
import graphlib
import io
import os
import re
import unittest
from pathlib import Path
from unittest import mock

from nonblock.cli import HELP, VERBS, main, read, texts
from nonblock.common import EXIT_CODES, EXIT_USAGE, Failure
from nonblock.kernel.machine import ARCHES
from nonblock.options import VARIABLES
from nonblock.options import Options
from nonblock.tests.fixtures import HERE, TOP, quiet
from nonblock.tree.source import SUITES
from nonblock.verbs import Verb


def options(verb: str, *words: str, **env: str) -> Options:
    return read(VERBS, [verb, *words], env).options()


class OptionTest(unittest.TestCase):
    def test_from_the_environment(self) -> None:
        found = options('run', KVER='7.3', JOBS='3', V='1', ARCH='x86_64', RT='0', KDIR='')
        self.assertEqual((found.kver, found.jobs, found.v, found.smp, found.rt),
                         ('7.3', 3, True, 2, False))

    def test_an_option_is_more_than_the_environment(self) -> None:
        found = options('run', '--kver', '7.2', '--jobs=1', '--rt', KVER='7.3', JOBS='many')
        self.assertEqual((found.kver, found.jobs, found.rt), ('7.2', 1, True))
        self.assertEqual(options('explain', 'one', 'two', LOG='three').log, ('one', 'two'))
        for path in ('/tmp/x', '1'):        # Output refuses the latter.
            self.assertEqual(options('run', '--json', path, JSON='1').json, path)
        self.assertEqual(options('run', '--kver', '', KVER='7.3').kver, '')

    def test_what_a_verb_does_not_take_is_refused_by_name(self) -> None:
        for verb in VERBS:
            names = [name for name in VARIABLES if name not in verb.variables]
            if not verb.strict:
                continue
            with self.subTest(verb=verb.name), self.assertRaises(Failure) as caught:
                options(verb.name, **dict.fromkeys(names, '1'))
            self.assertEqual(caught.exception.code, EXIT_USAGE)
            lines = str(caught.exception).splitlines()
            self.assertEqual(len(lines), len(names))
            for name, line in zip(names, lines):
                self.assertTrue(line.startswith(f'{name}=1: "{verb.name}" does not take it; "'),
                                line)

    def test_what_no_verb_takes(self) -> None:
        for flags, name in (('s -- KDIR=/my\\ A=1 KVERS=7.3 PYTHON=python3', 'KVERS'),
                            ('-- SPM=2', 'SPM'), (' -- V=1 SPM=2', 'SPM')):
            with self.assertRaises(Failure) as caught:
                options('run', MAKEFLAGS=flags, MAKELEVEL='1')
            self.assertEqual(str(caught.exception),
                             f'{name}: there is no such variable. Leave it out.')
        # Those of a make that calls ours
        options('run', MAKEFLAGS='-- SPM=2', MAKELEVEL='2')

    def test_no_choice_of_machines(self) -> None:
        for verb in VERBS:
            self.assertEqual('ARCH' in verb.variables, verb.name in ('run', 'e2e'))

    def test_nothing_is_taken_that_does_nothing(self) -> None:
        for verb in VERBS:
            self.assertEqual('LLVM' in verb.variables, verb.name == 'run')
            self.assertEqual('V' in verb.variables, 'JUNIT' in verb.variables and
                             verb.name not in ('mutants', 'check-series'))

    def test_given_to_make_is_more_than_exported(self) -> None:
        """`make clean KVER=6.12` does not empty all."""
        options('clean', KVER='6.12')
        with self.assertRaisesRegex(Failure, 'KVER=6.12: "clean" does not take it'):
            options('clean', KVER='6.12', MAKEFLAGS=' -- KVER=6.12', MAKELEVEL='1')

    def test_clone_in_a_path_with_a_blank(self) -> None:
        with mock.patch('nonblock.cli.REPO', Path('/a clone')), \
                mock.patch.dict(os.environ, clear=True), \
                contextlib.redirect_stderr(io.StringIO()) as output:
            self.assertEqual(main(['--check', 'run']), EXIT_USAGE)
        self.assertIn('/a clone: the kernel cannot be built', output.getvalue())


class HelpTest(unittest.TestCase):
    def help_of(self, *words: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as output, self.assertRaises(SystemExit):
            main([*words, '--help'])
        return output.getvalue()

    def test_each_verb_has_its_own(self) -> None:
        for verb in VERBS:
            with self.subTest(verb=verb.name):
                text = self.help_of(verb.name)
                self.assertEqual(set(re.findall(r'\[([A-Z]+)\]', text)), set(verb.variables))
                self.assertIn(verb.exit_codes, text)

    def test_what_is_another_thing_for_a_verb(self) -> None:
        for verb, name, begin in (('run', 'JSON', 'write the verdict'), ('run', 'KDIR', 'a kernel'),
                                  ('explain', 'JSON', 'JSON instead'), ('run', 'RT', 'PREEMPT_RT'),
                                  ('explain', 'KDIR', 'the tree that has')):
            self.assertRegex(self.help_of(verb), rf' --{name.lower()}(?: {name})?\s+{begin}')

    def test_of_all(self) -> None:
        text = self.help_of()
        for verb in VERBS:
            self.assertRegex(text, rf'(?m)^    {verb.name}\s+\w')
        self.assertIn(EXIT_CODES, text)

    def test_what_has_no_line_is_named(self) -> None:
        with self.assertRaisesRegex(KeyError, 'no-such-verb has no line in help.txt'):
            texts()['no-such-verb']

    def test_each_kernel_is_named(self) -> None:
        self.assertEqual(set(re.findall(r'\b\d+\.\d+\b', texts()['KVER'])), set(SUITES))

    def test_each_machine_is_named(self) -> None:
        self.assertLessEqual(set(ARCHES), set(re.findall(r'\w+', texts()['ARCH'])))

    def test_each_verb_is_where_a_user_looks(self) -> None:
        page = (TOP / 'Documentation/runner.rst').read_text(encoding='utf-8')
        listed = (page.partition('write the verdict of')[2].partition('to a file')[0],
                  HELP.read_text(encoding='utf-8').partition('The last line of')[2]
                  .partition(' is\n')[0])
        for verb in VERBS:
            self.assertTrue(re.search(rf'``(?:make )?{verb.name}\b', page),
                            f'Documentation/runner.rst does not name "make {verb.name}"')
            for text in listed:
                self.assertEqual('JUNIT' in verb.variables,
                                 bool(re.search(rf'[\s`]{verb.name}`', text)), verb.name)

    def test_the_exit_codes_are_documented(self) -> None:
        common = (HERE / 'common.py').read_text(encoding='utf-8')
        for number in re.findall(r'^EXIT_[A-Z]+ = (\d+)', common, re.MULTILINE):
            self.assertRegex(EXIT_CODES, rf'(?m)^  {number}  ')

    def test_bad_words(self) -> None:
        cases: list[list[str]] = [[], ['nothing'], ['tree', '--arch', 'um'],
                                  ['run', '--kve', '7.3']]
        for words in cases:
            with self.subTest(words=words), contextlib.redirect_stderr(io.StringIO()), \
                    self.assertRaises(SystemExit) as caught:
                main(words)
            self.assertEqual(caught.exception.code, EXIT_USAGE)


# From the bottom: each may import what is above it in this list, and what is beside it.
LAYERS = (('common', 'options'), ('tree',), ('kernel',), ('result',),
          ('explain', 'audit', 'modules', 'mutants'), ('verbs',), ('cli', 'guard'),
          ('__main__',))
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}


class ImportTest(unittest.TestCase):
    def test_no_import_runs_back_up(self) -> None:
        seen = set()
        for path in HERE.rglob('*.py'):
            parts = path.relative_to(HERE).with_suffix('').parts
            if 'tests' in parts or parts == ('__init__',):
                continue
            text = path.read_text(encoding='utf-8')
            for names in re.findall(r'^ *(?:from|import) nonblock(?:\.(\w+)| import (.*))', text,
                                    re.MULTILINE):
                for name in ''.join(names).split(', '):
                    name = name.split()[0]
                    seen.add((parts[0], name))
                    self.assertLessEqual(LAYER[name], LAYER[parts[0]], f'{path} imports {name}')
        self.assertIn(('verbs', 'result'), seen)
        self.assertIn(('__main__', 'cli'), seen)

    def test_a_type_has_a_name_of_its_own(self) -> None:
        found: dict[str, list[str]] = {}
        for path in HERE.rglob('*.py'):
            if 'tests' in path.parts:
                continue
            for name in re.findall(r'(?m)^(?:class )?([A-Z]\w*[a-z]\w*)(?:\(.*\))?(?::| =)',
                                   path.read_text(encoding='utf-8')):
                found.setdefault(name, []).append(str(path.relative_to(HERE)))
        self.assertIn('Session', found)
        self.assertEqual({name: paths for name, paths in found.items() if paths[1:]}, {})

    def test_no_import_runs_in_a_circle(self) -> None:
        """Of modules: those of one folder may import each other."""
        graph: dict[str, set[str]] = {}
        for path in HERE.rglob('*.py'):
            name = '.'.join(path.relative_to(HERE.parent).with_suffix('').parts)
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.ImportFrom):
                    # ".x" is of the folder, "..x" of the one above.
                    folder = name.rsplit('.', node.level)[0] + '.' if node.level else ''
                    module = f'{folder}{node.module or ""}'.rstrip('.')
                    graph.setdefault(name, set()).update(
                        [module, *(f'{module}.{one.name}' for one in node.names)])
        self.assertIn('nonblock.modules.loads', graph['nonblock.verbs.modules'])
        graphlib.TopologicalSorter(graph).prepare()


class MainTest(unittest.TestCase):
    def test_failure(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as errors, quiet():
            self.assertEqual(main(['run', '--kver=5.4']), EXIT_USAGE)
        self.assertTrue(errors.getvalue().startswith('error: KVER=5.4: there is no such kernel'))

    def test_table(self) -> None:
        text = '\n'.join(path.read_text(encoding='utf-8') for path in HERE.glob('verbs/*.py'))
        self.assertEqual(sorted(re.findall(r"(?m)^\w+ = Verb\('([\w-]+)'", text)),
                         sorted(verb.name for verb in VERBS))
        for verb in VERBS:
            self.assertIsInstance(verb, Verb)
            self.assertLessEqual(set(verb.variables), set(VARIABLES))


if __name__ == '__main__':
    unittest.main()
