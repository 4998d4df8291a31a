# SPDX-License-Identifier: GPL-2.0-only
"""Tests that the files for CI systems say what the Makefile and the runner know."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
import subprocess
import unittest
from pathlib import Path
from typing import Any

from nonblock import common
from nonblock.options import VARIABLES
from nonblock.tests.fixtures import HERE, TOP, ScratchTest, write
from nonblock.tree.source import TESTED, cache_dir

GITHUB, GITLAB = TOP / '.github/workflows/test.yml', TOP / '.gitlab-ci.yml'
PAGE = (TOP / 'Documentation/ci.rst').read_text(encoding='utf-8')
MAKEFILE = (TOP / 'Makefile').read_text(encoding='utf-8').replace('\\\n', '')


def makefile_words(start: str) -> set[str]:
    line = re.search(rf'(?m)^{re.escape(start)}(.*)$', MAKEFILE)
    assert line
    return set(line[1].split())


@unittest.skipUnless(importlib.util.find_spec('yaml'), 'needs python3-yaml')
class JobsTest(unittest.TestCase):
    def load(self, path: Path) -> Any:
        return importlib.import_module('yaml').safe_load(path.read_text(encoding='utf-8'))

    def setUp(self) -> None:
        self.github = self.load(GITHUB)['jobs']['kernel']
        self.gitlab = self.load(GITLAB)['kernel']
        self.matrix = self.github['strategy']['matrix']

    def steps(self, word: str) -> list[Any]:
        return [step for step in self.github['steps'] if word in f'{step.get("uses")}'
                f'{step.get("run")}']

    def test_both_run_the_same(self) -> None:
        other, = self.gitlab['parallel']['matrix']
        self.assertEqual(self.matrix, {'kver': other['KVER'], 'make': other['MAKE_ARGUMENTS']})
        self.assertEqual(self.github['container'], self.gitlab['image'])

    def test_on_each_kernel(self) -> None:
        self.assertEqual(tuple(self.matrix['kver']), TESTED)

    def test_make_knows_what_they_ask_for(self) -> None:
        step, = self.steps('make ${{')
        line, = self.gitlab['script']
        verbs, variables = makefile_words('.PHONY:'), makefile_words('export ')
        for job in self.matrix['make']:
            for command in (step['run'].replace('${{ matrix.make }}', job),
                            line.replace('$MAKE_ARGUMENTS', job)):
                make, verb, *rest = command.split(' ')
                self.assertEqual(make, 'make')
                self.assertIn(verb, verbs)
                self.assertLessEqual({word.split('=')[0] for word in rest if '=' in word},
                                     variables)

    def test_the_results_are_kept(self) -> None:
        step, = self.steps('make ${{')
        upload, = self.steps('upload-artifact')
        self.assertIn(f' JUNIT={upload["with"]["path"]}', step['run'] + ' ')
        artifacts = self.gitlab['artifacts']
        self.assertIn(f' JUNIT={artifacts["reports"]["junit"]}', self.gitlab['script'][0])
        self.assertEqual((artifacts['when'], upload['if']), ('always', '${{ !cancelled() }}'))

    def test_the_caches_are_those_of_the_runner(self) -> None:
        ours = [step['with']['path'] for step in self.steps('actions/cache')]
        theirs = list(itertools.chain(*(cache['paths'] for cache in self.gitlab['cache'])))
        name = cache_dir().name
        self.assertEqual(ours, [f'~/.cache/{name}', '~/.cache/ccache'])
        self.assertEqual(theirs, [f'.cache/{name}', '.cache/ccache'])
        self.assertEqual(self.gitlab['variables']['XDG_CACHE_HOME'], '$CI_PROJECT_DIR/.cache')

    def test_uml_has_memory(self) -> None:
        for job, key in ((self.github, 'env'), (self.gitlab, 'variables')):
            self.assertEqual(job[key]['TMPDIR'], '/tmp')

    def test_each_variable_of_the_matrix_is_there(self) -> None:
        self.assertEqual(set(re.findall(r'matrix\.(\w+)', GITHUB.read_text(encoding='utf-8'))),
                         set(self.matrix))


class ContainerTest(unittest.TestCase):
    def test_it_has_all_packages_and_no_list_of_its_own(self) -> None:
        text = (TOP / '.ci/Containerfile').read_text(encoding='utf-8')
        self.assertIn('COPY packages.sh /tmp/packages.sh\n', text)
        self.assertNotIn('apt-get install', text)
        run = re.search(r'ARG FOR="(.*)"\n(?s:.*)sh /tmp/packages.sh \$\{FOR\} &&',
                        text)
        known = re.findall(r'(?m)^\t+([\w\- |]+)\) needed=',
                           (HERE / 'packages.sh').read_text('utf-8'))
        assert run
        purposes = set(run[1].split())
        # One word stands for all that are given with it.
        self.assertEqual([line for line in known if 'check-series' not in line and
                          not purposes & set(line.replace('|', ' ').split())], [])
        self.assertGreaterEqual(len(known), 5)

    def test_the_page_names_it(self) -> None:
        self.assertIn(f'-f .ci/Containerfile {HERE.relative_to(TOP)}\n', PAGE)


class PageTest(unittest.TestCase):
    def test_variables(self) -> None:
        for name in ('JUNIT', 'JSON', 'KDIR'):
            self.assertIn(f'``{name}=', PAGE)
            self.assertIn(name, VARIABLES)

    def test_paths_of_the_series(self) -> None:
        for folder in re.findall(r'(?:--kunitconfig|TARGETS)=([\w/]+/\w+)', PAGE):
            known = (TOP / folder / '.kunitconfig',
                     TOP / 'tools/testing/selftests' / folder / 'config')
            self.assertTrue(any(path.is_file() for path in known), folder)
        self.assertIn('TARGETS=mm/mmu_notifier', PAGE)

    def test_options_of_the_series(self) -> None:
        """Those that the tests cannot do without"""
        text = (TOP / 'mm/tests/.kunitconfig').read_text(encoding='utf-8')
        for option in ('KUNIT_REPORT', 'PROVE_LOCKING', 'DEBUG_ATOMIC_SLEEP'):
            self.assertIn(f'\nCONFIG_{option}=y\n', text)
            self.assertIn(f'\tCONFIG_{option}=y\n', PAGE)


class BisectTest(ScratchTest):
    def status(self, code: str, *arguments: str) -> tuple[int, str]:
        """Of the script, if the runner ends with this one; and what the runner was told."""
        write(self.repo, {
            '.ci/bisect': (TOP / '.ci/bisect').read_text(encoding='utf-8'),
            'tools/testing/kunit/nonblock/__main__.py':
                f'import os, sys\nprint(os.environ["KDIR"], *sys.argv[1:])\nsys.exit({code})\n'})
        result = subprocess.run(['sh', self.repo / '.ci/bisect', *arguments], cwd=self.kernel,
                                text=True, capture_output=True, check=False)
        return result.returncode, result.stdout.strip()

    def test_what_git_is_told(self) -> None:
        """125 is to skip it, up to 127 bad, and more ends the bisection."""
        codes = re.findall(r'(?m)^  (\d+)  ', common.EXIT_CODES)
        told = {int(code): self.status(code)[0] for code in codes}
        self.assertEqual(told, {0: 0, 1: 1, 2: 125, 3: 125, 4: 125, 5: 125, 6: 1, 7: 125,
                                130: 130, 141: 125})

    def test_what_is_run(self) -> None:
        self.assertEqual(self.status('0'), (0, f'{self.kernel} run'))
        self.assertEqual(self.status('0', 'e2e'), (0, f'{self.kernel} e2e'))

    def git(self, *arguments: str | Path) -> str:
        env = {**self.environment(), 'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_CONFIG_NOSYSTEM': '1'}
        for who in ('AUTHOR', 'COMMITTER'):
            env |= {f'GIT_{who}_NAME': 'A', f'GIT_{who}_EMAIL': 'a@example.org'}
        return subprocess.run(['git', *arguments], cwd=self.kernel, env=env, text=True,
                              capture_output=True, check=True).stdout

    def test_a_bisection(self) -> None:
        """Some do not build; the wrong one is found all the same."""
        write(self.repo, {'.ci/bisect': (TOP / '.ci/bisect').read_text(encoding='utf-8'),
                          'tools/testing/kunit/nonblock/__main__.py':
                          'import os, sys\n'
                          'sys.exit(int(open(os.environ["KDIR"] + "/status").read()))\n'})
        (self.repo / '.ci/bisect').chmod(0o755)
        self.git('init', '-q')
        for number, status in enumerate((0, 0, 0, 5, 5, 0, 6, 1)):
            write(self.kernel, {'status': str(status), 'number': str(number)})
            self.git('add', '-A', '-f')
            self.git('commit', '-q', '-m', f'number {number}')
        self.git('bisect', 'start', 'HEAD', 'HEAD~7')
        told = self.git('bisect', 'run', self.repo / '.ci/bisect')
        self.assertIn('is the first bad commit', told)
        self.assertIn('    number 6\n', told)
