# SPDX-License-Identifier: GPL-2.0-only
"""Tests of where kernel sources come from: a user's tree, and the cache."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from unittest import mock

from nonblock.common import EXIT_MACHINE, EXIT_SOURCE, EXIT_USAGE, Failure
from nonblock.tests.fixtures import KERNEL, ScratchTest, quiet, snapshot, write
from nonblock.tree.source import (SUITES, Base, cache_dir, check_kver, from_debian, from_kdir,
                                  source_files)
from nonblock.tree.prepare import Preparer


class KdirTest(ScratchTest):
    def base(self) -> Base:
        return from_kdir(str(self.kernel), self.repo / 'build')

    def git(self, *arguments: str) -> None:
        subprocess.run(['git', '-c', 'user.name=x', '-c', 'user.email=x@x', *arguments],
                       cwd=self.kernel, check=True, capture_output=True)

    def make_dirty_git(self) -> None:
        write(self.kernel, {'tracked.o': 'tracked, and ignored', 'mm/gone.c': 'int gone;\n'})
        self.git('init', '-q')
        self.git('add', '-f', '.')
        self.git('commit', '-q', '-m', 'all')
        write(self.kernel, {'mm/bar.c': 'int edited;\n', 'mm/untracked.c': '', 'mm/built.o': ''})
        (self.kernel / 'mm/gone.c').unlink()

    def refuse(self, kdir: Path, *parts: str) -> None:
        with self.assertRaises(Failure) as caught:
            from_kdir(str(kdir), self.repo / 'build')
        self.assertEqual(caught.exception.code, EXIT_USAGE)
        for part in (str(kdir), *parts):
            self.assertIn(part, str(caught.exception))

    def test_version(self) -> None:
        base = self.base()
        self.assertEqual(base.release, '6.12.5')
        self.assertRegex(base.name, r'^kdir-kernel-[0-9a-f]{8}$')

    def test_release_candidate(self) -> None:
        write(self.kernel, {'Makefile': 'VERSION = 7\nPATCHLEVEL = 4\nSUBLEVEL = 0\n'
                            'EXTRAVERSION = -rc2\n'})
        self.assertEqual(self.base().release, '7.4.0-rc2')

    def test_no_such_folder(self) -> None:
        self.refuse(self.scratch / 'nowhere', 'there is no folder')
        loop = self.scratch / 'loop'
        loop.symlink_to(loop)
        self.refuse(loop, f'KDIR={loop}: ')

    def test_not_a_kernel(self) -> None:
        self.refuse(self.repo, 'not a kernel source tree')

    def test_too_old(self) -> None:
        write(self.kernel, {'Makefile': 'VERSION = 6\nPATCHLEVEL = 1\n'})
        self.refuse(self.kernel, 'Linux 6.1', '6.12 or newer', 'kunit_vm_mmap')

    def test_a_prepared_tree(self) -> None:
        with quiet():
            prepared = Preparer(self.repo, self.base())
            prepared.prepare()
        self.refuse(prepared.tree, 'inside')

    def test_dirty_git_tree(self) -> None:
        self.make_dirty_git()
        files = source_files(self.base())
        for name in ('mm/bar.c', 'mm/untracked.c', 'tracked.o', '.gitignore'):
            self.assertIn(name, files)
        for name in ('mm/gone.c', 'mm/built.o', '.git/HEAD'):
            self.assertNotIn(name, files)
        with quiet():
            prepared = Preparer(self.repo, self.base())
            prepared.prepare()
        self.assertEqual((prepared.tree / 'mm/bar.c').read_text(), 'int edited;\n')

    def test_repositories_in_it(self) -> None:
        """A driver as a submodule, and one by itself, which a link leads to; no other kernel."""
        for name in ('drivers/sub', 'mine', 'other'):
            write(self.kernel, {f'{name}/{file}': text for file, text in {
                'core.c': '', 'core.o': '', '.gitignore': '*.o\n'}.items()})
            self.git('init', '-q', name)
        write(self.kernel, {'other/tools/testing/kunit/kunit.py': '', '.config': ''})
        (self.kernel / 'drivers/mine').symlink_to('../mine')
        self.git('-C', 'drivers/sub', 'add', '.')
        self.git('-C', 'drivers/sub', 'commit', '-q', '-m', 'sub')
        for git in (False, True):
            with self.subTest(git=git):
                if git:
                    self.git('init', '-q')
                    self.git('add', 'drivers/sub')
                files = source_files(self.base())
                for name in ('drivers/sub/core.c', 'mine/core.c', 'drivers/mine'):
                    self.assertIn(name, files)
                for name in ('drivers/sub/core.o', 'mine/core.o', 'drivers/mine/core.c',
                             'other/core.c', 'mine/.git/HEAD'):
                    self.assertNotIn(name, files)

    def test_git_tree_of_someone_else(self) -> None:
        self.make_dirty_git()
        if os.geteuid() != 0:
            self.skipTest('only root can give a tree to someone else')
        for path in [self.kernel, *self.kernel.rglob('*')]:
            os.chown(path, 12345, 12345)
        self.assertIn('tracked.o', source_files(self.base()))

    def test_tree_without_git(self) -> None:
        """All of it is source, unless something was built there."""
        write(self.kernel, {'.gitignore': '/*\n', 'mm/foo.o': ''})
        self.assertEqual(source_files(self.base()),
                         sorted([*KERNEL, 'mm/foo.o', 'tools/testing/kunit/kunit.py']))

    def test_tree_without_git_but_with_products(self) -> None:
        write(self.kernel, {'mm/foo.o': '', '.config': '', 'include/generated/autoconf.h': ''})
        self.assertEqual(source_files(self.base()),
                         sorted([*KERNEL, 'tools/testing/kunit/kunit.py']))

    def test_debians_gitignore_hides_everything(self) -> None:
        write(self.kernel, {'.gitignore': '.*\n*.o\n/*\n!/debian/\n', 'mm/foo.o': '',
                            'lib/.kunitconfig': '', '.config': '', 'vmlinux': '',
                            'modules.order': ''})
        self.assertEqual(source_files(self.base()),
                         sorted([*(set(KERNEL) - {'.gitignore'}), 'lib/.kunitconfig',
                                 'tools/testing/kunit/kunit.py']))

    def test_tree_inside_another_repository(self) -> None:
        subprocess.run(['git', 'init', '-q', self.scratch], check=True)
        write(self.scratch, {'.gitignore': 'kernel/\n'})
        subprocess.run(['git', 'add', '-f', 'kernel/mm/bar.c'], cwd=self.scratch, check=True)
        self.assertIn('mm/foo.c', source_files(self.base()))

    def test_never_written_to(self) -> None:
        for git in (False, True):
            with self.subTest(git=git):
                if git:
                    self.make_dirty_git()
                    # A tree whose index git would like to refresh.
                    os.utime(self.kernel / 'mm/foo.c', (1, 1))
                before = snapshot(self.kernel)
                with quiet():
                    Preparer(self.repo, self.base()).prepare()
                    write(self.repo, {'hooks/series': ''})
                    Preparer(self.repo, self.base()).prepare()
                self.assertEqual(snapshot(self.kernel), before)


@unittest.skipUnless(shutil.which('dpkg-deb'), 'no dpkg-deb here, and so no Debian packages')
class CacheTest(ScratchTest):
    """Packages in the cache, as apt leaves them there; nothing here needs a network."""

    def setUp(self) -> None:
        super().setUp()
        patched = mock.patch.dict(os.environ, self.environment())
        patched.start()
        self.addCleanup(patched.stop)
        self.cache = cache_dir()
        self.cache.mkdir(parents=True)
        self.output = ''

    def add_package(self, version: str) -> Path:
        """Make a package like Debian's, with the small kernel in it."""
        top = self.scratch / 'package'
        write(top, {'DEBIAN/control': 'Package: linux-source-6.12\nArchitecture: all\n'
                    f'Version: {version}\nMaintainer: x <x@x>\nDescription: x\n'})
        (top / 'usr/src').mkdir(parents=True, exist_ok=True)
        subprocess.run(['tar', '-cJf', top / 'usr/src/linux-source-6.12.tar.xz',
                        '--transform=s,^kernel,linux-source-6.12,', 'kernel'],
                       cwd=self.scratch, check=True)
        deb = self.cache / f'linux-source-6.12_{version}_all.deb'
        subprocess.run(['dpkg-deb', '--root-owner-group', '-b', top, deb], check=True,
                       stdout=subprocess.DEVNULL)
        return deb

    def get(self) -> Base:
        with quiet() as output:
            try:
                return from_debian('6.12')
            finally:
                self.output = output.getvalue()

    def test_unpack(self) -> None:
        deb = self.add_package('6.12.5-1~deb12u1')
        base = self.get()
        self.assertEqual(base.origin, 'linux-source-6.12 6.12.5-1~deb12u1')
        self.assertEqual(base.path, self.cache / 'linux-source-6.12_6.12.5-1~deb12u1')
        self.assertTrue((base.path / 'mm/foo.c').is_file())
        self.assertFalse(deb.exists())

    def test_leftovers_are_removed(self) -> None:
        self.add_package('6.12.5-1')
        for name in ('linux-source-6.12_6.12.5-1.tmp', 'download.tmp'):
            write(self.cache / name, {'Makefile': 'half a file'})
        base = self.get()
        self.assertIn('left over', self.output)
        self.assertEqual(base.release, '6.12.5')
        self.assertEqual(list(self.cache.glob('*.tmp')), [])

    def test_killed_while_unpacking(self) -> None:
        self.add_package('6.12.5-1')
        self.copy_runner()
        # A tar that unpacks some, and then takes its time.
        write(self.scratch / 'bin', {'tar': '#!/bin/sh\ncase $1 in -xJf) '
                                     'shift $(($# - 1)); '
                                     'echo half > $1/Makefile; exec sleep 300;; esac\n'
                                     f'exec {shutil.which("tar")} "$@"\n'})
        (self.scratch / 'bin/tar').chmod(0o755)
        temporary = self.cache / 'linux-source-6.12_6.12.5-1.tmp'
        with subprocess.Popen([sys.executable, 'tools/testing/kunit/nonblock', 'tree'],
                              cwd=self.repo, stdout=subprocess.DEVNULL, start_new_session=True,
                              env=self.environment(PATH=f'{self.scratch}/bin:{os.environ["PATH"]}')
                              ) as process:
            deadline = time.monotonic() + 20
            while not (temporary / 'linux/Makefile').exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
        self.assertTrue(temporary.exists())
        self.assertFalse(temporary.with_suffix('').exists())
        self.assertEqual(self.get().release, '6.12.5')

    def test_damaged_package(self) -> None:
        deb = self.add_package('6.12.5-1')
        deb.write_bytes(deb.read_bytes()[:-300])
        with self.assertRaises(Failure) as caught:
            self.get()
        self.assertEqual(caught.exception.code, EXIT_SOURCE)
        self.assertIn(f'remove {deb} to download it again', str(caught.exception))
        self.assertEqual([path for path in self.cache.glob('linux-source-*') if path.suffix == ''
                          and path.is_dir()], [])

    def test_no_apt(self) -> None:
        with mock.patch.dict(os.environ, {'PATH': str(self.scratch)}):
            with self.assertRaises(Failure) as caught:
                self.get()
        self.assertIn(caught.exception.code, (EXIT_SOURCE, EXIT_MACHINE))
        self.assertIn('KDIR=', str(caught.exception))

    def test_unknown_version(self) -> None:
        with quiet(), self.assertRaisesRegex(Failure, f'KVER=5.4.*{", ".join(SUITES)}.*KDIR='):
            check_kver('5.4')
