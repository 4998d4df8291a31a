# SPDX-License-Identifier: GPL-2.0-only
"""Run kunit.py, and show what it does not: that the build goes on."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from nonblock.common import Progress, say
from nonblock.kernel.session import Session
from nonblock.options import VARIABLES
from nonblock.tree.source import KUNIT

# kunit.py stops the kernel itself after the machine's timeout. If that fails, we do.
GRACE = 30

# What kunit.py prints when it begins a phase.
PHASES = {'Configuring KUnit Kernel': 'configure', 'Building KUnit Kernel': 'build',
          'Starting KUnit Kernel': 'run'}
ELAPSED = re.compile(r'Elapsed time: .* total, ([\d.]+)s configuring, ([\d.]+)s building, '
                     r'([\d.]+)s running')
TIMED_OUT = re.compile(r"Command '?\[.*\]'? timed out after \d+ seconds")
BUILD_ERROR = re.compile(r': (fatal )?error: |undefined reference to |No rule to make target|'
                         r'^Missing: |: syntax error|ERROR: modpost: .* undefined|'
                         r'Specified kunitconfig|'
                         r'\*\*\* .*(not clean|No space left)')


@dataclass
class Outcome:
    status: int = 0
    built: bool = False                 # a kernel was started
    timed_out: bool = False
    error: str = ''                     # why it was not built
    seconds: dict[str, str] = field(default_factory=dict)       # of each phase


# What kbuild and the selftests take from the environment, where it may be for other builds.
# A machine says on the command line what it wants. Who builds, and when, does no harm.
BUILD_VARIABLES = re.compile(
    r'SUBARCH|CROSS_COMPILE\w*|LLVM(_IAS)?|KBUILD_(?!BUILD_)\w+|KCONFIG_\w+|INSTALL_\w+|'
    r'\w*FLAGS|\w*LDLIBS|LOCALVERSION|KERNEL(RELEASE|VERSION)|KHDR_INCLUDES|OUTPUT|TARGETS|'
    r'MAKEFILES|MAKELEVEL|MAKEOVERRIDES|[CMOW]|CF|MO')


def environment() -> dict[str, str]:
    """Without make's own variables, which would reach the kernel's make ("make run V=1")."""
    return {key: value for key, value in os.environ.items()
            if key not in VARIABLES and not BUILD_VARIABLES.fullmatch(key)}


def count_objects(folder: Path) -> int:
    return sum(name.endswith('.o') for _, _, names in os.walk(folder) for name in names)


def run(session: Session, quiet: bool = False) -> Outcome:
    """Run kunit.py to its end; quiet: without what it makes of the results."""
    machine, log = session.machine, session.folder / 'test.log'
    # An older log must not be taken for this run's.
    log.unlink(missing_ok=True)
    outcome = _call(session, ['run', *build_options(session), *machine.run,
                              f'--timeout={machine.timeout}',
                              *(['--raw_output=all'] if session.raw else [])], quiet)
    outcome.built = log.exists()
    # Who reads the log after us shall have it without, in any case.
    if outcome.built and drop_replayed(log) and outcome.status:
        say('the kernel printed some lines twice; without the first, broken off:')
        outcome.status = _call(session, ['parse', str(log)], quiet).status
    return outcome


def build(session: Session) -> Outcome:
    """Let kunit.py build a kernel, and not run it."""
    outcome = _call(session, ['build', *build_options(session)])
    outcome.built = outcome.status == 0
    return outcome


def build_options(session: Session) -> list[str]:
    return [*session.machine.build, f'--build_dir={session.folder}', f'--jobs={session.jobs}']


# Who has something urgent to print may interrupt a line of another task, which is then
# printed again; on PREEMPT_RT often. kunit.py may take the half line for a result.
REPLAYED = re.compile(rb'^(?:.*\n)?\*\* replaying previous printk message \*\*\r?\n', re.MULTILINE)


def drop_replayed(log: Path) -> bool:
    """Remove broken off lines that follow again; tell whether there were any."""
    text, times = REPLAYED.subn(b'', log.read_bytes())
    if times:
        log.write_bytes(text)
    return times > 0


def _call(session: Session, arguments: list[str], quiet: bool = False) -> Outcome:
    command = [f'./{KUNIT}', *arguments]
    env = {**environment(), 'PYTHONUNBUFFERED': '1'}    # each line as it comes
    prefix = ''
    if path := session.machine.path:
        env['PATH'] = f'{path}:{env["PATH"]}'
        prefix = f'PATH={shlex.quote(path)}:$PATH '
    say(f'$ cd {shlex.quote(str(session.tree))} && {prefix}{shlex.join(command)}')
    # A session of its own: Ctrl-C comes to us only, and we stop all of it.
    process = subprocess.Popen(command, cwd=session.tree, env=env, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)
    try:
        return _follow(process, session, quiet)
    except BaseException:
        stop(process)
        raise


def _follow(process: subprocess.Popen[bytes], session: Session, quiet: bool) -> Outcome:
    assert process.stdout
    output = process.stdout.fileno()
    outcome, progress = Outcome(), Progress('building')
    phase, since = 'configure', time.monotonic()
    tail, last = b'', ''
    while True:
        if select.select([output], [], [], 0.5)[0]:
            data = os.read(output, 65536)
            if not data:
                break
            *lines, tail = (tail + data).split(b'\n')
            for line in (part.decode(errors='replace').rstrip('\r') for part in lines):
                if not quiet or phase != 'run':
                    say(line)
                last = line.strip() or last
                if new := next((PHASES[key] for key in PHASES if key in line), None):
                    phase, since = new, time.monotonic()
                if match := ELAPSED.search(line):
                    outcome.seconds = {f'{name}_seconds': seconds for name, seconds
                                       in zip(PHASES.values(), match.groups())}
                outcome.timed_out = outcome.timed_out or bool(TIMED_OUT.match(line))
                if not outcome.error and phase != 'run' and BUILD_ERROR.search(line):
                    outcome.error = line.strip()
        if phase == 'build' and progress.due():
            progress.update(f'{count_objects(session.folder)} objects')
        if phase == 'run' and time.monotonic() - since > session.machine.timeout + GRACE:
            # Only the kernel: kunit.py has yet to write the log.
            outcome.timed_out = True
            signal_all(descendants(process.pid), signal.SIGKILL)
    if tail and not quiet:
        say(tail.decode(errors='replace'))
    process.stdout.close()
    outcome.status = process.wait()
    outcome.error = outcome.error or last
    return outcome


def stop(process: subprocess.Popen[bytes],
         signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL)) -> None:
    """End a program and all that it has started, by their process ids."""
    # UML makes a session of its own, so that the process group is not enough.
    family = descendants(process.pid)
    for number in signals:
        signal_all([*family, process.pid], number)
        deadline = time.monotonic() + 5
        while process.poll() is None or any(stat(pid)[:1] not in ([], ['Z']) for pid in family):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)


def stop_children() -> None:
    """End what other threads of this program have started, and wait for."""
    signal_all(descendants(os.getpid()), signal.SIGKILL)


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def stat(pid: int) -> list[str]:
    """State, parent and so on of a process; its name may hold blanks. Empty if it is gone."""
    try:
        return Path(f'/proc/{pid}/stat').read_text(encoding='utf-8').rpartition(')')[2].split()
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    parents = {}
    for name in os.listdir('/proc'):
        if name.isdigit() and (fields := stat(int(name))):
            parents[int(name)] = int(fields[1])
    found = [pid]
    for parent in found:        # grows as we go
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]
