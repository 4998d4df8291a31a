# SPDX-License-Identifier: GPL-2.0-only
"""A prepared tree: a kernel source with the hooks applied and the overlay added.

Everything is tried in a stage first, and then installed file by file, by
content: a hook that fails leaves the tree as it was, and make rebuilds only
what has changed.
"""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

from nonblock.common import (EXIT_TREE, EXIT_USAGE, Failure, capture, remark, say, tool_failure,
                             write_atomically)
from nonblock.tree.hooks import (Hook, candidates, describe, has_no_diff, misfit, read_hooks,
                                 prepared_hooks, touched_files, take_back, try_patches)
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


@dataclass(frozen=True)
class Tree:
    path: Path
    hooks: list[str]
    summary: str


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


def fill_stage(repo: Path, base: Base, path: Path, without: str = '',
               patch: Optional[Path] = None) -> Stage:
    hooks, overlay = prepared_hooks(repo), overlay_files(repo)
    stage = begin_stage(repo, base, hooks, path)
    known = [name for name in overlay if os.path.lexists(base.path / name)]
    present = take_back(repo, hooks, path)
    if not present:
        refuse_known_files(base, known)
    elif known == overlay and not without:
        say_what_differs(repo, base, hooks, present)
        stage.hooks = [os.path.relpath(present[hook.name], repo) for hook in hooks
                       if hook.name in present]
    else:
        names = ', '.join(hook.name for hook in hooks if hook.name in present)
        say(f'{base.origin} has already: {names}; and {len(known)} files of the series, which '
            'stay as they are there')
        stage.files = {name for patch in present.values() for name in touched_files(patch)}
    if not stage.hooks:
        for hook in prepared_hooks(repo, without):
            apply_hook(repo, base, stage, hook)
    if patch and (reasons := try_patches([patch], stage.path)[-1].reasons):
        raise Failure(EXIT_TREE, f'{patch} does not fit {base.origin}: {"; ".join(reasons)}')
    for name in overlay:
        if name not in known:
            add_file(repo, base, stage, name)
    if os.path.lexists(repo / KUNITCONFIG):
        add_file(repo, base, stage, KUNITCONFIG)
    return stage


def say_what_differs(repo: Path, base: Base, hooks: list[Hook], present: dict[str, Path]) -> None:
    """Of a tree that has the series: it is taken as it is, with what was changed there."""
    changed = [hook.name for hook in hooks if hook.name not in present and hook.is_for(base.path)
               and not any(map(has_no_diff, candidates(repo, hook.name)))]
    with tempfile.TemporaryDirectory() as folder:
        ours = Stage(Path(folder))
        for name in overlay_files(repo):
            add_file(repo, base, ours, name)
        changed += sorted(name for name in ours.files
                          if not same(ours.path / name, base.path / name))
    say(f'{base.origin} has the series already: it is taken as it is'
        + (f'. Other than here: {", ".join(changed)}' if changed else ''))


def check_hooks(repo: Path, base: Base, path: Path,
                report: Callable[[str, Optional[Failure]], None], without: str = '') -> None:
    """Apply each hook to this kernel; report each, and go on after a failure."""
    hooks = read_hooks(repo, without)
    stage = begin_stage(repo, base, hooks, path)
    for hook in hooks:
        before = len(stage.hooks)
        try:
            apply_hook(repo, base, stage, hook)
            if len(stage.hooks) > before:
                report(hook.name, None)
        except Failure as failure:
            report(hook.name, failure)
    shutil.rmtree(path)


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


