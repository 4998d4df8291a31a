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

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterable, Optional

from nonblock.common import (EXIT_TREE, EXIT_USAGE, Failure, capture, remark, say, tool_failure,
                             write_atomically)
from nonblock.tree.hooks import (Hook, candidates, describe, has_no_diff, misfit, read_hooks,
                                 touched_files, take_back, try_patches)
from nonblock.tree.source import Base, source_files
from nonblock.tree.unifdef import unifdef

# The folders that are as in the kernel; other pages of Documentation are about the runner
OVERLAY = ('include', 'lib', 'mm', 'samples', 'Documentation/mm', 'tools/testing/selftests')
# For kunit.py run --kunitconfig=.: a link to that of the suites, and no part of the series
KUNITCONFIG = '.kunitconfig'
REJECTED = 'rejected'           # in build/*: the hooks that did not fit, to be finished
# What they consist of. Editors, builds and people leave other files there: git ignores not
# all of these, does not know yet what is new, and is not there at all in an unpacked archive.
KINDS = re.compile(r'\w[\w.+-]*\.(?:[chS]|rst|sh|py|svg)|Makefile|Kbuild|Kconfig|config|settings|'
                   r'\.gitignore|\.kunitconfig')
BUILT = re.compile(r'.*\.mod\.c')


@dataclass
class Stage:
    """What is to be installed: the files, as they shall be."""
    path: Path
    files: set[str] = field(default_factory=set)    # may be missing in path: deleted by a hook
    hooks: list[str] = field(default_factory=list)  # the patches that were used


# The stage

def is_source(name: str) -> bool:
    return bool(KINDS.fullmatch(name)) and not BUILT.fullmatch(name)


def overlay_files(repo: Path, wanted: Callable[[str], bool] = is_source) -> list[str]:
    found = [os.path.relpath(os.path.join(folder, name), repo)
             for top in OVERLAY for folder, _, names in os.walk(repo / top)
             for name in names if wanted(name)]
    return sorted(found)


def say_what_is_left_out(repo: Path) -> None:
    left = overlay_files(repo, lambda name: not is_source(name))
    if left:
        more = f' and {len(left) - 5} more' if len(left) > 5 else ''
        say(f'left out, as no kind of file of the kernel\'s: {", ".join(left[:5])}{more}')


def apply_hook(repo: Path, base: Base, stage: Stage, hook: Hook) -> None:
    """Apply the variant that fits, or raise a Failure that says why none does."""
    if not hook.is_for(base.path):
        say(f'hook {hook.name}: not needed, {" and ".join(hook.files)} without {hook.text}')
        return
    patches = candidates(repo, hook.name)
    if patches and has_no_diff(patches[0]):
        stage.hooks.append(os.path.relpath(patches[0], repo))
        return
    attempts = try_patches(patches, stage.path)
    if len(attempts) == 1 and not attempts[0].reasons:
        if text := describe(repo, attempts[0]):
            say(text)
        stage.files |= touched_files(attempts[0].patch)
        stage.hooks.append(os.path.relpath(attempts[0].patch, repo))
    else:
        raise misfit(repo, hook, attempts, stage.path,
                     repo / 'build' / base.name / REJECTED / hook.name.removesuffix('.patch'),
                     f'Linux {base.release} from {base.origin}')


def refuse_known_files(base: Base, overlay: list[str]) -> None:
    for name in overlay:
        if os.path.lexists(base.path / name):
            raise Failure(EXIT_TREE, f'{base.origin} already has {name}, and no hook of the series '
                          'is applied there. Give a tree without that file.')


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
    if not present:
        refuse_known_files(base, known)
    elif known == overlay and not topics:
        say(f'{base.origin} has the series already: it is taken as it is')
        stage.hooks = [os.path.relpath(present[hook.name], repo) for hook in hooks
                       if hook.name in present]
    else:
        names = ', '.join(hook.name for hook in hooks if hook.name in present)
        say(f'{base.origin} has already: {names}; and {len(known)} files of the series, which '
            'stay as they are there')
        stage.files = {name for patch in present.values() for name in touched_files(patch)}
    if not stage.hooks:
        for hook in hooks:
            if hook.topic.startswith(topics):
                apply_hook(repo, base, stage, hook)
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


@dataclass
class Manifest:
    """What the tree was made of."""
    base: str = ''              # its path
    files: dict[str, list[int]] = field(default_factory=dict)   # of the base: what lstat() says
    stage: dict[str, str] = field(default_factory=dict)         # digests
    times: dict[str, int] = field(default_factory=dict)         # of the base's files put later
    pending: list[str] = field(default_factory=list)    # old or new: it was interrupted there

    def sources(self) -> dict[str, object]:
        return {**self.files, **self.stage, **dict.fromkeys(self.pending, 'pending')}


