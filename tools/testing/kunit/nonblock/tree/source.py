# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel source comes from: Debian's packages, or a tree of the user's."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

from nonblock.common import (EXIT_SOURCE, EXIT_USAGE, Failure, capture, lock, say, tool_failure,
                             user_path)

DEFAULT_KVER = '6.12'
FLOOR = (6, 12)
# Builds the kernels, and runs them
KUNIT = 'tools/testing/kunit/kunit.py'

# Debian's kernels, and the suites to look in; none means those that the
# system uses anyway, because every supported Debian release has it.
SUITES: dict[str, tuple[str, ...]] = {
    '6.12': (),
    '7.2': ('trixie-backports', 'sid', 'forky'),
    '7.3': ('trixie-backports', 'sid', 'experimental'),
}
# On these all is tested; on the others `make test` tests the hooks and the suites.
TESTED = ('6.12', '7.3')
# The same keyring under its older and its newer name.
KEYRINGS = ('/usr/share/keyrings/debian-archive-keyring.gpg',
            '/usr/share/keyrings/debian-archive-keyring.pgp')


@dataclass(frozen=True)
class Base:
    """A kernel source to prepare a tree from. It is never written to."""
    name: str                   # of the folder in build/
    path: Path
    origin: str                 # for people: the package, or the path
    release: str                # such as 6.12.117

    @property
    def about(self) -> dict[str, str]:
        """Where a verdict is from, for programs."""
        return {'kernel': self.release, 'source': self.origin}


def read_version(path: Path) -> tuple[tuple[int, int], str]:
    """The version of the kernel tree at this path."""
    try:
        makefile = (path / 'Makefile').read_text(encoding='utf-8', errors='replace')
    except OSError:
        makefile = ''
    found = dict(re.findall(r'^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)',
                            makefile, re.MULTILINE))
    files = all((path / name).is_file() for name in ('Kbuild', 'Kconfig'))
    if not files or not all(found.get(key, '').isdecimal() for key in ('VERSION', 'PATCHLEVEL')):
        raise Failure(EXIT_USAGE, f'{path} is not a kernel source tree (no Kbuild, no Kconfig, or '
                      'no Makefile with VERSION and PATCHLEVEL). KDIR= wants the top of one.')
    release = f'{found["VERSION"]}.{found["PATCHLEVEL"]}'
    if found.get('SUBLEVEL'):
        release += '.' + found['SUBLEVEL']
    return ((int(found['VERSION']), int(found['PATCHLEVEL'])),
            release + found.get('EXTRAVERSION', ''))


# A tree of the user's

def from_kdir(text: str, build: Path) -> Base:
    path = user_path('KDIR', text)
    if not path.is_dir():
        raise Failure(EXIT_USAGE, f'KDIR={text}: there is no folder {path}')
    if path == build or build in path.parents:
        raise Failure(EXIT_USAGE, f'KDIR={text}: this is inside {build}, where the prepared trees '
                      'are. KDIR= wants a tree of your own; for the others leave it out.')
    version, release = read_version(path)
    if version < FLOOR:
        raise Failure(EXIT_USAGE, f'KDIR={text}: this is Linux {release}, and the suites need '
                      f'{FLOOR[0]}.{FLOOR[1]} or newer: they use KUnit\'s user-memory API '
                      '(kunit_vm_mmap), which older kernels do not have.')
    if not (path / KUNIT).is_file():
        raise Failure(EXIT_USAGE, f'KDIR={text}: has no {KUNIT}, which builds the kernels and runs '
                      'them. Is it whole?')
    label = re.sub(r'[^A-Za-z0-9._-]', '_', path.name)
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return Base(f'kdir-{label}-{digest}', path, str(path), release)


# Options that keep git from writing to a repository, from asking helpers,
# and from minding who owns it; and the user's own ignore list does not count.
GIT = ('git', '-c', 'core.fsmonitor=false', '-c', 'core.untrackedCache=false',
       '-c', 'core.excludesFile=/dev/null', '-c', 'safe.directory=*')


