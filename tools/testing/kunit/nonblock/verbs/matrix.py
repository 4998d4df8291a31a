# SPDX-License-Identifier: GPL-2.0-only
"""Which breaches of the rule a kernel reports: mainline and ours, cell by cell.

A cell is what one fake callback does in a nonblocking pass. Some must be
reported, the others must not. All is read from the kernels' logs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

from nonblock.common import EXIT_BUILD, EXIT_HANG, REPO, as_table, say
from nonblock.kernel.machine import UML
from nonblock.kernel.session import Session, each_kernel, find_base, prepared
from nonblock.options import Options
from nonblock.result.ktap import FAILED, SKIPPED, TestLog, Result
from nonblock.result.verdict import Verdict, expected_cases, find_stop
from nonblock.tree.source import Base
from nonblock.verbs import BOOT, Verb, run as suites

# Takes the annotation out again. Its topic cannot be left out: others are built on it.
MAINLINE_PATCH = Path(__file__).with_name('mainline.patch')
MAINLINE, OURS = RUNS = 'mainline', 'ours'
SUITE = 'mmu_notifier_nonblock'
# Its cases with a parameter for each cell, and what becomes of a good one
CASES = {'nonblock_wrong_is_reported': 'must be reported',
         'nonblock_protected_is_silent': 'must be silent'}
WRONG, PROTECTED = CASES.values()

# What lib/kunit/report.c says where the kernel's debugging has reported nothing
NO_REPORT = {'nothing', 'WARN()'}
LEGEND = ('yes: it is reported; . it is not; MISS not, though it must be; FALSE reported, though '
          'it must not be; - cannot be tried in this kernel; ? no result')
SIDES = ('Left of the slash mainline, right of it ours, with the annotation. The tests and the '
         'mended core are the same.')

# What may become of a cell
REPORTED, MISS, SILENT, FALSE, NO_RESULT = 'reported', 'MISS', 'silent', 'FALSE', 'no result'
SUMS = (REPORTED, MISS, FALSE)
# What the tables show
MARKS = {REPORTED: 'yes', MISS: MISS, SILENT: '.', FALSE: FALSE, SKIPPED: '-', NO_RESULT: '?'}


class Cell(NamedTuple):
    must: str
    primitive: str
    callback: str

    def __str__(self) -> str:
        return f'{self.callback}/{self.primitive}'


@dataclass
class Run:
    """What one kernel, with or without the annotation, made of the cells."""
    session: Session
    results: dict[Cell, Result]
    trouble: str = ''           # why it did not get to its end
    code: int = EXIT_HANG       # the exit code for that

    def outcome(self, cell: Cell) -> str:
        """What became of it. A WARN() alone is no report of the kernel's debugging."""
        result = self.results.get(cell)
        if result and result.status == SKIPPED:
            return SKIPPED
        if not result or result.reported is None:
            return NO_RESULT
        if set(result.reported.split(' and ')) - NO_REPORT:
            return REPORTED if cell.must == WRONG else FALSE
        return MISS if cell.must == WRONG else SILENT


Sides = dict[str, Run]          # mainline, and ours


# The cells

def read_cells(log: TestLog) -> dict[Cell, Result]:
    cells = {}
    for param in log.of(3):
        suite, case, name = param.path
        if suite == SUITE and case in CASES:
            callback, _, primitive = name.partition('/')
            cells[Cell(CASES[case], primitive, callback)] = param
    return cells


def all_cells(kernels: list[Sides]) -> list[Cell]:
    """Each cell that any of them has."""
    return list(dict.fromkeys(cell for kernel in kernels for run in kernel.values()
                              for cell in run.results))


# The verdict

