# SPDX-License-Identifier: GPL-2.0-only
"""The command line of each verb. An option that is not given is taken from the environment.

There each has the name of the Makefile's variable: --kver is KVER. What they mean is in
help.txt, for `make help` and for --help.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import signal
import sys
import textwrap
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

from nonblock.common import (EXIT_CODES, EXIT_INTERRUPTED, EXIT_USAGE, REPO, Failure,
                             as_failure, hush, say, take_remarks)
from nonblock.kernel.session import check_machine, find_base
from nonblock.options import FLAGS, VARIABLES, Options
from nonblock.result.output import Output
from nonblock.result.verdict import report
from nonblock.tree.prepare import check_path
from nonblock.tree.source import check_kver
from nonblock.verbs import (Verb, audit, bench, check_series, clean, drivers, e2e, explain,
                            matrix, modules, mutants, run, series, test, test_all, test_quick, tree)

VERBS = (run.VERB, e2e.VERB, modules.VERB, drivers.VERB, tree.VERB, test.VERB, test_all.VERB,
         test_quick.VERB, matrix.VERB, mutants.VERB, bench.VERB, explain.VERB, audit.VERB,
         series.VERB, check_series.VERB, clean.VERB)
HELP = Path(__file__).with_name('help.txt')
MOST = {'JOBS': 4096}           # make puts one byte each into a pipe, of a page at least
MAKEFILES = (*VARIABLES, 'PYTHON', 'DIR')


class Texts(dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise KeyError(f'{name} has no line in {HELP.name}')


def texts() -> Texts:
    """Of each verb and variable, by its name, what help.txt says; if a variable is another thing
    for one verb, that is "VERB NAME"."""
    found = Texts()
    for line in HELP.read_text(encoding='utf-8').splitlines():
        if match := re.match(r'#:   (?:make )?([\w-]+)(?:=\S+)? +'
                             r'(?:with (?:`make (\w+)`|[a-z])[^:]*: )?(\S.*)', line):
            name = f'{match[2]} {match[1]}' if match[1] in found else match[1]
            found[name] = match[3]
        elif match := re.match(r'#: {12,}(\S.*)', line):
            found[name] += ' ' + match[1]
    return found


def parser_of(verbs: Sequence[Verb]) -> argparse.ArgumentParser:
    known = texts()
    parser = argparse.ArgumentParser(
        prog='nonblock', epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Prepare a kernel tree with the hooks and suites, run kunit.py in it, and sum '
        'up.\nVERB --help has the options, which are variables of the environment as well.')
    commands = parser.add_subparsers(dest='verb', required=True, metavar='VERB')
    for verb in verbs:
        one = commands.add_parser(
            verb.name, help=re.split('[:.] ', known[verb.name])[0], epilog=verb.exit_codes,
            description=textwrap.fill(known[verb.name], 80), allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        for name in verb.variables:
            text = known.get(f'{verb.name} {name}') or known[name]
            text = f'{text} [{name}]'.replace('%', '%%')
            if name == 'LOG':
                one.add_argument(name, nargs='*', help=text)
            elif name in FLAGS or name == 'JSON' and 'JUNIT' not in verb.variables:
                one.add_argument(f'--{name.lower()}', dest=name, action='store_const', const='1',
                                 help=text)
            else:
                one.add_argument(f'--{name.lower()}', dest=name, help=text)
    return parser


def unknown_variables(verbs: Sequence[Verb], verb: Verb, env: Mapping[str, str]
                      ) -> tuple[list[str], list[str]]:
    """What is set, and not for this verb: what is refused, and what is only noted."""
    # What was given to make, if that is the first one
    given = re.findall(r'(?:^|(?<!\\) )(\w+)=', env.get('MAKEFLAGS', '').partition('-- ')[2]
                       if env.get('MAKELEVEL') == '1' else '')
    refused = [f'{name}: there is no such variable' for name in given if name not in MAKEFILES]
    noted: list[str] = []
    for name in VARIABLES:
        if (text := env.get(name)) and not verb.takes(name, text):
            others = [f'"{other.name}"' for other in verbs if other.takes(name, text)]
            (refused if verb.strict or name in given else noted).append(
                f'{name}={text}: "{verb.name}" does not take it; '
                f'{", ".join(others)} {"do" if others[1:] else "does"}')
    return refused, noted


@dataclass(frozen=True)
class Given:
    """What was given, as it was."""
    verb: Verb
    texts: Mapping[str, str]        # by the names of the variables
    log: tuple[str, ...]
    refused: list[str]              # what is set, and not for this verb
    noted: list[str]

    def options(self) -> Options:
        if self.refused:
            raise Failure(EXIT_USAGE, '\n'.join(f'{line}. Leave it out.' for line in self.refused))
        for line in self.noted:
            print(f'note: {line}', file=sys.stderr, flush=True)
        if self.texts.get('KVER') and self.texts.get('KDIR'):
            raise Failure(EXIT_USAGE, f'KVER={self.texts["KVER"]} asks for a Debian source and '
                          f'KDIR={self.texts["KDIR"]} for a tree of your own: give one of them')
        texts = {'ARCH': self.verb.arch, 'JOBS': str(len(os.sched_getaffinity(0))), **self.texts}
        texts.setdefault('SMP', '1' if texts['ARCH'] == 'um' else '2')
        values: dict[str, Any] = {}
        for field in fields(Options):
            text = texts.get(name := field.name.upper(), '')
            if isinstance(field.default, bool):
                if text not in ('', '0', '1'):
                    raise Failure(EXIT_USAGE, f'{name}={text}: want 0 or 1')
                values[field.name] = text == '1'
            elif isinstance(field.default, int):
                if not text.isdecimal() or not 1 <= int(text[:9]) <= MOST.get(name, 10 ** 9):
                    most = f'to {MOST[name]}' if name in MOST else 'or more'
                    raise Failure(EXIT_USAGE, f'{name}={text}: want a number, 1 {most}')
                values[field.name] = int(text[:9])
            else:
                values[field.name] = os.path.expanduser(text)
        values['log'] = self.log
        return Options(**values)


def read(verbs: Sequence[Verb], arguments: Sequence[str], env: Mapping[str, str]) -> Given:
    parsed = vars(parser_of(verbs).parse_args(arguments))
    verb = next(verb for verb in verbs if verb.name == parsed['verb'])
    options = {name: parsed[name] for name in verb.variables
               if name != 'LOG' and parsed[name] is not None}
    env = {name: text for name, text in env.items() if name not in options}
    found = options | {name: text for name in verb.variables if name != 'LOG'
                       if verb.takes(name, text := env.get(name, '')) and text}
    # No shell has seen what make hands on: one file, with blanks or without, or several.
    text = env.get('LOG', '')
    log = parsed.get('LOG') or map(os.path.expanduser, [text] if os.path.exists(
        os.path.expanduser(text)) else text.split())
    return Given(verb, {name: text for name, text in found.items() if text}, tuple(log),
                 *unknown_variables(verbs, verb, env))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The kernel may print what the user's locale cannot.
        sys.stdout.reconfigure(errors='backslashreplace')
    arguments = sys.argv[1:] if arguments is None else arguments
    # What packages.sh asks before it installs anything
    only_check = list(arguments[:1]) == ['--check']
    given = read(VERBS, arguments[only_check:], os.environ)
    output = Output(given.verb.name, given.texts.get('JUNIT', ''),
                    given.texts.get('JSON', '') if 'JUNIT' in given.verb.variables else '')
    try:
        output.begin()
        options = given.options()
        check_machine(options)
        if 'KVER' in given.verb.variables:
            check_path(REPO)
        if options.kver:
            check_kver(options.kver)
        if options.kdir and 'KVER' in given.verb.variables:
            find_base(options)      # is it a tree?
        given.verb.check(options)
        if only_check:
            return 0
        result = given.verb.run(options)
        if isinstance(result, int):
            for line in take_remarks():
                say(line)
            return result
        if not result.passed and not result.failed:
            result.fail('', 'nothing was tested')
        report(result)
        output.write(result)
        return result.code
    except BrokenPipeError:
        hush()
        return 128 + signal.SIGPIPE
    except (Failure, OSError) as error:
        failure = as_failure(error)
        message, code = f'error: {failure}', failure.code
    except KeyboardInterrupt:
        message, code = 'interrupted; the next run goes on from here', EXIT_INTERRUPTED
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        output.fail(message, code)
    return code
