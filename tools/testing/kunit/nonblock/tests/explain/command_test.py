# SPDX-License-Identifier: GPL-2.0-only
"""The command itself, and files and lines of functions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from unittest import mock

from nonblock.cli import VERBS, main as cli_main, read
from nonblock.common import EXIT_USAGE, Failure
from nonblock.tests.fixtures import HERE, TOP, ScratchTest, quiet

from nonblock.explain import explain, places
from nonblock.explain.symbols import Symbol
from .base import COMPOSED, DATA, TREES, composed, recorded

BANNER = 'Linux version 7.3.4 (someone@somewhere) (gcc, GNU ld) #1 Wed Nov 25 07:08:52 UTC 2026'
INNOCENT = str(DATA / 'another_mutex.log')
FOUND = str(DATA / 'mutex.log')


class CommandTest(ScratchTest):
    """With variables, and with words."""

    def make_explain(self, stdin: str = '', **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, HERE, 'explain'], input=stdin,
                              env=self.environment(**variables), capture_output=True, text=True,
                              check=False)

    def command(self, *words: str, stdin: str = '', **variables: str
                ) -> subprocess.CompletedProcess[str]:
        return self.call('explain', *words, stdin=stdin, **variables)

    def test_file_and_standard_input(self) -> None:
        result = self.make_explain(LOG=FOUND)
        self.assertEqual((result.returncode, result.stderr), (1, ''))
        self.assertIn('1 finding about MMU notifiers in 112 lines of /', result.stdout)
        for piped in (self.make_explain(recorded('mutex')), self.command(stdin=recorded('mutex'))):
            self.assertEqual((piped.returncode, piped.stderr), (1, ''))
            self.assertIn('in 112 lines of standard input', piped.stdout)

    def test_what_is_for_others_is_only_noted(self) -> None:
        result = self.command(LOG=INNOCENT, ARCH='arm64', JOBS='many', MODULES='/no',
                              KDIR='/tree')
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.splitlines(), [
            'note: JOBS=many: "explain" does not take it; "run", "e2e", "modules", '
            '"drivers", "test", "test-all", "test-quick", "matrix", "mutants", "bench", '
            '"audit", "check-series" do',
            'note: ARCH=arm64: "explain" does not take it; "run", "e2e" do',
            'note: MODULES=/no: only with VMLINUX', 'note: KDIR=/tree: only with VMLINUX'])

    def test_exit_status(self) -> None:
        cut = self.scratch / 'cut'
        cut.write_text(recorded('another_mutex')[:250], encoding='utf-8')
        for status, words in ((0, [INNOCENT]), (1, [FOUND]), (2, ['/no/such']), (2, [str(cut)]),
                              (0, [INNOCENT, INNOCENT]), (1, [INNOCENT, FOUND]),
                              (2, ['/no/such', FOUND]), (2, [FOUND, str(self.scratch)])):
            with self.subTest(words=words):
                self.assertEqual(self.command(*words).returncode, status)

    def test_several(self) -> None:
        result = self.command(FOUND, '/no/such', INNOCENT)
        self.assertIn('LOG=/no/such: No such file', result.stderr)
        self.assertIn(f'== {FOUND}', result.stdout)
        self.assertIn(f'== {INNOCENT}', result.stdout)
        result = self.command(LOG=f'{FOUND} {INNOCENT}')
        self.assertEqual(result.returncode, 1)
        self.assertIn(f'== {INNOCENT}', result.stdout)

    def test_a_name_with_a_blank(self) -> None:
        shutil.copy(FOUND, log := self.scratch / 'a b.log')
        result = self.command(LOG=str(log))
        self.assertEqual((result.returncode, result.stderr), (1, ''))
        self.assertEqual(self.command(LOG='~/a b.log', HOME=str(self.scratch)).returncode, 1)

    def test_home_folder(self) -> None:
        """A shell leaves ~ in LOG=~/log to the one who reads it."""
        home = {'HOME': str(self.scratch)}
        for name in ('log', 'vmlinux'):
            shutil.copy(FOUND, self.scratch / name)
        for log in ('~/log', '~/log ~/log'):
            self.assertEqual(self.command(LOG=log, **home).returncode, 1, log)
        given = {'LOG': '~/log', 'VMLINUX': '~/vmlinux', 'MODULES': '~'}
        with mock.patch.dict(os.environ, home):
            options = read(VERBS, ['explain'], given).options()
        self.assertEqual((options.vmlinux, options.modules),
                         (f'{self.scratch}/vmlinux', str(self.scratch)))

    def test_json(self) -> None:
        for result in (self.command('--json', FOUND, INNOCENT),
                       self.command(LOG=f'{FOUND} {INNOCENT}', JSON='1')):
            found, innocent = json.loads(result.stdout)
            self.assertEqual((found['status'], innocent['status']), (1, 0))
            finding, = found['findings']
            self.assertEqual(finding['callback'], {'function': 'fake_invalidate', 'module': ''})
            self.assertEqual((finding['line'], finding['again'], finding['again_lines']),
                             (2, 1, [49]))
            self.assertEqual(innocent['findings'], [])
            self.assertEqual(innocent['recognised'][0]['lines'], [3])

    def test_json_of_other_commands(self) -> None:
        result = self.command(LOG=INNOCENT, JSON='verdict.json')
        self.assertEqual(result.returncode, 0)
        self.assertIn('JSON=verdict.json: "explain" does not take it; "run", ', result.stderr)

    def test_bad_input(self) -> None:
        cases: dict[str, tuple[dict[str, str], str]] = {
            'missing': ({'LOG': '/no/such'}, 'LOG=/no/such: No such file or directory'),
            'directory': ({'LOG': str(self.scratch)}, 'Is a directory'),
            'empty': ({}, 'standard input is empty'),
            'modules': ({'MODULES': '/no', 'VMLINUX': '/no'}, 'MODULES=/no: there is no such')}
        for what, (variables, message) in cases.items():
            with self.subTest(what):
                result = self.command(**variables)
                self.assertEqual(result.returncode, EXIT_USAGE)
                self.assertIn(message, result.stderr)
                self.assertNotIn('Traceback', result.stderr)

    def test_who_reads_it_may_go(self) -> None:
        with subprocess.Popen([sys.executable, '-m', 'nonblock', 'explain', '--json',
                               *[str(path) for path in sorted(COMPOSED.iterdir())] * 9],
                              cwd=HERE.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            assert process.stdout and process.stderr
            process.stdout.close()
            self.assertEqual(process.stderr.read(), '')

    def test_closed_files(self) -> None:
        for number, status in ((0, EXIT_USAGE), (1, 1), (2, 1)):
            with self.subTest(number=number):
                result = subprocess.run(
                    ['sh', '-c', f'exec "$@" {number}>&-', 'sh', sys.executable, '-m', 'nonblock',
                     'explain', FOUND if number else '-'], cwd=HERE.parent, capture_output=True,
                    text=True, check=False)
                self.assertEqual(result.returncode, status, result.stderr)
                self.assertNotIn('Traceback', result.stderr)

    def test_terminal(self) -> None:
        with mock.patch('sys.stdin.isatty', return_value=True):
            with self.assertRaisesRegex(Failure, 'no log: give LOG='):
                explain.open_log('-')


class ShownTest(ScratchTest):
    """What Documentation/explain.rst shows is what is printed."""

    def test_page(self) -> None:
        page = (TOP / 'Documentation/explain.rst').read_text(encoding='utf-8')
        for log in (DATA / 'mutex.log', COMPOSED / 'circle-through-reclaim.log'):
            path = log.relative_to(TOP)
            command = f'    $ make explain LOG={path}\n'
            self.assertEqual(page.count(command), 1)
            shown = page.split(command)[1].split('\n\nThe ')[0]
            with quiet() as output:
                self.assertEqual(cli_main(['explain', str(log)]), 1)
            printed = output.getvalue().replace(str(log), str(path))
            self.assertEqual([line.strip() for line in shown.splitlines()],
                             [line.strip() for line in printed.splitlines()])
            # And of the log, what is shown of it.
            for line in page.split(f'{path} has::\n\n')[1].split('\n\n')[0].splitlines():
                if line.strip() not in ('...', ''):
                    self.assertIn(line.strip(), log.read_text(encoding='utf-8'))

    def test_the_series_does_not_take_it(self) -> None:
        from nonblock.tree.prepare import overlay_files
        self.assertNotIn('Documentation/explain.rst', overlay_files(TOP))
        self.assertIn('Documentation/mm/mmu_notifier_nonblock.rst', overlay_files(TOP))


class PlaceTest(ScratchTest):
    """Files and lines."""

    def setUp(self) -> None:
        super().setUp()
        self.vmlinux = self.scratch / 'vmlinux'

    def locate(self, banner: str = '', kdir: str = '') -> None:
        places.locate(str(self.vmlinux), '', kdir, TOP, banner, {Symbol('f', '0x0', '0x1')})

    def test_bad_vmlinux(self) -> None:
        with self.assertRaisesRegex(Failure, 'vmlinux: No such file'):
            self.locate()
        self.vmlinux.write_bytes(b'MZ')
        with self.assertRaisesRegex(Failure, 'is not an ELF file'):
            self.locate()
        self.vmlinux.write_bytes(b'\x7fELF')
        with self.assertRaisesRegex(Failure, 'is not a Linux kernel'):
            self.locate()
        self.vmlinux.write_bytes(b'\x7fELF' + BANNER.encode() + b'\n')
        with self.assertRaisesRegex(Failure, 'is not the kernel of this log'):
            self.locate(BANNER.replace('#1', '#2'))
        with self.assertRaisesRegex(Failure, 'KDIR=/nowhere has no scripts'):
            self.locate(BANNER, '/nowhere')

    def test_a_large_vmlinux_is_not_read(self) -> None:
        with open(self.vmlinux, 'wb') as file:
            file.write(b'\x7fELF')
            file.truncate(64 << 30)             # sparse
            file.seek(4096)
            file.write(BANNER.encode() + b'\n')
        with mock.patch.object(places, 'BANNER') as pattern:
            pattern.finditer.return_value = []
            self.assertEqual(places.banners(self.vmlinux), [])
            self.assertEqual(len(pattern.finditer.call_args[0][0].__class__.__name__), 4)

    def test_lines_by_the_kernels_own_script(self) -> None:
        script = next((tree / places.SCRIPT for tree in TREES
                       if (tree / places.SCRIPT).is_file()), None)
        if not script or not shutil.which('addr2line'):
            self.skipTest('no prepared tree, or no addr2line')
        source = self.scratch / 'kernel.c'
        source.write_text(f'const char banner[] = "{BANNER}\\n";\n\n'
                          'int fake_invalidate(void)\n{\n\treturn banner[0];\n}\n\n'
                          'int main(void)\n{\n\treturn fake_invalidate();\n}\n', encoding='utf-8')
        # Not a kernel, but with what the script reads: symbols and lines.
        subprocess.run(['gcc', '-g', '-o', self.vmlinux, source], check=True)
        log = self.scratch / 'dmesg'
        log.write_text(f'{BANNER}\n' + recorded('sleep'), encoding='utf-8')
        with quiet() as output:
            status = cli_main(['explain', str(log), '--vmlinux', str(self.vmlinux), '--kdir',
                               str(script.parents[1])])
        self.assertEqual(status, 1)
        self.assertIn('kernel.c:4', output.getvalue())

    def test_a_log_without_a_place(self) -> None:
        self.assertEqual(places.nowhere(Symbol('f')), '')
        self.assertIn('mydrv_invalidate', composed('hung-reaper.log'))