def same(one: Path, other: Path) -> bool:
    """Whether both are the same: missing, the same link, or the same contents."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    if not one.is_file() or not other.is_file():
        return not os.path.lexists(one) and not os.path.lexists(other)
    executable = [bool(path.stat().st_mode & stat.S_IXUSR) for path in (one, other)]
    return executable[0] == executable[1] and filecmp.cmp(one, other, shallow=False)


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


class Preparer:
    """Prepares the tree of one base in build/<name>."""

    def __init__(self, repo: Path, base: Base, without: str = '', patch: Optional[Path] = None):
        self.repo = repo
        self.base = base
        self.without = without      # hooks, by a regular expression
        self.patch = patch          # on top of the others
        self.build = repo / 'build' / base.name
        self.tree = self.build / 'linux'
        self.state = self._load('state.json')
        self.manifest = self._load('manifest.json')
        if not self.tree.is_dir():
            # There is no tree that these could be about.
            self.state, self.manifest = {}, {}

    def _load(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.build / name).read_text(encoding='utf-8'))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def prepare(self) -> Tree:
        # kbuild cannot cope with these, and says so less clearly.
        if re.search(r'[\s:]', str(self.build)):
            raise Failure(EXIT_USAGE, f'{self.build}: the kernel cannot be built in a folder with '
                          'a blank or a colon in its path. Move the repository elsewhere.')
        self.build.mkdir(parents=True, exist_ok=True)
        last = self.state.get('stage', 'stage.1')
        say_what_is_left_out(self.repo)
        stage = fill_stage(self.repo, self.base,
                           self.build / ('stage.0' if last == 'stage.1' else 'stage.1'),
                           self.without, self.patch)
        if not self.tree.is_dir():
            self._copy_base()
        elif not self.base.immutable or self.state.get('base') != str(self.base.path):
            self._sync_base()
        changed = self._install(stage, Stage(self.build / last, set(self.state.get('files', []))))
        self._save_state(stage)
        shutil.rmtree(self.build / REJECTED, ignore_errors=True)
        if edited := self._edited(stage):
            remark(f'note: edited by hand in {os.path.relpath(self.tree, self.repo)}, and kept: '
                   f'{", ".join(edited)}. Remove that folder to start afresh.')
        if changed:
            say(f'{changed} files of the tree brought up to date')
        count = len(overlay_files(self.repo))
        where = os.path.relpath(self.tree, self.repo)
        return Tree(self.tree, stage.hooks, f'tree: {where} ({self.base.origin}, '
                    f'{len(stage.hooks)} hooks, {count} files)')

    def _save_state(self, stage: Stage) -> None:
        """The last step: what is recorded here is really in the tree."""
        write_atomically(self.build / 'state.json', json.dumps({
            'base': str(self.base.path), 'origin': self.base.origin,
            'release': self.base.release, 'hooks': stage.hooks, 'stage': stage.path.name,
            'files': sorted(stage.files)}, indent=1) + '\n')
        for path in (self.build / 'stage.0', self.build / 'stage.1'):
            if path != stage.path:
                shutil.rmtree(path, ignore_errors=True)

    # The base's own files

    def _signatures(self) -> dict[str, list[int]]:
        found = {}
        for name in source_files(self.base):
            status = (self.base.path / name).lstat()
            found[name] = [status.st_size, status.st_mtime_ns, status.st_mode]
        return found

    def _save_manifest(self) -> None:
        write_atomically(self.build / 'manifest.json', json.dumps(self.manifest))

    def _copy_base(self) -> None:
        """The first copy: into a temporary folder, so that none is ever taken for whole."""
        temporary = self.build / 'linux.tmp'
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        self.manifest = {'files': self._signatures(), 'written': {}}
        copy_files(self.base, self.manifest['files'], temporary)
        self._save_manifest()
        temporary.rename(self.tree)

    def _sync_base(self) -> None:
        """Bring over what has changed in the base since the last time."""
        say(f'comparing with {self.base.origin} ...')
        files, written = self.manifest.get('files', {}), self.manifest.get('written', {})
        hooked = set(self.state.get('files', []))       # the stage sees to these
        new = self._signatures()
        changed = [name for name in files.keys() | new.keys() if name not in hooked
                   and files.get(name) != new.get(name)
                   and not same(self.base.path / name, self.tree / name)]
        changed.sort(key=lambda name: (name in new, name))  # what goes may be in the way
        for name in changed:
            # Whole seconds, because not every file system keeps finer ones.
            known = [time // 10**9 for time in ((files.get(name) or [0, 0])[1], written.get(name))
                     if time]
            if known and os.path.lexists(self.tree / name) and \
                    (self.tree / name).lstat().st_mtime_ns // 10**9 not in known:
                raise self._conflict(name)
        # If this is interrupted, the next run must know of the files that came in.
        self.manifest = {'files': {**dict.fromkeys(new, []), **files}, 'written': written}
        self._save_manifest()
        for name in changed:
            self._put(self.base.path / name, name)
            written[name] = (self.tree / name).lstat().st_mtime_ns if name in new else None
        if changed:
            say(f'{len(changed)} files changed there')
        self.manifest = {'files': new, 'written': written}
        self._save_manifest()

    def _edited(self, stage: Stage) -> list[str]:
        """What is other in the tree than it was made."""
        written = self.manifest.get('written', {})
        found = [name for name in sorted(stage.files)
                 if not same(stage.path / name, self.tree / name)]
        for name, signature in self.manifest.get('files', {}).items():
            if name in stage.files or not signature:
                continue
            try:
                time = os.lstat(self.tree / name).st_mtime_ns
            except FileNotFoundError:
                time = 0
            # Whole seconds, because not every file system keeps finer ones.
            if time // 10**9 not in [known // 10**9 for known in (signature[1], written.get(name))
                                     if known] and not same(self.base.path / name,
                                                            self.tree / name):
                found.append(name)
        return found

    # The stage's files

    def _install(self, new: Stage, old: Stage) -> int:
        """Install what differs; never over an edit made by hand in the tree."""
        changes: list[tuple[str, Path]] = []
        for name in sorted(new.files | old.files):
            target = self.tree / name
            wanted = (new.path if name in new.files else self.base.path) / name
            before = (old.path if name in old.files else self.base.path) / name
            if same(target, wanted):
                continue
            if same(target, before):
                changes.append((name, wanted))
            elif same(wanted, before):
                continue        # it was edited by hand, and there is no reason to change it
            else:
                raise self._conflict(name)
        for name, wanted in changes:
            self._put(wanted, name)
            if name not in new.files and wanted.exists():
                self.manifest['written'][name] = (self.tree / name).lstat().st_mtime_ns
                self._save_manifest()
        return len(changes)

    def _conflict(self, name: str) -> Failure:
        target = os.path.relpath(self.tree / name, self.repo)
        return Failure(EXIT_TREE, f'{target} was edited by hand, and would now have to change for '
                       'another reason. Save your edit, remove '
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
