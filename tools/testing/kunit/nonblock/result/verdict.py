# SPDX-License-Identifier: GPL-2.0-only
"""What a run is worth: which cases there are, what became of each, and the sum.

kunit.py tells what ran. Only the sources tell what should have run, so that a
case, a suite or a parameter table that went missing is a failure, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Iterator, Mapping, Optional

from nonblock.kernel import sanitizer
from nonblock.common import (EXIT_FAILED, EXIT_HANG, EXIT_TREE, EXIT_USAGE, Failure, say,
                             take_remarks)
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.session import Session
from nonblock.result.ktap import FAILED, PASSED, SKIPPED, TestLog, Result
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
    return [case for name in overlay_files(repo) if TEST_SOURCE.match(name)
            for case in scan_source((repo / name).read_text(encoding='utf-8', errors='replace'),
                                    name)]


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


def read_rules(path: Path, columns: str) -> Iterator[list[str]]:
    """The lines of a table, without comments. The last column is a regular expression."""
    wanted = columns.count('|') + 1
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if line.strip() and not line.startswith('#'):
            parts = [part.strip() for part in line.split('|', wanted - 1)]
            if len(parts) != wanted or not all(parts):
                raise Failure(EXIT_USAGE, f'{path}:{number}: want "{columns}"')
            try:
                re.compile(parts[-1])
            except re.error as error:
                raise Failure(EXIT_USAGE, f'{path}:{number}: {error} in the regular expression '
                              f'{parts[-1]}') from None
            yield parts


def read_skip_rules(path: Path = SKIP_RULES) -> list[SkipRule]:
    return [SkipRule(*parts) for parts in read_rules(path, 'reason | kernel file | pattern')]


# What failed with reason

def read_failure_rules(path: Path = FAILURE_RULES) -> dict[str, str]:
    """Of each suite.case a regular expression, for the message of its failed expectation."""
    return {case: message for case, message in read_rules(path, 'suite.case | message')}


def green_cases(repo: Path) -> list[Case]:
    """All but those that fail by design. These are not built by default."""
    red = read_failure_rules()
    return [case for case in expected_cases(repo) if str(case) not in red]


def claim_failures(log: TestLog, rules: Mapping[str, str]) -> None:
    """Those that fail as they should have passed; if they pass, they have failed."""
    for result in log.of(2):
        message = rules.get(str(result))
        if message is None:
            continue
        if result.status == PASSED:
            result.status, result.reason = FAILED, f'passed, but must fail with "{message}"'
        elif result.status == FAILED and re.search(message, result.message):
            result.status, result.reason = PASSED, ''
        elif result.status == FAILED:
            result.reason = f'must fail with "{message}", failed with "{result.message[:300]}"'
    for suite in log.of(1):
        cases = [case for case in log.of(2) if case.path[:1] == suite.path]
        if cases and all(case.status == PASSED for case in cases):
            suite.status = PASSED


# The sum

@dataclass
class Test:
    """One that counts. Its label is the same in each run."""
    label: str
    status: str
    reason: str = ''
    word: str = ''              # what its line begins with, if it failed
    code: int = 0
    seconds: Optional[float] = None
    report: str = ''
    where: tuple[str, ...] = ()         # the boot, the step
    about: Mapping[str, str] = field(default_factory=dict)      # the kernel, the machine
    suite: str = ''             # for programs, if the label does not begin with it

    def __str__(self) -> str:
        return ': '.join([*self.where, ' '.join(filter(None, (self.word, self.label))),
                          *([self.reason] if self.reason else [])])


@dataclass
class Verdict:
    tests: list[Test] = field(default_factory=list)

    def ok(self, label: str) -> None:
        self.tests.append(Test(label, PASSED))

    def skip(self, label: str, reason: str) -> None:
        self.tests.append(Test(label, SKIPPED, reason))

    def fail(self, label: str, reason: str = '', code: int = EXIT_FAILED, word: str = 'FAILED',
             report: str = '') -> None:
        self.tests.append(Test(label, FAILED, reason, word, code, report=report))

    def note(self, label: str, trouble: str, code: int = EXIT_FAILED) -> None:
        """A test that fails if there is trouble."""
        if trouble:
            self.fail(label, trouble, code)
        else:
            self.ok(label)

    def take(self, result: Result, rules: list[SkipRule], session: Session,
             label: str = '') -> None:
        """A result of a log, which may be skipped for these reasons."""
        label = label or str(result)
        if result.status == FAILED:
            self.fail(label, result.reason, report=result.report)
        elif result.status == PASSED:
            self.ok(label)
        elif any(rule.allows(result.reason, session) for rule in rules):
            self.skip(label, result.reason)
        else:
            self.fail(label, f'not in expected-skips: {result.reason or "no reason given"}',
                      word='SKIPPED')

    def add(self, other: Verdict) -> None:
        self.tests += other.tests

    def tell(self, about: Mapping[str, str], suite: str = '') -> Verdict:
        """Of which kernel, machine and configuration it is, and how long each phase took."""
        for test in self.tests:
            test.about, test.suite = test.about or about, test.suite or suite
        return self

    def within(self, where: str) -> Verdict:
        return Verdict([replace(test, where=(where, *test.where)) for test in self.tests])

    def count(self, status: str) -> int:
        return sum(test.status == status for test in self.tests)

    @property
    def passed(self) -> int:
        return self.count(PASSED)

    @property
    def failed(self) -> int:
        return self.count(FAILED)

    @property
    def skipped(self) -> int:
        return self.count(SKIPPED)

    @property
    def lines(self) -> list[str]:
        return [str(test) for test in self.tests if test.status == FAILED]

    @property
    def code(self) -> int:
        return max((test.code or EXIT_FAILED for test in self.tests if test.status == FAILED),
                   default=0)

    def __str__(self) -> str:
        skipped = f', {self.skipped} skipped' if self.skipped else ''
        return f'{self.passed} passed, {self.failed} failed{skipped}'


def report(verdict: Verdict) -> None:
    """What the user gets of it."""
    for line in [*verdict.lines, *take_remarks()]:
        say(line)
    say(str(verdict))


def judge(expected: list[Case], log: TestLog, rules: list[SkipRule], session: Session,
          outcome: Outcome) -> Verdict:
    verdict = Verdict()
    stopped, word, trouble = find_stop(expected, log, outcome.timed_out, session.machine.timeout)
    if stopped:
        verdict.fail(stopped, trouble, EXIT_HANG, word, log.rest)

    with_params = {str(case) for case in expected if case.has_params}
    params_of: dict[tuple[str, ...], list[Result]] = {}
    for param in log.of(3):
        params_of.setdefault(param.path[:2], []).append(param)
    # Also those that ran without being expected: the user may have enabled more.
    for result in log.results:
        params = params_of.get(result.path, [])
        if len(result.path) == 3:
            verdict.take(result, rules, session)
        elif len(result.path) == 2 and not params and not result.reason and \
                result.status != FAILED and str(result) in with_params:
            verdict.fail(str(result), 'no parameter was run')
        elif len(result.path) == 2 and (not params or result.status == FAILED and
                                        all(param.status != FAILED for param in params)):
            verdict.take(result, rules, session)
        elif len(result.path) == 1 and result.status == FAILED and not any(
                case.status == FAILED and case.path[:1] == result.path for case in log.of(2)):
            # Then no case has counted it.
            verdict.fail(str(result), 'the suite itself failed (its init or exit)')

    for lost in log.lost:
        # UML drops what is printed while its reader is too slow.
        where, _, what = lost.partition(': ')
        verdict.fail(where, f'{what} are not in the log', word='MISSING')
    bad, other = sanitizer.split(log.sanitizer, session.tree)
    for headline, times in bad.items():
        kind, what = headline.split(': ', 2)[1:]
        verdict.fail(f'BUG: {kind}', f'{what} ({times} times)')
    if other:
        say(sanitizer.as_text(other))
    ran = {result.path[:2] for result in log.of(2)}
    for case in expected:
        if (case.suite, case.name) not in ran and str(case) != stopped:
            known = any(suite == case.suite for suite, _ in ran) or stopped
            verdict.fail(str(case), 'it did not run' + (
                '' if known else f'; is suite {case.suite} enabled in .kunitconfig?'),
                word='MISSING')
    if not verdict.passed and not verdict.failed:
        verdict.fail('', f'no test passed: all {verdict.skipped} were skipped')
    if outcome.status and not verdict.failed:
        verdict.fail('kunit.py', f'exit status {outcome.status}, though every case passed')
    return verdict


def find_stop(expected: list[Case], log: TestLog, timed_out: bool,
              timeout: int) -> tuple[str, str, str]:
    """Where the kernel hung or crashed, which of these, and why; empty if it did not."""
    if log.open[1:]:
        stopped = '.'.join(log.open)
    elif log.open:
        ran = {result.path for result in log.of(2)}
        stopped = next((str(case) for case in expected
                        if case.suite == log.open[0] and (case.suite, case.name) not in ran),
                       f'{log.open[0]} (after its last case)')
    elif timed_out or log.panic.startswith('Kernel panic'):
        suites = list(log.of(1))
        stopped = f'the kernel, after suite {suites[-1]}' if suites else 'the kernel\'s boot'
    else:
        return '', '', ''
    what = (f'no result within {timeout} s' if timed_out
            else log.panic or 'the kernel ended before it had a result')
    if params := [param.name for param in log.of(3) if list(param.path[:2]) == log.open]:
        what += f' (the last parameter with a result is {params[-1]})'
    return stopped, 'HANG' if timed_out else 'CRASH', what
