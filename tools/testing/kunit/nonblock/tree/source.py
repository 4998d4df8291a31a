# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel source comes from: Debian's packages, or a tree of the user's."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from nonblock.common import (EXIT_MACHINE, EXIT_SOURCE, EXIT_USAGE, Failure, capture, lock,
                             say, tool_failure)

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
    immutable: bool             # an unpacked package: unchanged for ever


def read_version(path: Path) -> tuple[tuple[int, int], str]:
    """The version of the kernel tree at this path."""
    try:
        makefile = (path / 'Makefile').read_text(encoding='utf-8', errors='replace')
    except OSError:
        makefile = ''
    found = dict(re.findall(r'^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)',
                            makefile, re.MULTILINE))
    files = all((path / name).is_file() for name in ('Kbuild', 'Kconfig'))
    if not files or not all(found.get(key, '').isdigit() for key in ('VERSION', 'PATCHLEVEL')):
        raise Failure(EXIT_USAGE, f'{path} is not a kernel source tree (no Kbuild, no Kconfig, or '
                      'no Makefile with VERSION and PATCHLEVEL). KDIR= wants the top of one.')
    release = f'{found["VERSION"]}.{found["PATCHLEVEL"]}'
    if found.get('SUBLEVEL'):
        release += '.' + found['SUBLEVEL']
    return ((int(found['VERSION']), int(found['PATCHLEVEL'])),
            release + found.get('EXTRAVERSION', ''))


# A tree of the user's

def from_kdir(text: str, build: Path) -> Base:
    path = Path(text).expanduser().resolve()
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
    return Base(f'kdir-{label}-{digest}', path, str(path), release, False)


def source_files(base: Base) -> list[str]:
    """All files of the source, without what a build has left in the tree."""
    if base.immutable:
        found = [os.path.relpath(os.path.join(folder, name), base.path)
                 for folder, folders, names in os.walk(base.path)
                 for name in names + [d for d in folders
                                      if os.path.islink(os.path.join(folder, d))]]
    else:
        found = _tracked_files(base.path) or _unignored_files(base.path)
    # git also lists tracked files that were deleted, and nested repositories.
    return sorted(name for name in set(found)
                  if os.path.islink(base.path / name) or os.path.isfile(base.path / name))


# Options that keep git from writing to a repository, from asking helpers,
# and from minding who owns it; and the user's own ignore list does not count.
GIT = ('git', '-c', 'core.fsmonitor=false', '-c', 'core.untrackedCache=false',
       '-c', 'core.excludesFile=/dev/null', '-c', 'safe.directory=*')


def _git(arguments: list[str | Path], cwd: Path) -> Optional[list[str]]:
    env = {**{k: v for k, v in os.environ.items() if not k.startswith('GIT_')},
           'GIT_OPTIONAL_LOCKS': '0'}
    result = capture([*GIT, *arguments], cwd, env)
    return result.stdout.split('\0')[:-1] if result.returncode == 0 else None


def _tracked_files(path: Path) -> Optional[list[str]]:
    """What git calls the source: tracked files and those it would add."""
    if not (path / '.git').exists():
        return None             # not to find a repository further up
    return _git(['ls-files', '-z', '--cached', '--others', '--exclude-standard'], path)


# Debian's linux-source has a .gitignore that hides everything at the top
# ("/*") and no longer makes the usual exceptions from ".*". There, what a
# build leaves at the top is told by name.
UNHIDE = ('!/*', '!.gitignore', '!.kunitconfig', '/.*', '/linux', '/vmlinux*', '/vmlinuz',
          '/System.map', '/Module.symvers', '/modules.*', '/compile_commands.json',
          '*.o', '*.a', '*.ko', '*~')


def _unignored_files(path: Path) -> list[str]:
    """The source of a tree without git, by the .gitignore files in it."""
    with tempfile.TemporaryDirectory() as scratch:
        capture(['git', 'init', '-q', '--template=', scratch])
        work: list[str | Path] = [f'--git-dir={scratch}/.git', f'--work-tree={path}']
        hidden = _git([*work, 'check-ignore', '-q', 'Makefile'], path) is not None
        unhide = [f'--exclude={pattern}' for pattern in UNHIDE] if hidden else []
        found = _git([*work, 'ls-files', '-z', '--others', *unhide, '--exclude-standard'], path)
    if not found:
        raise Failure(EXIT_SOURCE, f'git cannot list the files of {path}. Can you read all of it?')
    return found


