# SPDX-License-Identifier: GPL-2.0-only
"""A prepared tree: a kernel source with the hooks applied and the overlay added.

Everything is tried in a stage first, and then installed file by file, by
content: a hook that fails leaves the tree as it was, and make rebuilds only
what has changed.

git could do that: the source committed once, the hooks on top, edits by hand from git
status. It was tried, on 96,010 files of 7.3: git add and git commit, without compression,
took 99 s and 1.8 GB more, on a busy machine on which a first "make tree" took 33 s. git status
is faster than the 4 s of a second one, but the first run is the one that a newcomer waits for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Optional, Sequence

from nonblock.common import (EXIT_TREE, EXIT_USAGE, Failure, capture, remark, say, tool_failure,
                             write_atomically)
from nonblock.tree.hooks import (Hook, candidates, misfit, read_hooks, take_back, touched_files,
                                 try_patches)
from nonblock.tree.source import Base, source_files
from nonblock.tree.unifdef import unifdef

# The folders that are as in the kernel; other pages of Documentation are about the runner
OVERLAY = ('include', 'lib', 'mm', 'samples', 'Documentation/mm', 'tools/testing/selftests')
# For kunit.py run --kunitconfig=.: a link to that of the suites, and no part of the series
KUNITCONFIG = '.kunitconfig'
REJECTED = 'rejected'           # in build/*: the hooks that did not fit, to be finished
# What they consist of. Editors, builds and people leave other files there: git ignores not
# all of these, does not know yet what is new, and is not there at all in an unpacked archive.
KINDS = re.compile(r'\w[\w.+-]*(?<!\.mod)\.(?:[chS]|rst|sh|py|svg)|Makefile|Kbuild|Kconfig|'
                   r'config|settings|\.gitignore|\.kunitconfig')


@dataclass
class Stage:
    """What is to be installed: the files, as they shall be."""
    path: Path
    files: set[str] = field(default_factory=set)    # may be missing in path: deleted by a hook
    hooks: list[str] = field(default_factory=list)  # the patches that were used


# The stage

def overlay_files(repo: Path) -> list[str]:
    found = [os.path.relpath(os.path.join(folder, name), repo)
             for top in OVERLAY for folder, _, names in os.walk(repo / top)
             for name in names if KINDS.fullmatch(name)]
    return sorted(found)


def apply_hook(repo: Path, base: Base, stage: Stage, hook: Hook, present: bool = False) -> None:
    """
    Apply the variant that fits, or raise a Failure that says why none does. It is needed if
    it is present: what it looks for may be what it takes away.
    """
    if not present and not hook.is_for(base.path):
        say(f'hook {hook.name}: not needed, {" and ".join(hook.files)} without {hook.text}')
        return
    patches = candidates(repo, hook.name)
    if patches and not touched_files(patches[0]):
        stage.hooks.append(os.path.relpath(patches[0], repo))
        return
    attempts = try_patches(patches, stage.path)
    if len(attempts) == 1 and not attempts[0].reasons:
        path, fuzz = os.path.relpath(attempts[0].patch, repo), attempts[0].fuzz
        if fuzz or path != f'hooks/{hook.name}':
            say(f'hook {hook.name}: {path} applies' + (' with fuzz' if fuzz else ''))
        stage.files |= touched_files(attempts[0].patch)
        stage.hooks.append(path)
    else:
        raise misfit(repo, hook, attempts, stage.path,
                     repo / 'build' / base.name / REJECTED / hook.name.removesuffix('.patch'),
                     f'Linux {base.release} from {base.origin}')


def add_file(repo: Path, base: Base, stage: Stage, name: str) -> None:
    if name in stage.files:
        raise Failure(EXIT_TREE, f'{name} is a file of the repository, and a hook changes it '
                      'too: it can only be one of the two')
    copy(repo / name, stage.path / name)
    unifdef(repo, base.path, stage.path / name)
    stage.files.add(name)


def begin_stage(repo: Path, base: Base, hooks: list[Hook], path: Path) -> Stage:
    """With all files of the base that some hook may change."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    for name in {name for hook in hooks for patch in candidates(repo, hook.name)
                 for name in touched_files(patch)}:
        if (base.path / name).is_file():
            copy(base.path / name, path / name)
    return Stage(path)


