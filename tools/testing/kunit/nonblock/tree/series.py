# SPDX-License-Identifier: GPL-2.0-only
"""make series: the hooks and the files of the repository as patches for git am.

Each topic of hooks/series is a series of its own, with a cover letter, for a maintainer
of its own. It applies on the topics that its cover letter depends on.

The same hooks, files, kernel and sender give the same bytes: git makes the
patches, in a repository of its own that has nothing but the files concerned.
"""

from __future__ import annotations

import email.utils
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nonblock.common import EXIT_MACHINE, EXIT_TREE, EXIT_USAGE, Failure, capture, say, tool_failure
from nonblock.tree.hooks import COVERS, SERIES, Hook, read_hooks
from nonblock.tree.source import Base
from nonblock.tree.prepare import add_file, apply_hook, begin_stage, copy, overlay_files

# Which hook brings which files
FILES = 'hooks/files'
# Next to the topics' folders: all of them in one file
ALL = 'all.mbox'
# Who sends the series, if git was not told
NOBODY = 'Nobody <nobody@example.invalid>'


def read_files(repo: Path) -> dict[str, list[str]]:
    """The repository's files that each hook brings along; all of them, each once."""
    hook, hook_of = '', dict[str, str]()        # by files, and by folders with a "/"
    for line in (repo / FILES).read_text(encoding='utf-8').splitlines():
        name = line.split('#')[0].strip()
        if name and not line[0].isspace():
            hook = name
        elif name:
            hook_of[name] = hook
    if unknown := sorted({*hook_of.values()} - {one.name for one in read_hooks(repo)}):
        raise Failure(EXIT_TREE, f'{FILES}: hooks/series has no such hook: {unknown[0]}')
    found: dict[str, list[str]] = {}
    used = set()
    for file in overlay_files(repo):
        # That of the file itself, or of the folder that is the nearest
        place = next((place for place in (file, *(f'{folder}/' for folder in Path(file).parents))
                      if place in hook_of), None)
        if place is None:
            raise Failure(EXIT_TREE, f'{FILES} does not say which hook brings {file}. Put it below '
                          'the first hook that needs it.')
        found.setdefault(hook_of[place], []).append(file)
        used.add(place)
    if unused := sorted(hook_of.keys() - used):
        raise Failure(EXIT_TREE, f'{FILES}: {unused[0]}: the repository has no such file, or, with '
                      'a "/" at the end, no such folder')
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


# The topics

@dataclass(frozen=True)
class Topic:
    name: str
    hooks: list[Hook]
    subject: str
    date: str
    body: str
    depends: list[str]          # topics that must come before it, in the order of the series


def read_topics(repo: Path) -> dict[str, Topic]:
    """All topics in their order, with their cover letters."""
    hooks = read_hooks(repo)
    found: dict[str, Topic] = {}
    for name in dict.fromkeys(hook.topic for hook in hooks):
        own = [hook for hook in hooks if hook.topic == name]
        if not name:
            raise Failure(EXIT_TREE, f'{SERIES}: {own[0].name} is in no topic: "# topic NAME" goes '
                          'above it')
        path = repo / 'hooks' / COVERS / name
        if not path.is_file():
            raise Failure(EXIT_TREE, f'{SERIES} has topic {name}, and there is no {path}: want its '
                          'cover letter there, with Subject:, Date:, and Depends: if need be')
        subject, headers, body = read_message(path)
        if 'Date' not in headers:
            raise Failure(EXIT_TREE, f'{path}: want a Date: header, for the patches')
        direct = re.findall(r'[^\s,]+', headers.get('Depends', ''))
        if unknown := [one for one in direct if one not in found]:
            raise Failure(EXIT_TREE, f'{path}: Depends: {", ".join(unknown)}: no topic of that '
                          f'name comes before it in {SERIES}')
        all_of_them = {*direct, *(more for one in direct for more in found[one].depends)}
        found[name] = Topic(name, own, subject, headers['Date'], body,
                            [one for one in found if one in all_of_them])
    return found


def choose_topics(topics: dict[str, Topic], name: str) -> list[Topic]:
    """The topics to apply, in their order: those that this one depends on, and itself."""
    if not name:
        return list(topics.values())
    if name not in topics:
        raise Failure(EXIT_USAGE, f'TOPIC={name}: there is no such topic. Known: '
                      f'{", ".join(topics)}')
    return [topics[one] for one in (*topics[name].depends, name)]


def sender(repo: Path) -> str:
    """Name and address for From:, as git would write them into a commit."""
    found = capture(['git', '-c', 'user.useConfigOnly=true', 'var', 'GIT_AUTHOR_IDENT'], repo)
    if found.returncode == 0:
        return found.stdout.rsplit(' ', 2)[0]
    say(f'git knows no user.name and user.email: the patches are from {NOBODY}')
    return NOBODY