def judge_cells(kernels: list[Sides]) -> Verdict:
    """Counts our cells. Of mainline's only those matter that have no result."""
    verdict = Verdict()
    cells = all_cells(kernels)
    for kernel in kernels:
        for name, run in kernel.items():
            where, part = f'{kernel[OURS].session.base.name} {name}', Verdict()
            missing = [cell for cell in cells if run.outcome(cell) == NO_RESULT]
            if run.trouble:
                part.fail(where, run.trouble, run.code, '')
            elif missing:
                part.fail(where, f'{len(missing)} of {len(cells)} cells have no result; the '
                          f'first is {missing[0]}', word='MISSING')
            for cell, result in run.results.items() if name == OURS else ():
                judge_cell(part, f'{where} {cell}', cell, result, run.outcome(cell))
            verdict.add(part.tell(run.session.about, where))
    return verdict


def judge_cell(verdict: Verdict, label: str, cell: Cell, result: Result, what: str) -> None:
    """Whether a skip is right is for make run, which has the same cells."""
    if what == SKIPPED:
        verdict.skip(label, result.reason)
    elif what in (MISS, FALSE):
        verdict.fail(label, f'reported {result.reported}, {cell.must}', word=what,
                     report=result.report)
    elif what != NO_RESULT:
        verdict.note(label, f'reported {result.reported}, but {result.reason or "the test failed"}'
                     if result.status == FAILED else '')


# The tables

def rows(kernel: Sides, cells: list[Cell], must: str) -> Iterator[list[str]]:
    """A primitive, and what became of it in each callback: mainline's and ours."""
    for primitive in dict.fromkeys(cell.primitive for cell in cells if cell.must == must):
        of_it = [Cell(must, primitive, callback) for callback in callbacks(cells)]
        yield [primitive, *('/'.join(MARKS[kernel[run].outcome(cell)] for run in RUNS)
                            for cell in of_it)]


def callbacks(cells: list[Cell]) -> list[str]:
    return list(dict.fromkeys(cell.callback for cell in cells))


def sums(kernels: list[Sides], cells: list[Cell]) -> list[list[str]]:
    """The table of totals, with its header."""
    table = [['', '', *SUMS]]
    for kernel in kernels:
        for run in RUNS:
            every = [kernel[run].outcome(cell) for cell in cells]
            table.append([kernel[OURS].session.base.name, run,
                          *(str(every.count(what)) for what in SUMS)])
    return table


def as_text(kernels: list[Sides]) -> str:
    cells, parts = all_cells(kernels), []
    for kernel in kernels:
        base = kernel[OURS].session.base
        parts.append('\n'.join([f'== Linux {base.release} ({base.origin})', '',
                                *(part + '.' for part in LEGEND.split('; ')), SIDES]))
        parts += [as_table([[must, *callbacks(cells)], *rows(kernel, cells, must)])
                  for must in CASES.values()]
    return '\n\n'.join([*parts, as_table(sums(kernels, cells))])


# All of it

def run_one(options: Options, base: Base, patch: Optional[Path] = None) -> Run:
    """One kernel's part of the matrix."""
    say(f'== {base.name}')
    with prepared(options, UML, base, patch=patch) as session:
        outcome, log = suites.boot(session, quiet=True)
    # That tests fail without the annotation is the point; only that it ended matters.
    if not outcome.built:
        return Run(session, {}, f'FAILED build: {outcome.error}', EXIT_BUILD)
    stopped, word, why = find_stop(expected_cases(REPO), log, outcome.timed_out, UML.timeout)
    return Run(session, read_cells(log), f'{word} {stopped}: {why}' if stopped else '')


def run(options: Options) -> Verdict:
    """The same fake notifiers on each kernel without the annotation and with it."""
    kernels = []
    for chosen in each_kernel(options):
        base = find_base(chosen)
        mainline = replace(base, name=f'{base.name}-{MAINLINE}')
        kernels.append({MAINLINE: run_one(chosen, mainline, MAINLINE_PATCH),
                        OURS: run_one(chosen, base)})
    say('\n' + as_text(kernels) + '\n')
    return judge_cells(kernels)


VERB = Verb('matrix', run, BOOT)
