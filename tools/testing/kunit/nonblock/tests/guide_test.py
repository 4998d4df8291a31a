# SPDX-License-Identifier: GPL-2.0-only
"""Tests that the pages show what there is: each block of code in them has a test."""

from __future__ import annotations

import html
import re
import textwrap
import unittest
from dataclasses import dataclass
from pathlib import Path

from nonblock.verbs import check_series
from nonblock.modules import guide
from nonblock.common import Failure
from nonblock.tests.fixtures import DATA, TOP, ScratchTest, quiet
from nonblock.verbs.e2e import E2E
from nonblock.modules.guide import Block, is_as_shown, read_blocks, split_output


@dataclass(frozen=True)
class Directive(Block):
    """Code that another file has, or should have."""
    name: str = ''

    def __str__(self) -> str:
        return f'{self.place}: .. {self.name}:: {self.text}'


# Those that hold no code; what a kernel-doc one shows is checked as kernel-doc.
NO_CODE = ('kernel-doc',)


def read_directives(text: str, page: str = guide.PAGE) -> list[Directive]:
    """Their argument is the first line of their text."""
    return [Directive(text.count('\n', 0, match.start()) + 1,
                      f'{match[2]}\n{textwrap.dedent(match[3])}'.strip('\n'), page, match[1])
            for match in re.finditer(r'(?m)^\.\. ([\w-]+):: ?(.*)\n((?:[ \t]+.*\n|\n)*)', text)
            if match[1] not in NO_CODE]


BLOCKS = [*guide.page_blocks(TOP), *(
    block for page in (guide.PAGE, guide.RUNNER)
    for block in read_directives((TOP / page).read_text(encoding='utf-8'), page))]
PICTURE = (TOP / 'Documentation/nonblocking-pass.svg').read_text(encoding='utf-8')
README = (TOP / 'README.md').read_text(encoding='utf-8')
PRINTED = DATA / 'guide'


# What tests a block

def printed_in(lines: list[str]) -> str:
    """The log that has these lines, but for the addresses of locks."""
    for path in sorted(PRINTED.glob('*.log')):
        log = re.sub(r'\b[0-9a-f]{16} (?=\()', '', path.read_text(encoding='utf-8'))
        if is_as_shown(['...', *lines, '...'], log.splitlines()):
            return path.name
    return ''


def included(block: Block) -> Path:
    return (TOP / block.page).parent / block.text.splitlines()[0]


def is_compiled(path: Path) -> bool:
    """Whether the sample's own Makefile knows it, or it is the Kbuild of make modules."""
    folder = path.resolve().parent
    if path.name == 'Kbuild':
        return folder.name == 'out-of-tree'
    makefile = folder / 'Makefile'
    return path.suffix == '.c' and makefile.exists() and \
        path.with_suffix('.o').name in makefile.read_text(encoding='utf-8').split()


def tester(block: Block) -> str:
    """What tests it; empty if nothing does."""
    if isinstance(block, Directive):
        return 'make run, make modules' if block.name == 'literalinclude' and \
            is_compiled(included(block)) else ''
    first = block.text.splitlines()[0] if block.text else ''
    if not first:
        return ''
    if others := guide.run_by_others(block):
        shown = [line for command in block.commands() for line in command.output]
        return others if not shown or printed_in(shown) else ''
    if block.prompt:
        return 'make modules'
    # For the kernel command line: the boots that have it
    return ', '.join(boot.name for boot in E2E.boots if first in boot.kernel.split()) or \
        printed_in(block.text.splitlines())


def option(block: Block, name: str) -> str:
    match = re.search(rf'^:{name}: (.*)$', block.text, re.MULTILINE)
    return match[1] if match else ''