# Debian's linux-source has a .gitignore that hides everything at the top, and no longer makes
# the usual exceptions from ".*". There, what a build leaves at the top is told by name.
UNHIDE = ('!/*', '!.gitignore', '!.kunitconfig', '/.*', '/linux', '/vmlinux*', '/vmlinuz',
          '/System.map', '/Module.symvers', '/modules.*', '/compile_commands.json',
          '*.o', '*.a', '*.ko', '*~')


def _git(path: Path, *arguments: str) -> Optional[list[str]]:
    env = {**{k: v for k, v in os.environ.items() if not k.startswith('GIT_')},
           'GIT_OPTIONAL_LOCKS': '0'}
    result = capture([*GIT, *arguments], path, env)
    return result.stdout.split('\0')[:-1] if result.returncode == 0 else None


def with_nested(path: Path, names: Optional[list[str]]) -> Optional[list[str]]:
    """
    The same, and the files of the repositories in it, of which git lists but the folder:
    a driver may be one, as a submodule or by itself. Another kernel is not meant.
    """
    if names is None:
        return None
    nested = [name for name in names if os.path.exists(f'{path}/{name}/.git')
              and not (path / name).is_symlink() and not (path / name / KUNIT).is_file()]
    return names + [os.path.join(name, file) for name in nested
                    for file in git_files(path / name) or ()]


def git_files(path: Path) -> Optional[list[str]]:
    """What git calls the source: tracked files, and those it would add. None without git."""
    listed = ('ls-files', '-z', '--cached', '--others', '--exclude-standard')
    if (path / '.git').exists():
        return with_nested(path, _git(path, *listed))
    # What kbuild goes by, too: something was configured, or built.
    if not any((path / name).exists() for name in ('.config', 'include/config')):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        capture(['git', 'init', '-q', '--template=', scratch])
        work = (f'--git-dir={scratch}/.git', f'--work-tree={path}')
        hidden = _git(path, *work, 'check-ignore', '-q', 'Makefile') is not None
        return with_nested(path, _git(path, *work, *listed,
                                      *(f'--exclude={one}' for one in UNHIDE if hidden)))


def source_files(base: Base) -> list[str]:
    """All files of the source, without what a build has left there."""
    found = git_files(base.path)
    if found is None:
        found = [os.path.relpath(os.path.join(folder, name), base.path)
                 for folder, folders, names in os.walk(base.path) for name in names + folders]
    # No folders. git also lists tracked files that were deleted, and other repositories' folders.
    return sorted(name for name in set(found)
                  if os.path.islink(base.path / name) or os.path.isfile(base.path / name))


# Debian's packages

def cache_dir() -> Path:
    top = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return user_path('XDG_CACHE_HOME', top) / 'mmu-notifier-nonblock'


def check_kver(kver: str) -> None:
    if kver not in SUITES:
        raise Failure(EXIT_USAGE, f'KVER={kver}: there is no such kernel here. Known: '
                      f'{", ".join(SUITES)}; for another one give its source, KDIR=/path/to/linux.')


def from_debian(kver: str) -> Base:
    package = f'linux-source-{kver}'
    cache = cache_dir()
    with lock(cache / 'lock', f'the cache {cache}'):
        # We hold the lock, so these are from runs that were interrupted.
        for stale in cache.glob('*.tmp'):
            say(f'removing {stale}, left over by an interrupted run')
            shutil.rmtree(stale)
        found = sorted(cache.glob(package + '_*'))
        # A package is from a run that could not unpack it.
        path = next((one for one in found if one.is_dir()), None) or \
            _unpack(found[-1] if found else _download(cache, package, SUITES[kver] or ('',)))
    return Base(kver, path, path.name.replace('_', ' '), read_version(path)[1])


def _mirror(cache: Path) -> str:
    """Debian's, as the system reaches it: it may be of a company, or of a registry."""
    env = _apt(cache / 'apt-system')
    update = capture(['apt-get', 'update', '-q'], cache, env)
    targets = capture(['apt-get', 'indextargets', '--format', '$(ORIGIN)|$(LABEL)|$(REPO_URI)',
                       'Created-By: Packages', 'Component: main'], cache, env)
    for line in targets.stdout.splitlines():
        if line.startswith('Debian|Debian|'):
            return line.split('|')[2]
    raise tool_failure(EXIT_SOURCE, 'looking for a Debian mirror in the system\'s apt sources',
                       update.stderr)


