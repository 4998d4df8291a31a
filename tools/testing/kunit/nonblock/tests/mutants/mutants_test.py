# SPDX-License-Identifier: GPL-2.0-only
"""Unit tests of make mutants: what is read, edited, put behind a choice, and said of it."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from typing import Sequence

from nonblock.common import Failure
from nonblock.kernel.machine import UML, UML_MODULES, WAYS
from nonblock.kernel.session import Session
from nonblock.mutants import edits, hand, show
from nonblock.mutants.build import (CHOICE, FIRST, NAME, Kernel, blame, with_choices,
                                    with_edit)
from nonblock.mutants.c_reader import functions
from nonblock.mutants.judge import MARK, judge_all, marked
from nonblock.mutants.trials import (EQUIVALENTS, MUTANTS, Boots, Job, Store, boot_all,
                                     trial_of_suites)
from nonblock.mutants.show import CRASHED, FAILED, HUNG, LEFT, SAME, SURVIVED, Tried
from nonblock.result.verdict import scan_source
from nonblock.tests.fixtures import DATA, SUITE_C, ScratchTest, quiet, write
from nonblock.tree.source import Base
from nonblock.verbs.e2e import E2E
from nonblock.verbs.mutants import LOADED, trial_of_boot, trial_of_load

# Prints what depends on nearly all of it
PROGRAM = '''int printf(const char *, ...);
#include <stdbool.h>
#define for_each(i, n) for (i = 0; i < (n); i++)
/* A comment with a brace { */
struct thing { int a; };
static const int table[] = { 1, 2 };

static bool odd(int value)
{
	return value & 1;
}

static int sum(int from, int to)
{
	int total = from - 1;
	typeof(total) i;

	if (from > to ||
	    to > 100)
		return -1;
	else if (!from)
		total += 10;

	for (i = from; i < to; i++) {
		if (odd(i) && i != 7)
			continue;
		total += i;
	}
	for_each(i, 2)
		total += table[i];
	while (total > 50 && total < 9999)
		total -= 3;
	do {
		total++;
	} while (total < 5);
	switch (to) {
	case 3:
		total = -total;
		break;
	default:
		goto out;
	}
out:
	return odd(total) ? total : total * 2;
}

int main(void)
{
	struct thing thing = { .a = 4 };

	printf("%d %d %d %d %d %d\\n", sum(0, 3), sum(1, 9), sum(5, 2), sum(2, 60), sum(0, 200),
	       thing.a);
	return 0;
}
'''


def build(texts: Sequence[str], folder: Path) -> list[bool]:
    """A program that has all of them, and takes the number of one; which of them compile."""
    for number, text in enumerate(texts):
        (folder / f'{number}.c').write_text(f'#define main main_{number}\n{text}',
                                            encoding='utf-8')
    options = ['gcc', '-w', '-O1', '-fwrapv']
    # One gcc for all of them, as each start takes its time. It goes on after an error.
    subprocess.run([*options, '-c', *(f'{number}.c' for number in range(len(texts)))],
                   cwd=folder, capture_output=True, check=False)
    good = [(folder / f'{number}.o').exists() for number in range(len(texts))]
    calls = [f'main_{number}' for number, compiles in enumerate(good) if compiles]
    (folder / 'program.c').write_text('\n'.join([
        '#include <stdlib.h>', '#include <sys/time.h>',
        *(f'int {call}(int, char **);' for call in calls),
        'int main(int argc, char **argv)', '{',
        '\tsetitimer(ITIMER_PROF, &(struct itimerval){ .it_value.tv_usec = 100000 }, NULL);',
        '\tswitch (atoi(argv[1])) {',
        *(f'\tcase {call.removeprefix("main_")}: return {call}(argc - 1, argv + 1);'
          for call in calls), '\t}', '\tabort();', '}', '']), encoding='utf-8')
    subprocess.run([*options, '-o', 'program', 'program.c',
                    *(f'{number}.o' for number, compiles in enumerate(good) if compiles)],
                   cwd=folder, check=True)
    return good


def run(folder: Path, *arguments: object) -> str:
    """What it says; that it does not end is an answer, too."""
    # Time that it computes: the machine may have other things to do.
    done = subprocess.run([folder / 'program', *map(str, arguments)], capture_output=True,
                          text=True, check=False)
    return f'{done.returncode} {done.stdout}'


def all_mutants(text: str = PROGRAM) -> list[edits.Mutant]:
    mutants, trouble = edits.of_file('program.c', text, set(range(1, text.count('\n') + 1)))
    assert not trouble, trouble
    return [mutant for mutant in mutants if mutant.edit.site.function != 'main']


class ReaderTest(unittest.TestCase):
    def test_sites(self) -> None:
        sites = [(site.kind, PROGRAM[site.start:site.end]) for function in functions(PROGRAM)
                 if function.name == 'sum' for site in function.sites]
        self.assertEqual(('entry', ''), sites[0])
        self.assertEqual(('initialiser', 'from - 1'), sites[1])
        self.assertEqual(('condition', 'from > to ||\n\t    to > 100'), sites[2])
        self.assertIn(('expression', 'i++'), sites)
        self.assertIn(('statement', 'total += table[i];'), sites)
        self.assertIn(('condition', 'total < 5'), sites)
        self.assertIn(('statement', 'goto out;'), sites)
        self.assertEqual(('statement', 'return odd(total) ? total : total * 2;'), sites[-1])

    def test_declarations_stay(self) -> None:
        text = 'int f(struct s *p)\n{\n\tstruct s *q = p->next, *r;\n\tu64 a;\n\n\tg(q);\n}\n'
        sites = [text[site.start:site.end] for site in next(functions(text)).sites]
        self.assertEqual(['', 'p->next', 'g(q);'], sites)

    def test_what_lasts_for_the_block_has_a_kernel_of_its_own(self) -> None:
        text = 'int f(void)\n{\n\tguard(preempt)();\n\treturn g();\n}\n'
        self.assertEqual(['entry', 'own', 'statement'],
                         [site.kind for site in next(functions(text)).sites])

    def test_what_cannot_be_read_is_said(self) -> None:
        text = 'int f(void)\n{\n\tif\n}\n'
        _, trouble = edits.of_file('f.c', text, {1, 2, 3})
        self.assertEqual(1, len(trouble))
        self.assertIn('f.c: f()', trouble[0])


class RulesTest(unittest.TestCase):
    def whats(self, body: str, lines: set[int] | None = None) -> list[str]:
        text = f'void f(int a, int b)\n{{\n\tx();\n{body}\n}}\n'
        mutants, _ = edits.of_file('f.c', text, lines or {4, 5, 6})
        return [mutant.what for mutant in mutants]

    def test_condition(self) -> None:
        whats = self.whats('\tif (a < 2 && !b)\n\t\treturn;')
        for new in ('1', '0', '1 && !b', 'a < 2 && 1', 'a <= 2 && !b', 'a < 3 && !b'):
            self.assertIn(f'a < 2 && !b -> {new}', whats)
        self.assertIn('without return;', whats)

    def test_only_what_is_ours_of_a_condition(self) -> None:
        whats = self.whats('\tif (a < 2 &&\n\t    !b)\n\t\treturn;', {5})
        self.assertEqual(['a < 2 && !b -> a < 2 && 1'], whats)

    def test_constants_and_arguments(self) -> None:
        whats = self.whats('\tg(a, b, LD_WAIT_CONFIG);\n\tc = -EAGAIN;')
        self.assertIn('g(a, b, LD_WAIT_CONFIG); -> g(b, a, LD_WAIT_CONFIG);', whats)
        self.assertIn('g(a, b, LD_WAIT_CONFIG); -> g(a, b, LD_WAIT_SLEEP);', whats)
        self.assertIn('c = -EAGAIN; -> c = -EINTR;', whats)

    def test_pointers_are_no_operators(self) -> None:
        self.assertEqual(['without g(&a, *b, -c);', 'g(&a, *b, -c); -> g(*b, &a, -c);',
                          'g(&a, *b, -c); -> g(&a, -c, *b);'], self.whats('\tg(&a, *b, -c);'))

    def test_truth_is_no_number(self) -> None:
        self.assertEqual(['return 1; -> return 0;'], self.whats('\treturn 1;'))
        self.assertEqual(['without ret = 1;', 'ret = 1; -> ret = 0;'], self.whats('\tret = 1;'))
        self.assertIn('return 2; -> return 3;', self.whats('\treturn 2;'))
        self.assertIn('i = j + 1; -> i = j + 2;', self.whats('\ti = j + 1;'))

    def test_each_place_has_its_edit(self) -> None:
        text = 'static void f(void)\n{\n\ta();\n\tb();\n\ta();\n}\n'
        mutants, _ = edits.of_file('f.c', text, {3, 4, 5})
        self.assertEqual([(3, 'f.c @ f: without a();'), (4, 'f.c @ f: without b();'),
                          (5, 'f.c @ f: without a(); (place 2)')],
                         [(mutant.line, mutant.key) for mutant in mutants])

    def test_what_only_a_shortage_shows(self) -> None:
        self.assertEqual([], self.whats('\tKUNIT_ASSERT_NOT_NULL(test, scope);\n'
                                        '\tKUNIT_ASSERT_FALSE_MSG(test, IS_ERR(task), "x");'))
        self.assertEqual(['without p = kmalloc(size, GFP_KERNEL);'],
                         self.whats('\tp = kmalloc(size, GFP_KERNEL);'))
        self.assertIn('without KUNIT_ASSERT_NOT_NULL_MSG(test, mm, "x");',
                      self.whats('\tKUNIT_ASSERT_NOT_NULL_MSG(test, mm, "x");'))

    def test_arguments_that_may_change_places(self) -> None:
        self.assertEqual(['without n = min(a, b);'], self.whats('\tn = min(a, b);'))

    def test_returns(self) -> None:
        text = 'bool f(int a)\n{\n\tg();\n\treturn a;\n}\n'
        mutants, _ = edits.of_file('f.c', text, set(range(6)))
        whats = [mutant.what for mutant in mutants]
        self.assertIn('begins with return false;', whats)
        self.assertIn('begins with return true;', whats)
        self.assertIn('return a; -> return 0;', whats)

    def test_lines_stay_where_they_are(self) -> None:
        for mutant in all_mutants():
            self.assertEqual(PROGRAM.count('\n'), with_edit(PROGRAM, mutant).count('\n'),
                             mutant.what)


class ChoiceTest(unittest.TestCase):
    def test_a_choice_is_the_edit(self) -> None:
        every = dict(enumerate(all_mutants(), 1))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            good = build([PROGRAM, *(with_edit(PROGRAM, mutant) for mutant in every.values())],
                         folder)
            mutants = {number: mutant for number, mutant in every.items() if good[number]}
            self.assertGreater(len(mutants), 50)
            original = run(folder, 0)
            answers = {number: run(folder, number) for number in mutants}
            text = with_choices(Path('program.c'), PROGRAM, mutants, False)
            text = text.replace(f'extern int {NAME};', f'int {NAME};', 1).replace(
                'int main(void)\n{', f'int main(int argc, char **argv)\n{{ {NAME} = atoi(argv[1]);')
            self.assertEqual(build([text], folder), [True])
            self.assertEqual(original, run(folder, 0, 0))
            for number, mutant in mutants.items():
                self.assertEqual(answers[number], run(folder, 0, number), mutant.what)
        self.assertGreater(sum(answer != original for answer in answers.values()), 40)

    def test_the_choice_is_made_once(self) -> None:
        self.assertIn('early_param("mutant"', CHOICE)
        self.assertNotIn('early_param', with_choices(Path('p.c'), PROGRAM, {}, False))
        self.assertIn('early_param', with_choices(Path('p.c'), PROGRAM, {}, True))

    def test_blame(self) -> None:
        errors = (f'mutant:{FIRST + 3}:9: error: incompatible type for argument 1\n'
                  'x.h:5: note: expected this\n'
                  f'In file included from x.c:1:\nx.h:7:3: error: too few arguments\n'
                  f'mutant:{FIRST + 5}:2: note: in expansion of macro "y"\n')
        self.assertEqual({3, 5}, blame(errors))
        self.assertEqual(set(), blame('x.c:1: error: no such file\n'))


class HandTest(unittest.TestCase):
    def read(self, text: str) -> list[hand.Written]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'mutants'
            path.write_text(text, encoding='utf-8')
            return hand.read_mutants(path)

    def test_a_condition_is_chosen(self) -> None:
        written, = self.read('p.c @ sum: too much\n-if (from > to ||\n-to > 100)\n+if (0)\n')
        mutant = hand.find(written, PROGRAM)
        assert mutant
        self.assertEqual('condition', mutant.edit.site.kind)
        self.assertIn('if (0\n)', with_edit(PROGRAM, mutant))

    def test_what_is_in_no_function(self) -> None:
        written, = self.read('p.c @ -: the table\n-static const int table[] = { 1, 2 };\n'
                             '+static const int table[] = { 1, 3 };\n')
        mutant = hand.find(written, PROGRAM)
        assert mutant
        self.assertEqual('own', mutant.edit.site.kind)
        self.assertIn('{ 1, 3 }', with_edit(PROGRAM, mutant))

    def test_two_statements(self) -> None:
        written, = self.read('p.c @ sum: a brace\n-total += i;\n-}\n+total += i; } if (0) {\n+}\n')
        mutant = hand.find(written, PROGRAM)
        assert mutant
        self.assertEqual('own', mutant.edit.site.kind)

    def test_the_same_as_by_rule(self) -> None:
        written, = self.read('program.c @ sum: x\n-total += i;\n')
        mutant = hand.find(written, PROGRAM)
        assert mutant
        self.assertIn(mutant.key, [other.key for other in all_mutants()])

    def test_not_for_this_kernel(self) -> None:
        written, = self.read('p.c @ sum if finish: x\n-total = 7;\n')
        self.assertIsNone(hand.find(written, PROGRAM))
        written, = self.read('p.c @ sum: x\n-total = 7;\n')
        with self.assertRaises(Failure):
            hand.find(written, PROGRAM)

    def test_bad_entries(self) -> None:
        for text in ('p.c sum: x\n-a\n', 'p.c @ sum: x\n', 'p.c @ sum: x\na\n'):
            with self.assertRaises(Failure):
                self.read(text)

    def test_equivalents(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'equivalents'
            path.write_text('# x\na @ f: x -> y\nb @ g: x\n\tIt is\n\tthe same.\n\nc @ h: x\n'
                            '\tSo is this.\n', encoding='utf-8')
            self.assertEqual({'a @ f: x -> y': 'It is the same.', 'b @ g: x': 'It is the same.',
                              'c @ h: x': 'So is this.'}, hand.read_equivalents(path))
            path.write_text('a @ f: x -> y\n', encoding='utf-8')
            with self.assertRaises(Failure):
                hand.read_equivalents(path)

    def test_the_lists_can_be_read(self) -> None:
        self.assertGreater(len(hand.read_mutants(MUTANTS)), 12)
        for key, why in hand.read_equivalents(EQUIVALENTS).items():
            self.assertRegex(key, r'^\S+ @ \S+: ')
            self.assertRegex(why, r'\.$')
            if mark := MARK.match(why):
                self.assertIn(mark[1], {*WAYS, *(boot.name for boot in E2E.boots),
                                        *(load.name for load in LOADED)})


class VerdictTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        path = Path(self.folder.name)
        base = Base('6.12', path, 'a test', '6.12.5')
        session = Session(path, base, UML, path / 'linux')
        trial = trial_of_suites(session, [], [])
        self.job = Job(session, {'': trial}, texts={'program.c': PROGRAM})
        self.other = Job(session, {'smp': trial})
        self.mutants = all_mutants()[:4]
        self.store = Store(self.job)

    def judge(self, outcomes: list[str], equivalents: dict[str, str],
              there: str = '') -> tuple[int, int, str]:
        for mutant, outcome in zip(self.mutants, outcomes):
            self.store.note(mutant, Tried(outcome, 'by'))
        elsewhere = {key: Tried(there, 'by') for key in
                     marked(self.mutants, self.store, equivalents, self.other) if there}
        verdict, rows = judge_all(self.mutants, self.store, equivalents, elsewhere)
        self.assertIn('program.c', show.as_html(rows, self.job.texts))
        self.assertIn('"edit"', show.as_json(rows))
        return verdict.passed, verdict.failed, show.summary(rows, 1)

    def test_survivor_fails(self) -> None:
        passed, failed, text = self.judge([FAILED, CRASHED, SURVIVED, SAME], {})
        self.assertEqual((2, 1), (passed, failed))
        self.assertIn('3 mutants: 1 fail a test, 1 crash the kernel', text)

    def test_survivor_that_is_explained(self) -> None:
        passed, failed, text = self.judge([FAILED, FAILED, SURVIVED, SAME],
                                          {self.mutants[2].key: 'Because.'})
        self.assertEqual((3, 0), (passed, failed))
        self.assertIn('1 are explained', text)

    def test_another_kernel_must_show_what_it_is_said_to(self) -> None:
        claim, outcomes = {self.mutants[2].key: '[smp] Because.'}, [FAILED, FAILED, SURVIVED, SAME]
        for there in (FAILED, CRASHED, HUNG):
            passed, failed, text = self.judge(outcomes, claim, there)
            self.assertEqual((3, 0), (passed, failed))
            self.assertIn('1 only another kernel shows, 0 are explained', text)
        for there in (SURVIVED, SAME):
            passed, failed, text = self.judge(outcomes, claim, there)
            self.assertEqual((2, 1), (passed, failed))
            self.assertIn('1 survive', text)

    def test_what_no_kernel_is_there_for_is_explained(self) -> None:
        for claim, there in (('[no-cpu] Because.', SURVIVED), ('Not on [smp] at all.', SURVIVED),
                             ('[smp] Because.', '')):
            passed, failed, text = self.judge([FAILED, FAILED, SURVIVED, SAME],
                                              {self.mutants[2].key: claim}, there)
            self.assertEqual((3, 0), (passed, failed))
            self.assertIn('0 only another kernel shows, 1 are explained', text)

    def test_what_is_not_seen_goes_to_another_kernel(self) -> None:
        self.judge([FAILED, SURVIVED, CRASHED, SAME], {})
        claims = {mutant.key: '[smp] Because.' for mutant in self.mutants}
        self.assertEqual({mutant.key: 'smp' for mutant in self.mutants[1::2]},
                         marked(self.mutants, self.store, claims, self.other))

    def test_what_is_the_same_code_may_be_other_code_there(self) -> None:
        claim, outcomes = {self.mutants[3].key: '[smp] Because.'}, [FAILED, FAILED, FAILED, SAME]
        self.assertEqual((4, 0), self.judge(outcomes, claim, FAILED)[:2])
        self.assertEqual((3, 1), self.judge(outcomes, claim, SAME)[:2])
        self.assertEqual((3, 0), self.judge(outcomes, claim)[:2])

    def test_explained_but_killed(self) -> None:
        passed, failed, _ = self.judge([FAILED] * 4, {self.mutants[0].key: 'Because.'})
        self.assertEqual((3, 1), (passed, failed))

    def test_the_kernel_lasts_as_long(self) -> None:
        self.assertFalse(self.store.has_kernel(self.mutants))
        built = Path(self.folder.name)
        (built / 'linux').touch()
        self.store.keep(built, {mutant.key: 7 for mutant in self.mutants[:2]})
        self.assertTrue(Store(self.job).has_kernel(self.mutants[:2]))
        self.assertFalse(Store(self.job).has_kernel(self.mutants[:3]))

    def test_results_last_until_something_changes(self) -> None:
        self.store.note(self.mutants[0], Tried(FAILED, 'by', 1.5))
        self.assertEqual({self.mutants[0].key: Tried(FAILED, 'by', 1.5)},
                         Store(self.job).results)
        other = replace(UML, build=(*UML.build, '--kconfig_add=CONFIG_X=y'))
        self.assertEqual({}, Store(replace(self.job, session=replace(
            self.job.session, machine=other))).results)


# A kernel that fails a test with mutant 2, hangs with 3, panics with 4, ends too soon with 5,
# and before it says anything with 8
FAKE_LINUX = '''#!/bin/sh
for word; do case $word in mutant=*) number=${word#*=};; esac; done
case $number in
2) sed 's/    ok 3 two/    not ok 3 two/' GOOD ;;
3) head -8 GOOD; while :; do :; done ;;
4) head -8 GOOD; echo "Kernel panic - not syncing: bad" ;;
5) head -8 GOOD ;;
6) head -8 GOOD; echo "INFO: task x:7 blocked for more than 20 seconds."; sleep 100 ;;
7) sed 's/    ok 3 two/    not ok 3 two/' GOOD | head -17; sleep 100 ;;
8) ;;
*) cat GOOD ;;
esac
'''


class BootTest(ScratchTest):
    def test_what_becomes_of_a_mutant(self) -> None:
        um = self.kernel.with_name('um')
        write(um, {'linux': FAKE_LINUX.replace('GOOD', str(DATA / 'passed.log')), 'mm/x.o': ''})
        (um / 'linux').chmod(0o755)
        trial = trial_of_suites(self.session(), scan_source(SUITE_C, 'x'), [])
        boots = Boots(Job(self.session(), {'': trial, 'short': replace(trial, timeout=1),
                                           'long': replace(trial, timeout=60)}))
        self.assertEqual(SURVIVED, boots.boot(um).outcome)
        found = boots.boot(um, 2)
        self.assertEqual((FAILED, 'FAILED fake.two'), (found.outcome, found.by))
        found = boots.boot(um, 4)
        self.assertEqual(CRASHED, found.outcome)
        self.assertIn('Kernel panic - not syncing: bad', found.by)
        self.assertEqual(CRASHED, boots.boot(um, 5).outcome)
        self.assertEqual(CRASHED, boots.boot(um, 8).outcome)
        found = boots.boot(um, 3, 'short')
        self.assertEqual(HUNG, found.outcome)
        self.assertIn('HANG fake.', found.by)
        found = boots.boot(um, 7, 'short')
        self.assertEqual((FAILED, 'FAILED fake.two'), (found.outcome, found.by))
        found = boots.boot(um, 6, 'long')
        self.assertEqual(HUNG, found.outcome)
        self.assertLess(found.seconds, 30)
        boots.stop()
        self.assertEqual(LEFT, boots.boot(um).outcome)

    def test_nothing_counts_where_it_fails_without_an_edit(self) -> None:
        """At the end, after it has passed at the beginning: a disk that has become full."""
        write(self.repo, {'x.patch': ''})
        job = Job(self.session(), {'': trial_of_suites(self.session(), scan_source(SUITE_C, 'x'),
                                                       [])})
        store, mutants = Store(job), all_mutants()[:2]
        write(store.kernel, {'linux': f'#!/bin/sh\n[ ! -e full ] || exit 1\n'
                             f'case $* in *mutant=[12]\\ *) touch full; exit 1; esac\n'
                             f'cat {DATA}/passed.log\n'})
        (store.kernel / 'linux').chmod(0o755)
        store.numbers = {mutant.key: number for number, mutant in enumerate(mutants, 1)}
        with self.assertRaisesRegex(Failure, 'without an edit, the tests fail: MISSING'):
            boot_all(job, Boots(job), mutants, store)
        self.assertEqual({}, Store(job).results)

    def test_boots_of_processes(self) -> None:
        boot = next(boot for boot in E2E.boots if boot.name == 'probe-set')
        trials = {boot.name: trial_of_boot(self.session(UML_MODULES), boot),
                  'again': trial_of_load(self.session(UML_MODULES), LOADED[0])}
        um = self.kernel.with_name('um-modules')
        write(um, {'log': 'TAP version 13\n1..1\n#  RUN           global.x ...\n'
                          '#            OK  global.x\nok 1 global.x\n'})
        for way, kernel, outcome in (
                ('probe-set', 'cat log', SURVIVED),
                ('probe-set', 'sed "s/^ok/not ok/" log', FAILED),
                ('probe-set', 'cat log; exit 1', CRASHED),
                # An argument behind the "--" is not the kernel's.
                ('probe-set', 'case "$*" in *mutant=7*--*) exit 1; esac; cat log', CRASHED),
                ('again', 'echo "load: -kunit: Device or resource busy"', FAILED)):
            write(um, {'linux': f'#!/bin/sh\n{kernel}\n'})
            (um / 'linux').chmod(0o755)
            with self.subTest(kernel=kernel), quiet():
                found = Boots(Job(self.session(), trials)).boot(um, 7, way)
                self.assertEqual(outcome, found.outcome, found.by)

    def test_the_build_folder_is_a_copy(self) -> None:
        um = self.kernel.with_name('um')
        write(um, {'mm/x.o': 'code'})
        kernel = Kernel(self.session())
        write(kernel.path, {'mm/x.o': 'other code'})
        self.assertEqual('code', (um / 'mm/x.o').read_text(encoding='utf-8'))
        self.assertTrue(kernel.has('mm/x.c'))
        self.assertFalse(kernel.has('mm/y.c'))
        kernel.restore('mm/x.c')
        self.assertEqual('code', (kernel.path / 'mm/x.o').read_text(encoding='utf-8'))


if __name__ == '__main__':
    unittest.main()
