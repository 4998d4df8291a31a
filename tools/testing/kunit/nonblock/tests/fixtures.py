# SPDX-License-Identifier: GPL-2.0-only
"""For the runner's tests: a small kernel tree and a small repository."""

from __future__ import annotations

import atexit
import compileall
import contextlib
import difflib
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Iterator, Mapping, Optional
from unittest import mock

from nonblock import cli
from nonblock.kernel import kunit_run
from nonblock.kernel.machine import UML, Machine
from nonblock.kernel.session import Session
from nonblock.tree.source import Base

HERE = Path(__file__).resolve().parents[1]
DATA = HERE / 'tests/test_data'
TOP = HERE.parents[3]

FOO_C = ''.join(f'int line{number};\n' for number in range(20))

KERNEL = {
    'Makefile': 'VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 5\nEXTRAVERSION =\n',
    'Kbuild': '',
    'Kconfig': '',
    '.gitignore': '.*\n!.gitignore\n!.kunitconfig\n*.o\n/include/generated/\n',
    'mm/foo.c': FOO_C,
    'mm/bar.c': 'int bar;\n',
    'include/linux/mmu_notifier.h': '/* no finish here */\n',
}

SUITE_C = '''
static struct kunit_case fake_cases[] = {
	KUNIT_CASE(one),
	KUNIT_CASE_PARAM(many, many_gen_params),
	KUNIT_CASE(two),
	{}
};
static struct kunit_suite fake_suite = {
	.name = "fake",
	.test_cases = fake_cases,
};
'''

# What kunit.py does, as far as the runner can see: it prints its phases,
# makes objects, and leaves a log.
FAKE_KUNIT = f'#!{sys.executable} -S' + '''
import os, shutil, subprocess, sys, time
options = dict(word.lstrip('-').split('=', 1) for word in sys.argv[2:])
um = options['build_dir']
os.makedirs(um, exist_ok=True)
print('[00:00:00] Configuring KUnit Kernel ...')
print('[00:00:00] Building KUnit Kernel ...')
open(um + '/foo.o', 'w').close()
what = os.environ['FAKE']
if what == 'wants defaults':
    path = options['kunitconfig']
    with open(path + '/.kunitconfig' if os.path.isdir(path) else path) as file:
        text = file.read()
    what = 'passed' if 'CONFIG_KUNIT=y' in text and 'is not set' not in text else 'build error'
if what == 'build error':
    print("mm/foo.c:3:1: error: expected ';' before 'int'", file=sys.stderr)
    sys.exit(1)
if sys.argv[1] == 'build':
    for source, target in (('linux', 'linux'), ('gen_init_cpio', 'usr/gen_init_cpio')):
        os.makedirs(os.path.dirname(um + '/' + target), exist_ok=True)
        shutil.copy(os.environ['FAKE_UM'] + '/' + source, um + '/' + target)
        os.chmod(um + '/' + target, 0o755)
    sys.exit()
print('[00:00:00] Starting KUnit Kernel (1/1)...')
if what == 'wait':
    # As UML does: a session of its own.
    child = subprocess.Popen(['sleep', '300'], start_new_session=True)
    print('child', child.pid)
    child.wait()
if what == 'hang':
    print("Command '['um/linux']' timed out after 120 seconds")
shutil.copy(os.environ['FAKE_LOG'], um + '/test.log')
print('[00:00:03] Elapsed time: 6.000s total, 1.000s configuring, 2.000s building, 3.000s running')
sys.exit(0 if what == 'passed' else 1)
'''


def write(top: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text, encoding='utf-8')


def diff(name: str, old: str, new: str) -> str:
    """A patch for one file."""
    return ''.join(difflib.unified_diff(old.splitlines(True), new.splitlines(True),
                                        f'a/{name}', f'b/{name}'))


FOO_PATCH = diff('mm/foo.c', FOO_C, FOO_C.replace('int line9;', 'int line9 = 9;'))