def fill_stage(repo: Path, base: Base, path: Path, topics: str = '',
               patch: Optional[Path] = None) -> Stage:
    """topics: what the names of those begin with whose hooks are wanted."""
    hooks, overlay = [hook for hook in read_hooks(repo) if hook.prepared], overlay_files(repo)
    stage = begin_stage(repo, base, hooks, path)
    known = [name for name in overlay if os.path.lexists(base.path / name)]
    present = take_back(repo, hooks, path)
    if known and not present:
        raise Failure(EXIT_TREE, f'{base.origin} already has {known[0]}, and no hook of the series '
                      'is applied there. Give a tree without that file.')
    if present and known == overlay and not topics:
        say(f'{base.origin} has the series already: it is taken as it is')
        stage.hooks = [os.path.relpath(present[hook.name], repo) for hook in hooks
                       if hook.name in present]
    elif present:
        names = ', '.join(hook.name for hook in hooks if hook.name in present)
        say(f'{base.origin} has already: {names}; and {len(known)} files of the series, which '
            'stay as they are there')
        stage.files = {name for patch in present.values() for name in touched_files(patch)}
    if not stage.hooks:
        for hook in hooks:
            if hook.topic.startswith(topics):
                apply_hook(repo, base, stage, hook, hook.name in present)
    if patch and (reasons := try_patches([patch], stage.path)[-1].reasons):
        raise Failure(EXIT_TREE, f'{patch} does not fit {base.origin}: {"; ".join(reasons)}')
    for name in overlay:
        if name not in known:
            add_file(repo, base, stage, name)
    if os.path.lexists(repo / KUNITCONFIG):
        add_file(repo, base, stage, KUNITCONFIG)
    return stage


# Files

def copy(source: Path, target: Path) -> None:
    """Copy a file or a link; the time is that of the copy, for make to notice."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    else:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def digest(path: Path) -> str:
    """Of a file with its executable bit, or of a link; empty if there is none."""
    if path.is_symlink():
        return f'link to {os.readlink(path)}'
    if not path.is_file():
        return ''
    executable = b'x' if path.stat().st_mode & stat.S_IXUSR else b'-'
    return hashlib.sha256(executable + path.read_bytes()).hexdigest()


def same(one: Path, other: Path) -> bool:
    return digest(one) == digest(other)


def copy_files(base: Base, names: Iterable[str], target: Path) -> None:
    """Copy these files of the base, with their times."""
    say(f'copying {base.origin} ...')
    with tempfile.NamedTemporaryFile() as listed:
        listed.write(b''.join(os.fsencode(name) + b'\0' for name in names))
        listed.flush()
        result = capture(['xargs', '-0', '-a', listed.name, 'cp', '--parents', '--no-dereference',
                          '--preserve=mode,timestamps,links', '--reflink=auto', '-t', target],
                         base.path)
    if result.returncode:
        raise tool_failure(EXIT_TREE, f'copying {base.origin}', result.stderr)


def signature(path: Path) -> list[int]:
    """What changes with the file; empty if there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_mode]


# Made of nobody knows what: it is new, or a run was interrupted while it changed that.
UNKNOWN = ['?', None]


def check_path(folder: Path) -> None:
    """kbuild cannot cope with these, and says so less clearly."""
    if re.search(r'[\s:]', str(folder)):
        raise Failure(EXIT_USAGE, f'{folder}: the kernel cannot be built in a folder with a blank '
                      'or a colon in its path. Move the repository elsewhere.')