class Preparer:
    """Prepares the tree of one base in build/<name>."""

    def __init__(self, repo: Path, base: Base, topics: str = '', patch: Optional[Path] = None):
        self.repo = repo
        self.base = base
        self.topics = topics        # what the names of those begin with that are wanted
        self.patch = patch          # on top of the others
        self.build = repo / 'build' / base.name
        self.tree = self.build / 'linux'
        self.manifest = Manifest()
        # A file without a tree would be about another one.
        if self.tree.is_dir():
            with contextlib.suppress(OSError, ValueError, TypeError):
                self.manifest = Manifest(**json.loads(
                    (self.build / 'manifest.json').read_text(encoding='utf-8')))

    def _save(self) -> None:
        write_atomically(self.build / 'manifest.json', json.dumps(vars(self.manifest)))

    def prepare(self) -> list[str]:
        """Returns the hooks that were applied."""
        # kbuild cannot cope with these, and says so less clearly.
        if re.search(r'[\s:]', str(self.build)):
            raise Failure(EXIT_USAGE, f'{self.build}: the kernel cannot be built in a folder with '
                          'a blank or a colon in its path. Move the repository elsewhere.')
        self.build.mkdir(parents=True, exist_ok=True)
        say_what_is_left_out(self.repo)
        stage = fill_stage(self.repo, self.base, self.build / 'stage', self.topics, self.patch)
        if not self.tree.is_dir():
            self._copy_base()
        if changed := self._install(stage):
            say(f'{changed} files of the tree brought up to date')
        shutil.rmtree(self.build / REJECTED, ignore_errors=True)
        where = os.path.relpath(self.tree, self.repo)
        if edited := [name for name in sorted(self.manifest.sources()) if self._is_edited(name)]:
            remark(f'note: edited by hand in {where}, and kept: {", ".join(edited)}. Remove that '
                   'folder to start afresh.')
        say(f'tree: {where} ({self.base.origin}, {len(stage.hooks)} hooks, '
            f'{len(overlay_files(self.repo))} files)')
        return stage.hooks

    def _signatures(self) -> dict[str, list[int]]:
        if self.base.immutable and self.manifest.base == str(self.base.path):
            return self.manifest.files
        say(f'looking through {self.base.origin} ...')
        found = {}
        for name in source_files(self.base):
            status = (self.base.path / name).lstat()
            found[name] = [status.st_size, status.st_mtime_ns, status.st_mode]
        return found

    def _copy_base(self) -> None:
        """The first copy: into a temporary folder, so that none is ever taken for whole."""
        temporary = self.build / 'linux.tmp'
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        self.manifest = Manifest(str(self.base.path), self._signatures())
        copy_files(self.base, self.manifest.files, temporary)
        self._save()
        temporary.rename(self.tree)

    def _install(self, stage: Stage) -> int:
        """Install what differs, but never over an edit made by hand in the tree."""
        old, source = self.manifest, {name: stage.path / name for name in stage.files}
        new = Manifest(str(self.base.path), self._signatures(),
                       {name: digest(path) for name, path in source.items()}, dict(old.times))
        before, after = old.sources(), new.sources()
        changes = [name for name in before.keys() | after.keys()
                   if before.get(name) != after.get(name)
                   and not same(source.get(name, self.base.path / name), self.tree / name)]
        for name in sorted(changes):
            if self._is_edited(name):
                raise self._conflict(name)
        if changes:
            # If this is interrupted, the next run must know of these.
            old.pending = sorted({*old.pending, *changes})
            self._save()
        # What goes may be in the way.
        for name in sorted(changes, key=lambda name: (name in after, name)):
            self._put(source.get(name, self.base.path / name), name)
            if name in new.files and name not in source:
                new.times[name] = (self.tree / name).lstat().st_mtime_ns
        self.manifest = new
        if new != old:
            self._save()
        return len(changes)

    def _is_edited(self, name: str) -> bool:
        """Whether it is other in the tree than it was made."""
        made, path = self.manifest, self.tree / name
        if name in made.pending:
            return False
        if name in made.stage:
            return digest(path) != made.stage[name]
        known = [*made.files.get(name, [])[1:2], made.times.get(name, 0)]
        try:
            time = os.lstat(path).st_mtime_ns
        except FileNotFoundError:
            return name in made.files
        # Whole seconds, because not every file system keeps finer ones.
        return time // 10**9 not in [one // 10**9 for one in known] and \
            not same(self.base.path / name, path)

    def _conflict(self, name: str) -> Failure:
        target = os.path.relpath(self.tree / name, self.repo)
        why = ('was edited by hand, and would now have to change for another reason'
               if self.manifest.files else
               'would have to change, and nothing tells whether it was edited by hand: another '
               'version of the runner has prepared this tree')
        return Failure(EXIT_TREE, f'{target} {why}. Save your edits, remove '
                       f'{os.path.relpath(self.tree, self.repo)}, and run this again.')

    def _put(self, source: Path, name: str) -> None:
        """Make the tree's file like the source, at once; or remove it."""
        target = self.tree / name
        if os.path.lexists(source):
            temporary = self.build / 'file.tmp'
            copy(source, temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)
            return
        target.unlink(missing_ok=True)
        for folder in target.parents:
            if folder == self.tree or any(folder.iterdir()):
                break
            folder.rmdir()