class PageTest(unittest.TestCase):
    def test_each_block_has_a_test(self) -> None:
        self.assertEqual([str(block) for block in BLOCKS if not tester(block)], [])

    def test_there_is_one_of_each_kind(self) -> None:
        self.assertEqual({tester(block) for block in BLOCKS}, {
            'make run, make modules', 'make modules', 'check_series.SeriesCheck.documented()',
            'make drivers', 'reports.log',
            'race-probe, oom-probe, device-probe, mrelease-probe, probe-set'})

    def test_functions_of_reports_are_there(self) -> None:
        """Those of the series: a report may have been recorded before they were renamed."""
        text = ''.join(path.read_text(encoding='utf-8') for pattern in (
            'hooks/*.patch', 'mm/**/*.[ch]', 'lib/**/*.[ch]', 'samples/**/*.c')
            for path in TOP.glob(pattern))
        names = set(re.findall(r'\b((?:mn|op|fake|invalidate|mirror)_\w+)\+0x',
                               (TOP / guide.PAGE).read_text(encoding='utf-8')))
        self.assertIn('mn_call_check', names)
        self.assertEqual([name for name in names if name not in text], [])

    def test_included_code_is_there(self) -> None:
        for block in BLOCKS:
            if not isinstance(block, Directive):
                continue
            source = included(block).read_text(encoding='utf-8')
            for name in ('start-at', 'end-before'):
                if marker := option(block, name):
                    self.assertEqual(source.count(marker), 1, f'{block}: {marker}')

    def test_others_run_what_they_are_said_to(self) -> None:
        self.assertIn('documented', dir(check_series.SeriesCheck))
        suites, trigger = guide.RUN_BY
        self.assertTrue(suites.endswith(
            f'kunit.py run --kunitconfig={check_series.KUNITCONFIG_FOLDER}'))
        # That make drivers has this trigger is tested with it.
        self.assertIn('hist:', trigger)

    def test_the_kbuild_is_five_lines_at_most(self) -> None:
        text = (TOP / 'samples/mmu_notifier/out-of-tree/Kbuild').read_text(encoding='utf-8')
        self.assertLessEqual(len(text.splitlines()), 5)


class ReadmeTest(unittest.TestCase):
    def blocks(self) -> list[Block]:
        """Lines of four blanks, as Markdown has it"""
        text = re.sub(r'(?m)^(?!    |\n).*$', '\0', README)
        return [Block(0, textwrap.dedent(part).strip('\n'), 'README.md')
                for part in text.split('\0') if part.strip()]

    def test_what_it_shows_is_what_the_page_shows(self) -> None:
        known = {command.text: command.output for block in BLOCKS if block.prompt == '$ '
                 for command in block.commands()}
        shown = [command for block in self.blocks() for command in block.commands()
                 if not command.text.startswith('make run')]
        self.assertGreaterEqual(len(shown), 8)
        for command in shown:
            text = command.text.split('  #')[0].strip()
            self.assertIn(text, known)
        ends = [command.output for block in BLOCKS for command in block.commands()
                if command.text.startswith('make driver')]
        for command in shown:
            if command.output:
                self.assertTrue(any(set(command.output) <= set(lines) for lines in ends),
                                command.output)

    def test_one_screen(self) -> None:
        self.assertLessEqual(len(README.splitlines()), 65)

    def test_links_lead_somewhere(self) -> None:
        links = re.findall(r'\]\(([^)]+)\)', README)
        self.assertGreaterEqual(len(links), 7)
        self.assertEqual([link for link in links if not (TOP / link).exists()], [])

    def test_the_picture_has_a_report_that_was_printed(self) -> None:
        text = re.sub(r'<[^>]*>', '', '\n'.join(
            line for line in PICTURE.splitlines() if 'class="code"' not in line
        ).split('<rect class="bad"')[1].split('</g>')[0].partition('\n')[2])
        lines = [html.unescape(line) for line in text.splitlines() if line]
        self.assertEqual(len(lines), 5)
        shown = [part for line in lines for part in ('...', line)]
        self.assertEqual(printed_in(shown[1:]), 'reports.log')
        self.assertEqual(printed_in([*shown[1:], 'more']), '')


