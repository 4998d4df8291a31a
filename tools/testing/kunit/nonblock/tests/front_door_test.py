# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the front door, `make`, as a user meets it: results, bad input, bad weather."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from nonblock.cli import VERBS
from nonblock.common import EXIT_HANG, EXIT_USAGE, LOCK, lock
from nonblock.options import VARIABLES
from nonblock.tests.fixtures import (DATA, FOO_PATCH, HERE, TOP, ScratchTest, in_private_mounts,
                                     write)
from nonblock.tests.output_test import FilesTest
from nonblock.tree.source import SUITES, from_kdir


class FrontDoorTest(FilesTest):
    def run_fake(self, what: str, log: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`make run` with the small kernel, whose kunit.py does as it is told."""
        return self.make('run', **self.variables(what, log), **variables)

    def build_folder(self) -> Path:
        """Of that kernel"""
        return self.repo / 'build' / from_kdir(str(self.kernel), self.repo / 'build').name


def heed_interrupts() -> None:
    """A shell lets what it starts in the background ignore them, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class RunTest(FrontDoorTest):
    def test_passed(self) -> None:
        """And in the same tree once more"""
        result = self.run_fake('passed', 'passed', JOBS='3')
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.splitlines()[-1], '4 passed, 0 failed')
        self.assertNotIn('\033', result.stdout)
        self.assert_written(0, 'second/mutex', 'kdir-', 'build_seconds', 'run_seconds')
        self.works_by_hand(next(line[2:] for line in result.stdout.splitlines()
                                if line.startswith('$ ')))
        self.run_with_edit()
        # The log must not be taken for this one's.
        result = self.run_fake('build error', 'passed')
        self.assert_error(result, 5)
        self.assert_written(5, 'mm/foo.c:3:1: error')
        last = result.stdout.splitlines()[-3:]
        self.assertRegex(last[0], r"^FAILED build: mm/foo.c:3:1: error: expected ';'")
        self.assertEqual(last[2], '0 passed, 1 failed')

    def test_kernel_that_wants_what_is_turned_off(self) -> None:
        write(self.repo, {'mm/tests/.kunitconfig': 'CONFIG_KUNIT=y\n# CONFIG_BLOCK is not set\n'})
        result = self.run_fake('wants defaults', 'passed')
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("error: expected ';' before 'int'\nnot built; once more, with all that is on "
                      'by default\n', result.stdout)
        self.assertTrue((self.build_folder() / 'um-defaults/test.log').exists())
        self.assert_written(0, 'um-defaults')
        result = self.run_fake('build error', 'passed')
        self.assert_error(result, 5)
        self.assertIn('once more', result.stdout)

    def works_by_hand(self, command: str) -> None:
        self.assertIn('--jobs=3', command)
        log = self.build_folder() / 'um/test.log'
        log.unlink()
        subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, cwd='/',
                       env=self.environment(FAKE='passed', FAKE_LOG=str(DATA / 'passed.log')))
        self.assertTrue(log.exists())

    def run_with_edit(self) -> None:
        """What was edited by hand is told with the verdict."""
        write(self.build_folder() / 'linux', {'mm/foo.c': 'int by_hand;\n'})
        result = self.run_fake('passed', 'passed')
        self.assertRegex(result.stdout, r'\nnote: edited by hand in build/\S+/linux, and kept: '
                         r'mm/foo\.c\. .*\n4 passed, 0 failed\n$')
        self.assert_written(0, 'edited', 'mm/foo.c')

    def test_failed(self) -> None:
        result = self.run_fake('failed', 'failed')
        self.assert_error(result, 1)
        self.assertEqual(result.stdout.splitlines()[-3:], [
            'FAILED fake.many:second/mutex: EXPECTATION FAILED at mm/tests/fake.c:31',
            'FAILED fake.two: ASSERTION FAILED at mm/tests/fake.c:40',
            '2 passed, 2 failed'])
        self.assert_written(1, 'EXPECTATION FAILED at mm/tests/fake.c:31', 'reports == 0 (0x0)')

    def test_hang(self) -> None:
        result = self.run_fake('hang', 'hang')
        self.assert_error(result, 6)
        self.assertEqual(result.stdout.splitlines()[-2:], [
            'HANG fake.two: no result within 120 s', '3 passed, 1 failed'])
        self.assert_written(EXIT_HANG, 'no result within 120 s', 'stuck for 31s!')

    def test_raw_output(self) -> None:
        result = self.run_fake('passed', 'passed', V='1')
        self.assertIn('--raw_output=all', result.stdout)
        self.assertEqual(result.stdout.splitlines()[-1], '4 passed, 0 failed')

    def test_makes_own_variables_stay_here(self) -> None:
        write(self.kernel, {'tools/testing/kunit/kunit.py': '#!/bin/sh\nenv\nexit 1\n'})
        result = self.run_fake('', 'passed', V='1')
        self.assertIn('FAKE_LOG=', result.stdout)
        self.assertNotRegex(result.stdout, r'(?m)^(MAKEFLAGS|MAKELEVEL|V|KDIR)=')

    def test_no_cache(self) -> None:
        result = self.run_fake('passed', 'passed', XDG_CACHE_HOME='/dev/null')
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_clean(self) -> None:
        folder = self.build_folder()
        write(folder, {'linux/Makefile': ''})
        with lock(folder / LOCK, 'it'):
            self.assert_error(self.make('clean'), 2, f'build/{folder.name}: process ',
                              'Nothing was removed')
        self.assertTrue((folder / 'linux/Makefile').exists())
        self.make('clean')
        self.assertFalse((folder / 'linux').exists())

    def test_interrupted(self) -> None:
        env = self.environment(KDIR=str(self.kernel), FAKE='wait', PYTHONUNBUFFERED='1')
        with subprocess.Popen([sys.executable, 'tools/testing/kunit/nonblock', 'run'],
                              cwd=self.repo, env=env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, preexec_fn=heed_interrupts) as process:
            assert process.stdout and process.stderr
            child = next(int(line.split()[1]) for line in process.stdout
                         if line.startswith('child '))
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(30), 130)
            self.assertEqual(process.stderr.read(),
                             'interrupted; the next run goes on from here\n')
        self.assertFalse(os.path.exists(f'/proc/{child}') and 'Z' not in
                         Path(f'/proc/{child}/stat').read_text())

    def test_two_runs_at_once(self) -> None:
        write(self.build_folder(), {'lock': 'process 1 (run)'})
        lock = self.build_folder() / 'lock'
        with subprocess.Popen(['flock', lock, 'sh', '-c', 'echo; read line'], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdin and holder.stdout
            holder.stdout.readline()
            with subprocess.Popen(['make', '-s', 'tree'], cwd=self.repo, text=True,
                                  env=self.environment(KDIR=str(self.kernel)),
                                  stdout=subprocess.PIPE) as second:
                assert second.stdout
                self.assertRegex(second.stdout.readline(),
                                 r'^waiting for build/kdir-\S+: process 1 \(run\) is using it')
                holder.stdin.write('\n')
                holder.stdin.close()
                self.assertIn('tree: build/', second.stdout.read())

    def test_driver_is_modules(self) -> None:
        show = 'PYTHON=echo "$$DRIVER, $${DIR-none}:"'
        same = 'a "b", none: tools/testing/kunit/nonblock modules'
        for argument, last in (
                ('DIR=a "b"', same), ('DRIVER=a "b"', same),
                ('V=', 'Makefile:24: *** make driver DIR=PATH: the folder of your driver.  Stop.')):
            with self.subTest(argument=argument):
                result = subprocess.run(['make', '-s', 'driver', show, argument], text=True,
                                        cwd=self.repo, env=self.environment(), check=False,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertEqual(re.sub(':[0-9]+:', ':24:', result.stdout.splitlines()[-1]), last)

    def test_dir_is_of_driver_alone(self) -> None:
        show = 'PYTHON=echo "$$DRIVER":'
        for words in (['run'], ['modules'], ['driver', 'run'], ['driver', 'DRIVER=b']):
            with self.subTest(words=words):
                result = subprocess.run(['make', '-s', *words, show, 'DIR=a'], text=True,
                                        cwd=self.repo, env=self.environment(), check=False,
                                        capture_output=True)
                self.assertEqual(result.returncode, 2, result.stdout)
                self.assertIn('DIR= is of make driver; elsewhere DRIVER=PATH', result.stderr)

    def test_help(self) -> None:
        text = self.make('help').stdout
        for word in ('run', 'e2e', 'test', 'tree', 'clean', 'KVER', 'KDIR', 'JOBS', 'V=',
                     'test-all', 'ARCH', 'SMP', 'RT', 'SAN', 'LLVM', 'DRIVER',
                     'N passed, N failed'):
            self.assertIn(word, text)

    def test_help_is_whole(self) -> None:
        """Each line is shown; there is one for each verb, and for each variable."""
        lines = (HERE / 'help.txt').read_text(encoding='utf-8').splitlines()
        shown = [line[2:].removeprefix(' ') for line in lines if line.startswith('#:')]
        self.assertEqual(self.make('help').stdout.splitlines(), shown)
        self.assertEqual([line for line in lines if not line.startswith('#')], [])
        makefile = (TOP / 'Makefile').read_text(encoding='utf-8').replace('\\\n', '')
        verbs = re.search(r'^\.PHONY:(.*)$', makefile, re.MULTILINE)
        exported = re.search(r'^export (.*)$', makefile, re.MULTILINE)
        assert verbs and exported
        self.assertEqual(tuple(exported[1].split()), VARIABLES)
        self.assertEqual(sorted(verbs[1].split()),
                         sorted(['help', 'driver', *(verb.name for verb in VERBS)]))
        for verb in verbs[1].split():
            self.assertRegex(makefile, rf'(?m)^(?:[\w-]+ )*{verb}(?: [\w-]+)*:')
        for word in [f'make {verb}' for verb in verbs[1].split()] + exported[1].split():
            self.assertRegex('\n'.join(shown), rf'(?m)^  {word}\b')


class BadInputTest(FrontDoorTest):
    def refuse(self, verb: str, *parts: str, **variables: str) -> None:
        """As packages.sh has it checked, ahead of all else."""
        result = self.call('--check', verb, **variables)
        self.assertEqual(result.returncode, EXIT_USAGE, result.stdout)
        self.assertTrue(result.stderr.startswith('error: '), result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)

    def test_no_such_kernel(self) -> None:
        self.refuse('tree', 'KVER=5.4', ', '.join(SUITES), 'KDIR=', KVER='5.4')

    def test_kdir_is_no_kernel(self) -> None:
        with contextlib.chdir(self.repo):
            self.refuse('tree', str(self.repo / 'hooks'), 'not a kernel source tree', KDIR='hooks')

    def test_kdir_too_old(self) -> None:
        write(self.kernel, {'Makefile': 'VERSION = 6\nPATCHLEVEL = 1\n'})
        self.refuse('run', str(self.kernel), '6.1', '6.12', KDIR=str(self.kernel))

    def test_kver_and_kdir(self) -> None:
        self.refuse('tree', 'KVER=7.3', f'KDIR={self.kernel}', KVER='7.3',
                    KDIR=str(self.kernel))

    def test_bad_numbers(self) -> None:
        for jobs in ('many', '0', '4097', '9' * 5000):
            self.refuse('run', f'JOBS={jobs}: want a number, 1 to 4096', JOBS=jobs)
        self.refuse('run', '1 to 8', SMP='9' * 5000)
        self.refuse('tree', 'V=yes', V='yes')

    def test_bad_machine(self) -> None:
        self.refuse('run', 'ARCH=alpha', 'um', 'x86_64', ARCH='alpha')
        self.refuse('run', 'SMP=9', '1 to 8', SMP='9')
        self.refuse('run', 'SMP=1', '2 to 8', 'UML', ARCH='x86_64', SMP='1')
        self.refuse('run', 'RT=1', 'ARCH=um', RT='1')
        self.refuse('run', 'SAN=ubsan', 'kasan or kcsan', SAN='ubsan')
        self.refuse('run', 'SAN=kcsan', 'ARCH=x86_64', SAN='kcsan')

    def test_uml_without_smp(self) -> None:
        self.assert_error(self.make('run', KDIR=str(self.kernel), SMP='2'), 2, 'SMP=2',
                          str(self.kernel), 'arch/um/Kconfig', 'ARCH=x86_64')

    def test_test_takes_no_machine(self) -> None:
        for verb in ('test', 'test-all'):
            for name, value in (('KVER', '7.3'), ('SMP', '2'), ('SAN', 'kasan')):
                self.refuse(verb, f'"{verb}"', name, **{name: value})
        self.refuse('bench', '"bench"', 'SMP', SMP='2')

    def test_driver_with_another_verb(self) -> None:
        self.refuse('run', 'DRIVER=/drv', '"modules"', '"run"', DRIVER='/drv')

    def test_before_anything_is_done(self) -> None:
        """What is given is checked before packages are installed, or a tree is copied."""
        apt = self.scratch / 'bin/dpkg-query'
        write(self.scratch, {'bin/dpkg-query': '#!/bin/sh\n', 'bin/sudo': '#!/bin/sh\nexit 1\n',
                             'bin/apt-get': '#!/bin/sh\necho INSTALLED; exit 1\n'})
        for path in apt.parent.iterdir():
            path.chmod(0o755)
        (self.kernel / 'tools/testing/kunit/kunit.py').unlink()
        (self.scratch / 'empty').mkdir()
        result = self.make('modules', PATH=f'{apt.parent}:{os.environ["PATH"]}', DRIVER='/no/such')
        self.assert_error(result, 2, 'DRIVER=/no/such', 'no such folder')
        self.assertNotIn('INSTALLED', result.stdout)
        for verb, variables, parts in (
                ('audit', {'DRIVER': str(self.scratch / 'empty')}, ('empty', 'no Kbuild')),
                ('audit', {'BASELINE': '/no/such'}, ('BASELINE=/no/such', 'no such file')),
                ('run', {'KDIR': str(self.kernel)}, (f'KDIR={self.kernel}', 'kunit.py')),
                ('e2e', {'SMP': '99'}, ('SMP=99',)),
                *(('e2e', {'ARCH': arch}, (f'ARCH={arch}: nobody',))
                  for arch in ('i386', 'arm', 'riscv', 'powerpc', 'powerpcle')),
                *((verb, {'TOPIC': 'typo'}, ('TOPIC=typo', 'annotation'))
                  for verb in ('series', 'check-series')),
                ('run', {'KDIR': '/no/such'}, ('KDIR=/no/such', 'no folder'))):
            with self.subTest(verb, **variables):
                self.refuse(verb, *parts, **variables)
        self.assertFalse((self.repo / 'build').exists())

    def test_no_such_variable(self) -> None:
        result = subprocess.run(['make', '-s', 'run', 'KVERS=7.3', 'V=1'], cwd=self.repo, text=True,
                                env=self.environment(), capture_output=True, check=False)
        self.assert_error(result, 2, 'error: KVERS: there is no such variable')

    def test_kdir_with_a_blank_and_quotes(self) -> None:
        odd = self.scratch / 'a "kernel\'s" tree'
        self.kernel.rename(odd)
        result = self.make('tree', KDIR=str(odd))
        self.assertIn(f'({odd}, 1 hooks, 2 files)', result.stdout, result.stderr)

    def test_hook_does_not_apply(self) -> None:
        write(self.repo, {'hooks/foo.patch': FOO_PATCH.replace('int line8', 'int other')})
        self.assert_error(self.make('tree', KDIR=str(self.kernel)), 3, 'hooks/foo.patch',
                          'mm/foo.c; Hunk #1 FAILED', '6.12.5', str(self.kernel))

    def test_damaged_expected_skips(self) -> None:
        write(self.repo, {'tools/testing/kunit/nonblock/result/expected-skips': 'no x\n'})
        self.assert_error(self.make('run', KDIR=str(self.kernel)), 2, 'expected-skips:1')
        write(self.repo, {'tools/testing/kunit/nonblock/result/expected-skips': 'x|mm/x.c|end(\n'})
        self.assert_error(self.make('run', KDIR=str(self.kernel)), 2, 'expected-skips:1', 'end(')
        self.assertFalse((self.repo / 'build').exists())


class BadWeatherTest(FrontDoorTest):
    def test_no_network(self) -> None:
        if not shutil.which('apt-get'):
            self.skipTest('no apt-get here')
        closed, config = 'http://127.0.0.1:9', self.scratch / 'apt.conf'
        config.write_text('Acquire::Retries "0";')      # apt would wait in between
        result = self.make('tree', http_proxy=closed, https_proxy=closed, APT_CONFIG=str(config))
        self.assert_error(result, 4, 'downloading linux-source-6.12 failed', 'Unable to locate',
                          'network', 'KDIR=')
        self.assertEqual([path for path in (self.scratch / 'cache').rglob('linux-source*')], [])

    def make_on_full_disk(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """`make tree` with a tiny file system at this folder."""
        command = in_private_mounts(self)
        folder.mkdir(parents=True)
        script = (f'mount -t tmpfs -o size=128k none {shlex.quote(str(folder))} && '
                  f'make PYTHON={shlex.quote(sys.executable)} tree')
        return subprocess.run([*command, 'sh', '-c', script], cwd=self.repo, text=True,
                              env=self.environment(KDIR=str(self.kernel)), capture_output=True)

    def test_disk_full_while_copying(self) -> None:
        write(self.kernel, {'mm/large.c': 'x' * 200_000})
        result = self.make_on_full_disk(self.repo / 'build')
        self.assert_error(result, 7, 'disk is full', 'No space left on device', 'run it again')

    def test_disk_full_while_staging(self) -> None:
        write(self.repo, {'mm/large.c': 'x' * 200_000})
        result = self.make_on_full_disk(self.repo / 'build')
        self.assert_error(result, 7, 'No space left on device', 'run it again')

    def test_build_folder_not_writable(self) -> None:
        if os.geteuid() == 0:
            (self.repo / 'build').write_text('a file, where root cannot make a folder either')
        else:
            (self.repo / 'build').mkdir(mode=0o555)
        self.assert_error(self.make('tree', KDIR=str(self.kernel)), 7, str(self.repo / 'build'))


class PackagesTest(ScratchTest):
    """packages.sh, with a PATH in which the machine looks as it must for the test."""

    def script(self, *arguments: str, check: str = '', system: str = 'ID=debian VERSION_ID="12"',
               kdir: str = '', **programs: str) -> subprocess.CompletedProcess[str]:
        (self.scratch / 'os-release').write_text(f"PRETTY_NAME='Foo 1.0'\n{system}\n")
        tools = self.scratch / 'bin'
        tools.mkdir()
        for name in ('sh', 'cut', 'sed', 'env'):
            (tools / name).symlink_to(shutil.which(name) or name)
        for name, body in programs.items():
            path = tools / name.replace('_', '-')
            path.write_text(f'#!/bin/sh\n{body}\n')
            path.chmod(0o755)
        return subprocess.run(['/bin/sh', HERE / 'packages.sh', *arguments], text=True,
                              capture_output=True, env={
                                  'PATH': str(tools), 'CHECK': check, 'KDIR': kdir,
                                  'OS_RELEASE': str(self.scratch / 'os-release')})

    def packages(self) -> list[str]:
        text = (HERE / 'packages.sh').read_text()
        found = re.findall(r"""needed=(?:'|"\$needed\n)(.*?)['"]\n\t?tools""", text, re.DOTALL)
        self.assertEqual(len(found), 2)
        return [line.split()[0] for part in found for line in part.splitlines()]

    def test_nothing_missing(self) -> None:
        every = ''.join(f'echo installed {name}\n' for name in self.packages())
        result = self.script(dpkg_query=every)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, '', ''))

    def test_neither_root_nor_sudo(self) -> None:
        every = ''.join(f'echo installed {name}\n' for name in self.packages() if name != 'bc')
        result = self.script(dpkg_query=every, id='echo 1000')
        self.assertEqual(result.returncode, 7)
        self.assertIn('bc: computes', result.stderr)
        self.assertIn('apt-get update && apt-get install -y --no-install-recommends bc\n',
                      result.stderr)

    def test_installs_through_sudo_what_is_missing(self) -> None:
        every = ''.join(f'echo installed {name}\n' for name in self.packages() if name != 'bc')
        result = self.script(dpkg_query=every, id='echo 1000', sudo='echo sudo "$@"')
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y '
                      '--no-install-recommends bc\n', result.stdout)

    def test_what_is_done_as_root_is_said_before(self) -> None:
        every = ''.join(f'echo installed {name}\n' for name in self.packages() if name != 'bc')
        for name, programs in (('sudo apt-get', {'id': 'echo 1000', 'sudo': 'echo now "$@"'}),
                               ('apt-get', {'id': 'echo 0', 'apt_get': 'echo now "$@"'})):
            result = self.script(dpkg_query=every, **programs)
            self.assertRegex(result.stdout, rf'^packages.sh: missing, and now installed as root, '
                             rf'by {name}:\n    bc: computes .*\nnow ')
            shutil.rmtree(self.scratch / 'bin')

    def test_no_compiler_for_a_tree(self) -> None:
        result = self.script('source', dpkg_query='exit 1', id='echo 1000')
        self.assertIn('xz-utils: unpacks', result.stderr)
        self.assertNotRegex(result.stderr, 'gcc|binutils|flex')
        makefile = (TOP / 'Makefile').read_text(encoding='utf-8')
        self.assertRegex(makefile, r'(?m)^tree series(?: [\w-]+)*:\n\t@\$\(PACKAGES\) source\n')

    def test_what_is_given_is_checked_first(self) -> None:
        """And nothing is installed if that cannot do."""
        programs = {'dpkg_query': 'exit 1', 'id': 'echo 0', 'apt_get': 'echo now "$@"',
                    'python3': 'echo "error: no $2"; exit 2'}
        result = self.script(check='python3 run --check', **programs)
        self.assertEqual((result.returncode, result.stdout), (2, 'error: no --check\n'))
        shutil.rmtree(self.scratch / 'bin')
        del programs['python3']         # it is to be installed
        self.assertIn('now install', self.script(check='python3 --check run', **programs).stdout)

    def test_removed_but_not_purged_is_missing(self) -> None:
        every = ''.join(f'echo installed {name}\n' for name in self.packages() if name != 'bc')
        result = self.script(dpkg_query=every + 'echo config-files bc', id='echo 1000')
        self.assertEqual(result.returncode, 7)

    def test_apt_fails(self) -> None:
        result = self.script(dpkg_query='exit 1', id='echo 0',
                             apt_get='echo no network >&2; exit 100')
        self.assertEqual(result.returncode, 7)
        self.assertIn('is the network up', result.stderr)

    def test_qemu_of_each_debian(self) -> None:
        for version, package in ('12', 'misc'), ('13', 'riscv'):
            result = self.script('riscv', system=f'ID=debian VERSION_ID="{version}"',
                                 dpkg_query='exit 1', id='echo 1000')
            self.assertEqual(re.findall(r'^    qemu-system-(\w+):', result.stderr, re.MULTILINE),
                             [package])
            shutil.rmtree(self.scratch / 'bin')

    def assert_ways(self, result: subprocess.CompletedProcess[str], names: str) -> None:
        """One sentence that has all that works there"""
        self.assertEqual((result.returncode, result.stdout), (7, ''))
        line, = result.stderr.splitlines()
        for part in ('this is Foo 1.0 and not Debian 12 or 13', '.ci/Containerfile',
                     'KDIR=/path/to/linux', 'Documentation/ci.rst', names):
            self.assertIn(part, line)

    def test_ubuntu(self) -> None:
        names = ': python3 xz-utils patch unifdef git gcc libc6-dev make binutils flex bison bc'
        ubuntu = 'ID=ubuntu VERSION_ID="24.04"'
        self.assert_ways(self.script(system=ubuntu, dpkg_query='exit 1'), names)

    def test_another_system_is_told_after_what_is_wrong(self) -> None:
        result = self.script(check='python3 --check run', system='ID=ubuntu',
                             python3='echo "error: no $2"; exit 2')
        self.assertEqual((result.returncode, result.stderr), (2, ''))
        shutil.rmtree(self.scratch / 'bin')
        # make test takes no KDIR.
        self.assertNotIn('KDIR', self.script('test', system='ID=ubuntu').stderr)

    def test_ubuntu_with_a_kernel(self) -> None:
        result = self.script(system='ID=ubuntu', kdir='/linux', dpkg_query='exit 1', id='echo 0',
                             apt_get='echo "apt-get $*"')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertIn('--no-install-recommends python3 xz-utils', result.stdout)
        self.assertNotIn('keyring', result.stdout)

    def test_fedora(self) -> None:
        names = (': python3 xz patch unifdef git gcc glibc-static make binutils flex bison bc '
                 'qemu-system-x86 elfutils-libelf-devel openssl-devel')
        self.assert_ways(self.script('x86_64', system='ID=fedora'), names)

    def test_fedora_with_a_kernel(self) -> None:
        tools = dict.fromkeys('python3 gcc make ld flex bison bc xz patch unifdef'.split(), 'exit')
        result = self.script(system='ID=fedora', kdir='/linux', **tools)
        self.assertTrue(result.stderr.startswith('packages.sh: git is missing; this is Foo'))
        self.assert_ways(result, 'glibc-static')
        shutil.rmtree(self.scratch / 'bin')
        result = self.script(system='ID=fedora', kdir='/linux', **tools, git='exit')
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, '', ''))

    def test_another_debian(self) -> None:
        result = self.script(system='ID=debian', dpkg_query='exit 1', id='echo 0',
                             apt_get='echo "apt-get $*"')
        self.assertEqual(result.returncode, 0)
        self.assertIn('this is Foo 1.0 and not Debian 12 or 13', result.stdout)
        self.assertIn('apt-get install -y', result.stdout)

    def test_no_name_of_a_system(self) -> None:
        self.assertEqual(self.script(system='').returncode, 7)
