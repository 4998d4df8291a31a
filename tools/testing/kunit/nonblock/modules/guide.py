# SPDX-License-Identifier: GPL-2.0-only
"""The code blocks of the guide and of the page about the runner, and the test of each.

A block of commands that begins with "$ " is for a shell: make modules runs it. One that
begins with "# " is for root on the kernel that is tested: make modules boots that, for
each such block anew, and runs it there. What the page shows as their output has to be
what they print. A line "..." stands for any lines, and "..." in a line for any text;
numbers may be others. What make modules cannot print is in a log that tests/guide_test.py reads.
"""

from __future__ import annotations

import os
import re
import tempfile
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterable, Iterator, Mapping

from nonblock.kernel import kunit_run
from nonblock.kernel.boot import build_initramfs, run_boot, uml_command_line
from nonblock.common import EXIT_HANG, EXIT_MACHINE, Failure, capture, say
from nonblock.kernel.session import Session
from nonblock.result.verdict import Verdict

# The guide, which is in the series; and what there is only in this repository
PAGE = 'Documentation/mm/mmu_notifier_nonblock.rst'
RUNNER = 'Documentation/runner.rst'
# Debian's busybox-static, see packages.sh
BUSYBOX = Path('/bin/busybox')
APPLETS = ('cat', 'echo', 'grep', 'insmod', 'mkdir', 'modprobe', 'mount', 'poweroff', 'sh', 'uname')


# Blocks

@dataclass(frozen=True)
class Command:
    text: str
    output: list[str]


@dataclass(frozen=True)
class Block:
    line: int                   # of the page
    text: str                   # without its indentation
    page: str = PAGE

    @property
    def place(self) -> str:
        return f'{self.page}:{self.line}'

    @property
    def label(self) -> str:
        """The same in each run."""
        return f'{self.page}: {self.text.splitlines()[0]}'

    def __str__(self) -> str:
        return f'{self.place}: {self.text.splitlines()[0]}'

    @property
    def prompt(self) -> str:
        return self.text[:2] if self.text[:2] in ('$ ', '# ') else ''

    def commands(self) -> list[Command]:
        found: list[Command] = []
        for line in self.text.splitlines():
            if line.startswith(self.prompt):
                found.append(Command(line.removeprefix(self.prompt), []))
            else:
                found[-1].output.append(line)
        return found


def read_blocks(text: str, page: str = PAGE) -> list[Block]:
    """All code after a "::", in a page as simple as ours."""
    lines = text.splitlines()
    found = []
    for number, line in enumerate(lines):
        if not line.endswith('::') or line.startswith('.. '):
            continue
        margin = len(line) - len(re.sub(r'^ *(?:[-*] +)?', '', line))
        body = []
        for following in lines[number + 1:]:
            if following.strip() and not following[margin:margin + 1].isspace():
                break
            body.append(following.expandtabs())
        found.append(Block(number + 1, textwrap.dedent('\n'.join(body)).strip('\n'), page))
    return found


def page_blocks(repo: Path) -> list[Block]:
    return [block for page in (PAGE, RUNNER)
            for block in read_blocks((repo / page).read_text(encoding='utf-8'), page)]


# Who tests it

# Blocks that others run, by their first command. UML has no hist triggers.
RUN_BY = {
    './tools/testing/kunit/kunit.py run --kunitconfig=mm/tests':
    'check_series.SeriesCheck.documented()',
    "echo 'hist:keys=callback.sym,ret:vals=hitcount,ns' > "
    '/sys/kernel/tracing/events/mmu_notifier/mmu_notifier_nonblock/trigger': 'make drivers',
}


def run_by_others(block: Block) -> str:
    return RUN_BY.get(block.commands()[0].text, '') if block.prompt else ''


# What a command prints

def is_as_shown(shown: list[str], printed: list[str]) -> bool:
    """Blanks, numbers, hexadecimal ones also, and all that "..." stands for may differ."""
    want, got = (' '.join(re.sub(r'0x[0-9a-f]+|\d+', 'N', ' '.join(lines)).split())
                 for lines in (shown, printed))
    parts = re.split(r' *\.\.\. *', want)
    return bool(re.fullmatch('.*'.join(map(re.escape, parts)), got))


MARK = 'guide-command'


def script(commands: Iterable[Command]) -> str:
    """Runs all of them, a failed one or not, with a line after each that tells its status."""
    return ''.join(f'{command.text}\necho "{MARK} $?"\n' for command in commands)


def split_output(text: str) -> list[tuple[str, list[str]]]:
    """Of each command that ended: its status, and what was printed, but for empty lines."""
    parts = re.split(rf'{MARK} (\d+)\s', text)
    return [(status, list(filter(str.strip, output.splitlines())))
            for output, status in zip(parts[::2], parts[1::2])]


def judge_block(block: Block, ran: list[tuple[str, list[str]]]) -> Verdict:
    """The block counts as one test."""
    trouble = []
    commands = block.commands()
    for command, (status, lines) in zip(commands, ran):
        # Where the page shows how something fails, it is to fail.
        if (status != '0') != any('Error' in line for line in command.output):
            trouble.append(f'{command.text}: exit status {status}: {" ".join(lines[-1:])}')
        elif command.output and not is_as_shown(command.output, lines):
            trouble.append(f'{command.text}: does not print what is shown: '
                           f'{" / ".join(command.output)}')
    if len(ran) < len(commands):
        trouble.append(f'{commands[len(ran)].text}: did not end')
    verdict = Verdict()
    verdict.note(block.label, f'line {block.line}: {"; ".join(trouble)}' if trouble else '')
    return verdict