class FilesTest(unittest.TestCase):
    def test_each_path_is_there(self) -> None:
        text = (TOP / 'Documentation/files.rst').read_text(encoding='utf-8')
        paths = set(re.findall(r'``([\w.][\w./-]*)``|(Documentation/[\w/]+\.rst)', text))
        wanted = sorted({one or other for one, other in paths
                         if '/' in one + other and not one.startswith('build/')} |
                        {'Makefile'})
        self.assertGreaterEqual(len(wanted), 25)
        tops = (TOP, TOP / 'tools/testing/kunit/nonblock',
                TOP / 'tools/testing/selftests/mm/mmu_notifier')
        self.assertEqual([path for path in wanted if 'NAME' not in path
                          and not any((top / path).exists() for top in tops)], [])


class PrintedTest(unittest.TestCase):
    def test_only_what_a_log_has(self) -> None:
        block = next(block for block in BLOCKS if tester(block) == 'reports.log')
        lines = block.text.splitlines()
        self.assertEqual(printed_in(lines), 'reports.log')
        self.assertEqual(printed_in([*lines, 'and more']), '')
        self.assertEqual(printed_in([lines[0] + ' and more', *lines[1:]]), '')
        self.assertEqual(printed_in(lines[::-1]), '')


class TesterTest(unittest.TestCase):
    def assert_untested(self, text: str) -> None:
        blocks: list[Block] = [*read_blocks(text), *read_directives(text)]
        block, = blocks
        self.assertEqual(tester(block), '', str(block))

    def test_new_blocks_have_none(self) -> None:
        for text in ('Do this::\n\n\tmutex_lock(&lock);\n', 'It says::\n\n    BUG: something\n',
                     '.. code-block:: c\n\n   mutex_lock(&lock);\n',
                     '.. parsed-literal::\n\n   $ make run\n', '::\n\n\tCONFIG_UNHEARD_OF=y\n',
                     '.. literalinclude:: ../../mm/mmu_notifier_probe.c\n',
                     '.. literalinclude:: ../../samples/mmu_notifier/gone.c\n'):
            with self.subTest(text=text):
                self.assert_untested(text)

    def test_a_block_has_a_line_and_a_name(self) -> None:
        block, = read_blocks('Title\n=====\n\nThus::\n\n\t$ one\n\t  two\n\n\t$ three\n\nText.\n')
        self.assertEqual(str(block), f'{guide.PAGE}:4: $ one')
        self.assertEqual([(command.text, command.output) for command in block.commands()],
                         [('one', ['  two', '']), ('three', [])])

    def test_in_a_list(self) -> None:
        block, = read_blocks('- One::\n\n    $ two\n\n  Text.\n')
        self.assertEqual(block.text, '$ two')

    def test_options(self) -> None:
        block, = read_directives('.. literalinclude:: x.c\n   :language: c\n   :start-at: int x;\n')
        self.assertEqual((block.name, option(block, 'start-at'), option(block, 'end-before')),
                         ('literalinclude', 'int x;', ''))


class OutputTest(unittest.TestCase):
    PRINTED = ['one 1', 'two at f+0x12/0x30', '  three', 'one 2', 'four']

    def test_as_shown(self) -> None:
        for shown in (['one 7', 'two at f+0xab/0x1', 'three', 'one 1', 'four'],
                      ['...', 'four'], ['one 1', '...'], ['...', 'one 1', 'four'],
                      ['one 1', '...', 'three', '...'], ['...', 'two ... f+...', '...'],
                      ['one      1', '...', 'four', '...']):
            with self.subTest(shown=shown):
                self.assertTrue(is_as_shown(shown, self.PRINTED))

    def test_a_sentence_may_end_before_dots(self) -> None:
        self.assertTrue(is_as_shown(['...', 'Try for it. ...', '...', 'end'],
                                    ['x', 'Try for it. Or not.', 'y', 'end']))

    def test_not_as_shown(self) -> None:
        for shown in (['two'], ['one 1', 'three', '...'], ['...', 'five', '...'],
                      ['...', 'four', 'one 1'], ['one 1'],
                      ['...', 'two at f+0x12/0x31 more', '...']):
            with self.subTest(shown=shown):
                self.assertFalse(is_as_shown(shown, self.PRINTED))

    def test_split(self) -> None:
        self.assertEqual(split_output('a\n\nb\nguide-command 0\nguide-command 1\nc'
                                      'guide-command 2\nd\n'),
                         [('0', ['a', 'b']), ('1', []), ('2', ['c'])])