# Debian's packages

def cache_dir() -> Path:
    top = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(top).expanduser().absolute() / 'mmu-notifier-nonblock'


def check_kver(kver: str) -> None:
    if kver not in SUITES:
        raise Failure(EXIT_USAGE, f'KVER={kver}: there is no such kernel here. Known: '
                      f'{", ".join(SUITES)}; for another one give its source, KDIR=/path/to/linux.')


def from_debian(kver: str, update: bool) -> Base:
    check_kver(kver)
    package = f'linux-source-{kver}'
    cache = cache_dir()
    with lock(cache / 'lock', f'the cache {cache}'):
        # We hold the lock, so these are from runs that were interrupted.
        for stale in cache.glob('*.tmp'):
            say(f'removing {stale}, left over by an interrupted run')
            shutil.rmtree(stale)
        path = None if update else _newest(cache, package)
        if path is None:
            path = _unpack(_download(cache, kver, update))
    return Base(kver, path, path.name.replace('_', ' '), read_version(path)[1], True)


def _newest(cache: Path, package: str) -> Optional[Path]:
    """The newest unpacked source of this package that the cache has."""
    def compare(one: Path, other: Path) -> int:
        older = capture(['dpkg', '--compare-versions', one.name.split('_')[1], 'lt',
                         other.name.split('_')[1]]).returncode == 0
        return -1 if older else 1
    found = [path for path in cache.glob(package + '_*') if path.is_dir()]
    return max(found, key=functools.cmp_to_key(compare)) if found else None