def _apt(folder: Path, sources: str = '') -> dict[str, str]:
    """The environment of apt with lists of its own: no root, nothing of the system's changes."""
    for name in ('empty', 'lists/partial', 'archives/partial'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / 'status').touch()
    dump = capture(['apt-config', 'dump'])
    # How to reach the mirrors (proxies and so on) is kept. Hooks that run
    # after an update are not: they are for the system's lists. Nor are
    # additional indices that nothing here reads.
    kept = [line for line in dump.stdout.splitlines()
            if line.startswith('Acquire::') and 'IndexTargets' not in line]
    settings = {
        'Dir::State': folder, 'Dir::State::status': folder / 'status', 'Dir::Cache': folder,
        'Dir::Etc::main': folder / 'empty/none', 'Dir::Etc::parts': folder / 'empty',
        # As root apt would fetch as a user who cannot write to our cache.
        'APT::Sandbox::User': 'root',
        'Acquire::Languages': 'none',
        'Acquire::IndexTargets::deb-src::Sources::DefaultEnabled': 'false',
    }
    if sources:
        (folder / 'private.sources').write_text(sources, encoding='utf-8')
        settings['Dir::Etc::sourcelist'] = folder / 'private.sources'
        settings['Dir::Etc::sourceparts'] = folder / 'empty'
    kept += [f'{key} "{value}";' for key, value in settings.items()]
    (folder / 'apt.conf').write_text('\n'.join(kept) + '\n', encoding='utf-8')
    return {**os.environ, 'APT_CONFIG': str(folder / 'apt.conf'), 'LC_ALL': 'C'}


def _download(cache: Path, package: str, suites: Sequence[str]) -> Path:
    """Fetch the package from the first suite that has it; apt has verified what is returned."""
    hint = 'It needs the network once. If a kernel source is at hand, use KDIR=/path/to/linux.'
    if shutil.which('apt-get') is None:
        raise Failure(EXIT_SOURCE, f'{package} is a Debian package, and this system has no '
                      f'apt-get. {hint}')
    folder, trouble = cache / 'download.tmp', ''
    folder.mkdir()
    for suite in suites:
        say(f'looking for Debian\'s {package} {f"in {suite} " if suite else ""}...')
        keyring = next(filter(os.path.exists, KEYRINGS), KEYRINGS[0])
        env = _apt(cache / f'apt-{suite}',
                   f'Types: deb\nURIs: {_mirror(cache)}\nSuites: {suite}\nComponents: main\n'
                   f'Signed-By: {keyring}\n') if suite else _apt(cache / 'apt-system')
        # A third-party source that is down does not matter if it is found.
        trouble = capture(['apt-get', 'update', '-q'], folder, env).stderr
        # It shows by itself how far it is.
        result = subprocess.run(['apt-get', 'download', package], cwd=folder, env=env, text=True,
                                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        trouble += result.stderr
        for deb in folder.glob('*.deb'):
            deb = deb.rename(cache / urllib.parse.unquote(deb.name))
            folder.rmdir()
            return deb
    raise tool_failure(EXIT_SOURCE, f'downloading {package}', f'{trouble}\n{hint}')


def _unpack(deb: Path) -> Path:
    """Unpack the kernel source in the package; a whole one has its final name."""
    final = deb.with_name(deb.name.rsplit('_', 1)[0])
    package = deb.name.split('_')[0]
    temporary = final.with_name(final.name + '.tmp')
    unpacked = temporary / 'linux'
    unpacked.mkdir(parents=True)
    say(f'unpacking {final.name} ...')
    # The package has one file, which has all of the kernel.
    commands: tuple[list[str | Path], ...] = (
        ['dpkg-deb', '--extract', deb, temporary],
        ['tar', '-xJf', temporary / f'usr/src/{package}.tar.xz', '--no-same-owner',
         '--strip-components=1', '-C', unpacked])
    for command in commands:
        result = capture(command)
        if result.returncode:
            raise tool_failure(EXIT_SOURCE, f'unpacking {final.name} (remove {deb} to download it '
                               'again)', result.stderr)
    read_version(unpacked)
    unpacked.rename(final)
    shutil.rmtree(temporary)
    deb.unlink()
    return final
