# SPDX-License-Identifier: GPL-2.0-only
"""make series: the hooks and the files of the repository as patches for git am.

The same hooks, files, kernel and sender give the same bytes: git makes the
patches, in a repository of its own that has nothing but the files concerned.
"""

from __future__ import annotations

import email.utils
import os
import re
import shutil
from pathlib import Path

from common import EXIT_MACHINE, EXIT_TREE, Failure, capture, say, tool_failure
from hooks import candidates, read_hooks, read_series, touched_files
from source import Base
from tree import Stage, add_file, apply_hook, copy, overlay_files, refuse_known_files

# Which hook brings which files, and the text that goes ahead of all
FILES = 'hooks/files'
COVER = 'hooks/cover-letter'
# Who sends the series, if git was not told
NOBODY = 'Nobody <nobody@example.invalid>'


def read_files(repo: Path) -> dict[str, list[str]]:
    """The repository's files that each hook brings along; all of them, each once."""
    overlay, series = overlay_files(repo), read_series(repo)
    try:
        lines = (repo / FILES).read_text(encoding='utf-8').splitlines()
    except FileNotFoundError:
        raise Failure(EXIT_TREE, f'{repo / FILES} is missing: it says which hook brings which '
                      'files of the repository') from None
    named = {line.split('#')[0].strip() for line in lines}
    found: dict[str, list[str]] = {}
    takes: dict[str, str] = {}
    hook = ''
    for number, line in enumerate(lines, 1):
        name = line.split('#')[0].strip()
        where = f'{FILES}:{number}: {name}'
        if not name:
            continue
        if not line[0].isspace():
            hook = name
            if hook not in series:
                raise Failure(EXIT_TREE, f'{where}: hooks/series has no such hook')
            if hook in found:
                raise Failure(EXIT_TREE, f'{where}: this hook was there before; put its files '
                              'together')
            found[hook] = []
            continue
        if not hook:
            raise Failure(EXIT_TREE, f'{where}: which hook brings it? Its name goes above, at the '
                          'begin of a line.')
        names = [file for file in overlay if file == name or
                 name.endswith('/') and file.startswith(name) and file not in named]
        if not names:
            raise Failure(EXIT_TREE, f'{where}: the repository has no such file' +
                          ('; a folder ends in "/"' if (repo / name).is_dir() else ''))
        for file in names:
            if file in takes:
                raise Failure(EXIT_TREE, f'{where}: {takes[file]} brings {file} already')
            takes[file] = hook
        found[hook] += names
    if left := [file for file in overlay if file not in takes]:
        raise Failure(EXIT_TREE, f'{FILES} does not say which hook brings {", ".join(left)}. Put '
                      'it below the first hook that needs it.')
    return found


def read_message(path: Path) -> tuple[str, dict[str, str], str]:
    """Subject, other headers and text of a hook or of the cover letter."""
    text = re.split(r'^(?:---( a/.*)?|diff .*|Index: .*)$', path.read_text(encoding='utf-8'), 1,
                    re.MULTILINE)[0]
    head, _, body = text.partition('\n\n')
    headers = dict(re.findall(r'^(\w[\w-]*): *(.*\S)', head, re.MULTILINE))
    subject = headers.pop('Subject', '')
    if not subject or not body.strip():
        raise Failure(EXIT_TREE, f'{path}: want "Subject: ...", an empty line, and a text that '
                      'says why; git am makes a commit of it')
    return subject, headers, body.strip() + '\n'


def sender(repo: Path) -> str:
    """Name and address for From:, as git would write them into a commit."""
    found = capture(['git', '-c', 'user.useConfigOnly=true', 'var', 'GIT_AUTHOR_IDENT'], repo)
    if found.returncode == 0:
        return found.stdout.rsplit(' ', 2)[0]
    say(f'git knows no user.name and user.email: the patches are from {NOBODY}')
    return NOBODY


class Git:
    """A repository that knows nothing of the user's configuration, in which no time passes."""

    def __init__(self, path: Path, author: str, date: str):
        name, address = email.utils.parseaddr(author)
        self.path = path
        self.env = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
        self.env |= {'GIT_CONFIG_NOSYSTEM': '1', 'GIT_CONFIG_GLOBAL': os.devnull,
                     'GIT_ATTR_NOSYSTEM': '1', 'LC_ALL': 'C'}
        for who in ('AUTHOR', 'COMMITTER'):
            self.env |= {f'GIT_{who}_NAME': name, f'GIT_{who}_EMAIL': address,
                         f'GIT_{who}_DATE': date}

    def __call__(self, *arguments: str | Path) -> str:
        result = capture(['git', '-c', 'core.attributesFile=/dev/null', '-c', 'gc.auto=0',
                          *arguments], self.path, self.env)
        if result.returncode != 0:
            raise tool_failure(EXIT_MACHINE, f'git {arguments[0]}', result.stdout + result.stderr)
        return result.stdout

    def begin(self) -> None:
        self.path.mkdir(parents=True)
        self('init', '-q', '--template=', '--initial-branch=series')

    def commit(self, subject: str, body: str) -> None:
        self('add', '--all', '--force', '.')
        # Verbatim, or git would drop what begins with "#".
        self('commit', '-q', '--no-gpg-sign', '--allow-empty', '--cleanup=verbatim',
             '-m', subject, '-m', body)


def write_series(repo: Path, base: Base) -> Path:
    """Write the patches to build/<name>/series, all or none."""
    files = read_files(repo)
    refuse_known_files(base, overlay_files(repo))
    subject, headers, body = read_message(repo / COVER)
    if 'Date' not in headers:
        raise Failure(EXIT_TREE, f'{repo / COVER}: want a Date: header, for the patches')
    hooks = read_hooks(repo)
    temporary = repo / 'build' / base.name / 'series.tmp'
    shutil.rmtree(temporary, ignore_errors=True)
    tree, output = temporary / 'tree', temporary / 'series'
    git = Git(tree, sender(repo), headers['Date'])
    git.begin()
    for hook in hooks:
        for patch in candidates(repo, hook.name):
            for name in touched_files(patch):
                if (base.path / name).is_file():
                    copy(base.path / name, tree / name)
    if (base.path / '.gitattributes').is_file():
        # It says what to show behind the "@@".
        copy(base.path / '.gitattributes', tree / '.git/info/attributes')
    git.commit(f'Linux {base.release}', '')
    stage = Stage(tree)
    for hook in hooks:
        before = len(stage.hooks)
        apply_hook(repo, base, stage, hook)
        if len(stage.hooks) == before:
            continue            # this kernel does not need it
        for name in files.get(hook.name, []):
            add_file(repo, stage, name)
        title, _, text = read_message(repo / stage.hooks[-1])
        git.commit(title, text)
    git('config', 'branch.series.description',
        f'{subject}\n\n{body}\nThese patches are for Linux {base.release}.\n')
    git('format-patch', '-q', '--cover-letter', '--cover-from-description=subject', '--numbered',
        '--no-signature', '--zero-commit', '--abbrev=12', '--no-renames', '-o', output,
        f'-{len(stage.hooks)}')
    final = temporary.with_name('series')
    shutil.rmtree(final, ignore_errors=True)
    output.rename(final)
    shutil.rmtree(temporary)
    return final


def series(repo: Path, base: Base) -> None:
    path = write_series(repo, base)
    names = sorted(patch.name for patch in path.iterdir())
    for name in names:
        say(name)
    where = os.path.relpath(path, repo)
    say(f'{len(names) - 1} patches and a cover letter for Linux {base.release} ({base.origin}) in '
        f'{where}. In such a tree:\n    git am --empty=drop {path}/*.patch')