class JudgeTest(unittest.TestCase):
    BLOCK = Block(7, '$ one\nyes\n$ two\nmake: *** Error 1')
    FAILED = f'FAILED {guide.PAGE}: $ one: line 7: '

    def lines(self, *ran: tuple[str, list[str]]) -> list[str]:
        verdict = guide.judge_block(self.BLOCK, list(ran))
        return [*verdict.lines, str(verdict)]

    def test_passed(self) -> None:
        self.assertEqual(self.lines(('0', ['yes']), ('2', ['make: *** Error 1'])),
                         ['1 passed, 0 failed'])

    def test_other_output(self) -> None:
        self.assertEqual(self.lines(('0', ['no']), ('2', ['make: *** Error 1']))[0],
                         f'{self.FAILED}one: does not print what is shown: yes')

    def test_fails(self) -> None:
        self.assertEqual(self.lines(('3', ['yes']), ('2', ['make: *** Error 1']))[0],
                         f'{self.FAILED}one: exit status 3: yes')

    def test_does_not_fail(self) -> None:
        self.assertEqual(self.lines(('0', ['yes']), ('0', ['make: *** Error 1']))[0],
                         f'{self.FAILED}two: exit status 0: make: *** Error 1')

    def test_does_not_end(self) -> None:
        self.assertEqual(self.lines(('0', ['yes'])),
                         [f'{self.FAILED}two: did not end', '0 passed, 1 failed'])


class ShellTest(ScratchTest):
    def test_no_repository_to_clone(self) -> None:
        with quiet() as output:
            verdict = guide.run_front_door(self.scratch, {})
        self.assertEqual(str(verdict), '0 passed, 0 failed, 1 skipped')
        self.assertIn('this is no repository', output.getvalue())

    def test_all_blocks_in_one_shell(self) -> None:
        with quiet():
            verdict = guide.run_in_shell([Block(1, '$ x=1\n$ mkdir sub\n$ cd sub'),
                                          Block(5, '$ echo $x $PWD\n1 .../sub')], self.scratch,
                                         {'PATH': '/usr/bin:/bin'})
        self.assertEqual((verdict.lines, verdict.passed), ([], 2))

    def test_the_clone_is_left_for_the_repository(self) -> None:
        block = guide.as_here(Block(1, '$ git clone "$URL" x\n$ cd x\n$ make'), self.repo)
        self.assertEqual([command.text for command in block.commands()],
                         ['git clone "$URL" x', f'cd x && cd "{self.repo}"', 'make'])

    def test_front_door(self) -> None:
        theirs, ours = (list(guide.shell_blocks(TOP, page)) for page in (guide.PAGE, guide.RUNNER))
        self.assertEqual([block.text.splitlines()[0] for block in theirs],
                         ['$ make -C linux M=$PWD modules'])
        self.assertTrue(ours[0].text.startswith('$ git clone '))
        self.assertGreaterEqual(len(ours), 3)

    def test_init_has_what_it_calls(self) -> None:
        for block in BLOCKS:
            if block.prompt == '# ':
                for line in filter(None, guide.init_script(block).splitlines()):
                    self.assertIn(line.split()[0], (*guide.APPLETS, 'cd', 'export'), str(block))

    def test_without_a_shell(self) -> None:
        known, guide.BUSYBOX = guide.BUSYBOX, self.scratch / 'none'
        try:
            with self.assertRaisesRegex(Failure, 'packages.sh modules installs it'):
                guide.run_boots(self.session(), self.scratch)
        finally:
            guide.BUSYBOX = known
