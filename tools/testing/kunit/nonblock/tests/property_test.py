# SPDX-License-Identifier: GPL-2.0-only
"""No log with a test that failed, is missing, crashed or hung is summed up as a success.

Logs are made by chance, as the kernel would print them, and then spoiled in one way. Each
is also judged as it was, so that a verdict which is always red is found, too.
"""

from __future__ import annotations

import random
import re
import unittest
from dataclasses import dataclass
from typing import Callable

from nonblock.common import EXIT_FAILED, EXIT_HANG
from nonblock.kernel.kunit_run import Outcome
from nonblock.kernel.machine import UML_E2E
from nonblock.result.ktap import parse_log
from nonblock.result.verdict import Case, SkipRule, Verdict, judge
from nonblock.tests.fixtures import ScratchTest, quiet
from nonblock.verbs import e2e
from nonblock.verbs.e2e import TestBoot, missing_tests

TIMES = 40                      # for each way to spoil one
RULES = [SkipRule('no x', 'none', 'x')]
RESULT = re.compile(r'(\[.*\] )?( *)ok (\d+) (\S+)( # SKIP.*)?$')


@dataclass
class Run:
    lines: list[str]
    status: int = 0
    timed_out: bool = False

    def results(self) -> list[int]:
        return [number for number, line in enumerate(self.lines) if RESULT.match(line)]

    def leaves(self) -> list[int]:
        """Those that are not made of others."""
        found, before = [], 0
        for number in self.results():
            match = RESULT.match(self.lines[number])
            assert match
            if len(match[2]) >= before:
                found.append(number)
            before = len(match[2])
        return found


def noise(chance: random.Random) -> list[str]:
    return chance.sample(['random: crng init done', 'fake_invalidate+0x0/0x10 callback failed',
                          '    # module: fake_kunit', 'ok then', ''], chance.randrange(3))


def kunit(chance: random.Random) -> tuple[list[Case], Run]:
    """Suites of cases, of which some have parameters, and some are skipped."""
    cases, lines = [], ['Linux version 6.12', 'KTAP version 1', '1..2']
    for suite in range(1, chance.randrange(2, 4)):
        total, names = 0, [f'case{number}' for number in range(1, chance.randrange(2, 6))]
        lines += ['    KTAP version 1', f'    # Subtest: suite{suite}', f'    1..{len(names)}']
        for number, name in enumerate(names, 1):
            params = chance.choice((0, 0, 1, 4))
            cases.append(Case(f'suite{suite}', name, params > 0))
            if params:
                lines += ['        KTAP version 1', f'        # Subtest: {name}']
                lines += [f'        ok {param} p/{param}' for param in range(1, params + 1)]
            skip = ' # SKIP no x' if number > 1 and not params and chance.random() < 0.2 else ''
            lines += [*noise(chance), f'    ok {number} {name}{skip}']
            total += params or 1
        lines += [f'# Totals: pass:{total} fail:0 skip:0 total:{total}', f'ok {suite} suite{suite}']
    lines.append('reboot: System halted')
    if chance.random() < 0.5:
        lines = [f'[    {number}.000000] {line}' for number, line in enumerate(lines)]
    return cases, Run(lines)


def harness(chance: random.Random) -> tuple[list[str], Run]:
    names = [f'global.test{number}' for number in range(1, chance.randrange(2, 7))]
    lines = [*noise(chance), 'TAP version 13', f'1..{len(names)}']
    for number, name in enumerate(names, 1):
        skip = ' # SKIP no x' if number > 1 and chance.random() < 0.2 else ''
        lines += [f'#  RUN           {name} ...', *noise(chance), f'ok {number} {name}{skip}']
    return names, Run([*lines, '# PASSED'])


# The ways to spoil one

def not_ok(run: Run, chance: random.Random) -> None:
    number = chance.choice(run.results())
    run.lines[number] = run.lines[number].replace('ok ', 'not ok ', 1)


def unexpected_skip(run: Run, chance: random.Random) -> None:
    number = chance.choice(run.leaves())
    run.lines[number] = run.lines[number].split(' # ')[0] + chance.choice(
        (' # SKIP', ' # SKIP no memory'))


def lost_result(run: Run, chance: random.Random) -> None:
    del run.lines[chance.choice(run.results())]


def cut(run: Run, chance: random.Random) -> None:
    run.lines = run.lines[:chance.randrange(run.results()[-1] + 1)]


def hang(run: Run, chance: random.Random) -> None:
    run.timed_out = True
    if chance.random() < 0.7:
        cut(run, chance)


def crash(run: Run, chance: random.Random) -> None:
    cut(run, chance)
    run.lines.append(chance.choice(('Kernel panic - not syncing: Segfault', 'Oops: 0000')))
    run.status = chance.choice((0, 1))


def bad_status(run: Run, chance: random.Random) -> None:
    run.status = chance.choice((1, -6, 139))


def sanitizer(run: Run, chance: random.Random) -> None:
    run.lines.insert(chance.randrange(len(run.lines) + 1),
                     'BUG: KASAN: slab-use-after-free in foo+0x1/0x2')


WAYS: tuple[Callable[[Run, random.Random], None], ...] = (
    not_ok, unexpected_skip, lost_result, cut, hang, crash, bad_status, sanitizer)


class PropertyTest(ScratchTest):
    def of_kunit(self, cases: list[Case], run: Run) -> Verdict:
        return judge(cases, parse_log(run.lines), RULES, self.session(),
                     Outcome(run.status, timed_out=run.timed_out))

    def of_harness(self, names: list[str], run: Run) -> Verdict:
        verdict, log = e2e.judge_boot(TestBoot('boot', 'one'), self.session(UML_E2E), run.lines,
                                      run.status, run.timed_out, RULES)
        ran = {result.name for result in log.tests} | {log.open_test}
        verdict.add(missing_tests({'one': names}, {'one': ran}))
        return verdict

    def spoil(self, way: Callable[[Run, random.Random], None]) -> None:
        for seed in range(TIMES):
            chance = random.Random(f'{way.__name__} {seed}')
            cases, run = kunit(chance)
            names, program = harness(chance)
            with self.subTest(way=way.__name__, seed=seed), quiet():
                for good in (self.of_kunit(cases, run), self.of_harness(names, program)):
                    self.assertEqual((good.lines, good.code), ([], 0), run.lines)
                way(run, chance)
                way(program, chance)
                for bad, lines in ((self.of_kunit(cases, run), run.lines),
                                   (self.of_harness(names, program), program.lines)):
                    self.assertGreater(bad.failed, 0, '\n'.join(lines))
                    self.assertIn(bad.code, (EXIT_FAILED, EXIT_HANG))

    def test_each_way(self) -> None:
        for way in WAYS:
            self.spoil(way)

    def test_a_sum_is_no_better_than_its_parts(self) -> None:
        chance = random.Random('sum')
        for _ in range(TIMES):
            total, failed = Verdict(), 0
            for _ in range(chance.randrange(1, 6)):
                part = Verdict()
                for number in range(chance.randrange(4)):
                    part.note(f'{number}', chance.choice(('', '', 'no')), chance.choice((0, 1, 6)))
                failed += part.failed
                total.add(part.within('boot') if chance.random() < 0.5 else part)
            self.assertEqual((total.failed, bool(total.code)), (failed, failed > 0))
            self.assertEqual(len(total.lines), failed)


if __name__ == '__main__':
    unittest.main()
