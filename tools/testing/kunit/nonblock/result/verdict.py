# SPDX-License-Identifier: GPL-2.0-only
"""What a run is worth: which cases there are, what became of each, and the sum.

kunit.py tells what ran. Only the sources tell what should have run, so that a
case, a suite or a parameter table that went missing is a failure, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Optional

from nonblock.kernel import sanitizer
from nonblock.common import EXIT_FAILED, EXIT_HANG, EXIT_TREE, EXIT_USAGE, Failure, say
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.session import Session
from nonblock.tree.prepare import overlay_files

SKIP_RULES = Path(__file__).with_name('expected-skips')
FAILURE_RULES = Path(__file__).with_name('expected-failures')
TEST_SOURCE = re.compile(r'.*(_kunit|-test|_test)\.c$')


# What should run

@dataclass(frozen=True)
class Case:
    suite: str
    name: str
    has_params: bool

    def __str__(self) -> str:
        return f'{self.suite}.{self.name}'


def scan_source(text: str, where: str) -> list[Case]:
    """All test cases in a C file, in the order in which they run."""
    text = re.sub(r'/\*.*?\*/|//[^\n]*', '', text, flags=re.DOTALL)
    arrays = {name: re.findall(r'\bKUNIT_CASE(\w*)\s*\(\s*(\w+)', body) for name, body in
              re.findall(r'struct\s+kunit_case\s+(\w+)\s*\[[^]]*\]\s*=\s*\{(.*?)\}\s*;',
                         text, re.DOTALL)}
    cases = []
    for body in re.findall(r'struct\s+kunit_suite\s+\w+\s*=\s*\{(.*?)\}\s*;', text, re.DOTALL):
        suite = re.search(r'\.name\s*=\s*"([^"]+)"', body)
        array = re.search(r'\.test_cases\s*=\s*(\w+)', body)
        if suite and array:
            cases += [Case(suite[1], name, 'PARAM' in macro)
                      for macro, name in arrays.get(array[1], [])]
    if len(cases) != len(re.findall(r'\bKUNIT_CASE\w*\s*\(', text)):
        raise Failure(EXIT_TREE, f'{where}: cannot tell which suite each KUNIT_CASE is in. Put '
                      'them into one "struct kunit_case x[] = { ... };" for each suite, and name '
                      'it in a "struct kunit_suite" in the same file.')
    return cases


def expected_cases(repo: Path) -> list[Case]:
    cases = [case for name in overlay_files(repo) if TEST_SOURCE.match(name)
             for case in scan_source((repo / name).read_text(encoding='utf-8'), name)]
    if not cases:
        raise Failure(EXIT_TREE, f'{repo}: there is no KUNIT_CASE in any *_kunit.c, *_test.c or '
                      '*-test.c')
    return cases


# What was skipped with reason

@dataclass(frozen=True)
class SkipRule:
    reason: str         # a part of the skip's reason
    file: str           # of the prepared tree; .config: what it was built with
    pattern: str        # a regular expression: without it there, the skip is right

    def allows(self, reason: str, session: Session) -> bool:
        if self.reason not in reason:
            return False
        path = session.config if self.file == '.config' else session.tree / self.file
        try:
            text = path.read_text(encoding='utf-8', errors='replace')
        except FileNotFoundError:
            return True
        return not re.search(self.pattern, text)


def read_skip_rules(path: Path = SKIP_RULES) -> list[SkipRule]:
    rules = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        parts = [part.strip() for part in line.split('|', 2)]
        if len(parts) != 3 or not all(parts):
            raise Failure(EXIT_USAGE, f'{path}:{number}: want "reason | kernel file | pattern"')
        rules.append(SkipRule(*parts))
    return rules


# What failed with reason

@dataclass(frozen=True)
class FailureRule:
    case: str           # suite.case
    message: str        # a regular expression, for the message of its failed expectation


def read_failure_rules(path: Path = FAILURE_RULES) -> list[FailureRule]:
    rules = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        parts = [part.strip() for part in line.split('|', 1)]
        if len(parts) != 2 or not all(parts):
            raise Failure(EXIT_USAGE, f'{path}:{number}: want "suite.case | message"')
        rules.append(FailureRule(*parts))
    return rules


def green_cases(repo: Path) -> list[Case]:
    """All but those that fail by design. These are not built by default."""
    red = {rule.case for rule in read_failure_rules()}
    return [case for case in expected_cases(repo) if str(case) not in red]


def claim_failures(log: Log, rules: list[FailureRule]) -> None:
    """Those that fail as they should have passed; if they pass, they have failed."""
    wanted = {rule.case: rule.message for rule in rules}
    for (suite, name), result in log.cases.items():
        message = wanted.get(f'{suite}.{name}')
        if message is None:
            continue
        if result.status == 'passed':
            result.status, result.reason = 'failed', f'passed, but must fail with "{message}"'
        elif result.status == 'failed' and re.search(message, result.message):
            result.status, result.reason = 'passed', ''
        elif result.status == 'failed':
            result.reason = f'must fail with "{message}", failed with "{result.message[:300]}"'
    for suite, result in log.suites.items():
        cases = [case for (of, _), case in log.cases.items() if of == suite]
        if cases and all(case.status == 'passed' for case in cases):
            result.status = 'passed'


# What did run

@dataclass
class Result:
    name: str
    status: str                 # 'passed', 'failed' or 'skipped'
    reason: str = ''
    message: str = ''           # of the first failed expectation
    reported: Optional[str] = None      # what KUNIT_EXPECT_REPORT() saw last
    params: list[Result] = field(default_factory=list)


@dataclass
class Log:
    suites: dict[str, Result] = field(default_factory=dict)
    cases: dict[tuple[str, str], Result] = field(default_factory=dict)
    open_suite: str = ''        # begun and not ended, at the end of the log
    open_case: str = ''         # the same, for a case with parameters
    open_params: list[Result] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)   # results that are not in the log
    last_suite: str = ''        # the last that ended
    panic: str = ''
    sanitizer: list[str] = field(default_factory=list)      # headlines of KASAN, KCSAN


RESULT = re.compile(r'( *)(ok|not ok) (\d+)(?: -)? (.*?)(?: # SKIP ?(.*))?$')
SUBTEST = re.compile(r'( *)# Subtest: (.*)$')
REASON = re.compile(r' *# [^:]+: ((?:EXPECTATION|ASSERTION) FAILED at \S+|try timed out|'
                    r'failed to init.*|internal error.*)')
REPORTED = re.compile(r' *# [^:]+: reported: (.*)$')
TOTALS = re.compile(r'# Totals: pass:\d+ fail:\d+ skip:\d+ total:(\d+)$')
PANIC = re.compile(r'(Kernel panic - not syncing.*|BUG: .*|Oops.*|.*Segfault.*)')


def parse_log(lines: Iterable[str]) -> Log:
    """Read the KTAP in a kernel log. Suites are at indent 0, cases at 4, parameters at 8."""
    log = Log()
    prefix: Optional[int] = None
    reason = ''
    message: list[str] = []
    reported: Optional[str] = None
    last = 0                        # number of a parameter
    results = 0                     # of a suite: parameters, and cases without
    for line in lines:
        line = line.rstrip()
        if (found := PANIC.search(line)) and not log.panic.startswith('Kernel panic'):
            log.panic = found[1]
        if found := sanitizer.HEADLINE.search(line):
            log.sanitizer.append(found[1])
        if prefix is None:
            if line.endswith('KTAP version 1'):
                prefix = len(line) - len('KTAP version 1')
            continue
        line = line[prefix:]        # a time stamp, maybe
        if match := REASON.match(line):
            reason = reason or match[1]
        elif match := REPORTED.match(line):
            reported = match[1]
        elif match := SUBTEST.match(line):
            if len(match[1]) <= 4:
                log.open_suite, results = match[2], 0
            else:
                log.open_case, log.open_params, last = match[2], [], 0
        elif match := RESULT.match(line):
            indent, status, number, name, skip = match.groups()
            word = 'skipped' if skip is not None else 'passed' if status == 'ok' else 'failed'
            result = Result(name, word, skip or (reason if word == 'failed' else ''),
                            ' '.join(message), reported)
            reason, message, reported = '', [], None
            if len(indent) >= 8:
                log.open_params.append(result)
                if int(number) > last + 1:
                    log.lost.append(f'{log.open_suite}.{log.open_case}: results {last + 1} to '
                                    f'{int(number) - 1}')
                results += int(number) - last
                last = int(number)
            elif len(indent) >= 4:
                if log.open_case == name:
                    result.params = log.open_params
                else:
                    results += 1
                log.cases[log.open_suite, name] = result
                log.open_case, log.open_params = '', []
            else:
                log.suites[name] = result
                log.last_suite, log.open_suite = name, ''
        elif match := TOTALS.match(line):
            if int(match[1]) > results:
                log.lost.append(f'{log.open_suite}: {int(match[1]) - results} of '
                                f'{match[1]} results')
        elif reason:
            message += [line.strip()] if line.strip() else []
    return log


# The sum

@dataclass
class Verdict:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    code: int = 0
    lines: list[str] = field(default_factory=list)      # one for each failure

    def fail(self, line: str, code: int = EXIT_FAILED) -> None:
        self.failed += 1
        self.lines.append(line)
        self.code = max(self.code, code)

    def add(self, other: Verdict) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.lines += other.lines
        self.code = max(self.code, other.code)

    def __str__(self) -> str:
        skipped = f', {self.skipped} skipped' if self.skipped else ''
        return f'{self.passed} passed, {self.failed} failed{skipped}'


def report(verdict: Verdict) -> int:
    """What the user gets of it; the exit status."""
    for line in verdict.lines:
        say(line)
    say(str(verdict))
    return verdict.code


def judge(expected: list[Case], log: Log, rules: list[SkipRule], session: Session,
          outcome: Outcome) -> Verdict:
    verdict = Verdict()

    def count(name: str, result: Result) -> None:
        if result.status == 'passed':
            verdict.passed += 1
        elif result.status == 'failed':
            verdict.fail(f'FAILED {name}' + (f': {result.reason}' if result.reason else ''))
        elif any(rule.allows(result.reason, session) for rule in rules):
            verdict.skipped += 1
        else:
            verdict.fail(f'SKIPPED {name}: not in expected-skips: '
                         f'{result.reason or "no reason given"}')

    stopped, trouble = find_stop(expected, log, outcome.timed_out, session.machine.timeout)
    if stopped:
        verdict.fail(trouble, EXIT_HANG)
        for param in log.open_params:
            count(f'{log.open_suite}.{log.open_case}:{param.name}', param)

    # Also those that ran without being expected: the user may have enabled more.
    for (suite, name), result in log.cases.items():
        for param in result.params:
            count(f'{suite}.{name}:{param.name}', param)
        if not result.params or (result.status == 'failed' and
                                 all(param.status != 'failed' for param in result.params)):
            if Case(suite, name, True) in expected and not result.reason \
                    and result.status != 'failed':
                verdict.fail(f'FAILED {suite}.{name}: no parameter was run')
            else:
                count(f'{suite}.{name}', result)
    for name, result in log.suites.items():
        if result.status == 'failed' and not any(
                case.status == 'failed' for (suite, _), case in log.cases.items() if suite == name):
            # Then no case has counted it.
            verdict.fail(f'FAILED {name}: the suite itself failed (its init or exit)')

    for lost in log.lost:
        # UML drops what is printed while its reader is too slow.
        verdict.fail(f'MISSING {lost} are not in the log')
    bad, other = sanitizer.split(log.sanitizer, session.tree)
    for headline, times in bad.items():
        verdict.fail(f'FAILED {headline} ({times} times)')
    if other:
        say(sanitizer.as_text(other))
    for case in expected:
        if (case.suite, case.name) not in log.cases and str(case) != stopped:
            known = any(suite == case.suite for suite, _ in log.cases) or stopped
            verdict.fail(f'MISSING {case}: it did not run' +
                         ('' if known else f'; is suite {case.suite} enabled in .kunitconfig?'))
    if not verdict.passed and not verdict.failed:
        verdict.fail(f'FAILED: no test passed: all {verdict.skipped} were skipped')
    if outcome.status and not verdict.failed:
        verdict.fail(f'FAILED kunit.py: exit status {outcome.status}, though every case passed')
    return verdict


def find_stop(expected: list[Case], log: Log, timed_out: bool, timeout: int) -> tuple[str, str]:
    """Where the kernel hung or crashed, and a line that says so; empty if it did not."""
    stopped = _stopped_at(expected, log, timed_out)
    if not stopped:
        return '', ''
    what = (f'no result within {timeout} s' if timed_out
            else log.panic or 'the kernel ended before it had a result')
    if log.open_params:
        what += f' (the last parameter with a result is {log.open_params[-1].name})'
    return stopped, f'{"HANG" if timed_out else "CRASH"} {stopped}: {what}'


def _stopped_at(expected: list[Case], log: Log, timed_out: bool) -> Optional[str]:
    """Where the kernel hung or crashed; None if it did not."""
    if log.open_suite:
        if log.open_case:
            return f'{log.open_suite}.{log.open_case}'
        for case in expected:
            if case.suite == log.open_suite and (case.suite, case.name) not in log.cases:
                return str(case)
        return f'{log.open_suite} (after its last case)'
    if timed_out or log.panic.startswith('Kernel panic'):
        return f'the kernel, after suite {log.last_suite}' if log.suites else 'the kernel\'s boot'
    return None