# In a shell

def shell_blocks(repo: Path, page: str) -> Iterator[Block]:
    for block in page_blocks(repo):
        if block.prompt == '$ ' and block.page == page and not run_by_others(block):
            yield block


def run_in_shell(blocks: list[Block], cwd: Path, env: Mapping[str, str]) -> Verdict:
    """One shell for all of them: each goes on where the one before has ended."""
    total = Verdict()
    commands = [command for block in blocks for command in block.commands()]
    say('\n'.join([f'$ cd {cwd}', *(f'$ {command.text}' for command in commands)]))
    result = capture(['sh', '-c', f'exec 2>&1\n{script(commands)}'], cwd, env)
    ran = split_output(result.stdout)
    for block in blocks:
        number = len(block.commands())
        total.add(judge_block(block, ran[:number]))
        ran = ran[number:]
    if total.failed:
        say(result.stdout)
    return total


def run_out_of_tree(session: Session, folder: Path) -> Verdict:
    """In a driver's folder, with the kernel that is built in the folder linux."""
    (folder / 'linux').symlink_to(session.folder)
    return run_in_shell(list(shell_blocks(session.repo, PAGE)), folder,
                        {**kunit_run.environment(), 'ARCH': 'um'})


def run_front_door(repo: Path, env: Mapping[str, str]) -> Verdict:
    """As a new user does, with a home of their own; the kernel is the one that is built."""
    if not (repo / '.git').exists():
        verdict = Verdict()
        verdict.skip(RUNNER, 'its commands begin with a clone, and this is no repository')
        say(f'skipped {RUNNER}: {verdict.tests[0].reason}')
        return verdict
    cache = os.environ.get('XDG_CACHE_HOME') or f'{Path.home()}/.cache'
    with tempfile.TemporaryDirectory() as home:
        # Whoever owns the repository
        (Path(home) / '.gitconfig').write_text('[safe]\n\tdirectory = *\n', encoding='utf-8')
        return run_in_shell([as_here(block, repo) for block in shell_blocks(repo, RUNNER)],
                            Path(home), {**kunit_run.environment(), **env, 'HOME': home,
                                         'URL': str(repo), 'XDG_CACHE_HOME': cache})


def as_here(block: Block, repo: Path) -> Block:
    """The same, but in the end the clone is left for the repository, which has a kernel."""
    return replace(block, text=re.sub(r'^(\$ cd .*)$', rf'\1 && cd "{repo}"', block.text,
                                      flags=re.MULTILINE))


# On the kernel that is tested

def init_script(block: Block) -> str:
    mounts = (('sysfs', '/sys'), ('debugfs', '/sys/kernel/debug'),
              ('tracefs', '/sys/kernel/tracing'))
    return '\n'.join(['export PATH=/bin HOME=/root', 'mkdir /sys',
                      *(f'mount -t {kind} none {path}' for kind, path in mounts),
                      'cd /root', f'echo {MARK} begins', script(block.commands()), 'poweroff -f',
                      ''])


def boot_command() -> list[str]:
    return uml_command_line(['time-travel=inf-cpu', 'rdinit=/bin/sh', '--', '/init.sh'])


def put_into_initramfs(um: Path, block: Block, modules: Iterable[Path]) -> None:
    """A shell, and what it can load: KUnit where modprobe finds it, the rest in root's home."""
    files = um / 'guide'
    files.mkdir(exist_ok=True)
    (files / 'init.sh').write_text(init_script(block), encoding='utf-8')
    (files / 'modules.dep').write_text('kunit.ko:\n', encoding='utf-8')
    release = (um / 'include/config/kernel.release').read_text(encoding='utf-8').strip()
    build_initramfs(um, {
        '/bin/busybox': BUSYBOX, '/init.sh': files / 'init.sh',
        f'/lib/modules/{release}/modules.dep': files / 'modules.dep',
        f'/lib/modules/{release}/kunit.ko': um / 'lib/kunit/kunit.ko',
        **{f'/root/{path.name}': path for path in modules}},
        {f'/bin/{name}': 'busybox' for name in APPLETS})


def run_boots(session: Session, modules: Path) -> Verdict:
    """Each block for root in a boot of its own, in a folder with these modules."""
    repo, um = session.repo, session.folder
    if not BUSYBOX.exists():
        raise Failure(EXIT_MACHINE, f'{BUSYBOX}: not found. '
                      'tools/testing/kunit/nonblock/packages.sh modules installs it.')
    total = Verdict()
    blocks = [block for block in page_blocks(repo) if block.prompt == '# ' and
              not run_by_others(block)]
    for number, block in enumerate(blocks, 1):
        say(f'# {block}')
        put_into_initramfs(um, block, sorted(modules.glob('*.ko')))
        booted = run_boot(session, f'guide-{number}', boot_command())
        if booted.timed_out or booted.status:
            verdict = Verdict()
            verdict.fail(block.label, 'it has no end' if booted.timed_out else
                         f'the kernel ended with exit status {booted.status}', EXIT_HANG,
                         'HANG' if booted.timed_out else 'CRASH')
        else:
            verdict = judge_block(
                block, split_output('\n'.join(booted.lines).partition(f'{MARK} begins')[2]))
        booted.say(f'guide-{number}', verdict, repo)
        total.add(verdict)
    return total
