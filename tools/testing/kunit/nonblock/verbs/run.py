# SPDX-License-Identifier: GPL-2.0-only
"""make run: the suites on one kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from nonblock.common import EXIT_BUILD, say
from nonblock.kernel import kunit_run
from nonblock.kernel.kconfig import NOT_SET
from nonblock.kernel.machine import qemu_run, qemu_suites, uml, uml_suites
from nonblock.kernel.session import Qemu, Session, UserMode, prepared
from nonblock.options import Options
from nonblock.result.ktap import TestLog, parse_log
from nonblock.result.verdict import Verdict, green_cases, judge, read_skip_rules
from nonblock.tree.prepare import KUNITCONFIG
from nonblock.verbs import BOOT, MACHINE, Verb


def boot(session: Session, quiet: bool = False) -> tuple[kunit_run.Outcome, TestLog]:
    """Build and run."""
    outcome = kunit_run.run(session, quiet and not session.raw)
    if not outcome.built:
        return outcome, TestLog()
    with open(session.folder / 'test.log', encoding='utf-8', errors='replace') as file:
        return outcome, parse_log(file)


def with_defaults(session: Session) -> Optional[Session]:
    """To build the kernel without turning anything off; None if nothing is."""
    given, text, rest = '--kunitconfig=', '', []
    for argument in session.machine.build:
        if not argument.startswith(given):
            rest.append(argument)
            continue
        path = session.tree / argument.removeprefix(given)
        text += (path / KUNITCONFIG if path.is_dir() else path).read_text(encoding='utf-8')
    if not NOT_SET.search(text):
        return None
    config = session.build / 'defaults.config'
    config.write_text(NOT_SET.sub('', text), encoding='utf-8')
    return replace(session, machine=replace(
        session.machine, folder=f'{session.machine.folder}-defaults',
        build=(f'{given}{config}', *rest)))


def run(options: Options, user_mode: UserMode = uml, others: Qemu = qemu_run) -> Verdict:
    """Everything up to the verdict, which the caller prints."""
    rules = read_skip_rules()
    with prepared(options, (user_mode, others)) as session:
        outcome, log = boot(session)
        # What the suites do without, somebody's own kernel may not build without.
        if not outcome.built and options.kdir and (other := with_defaults(session)):
            say(f'{outcome.error}\nnot built; once more, with all that is on by default')
            session = other
            outcome, log = boot(session)
        if not outcome.built:
            verdict = Verdict()
            verdict.fail('build', outcome.error, EXIT_BUILD)
        else:
            verdict = judge(green_cases(session.repo), log, rules, session, outcome)
        return verdict.tell({**session.about, **outcome.seconds})


def on_e2e(options: Options) -> Verdict:
    """The suites on the kernel for the tests in user space, where that is built anyway."""
    return run(options, uml_suites, qemu_suites)


VERB = Verb('run', run, (*BOOT, *MACHINE, 'LLVM'))