def snapshot(top: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time and contents of everything below: to show that nothing was written."""
    found = {}
    for path in [top, *top.rglob('*')]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b''
        found[str(path)] = (status.st_mode, status.st_mtime_ns,
                            hashlib.sha256(content).hexdigest())
    return found


@functools.cache
def compiled_runner() -> Path:
    """A copy with its bytecode: each test that starts one is spared to compile it."""
    top = tempfile.mkdtemp(prefix='runner-test-')
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    shutil.copytree(HERE, copy := Path(top) / 'nonblock',
                    ignore=shutil.ignore_patterns('tests', '__pycache__'))
    compileall.compile_dir(copy, quiet=1)
    return copy


class ScratchTest(unittest.TestCase):
    """A test with a folder of its own, a kernel and a repository with a copy of the runner."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(prefix='runner-test-')
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name).resolve()
        self.kernel = self.scratch / 'kernel'
        self.repo = self.scratch / 'repo'
        write(self.kernel, KERNEL)
        write(self.kernel, {'tools/testing/kunit/kunit.py': FAKE_KUNIT})
        (self.kernel / 'tools/testing/kunit/kunit.py').chmod(0o755)
        write(self.repo, {'hooks/series': 'foo.patch\n', 'hooks/foo.patch': FOO_PATCH,
                          'mm/tests/fake_kunit.c': SUITE_C,
                          'mm/tests/.kunitconfig': 'CONFIG_KUNIT=y\n'})

    def session(self, machine: Machine = UML, tree: Optional[Path] = None) -> Session:
        return Session(self.repo, Base('6.12', self.kernel, 'a kernel', '6.12.5'), machine,
                       tree or self.kernel, ('x.patch',))

    def copy_runner(self) -> None:
        shutil.copy(TOP / 'Makefile', self.repo)
        target = self.repo / 'tools/testing/kunit'
        target.mkdir(parents=True)
        shutil.copytree(compiled_runner(), target / 'nonblock')

    def environment(self, **variables: str) -> dict[str, str]:
        """An environment as a user's: not that of the `make test` that we are in."""
        env = kunit_run.environment()
        env['XDG_CACHE_HOME'] = str(self.scratch / 'cache')
        env.pop('PYTHONDONTWRITEBYTECODE', None)
        return {**env, **variables}

    def make(self, verb: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the real front door in the scratch repository."""
        return subprocess.run(
            ['make', f'PYTHON={sys.executable}', verb], cwd=self.repo, text=True, timeout=60,
            env=self.environment(**variables), stdin=subprocess.DEVNULL, capture_output=True)

    def call(self, *words: str, stdin: str = '', **variables: str
             ) -> subprocess.CompletedProcess[str]:
        """The runner's command line, in this process."""
        output, errors = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, self.environment(**variables), clear=True), \
                mock.patch('sys.stdin', io.TextIOWrapper(io.BytesIO(stdin.encode()))), \
                contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = cli.main(words)
        return subprocess.CompletedProcess(words, status, output.getvalue(), errors.getvalue())

    def assert_error(self, result: subprocess.CompletedProcess[str], code: int,
                     *parts: str) -> None:
        """One clear message with all these parts, the exit code, and no traceback."""
        text = result.stdout + result.stderr
        self.assertRegex(result.stderr, rf'make: \*\*\* .* Error {code}\n', text)
        self.assertNotIn('Traceback', text)
        for part in parts:
            self.assertIn(part, text)


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        yield output


def in_private_mounts(test: unittest.TestCase) -> list[str]:
    """The command that runs another where it may mount; skips where there is none."""
    for command in (['unshare', '-m'], ['unshare', '-rm']):
        with contextlib.suppress(OSError):
            if subprocess.run([*command, 'true'], capture_output=True).returncode == 0:
                return command
    test.skipTest('unshare -m is not permitted here, so that no disk can be made full')