class Preparer:
    """Prepares the tree of one base in build/<name>."""

    def __init__(self, repo: Path, base: Base, topics: str = '', patch: Optional[Path] = None):
        self.repo = repo
        self.base = base
        self.topics = topics        # what the names of those begin with that are wanted
        self.patch = patch          # on top of the others
        self.build = repo / 'build' / base.name
        self.tree = self.build / 'linux'
        self.state = self.build / 'made.json'
        # Of each file of the tree, what it was made of, and its signature since
        self.made: dict[str, Sequence[object]] = {}
        self.sources: dict[str, Path] = {}      # of the files as they shall be
        self.edited: list[str] = []     # by hand, in the tree

    def prepare(self) -> list[str]:
        """Returns the hooks that were applied."""
        check_path(self.build)
        self.build.mkdir(parents=True, exist_ok=True)
        stage = fill_stage(self.repo, self.base, self.build / 'stage', self.topics, self.patch)
        self.sources = {name: self.base.path / name for name in source_files(self.base)}
        try:
            self.made = json.loads(self.state.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            self.made = {}      # nobody knows what was edited
        if not self.made or not self.tree.is_dir():
            self._copy_base()
        self.sources |= {name: stage.path / name for name in stage.files}
        self._install({name: digest(path) if name in stage.files else signature(path)
                       for name, path in self.sources.items()})
        shutil.rmtree(self.build / REJECTED, ignore_errors=True)
        say(f'tree: {os.path.relpath(self.tree, self.repo)} ({self.base.origin}, '
            f'{len(stage.hooks)} hooks, {len(overlay_files(self.repo))} files)')
        return stage.hooks

    def _save(self) -> None:
        write_atomically(self.state, json.dumps(self.made))

    def _copy_base(self) -> None:
        """The first copy: into a temporary folder, so that none is ever taken for whole."""
        temporary = self.build / 'linux.tmp'
        for folder in (self.tree, temporary):
            shutil.rmtree(folder, ignore_errors=True)
        temporary.mkdir()
        copy_files(self.base, self.sources, temporary)
        self.made = {name: [signature(path), signature(temporary / name)]
                     for name, path in self.sources.items()}
        self._save()
        temporary.rename(self.tree)

    def _install(self, wanted: dict[str, object]) -> None:
        """Install what differs, but never over an edit made by hand in the tree."""
        stale = [name for name in wanted.keys() | self.made.keys()
                 if self.made.get(name, UNKNOWN)[0] != wanted.get(name)]
        changes = sorted(name for name in stale if not self._is_right(name))
        self.edited = edited = sorted(name for name, (_, since) in self.made.items()
                                      if since not in (None, signature(self.tree / name))
                                      and not self._is_right(name))
        where = os.path.relpath(self.tree, self.repo)
        if both := [name for name in edited if name in changes]:
            raise Failure(EXIT_TREE, f'{where}/{both[0]} was edited by hand, and would now have to '
                          f'change for another reason. Save your edits, remove {where}, and run '
                          'this again.')
        if edited:
            remark(f'note: edited by hand in {where}, and kept: {", ".join(edited)}. Remove that '
                   'folder to start afresh.')
        if changes:
            self.made |= dict.fromkeys(changes, UNKNOWN)
            self._save()
            say(f'{len(changes)} files of the tree are brought up to date')
        # What goes may be in the way.
        for name in sorted(changes, key=lambda name: name in wanted):
            self._put(name)
        for name in stale:
            if name in wanted:
                self.made[name] = [wanted[name], signature(self.tree / name)]
            else:
                del self.made[name]
        if stale:
            self._save()

    def _source(self, name: str) -> Path:
        return self.sources.get(name, self.base.path / name)

    def _is_right(self, name: str) -> bool:
        return same(self._source(name), self.tree / name)

    def _put(self, name: str) -> None:
        """Make the tree's file like its source, at once; or remove it."""
        target = self.tree / name
        if os.path.lexists(self._source(name)):
            temporary = self.build / 'file.tmp'
            copy(self._source(name), temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)
            return
        target.unlink(missing_ok=True)
        for folder in target.parents:
            if folder == self.tree or any(folder.iterdir()):
                break
            folder.rmdir()
