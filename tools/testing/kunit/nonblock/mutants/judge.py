# SPDX-License-Identifier: GPL-2.0-only
"""In which kernels the edits are tried, one after the other, and what is said of them."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Sequence

from nonblock.common import EXIT_USAGE, Failure, say, write_atomically
from nonblock.mutants import hand, show
from nonblock.mutants.edits import Mutant
from nonblock.mutants.trials import EQUIVALENTS, Job, Store, find_mutants, run_mutants
from nonblock.mutants.show import ELSEWHERE, EXPLAINED, KILLED, SAME, SURVIVED, Tried, Rows
from nonblock.result.verdict import Verdict

# A sentence that begins so is a claim, which is tried if there is such a kernel or boot.
MARK = re.compile(r'\[([\w-]+)\] ')


def marked(mutants: list[Mutant], store: Store, equivalents: dict[str, str],
           job: Job) -> dict[str, str]:
    """The keys of those that were not seen, and the way that is said to show them, of this
    job's. What is the same code in the first kernel may be other code in that one."""
    found = {}
    for mutant in mutants:
        mark = MARK.match(equivalents.get(mutant.key, ''))
        if mark and mark[1] in job.trials and \
                store.results[mutant.key].outcome in (SURVIVED, SAME):
            found[mutant.key] = mark[1]
    return found


def run_elsewhere(job: Job, mutants: list[Mutant], ways: dict[str, str]) -> dict[str, Tried]:
    """What becomes of these in another kernel."""
    if not ways:
        return {}
    say(f'another kernel, for what only that shows ({", ".join(sorted(set(ways.values())))})')
    job = replace(job, ways=ways)
    store, there = Store(job), [mutant for mutant in mutants if mutant.key in ways]
    run_mutants(job, there, store)
    return {mutant.key: store.results[mutant.key] for mutant in there}


def judge_one(result: Tried, why: str, there: Tried | None) -> Tried:
    """What became of a mutant in all kernels."""
    if not why or result.outcome != SURVIVED and not there:
        return result
    if not there:
        return replace(result, outcome=EXPLAINED, by=why)
    mark = MARK.match(why)
    assert mark
    if there.outcome in KILLED:
        return replace(there, outcome=ELSEWHERE, by=f'{mark[1]}: {there.by}')
    return replace(result, outcome=SURVIVED, by=f'not seen with {mark[1]}: {there.by}')


def judge_all(mutants: list[Mutant], store: Store, equivalents: dict[str, str],
              elsewhere: dict[str, Tried]) -> tuple[Verdict, Rows]:
    verdict, rows = Verdict(), []
    for mutant in mutants:
        why = equivalents.get(mutant.key, '')
        result = judge_one(store.results[mutant.key], why, elsewhere.get(mutant.key))
        rows.append((mutant, result))
        if result.outcome == SURVIVED:
            verdict.fail(mutant.key, f'line {mutant.line}: {result.by}', word='SURVIVED')
        elif why and result.outcome in KILLED:
            verdict.fail(mutant.key, f'is in {EQUIVALENTS.name}, but: {result.by}')
        elif result.outcome != SAME:
            verdict.ok(mutant.key)
    return verdict, rows


def judge_mutants(job: Job, others: Sequence[Job] = ()) -> Verdict:
    """Up to the verdict, which the caller prints; others: with other kernels."""
    start = time.monotonic()
    mutants, trouble = find_mutants(job)
    if not mutants:
        raise Failure(EXIT_USAGE, f'ONLY={job.only}: no edit has this in its file, function or '
                      'text')
    store, equivalents = Store(job), hand.read_equivalents(EQUIVALENTS)
    run_mutants(job, mutants, store)
    elsewhere: dict[str, Tried] = {}
    for other in others:
        elsewhere.update(run_elsewhere(other, mutants, marked(mutants, store, equivalents, other)))
    verdict, rows = judge_all(mutants, store, equivalents, elsewhere)
    for line in trouble:
        verdict.fail(line)
    say(show.as_text(rows))
    for name, text in (('mutants.json', show.as_json(rows)),
                       ('mutants.html', show.as_html(rows, job.texts))):
        write_atomically(job.session.build / name, text)
        say(f'also in {(job.session.build / name).relative_to(job.session.repo)}')
    say(show.summary(rows, time.monotonic() - start))
    return verdict