class Apt:
    """apt with lists and a cache of our own: no root, nothing of the system's changes."""

    def __init__(self, folder: Path, sources: Optional[str] = None):
        self.folder = folder
        for name in ('empty', 'lists/partial', 'archives/partial'):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / 'status').touch()
        dump = capture(['apt-config', 'dump'])
        if dump.returncode != 0:
            raise tool_failure(EXIT_MACHINE, 'apt-config dump', dump.stderr)
        # How to reach the mirrors (proxies and so on) is kept. Hooks that run
        # after an update are not: they are for the system's lists. Nor are
        # additional indices that nothing here reads.
        kept = [line for line in dump.stdout.splitlines()
                if line.startswith('Acquire::') and 'IndexTargets' not in line]
        settings = {
            'Dir::State': folder, 'Dir::State::lists': folder / 'lists',
            'Dir::State::status': folder / 'status', 'Dir::Cache': folder,
            'Dir::Cache::archives': folder / 'archives',
            'Dir::Etc::main': folder / 'empty/none', 'Dir::Etc::parts': folder / 'empty',
            # As root apt would fetch as a user who cannot write to our cache.
            'APT::Sandbox::User': 'root',
            'Acquire::Languages': 'none',
            'Acquire::IndexTargets::deb-src::Sources::DefaultEnabled': 'false',
        }
        if sources is not None:
            (folder / 'private.sources').write_text(sources, encoding='utf-8')
            settings['Dir::Etc::sourcelist'] = folder / 'private.sources'
            settings['Dir::Etc::sourceparts'] = folder / 'empty'
        kept += [f'{key} "{value}";' for key, value in settings.items()]
        (folder / 'apt.conf').write_text('\n'.join(kept) + '\n', encoding='utf-8')
        self.env = {**os.environ, 'APT_CONFIG': str(folder / 'apt.conf'), 'LC_ALL': 'C'}

    def get(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return capture(['apt-get', *arguments], self.folder, self.env)

    def find(self, package: str) -> tuple[Optional[tuple[str, int]], str]:
        """Name and size of the package's file; and what went wrong."""
        update = self.get('update', '-q')
        found = self.get('download', '-q', '--print-uris', package)
        match = re.search(r"^'\S+' (\S+) (\d+) \S+$", found.stdout, re.MULTILINE)
        # A third-party source that is down does not matter if it is found.
        return ((match[1], int(match[2])), '') if match else (None, update.stderr + found.stderr)


def _download(cache: Path, kver: str, update: bool) -> Path:
    """Fetch the newest package; the returned file is one that apt has verified."""
    package = f'linux-source-{kver}'
    waiting = sorted(cache.glob(f'{package}_*.deb'), key=lambda path: path.stat().st_mtime)
    if waiting and not update:
        return waiting[-1]      # downloaded by a run that could not unpack it
    if shutil.which('apt-get') is None:
        raise Failure(EXIT_SOURCE, f'KVER={kver} is a Debian package, and this system has no '
                      'apt-get. Use KDIR=/path/to/linux.')
    say(f'looking for Debian\'s {package} ...')
    system = Apt(cache / 'apt-system')
    if not SUITES[kver]:
        apt = system
        found, trouble = apt.find(package)
    else:
        apt, found, trouble = _find_in_suites(cache, system, package, SUITES[kver])
    if found is None:
        raise Failure(EXIT_SOURCE, _not_found(package, kver, trouble))
    name, size = urllib.parse.unquote(found[0]), found[1]
    unpacked = cache / name.rsplit('_', 1)[0]
    if unpacked.is_dir() or (cache / name).exists():
        say(f'{unpacked.name.replace("_", " ")} is the newest, and in the cache')
        return cache / name
    folder = cache / 'download.tmp'
    folder.mkdir()
    say(f'downloading {name} ({size >> 20} MB) ...')
    # It shows by itself how far it is.
    result = subprocess.run(['apt-get', 'download', package], cwd=folder, env=apt.env, text=True,
                            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if result.returncode:
        raise tool_failure(EXIT_SOURCE, f'downloading {name}', result.stderr)
    files = list(folder.glob('*.deb'))
    if len(files) != 1:
        raise Failure(EXIT_SOURCE, f'apt-get download {package} left no package behind')
    files[0].rename(cache / name)
    folder.rmdir()
    return cache / name


def _find_in_suites(cache: Path, system: Apt, package: str, suites: tuple[str, ...]
                    ) -> tuple[Apt, Optional[tuple[str, int]], str]:
    """Look in other suites of the Debian mirror that the system uses."""
    keyring = next((path for path in KEYRINGS if os.path.exists(path)), None)
    if keyring is None:
        raise Failure(EXIT_MACHINE, f'{KEYRINGS[0]} is missing, without which no download can be '
                      'verified. As root: apt-get install debian-archive-keyring')
    update = system.get('update', '-q')
    targets = system.get('indextargets', '--format',
                         '$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)')
    mirrors = [line.split('|')[4] for line in targets.stdout.splitlines()
               if line.startswith('Packages|Debian|Debian|main|')]
    if not mirrors:
        return system, None, update.stderr or 'The system\'s apt sources have no Debian mirror.'
    trouble = ''
    for suite in suites:
        say(f'looking in {suite} ...')
        apt = Apt(cache / f'apt-{suite}',
                  f'Types: deb\nURIs: {mirrors[0]}\nSuites: {suite}\n'
                  f'Components: main\nSigned-By: {keyring}\n')
        found, trouble = apt.find(package)
        if found is not None:
            return apt, found, ''
    return apt, None, trouble


def _not_found(package: str, kver: str, trouble: str) -> str:
    lines = [line.strip() for line in trouble.splitlines() if line.startswith(('E:', 'W:', 'The'))]
    return (f'apt cannot find {package}:\n    ' + '\n    '.join(lines[:3]) +
            f'\nKVER={kver} needs the network once, and a Debian mirror in the system\'s apt '
            'sources. If a source of yours is at hand, use KDIR=/path/to/linux.')


def _unpack(deb: Path) -> Path:
    """Unpack the kernel source in the package; a whole one has its final name."""
    final = deb.with_name(deb.name.rsplit('_', 1)[0])
    if final.is_dir():
        return final
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
