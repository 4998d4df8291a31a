# SPDX-License-Identifier: GPL-2.0-only
"""The hooks: small patches for files that the kernel has, in the order of hooks/series.

A hook is hooks/NAME. A variant of it is hooks/VARIANT/NAME, for kernels that look
different there. Which one applies is found by trying. The names of the variants mean
nothing to the runner.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nonblock.common import EXIT_TREE, Failure, capture, tool_failure

SERIES = 'hooks/series'
COVERS = 'cover'                # in hooks/: the cover letters of the topics, no variant
# The comments of hooks/series that mean something
TOPIC = re.compile(r'topic ([^\s,]+)(, in no prepared tree)?')
# A hook that some kernels do not need, and where one sees that they do. Its name is ahead
# of the comment, or in it: quilt then goes without the hook.
CONDITION = re.compile(r'if (\S+(?: or \S+)*) has (.+?)(?:: (\S+\.patch))?')
# One that is but the message for files that the repository adds; quilt goes without.
FILES_ONLY = re.compile(r'files only: (\S+\.patch)')
FUZZ = 2                        # what patch(1) takes by default
# In C, what git shows behind the "@@" of a hunk. A label is no function.
FUNCTION = re.compile(r'[A-Za-z_](?!\w*:\s*($|/[/*]))')


@dataclass(frozen=True)
class Hook:
    name: str
    topic: str = ''
    files: tuple[str, ...] = ()     # it is for kernels in which one of these ...
    text: str = ''                  # ... has this
    prepared: bool = True           # or it is in make series alone

    def is_for(self, kernel: Path) -> bool:
        return not self.files or any(
            self.text in (kernel / name).read_text(encoding='utf-8', errors='replace')
            for name in self.files if (kernel / name).is_file())


@dataclass(frozen=True)
class Attempt:
    """What patch(1) makes of a patch in a folder."""
    patch: Path
    reasons: list[str]          # what it says if it does not fit
    fuzz: bool = False          # whether it took any


# hooks/series

def read_hooks(repo: Path) -> list[Hook]:
    """The hooks in their order."""
    lines = (repo / SERIES).read_text(encoding='utf-8').splitlines()
    found: list[Hook] = []
    topic, prepared = '', True
    for number, line in enumerate(lines, 1):
        name, _, comment = (part.strip() for part in line.partition('#'))
        files, text = '', ''
        if match := TOPIC.fullmatch(comment):
            topic, prepared = match[1], not match[2]
            if topic in (hook.topic for hook in found):
                raise Failure(EXIT_TREE, f'{SERIES}:{number}: topic {topic} was there before; '
                              'put its hooks together')
        elif match := CONDITION.fullmatch(comment):
            files, text, name = match[1], match[2], match[3] or name
        elif match := FILES_ONLY.fullmatch(comment):
            name = match[1]
        elif comment.endswith('.patch') or name and comment.startswith('if '):
            raise Failure(EXIT_TREE, f'{SERIES}:{number}: {line}: want "NAME # if FILE has TEXT", '
                          '"# if FILE or FILE has TEXT: NAME", or "# files only: NAME"')
        if name:
            found.append(Hook(name, topic, tuple(files.split(' or ') if files else ()), text,
                              prepared))
    return found


def candidates(repo: Path, name: str) -> list[Path]:
    """The patches to try: the general one, then the variants, the last one first."""
    hooks = repo / 'hooks'
    variants = sorted((path.name for path in hooks.iterdir() if path.is_dir()
                       and path.name != COVERS), reverse=True)
    return [path for path in (hooks / name, *(hooks / variant / name for variant in variants))
            if path.is_file()]


# A patch

def touched_files(patch: Path) -> set[str]:
    """
    What it changes, adds or deletes: nothing, if it is but the message for files that the
    repository adds. Of an empty file there is but the line of git.
    """
    text = patch.read_text(encoding='utf-8', errors='surrogateescape')
    names = re.findall(r'^(?:(?:---|\+\+\+) [^/\s]+/|diff --git a/\S+ b/)([^\t\n]+)', text,
                       re.MULTILINE)
    return {name for name in names if '..' not in name.split('/')}


def run_patch(patch: Path, folder: Path, *options: str) -> Attempt:
    result = capture(['patch', '-p1', '--forward', '--batch', '--no-backup-if-mismatch',
                      *options, '-i', patch], folder, {**os.environ, 'LC_ALL': 'C'})
    output = result.stdout + result.stderr
    if result.returncode and 'No space left on device' in output:
        raise tool_failure(EXIT_TREE, 'patch', output)
    # It shows the head of a patch whose file is missing: of that, the names will do.
    reasons = [line for line in output.splitlines() if result.returncode
               and not re.match(r'\|(?!(---|\+\+\+) )|-{20}|Perhaps |The text leading up ', line)]
    if '--dry-run' in options:
        reasons += misplaced(patch, folder, output, '--reverse' in options)
    return Attempt(patch, reasons, 'with fuzz' in output)


def name_of(line: str) -> str:
    """Of the function that it begins, or the line."""
    match = re.search(r'(\w+) *\(', line)
    return match[1] if match else line.strip()


def read_hunks(patch: Path, reverse: bool = False) -> dict[str, list[tuple[int, str]]]:
    """Of each hunk of each file, how many lines it adds, and what is behind its "@@"."""
    found: dict[str, list[tuple[int, str]]] = {}
    hunks: list[tuple[int, str]] = []
    for line in patch.read_text(encoding='utf-8', errors='surrogateescape').splitlines():
        if match := re.match(r'\+\+\+ [^/\s]+/([^\t]+)', line):
            hunks = found.setdefault(match[1], [])
        elif match := re.match(r'@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@ ?(.*)', line):
            old, new = (int(1 if count is None else count) for count in match.group(1, 2))
            hunks.append((old - new if reverse else new - old, match[3]))
    return found


def misplaced(patch: Path, folder: Path, output: str, reverse: bool) -> list[str]:
    """
    Which hunks patch(1) would put into another function than theirs. With fuzz, little is
    left to go by: the end of one function looks like that of any other.
    """
    hunks, name, found = read_hunks(patch, reverse), '', []
    for line in output.splitlines():
        if match := re.fullmatch(r"checking file '?(.+?)'?", line):
            name = match[1]
        match = re.match(r'Hunk #(\d+) succeeded at (\d+) with fuzz', line)
        if not match or not name.endswith(('.c', '.h')):
            continue
        number, place = int(match[1]), int(match[2])
        # The place is in the file as it becomes.
        before = place - sum(added for added, _ in hunks[name][:number - 1])
        wanted = hunks[name][number - 1][1]     # diff cuts it off at some length
        above = (folder / name).read_text(encoding='utf-8', errors='replace').split('\n')
        there = next(filter(FUNCTION.match, reversed(above[:before - 1])), 'the head of the file')
        if not there.startswith(wanted) and name_of(there) != name_of(wanted):
            found.append(f'Hunk #{number} of {name} is for {name_of(wanted)}, and fits roughly in '
                         f'{name_of(there)}')
    return found


def try_patches(patches: list[Path], folder: Path, *options: str) -> list[Attempt]:
    """
    Apply the first one that fits: all without fuzz, then all with. A patch that fits only
    roughly may land in the wrong place, so that one which fits exactly goes first.
    Returns that one alone, or one attempt for each.
    """
    attempts: list[Attempt] = []
    for fuzz in (0, FUZZ):
        attempts = []
        for patch in patches:
            attempt = run_patch(patch, folder, f'--fuzz={fuzz}', '--reject-file=-', '--dry-run',
                                *options)
            if not attempt.reasons:
                attempt = run_patch(patch, folder, f'--fuzz={fuzz}', '--reject-file=-', *options)
            if not attempt.reasons:
                return [attempt]
            attempts.append(attempt)
    return attempts


def take_back(repo: Path, hooks: list[Hook], folder: Path) -> dict[str, Path]:
    """
    Undo in the folder those hooks that its files have already, the last one first.
    Returns the patch of each. That one has it all, and not by chance: what a patch adds has
    to be there line by line.
    """
    found: dict[str, Path] = {}
    for hook in reversed(hooks):
        patches = [patch for patch in candidates(repo, hook.name) if touched_files(patch)]
        attempts = try_patches(patches, folder, '--reverse')
        if attempts and not attempts[-1].reasons:
            found[hook.name] = attempts[-1].patch
    return found


# What does not fit

def reject(attempt: Attempt, folder: Path, rejected: Path) -> None:
    """
    Leave what a person needs to port the patch: in a/ the files as they are in this
    kernel, in b/ the same with what fits exactly, and .rej files with what does not.
    """
    shutil.rmtree(rejected, ignore_errors=True)
    rejected.mkdir(parents=True)
    for side in ('a', 'b'):
        for name in touched_files(attempt.patch):
            (rejected / side / name).parent.mkdir(parents=True, exist_ok=True)
            if (folder / name).is_file():
                shutil.copy(folder / name, rejected / side / name)
    shutil.copy(attempt.patch, rejected)
    run_patch(attempt.patch, rejected / 'b', '--fuzz=0')


def misfit(repo: Path, hook: Hook, attempts: list[Attempt], folder: Path, rejected: Path,
           origin: str) -> Failure:
    """The Failure for a hook of which no variant fits."""
    if not attempts:
        return Failure(EXIT_TREE, f'{SERIES} lists {hook.name}, and there is no hooks/{hook.name} '
                       f'and no hooks/VARIANT/{hook.name}. Add it, or take it out of {SERIES}.')
    # That which complains the least
    closest = min(attempts, key=lambda attempt: len(attempt.reasons))
    reject(closest, folder, rejected)
    where = os.path.relpath(rejected, repo)
    tried = [f'{os.path.relpath(attempt.patch, repo)}: {"; ".join(attempt.reasons)}'
             for attempt in attempts]
    return Failure(EXIT_TREE, f'hook {hook.name} does not apply to {origin}:\n    '
                   + '\n    '.join(tried) + f'\nTo port it: {where}/b has what fits of '
                   f'{os.path.relpath(closest.patch, repo)}, and *.rej files with the rest. Finish '
                   'the files there, remove *.rej, and put the message of the patch and the output '
                   f'of "diff -ruN a b" in {where} at hooks/VARIANT/{hook.name}, with a name of '
                   'your choice for VARIANT. The tree was not changed.')