class Git:
    """A repository that knows nothing of the user's configuration, in which no time passes."""

    def __init__(self, path: Path, author: str, date: str = '2000-01-01T00:00:00Z'):
        name, address = email.utils.parseaddr(author)
        self.path = path
        self.date = date
        self.env = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
        self.env |= {'GIT_CONFIG_NOSYSTEM': '1', 'GIT_CONFIG_GLOBAL': os.devnull,
                     'GIT_ATTR_NOSYSTEM': '1', 'LC_ALL': 'C'}
        for who in ('AUTHOR', 'COMMITTER'):
            self.env |= {f'GIT_{who}_NAME': name, f'GIT_{who}_EMAIL': address}

    def __call__(self, *arguments: str | Path) -> str:
        result = capture(['git', '-c', 'core.attributesFile=/dev/null', '-c', 'gc.auto=0',
                          *arguments], self.path,
                         {**self.env, **dict.fromkeys(('GIT_AUTHOR_DATE', 'GIT_COMMITTER_DATE'),
                                                      self.date)})
        if result.returncode != 0:
            raise tool_failure(EXIT_MACHINE, f'git {arguments[0]}', result.stdout + result.stderr)
        return result.stdout

    def begin(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self('init', '-q', '--template=', '--initial-branch=series')

    def commit(self, subject: str, body: str) -> None:
        self('add', '--all', '--force', '.')
        # Verbatim, or git would drop what begins with "#".
        self('commit', '-q', '--no-gpg-sign', '--allow-empty', '--cleanup=verbatim',
             '-m', subject, '-m', body)


def recipients(base: Base, patches: list[Path]) -> dict[str, list[str]]:
    """To: and Cc: of the cover letter, as the kernel's own script has them."""
    script = base.path / 'scripts/get_maintainer.pl'
    found: dict[str, list[str]] = {'To': [], 'Cc': []}
    result = capture(['perl', script, '--roles', '--no-rolestats', '--no-git', '--no-git-fallback',
                      *patches], base.path)
    if result.returncode:
        say(f'get_maintainer.pl: {(result.stderr or result.stdout).strip()}: no To: and Cc:')
    for line in result.stdout.splitlines():
        if match := re.match(r'(.*\S) \((maintainer|supporter)?[^()]*(?:\(.*\))?[^()]*\)$', line):
            found['To' if match[2] else 'Cc'].append(match[1])
    return found


class Writer:
    """Writes the topics of one kernel, one after the other."""

    def __init__(self, repo: Path, base: Base, folder: Path):
        self.repo = repo
        self.base = base
        self.files = read_files(repo)
        if known := [name for name in overlay_files(repo) if (base.path / name).exists()]:
            raise Failure(EXIT_TREE, f'{base.origin} already has {known[0]}. Give a tree without '
                          'the series.')
        self.stage = begin_stage(repo, base, read_hooks(repo), folder / 'tree')
        self.git = Git(self.stage.path, sender(repo))
        self.git.begin()
        if (base.path / '.gitattributes').is_file():
            # It says what to show behind the "@@".
            copy(base.path / '.gitattributes', self.stage.path / '.git/info/attributes')
        self.git.commit(f'Linux {base.release}', '')

    def commit(self, topic: Topic) -> int:
        """How many patches it has for this kernel."""
        count = 0
        self.git.date = topic.date
        for hook in topic.hooks:
            before = len(self.stage.hooks)
            apply_hook(self.repo, self.base, self.stage, hook)
            if len(self.stage.hooks) == before:
                continue
            for name in self.files.get(hook.name, []):
                add_file(self.repo, self.base, self.stage, name)
            title, _, text = read_message(self.repo / self.stage.hooks[-1])
            self.git.commit(title, text)
            count += 1
        return count

    def format(self, topic: Topic, count: int, before: list[str], output: Path) -> list[Path]:
        """The patches of what was committed last; the cover letter, which is addressed, first."""
        base = f'These patches are for Linux {self.base.release}'
        base += f', with these applied before: {", ".join(before)}.' if before else '.'
        self.git('config', 'branch.series.description',
                 f'{topic.subject}\n\n{topic.body}\n{base}\n')
        self.git('format-patch', '-q', '--cover-letter', '--cover-from-description=subject',
                 '--numbered', '--no-signature', '--zero-commit', '--abbrev=12', '--no-renames',
                 '-o', output, f'-{count}')
        cover, *patches = sorted(output.iterdir())
        headers = ''.join(f'{name}: ' + ',\n '.join(people) + '\n' for name, people in
                          recipients(self.base, patches).items() if people)
        text = cover.read_text(encoding='utf-8')
        cover.write_text(text.replace('\nSubject: ', f'\n{headers}Subject: ', 1), encoding='utf-8')
        return [cover, *patches]


def write_series(repo: Path, base: Base, name: str = '') -> dict[str, list[Path]]:
    """
    The patches of each topic in build/<base>/series/<topic>, the cover letter first: of
    one and those that it depends on, or of all, one on top of the other. All or none.
    """
    topics = choose_topics(read_topics(repo), name)
    final = repo / 'build' / base.name / 'series'
    temporary = final.with_name('series.tmp')
    shutil.rmtree(temporary, ignore_errors=True)
    output = temporary / 'series'
    output.mkdir(parents=True)
    writer = Writer(repo, base, temporary)
    written: dict[str, list[Path]] = {}
    for topic in topics:
        try:
            count = writer.commit(topic)
        except Failure as failure:
            on = ', '.join(written) or 'no other'
            raise Failure(failure.code, f'topic {topic.name}, on {on}: {failure}') from None
        if count:
            written[topic.name] = writer.format(topic, count, list(written), output / topic.name)
        else:
            say(f'topic {topic.name}: nothing in it is for {base.origin}')
    (output / ALL).write_bytes(b''.join(patch.read_bytes() for patches in written.values()
                                        for patch in patches[1:]))
    shutil.rmtree(final, ignore_errors=True)
    output.rename(final)
    shutil.rmtree(temporary)
    return {one: [final / one / path.name for path in paths] for one, paths in written.items()}
