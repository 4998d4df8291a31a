# SPDX-License-Identifier: GPL-2.0-only
"""One kernel with many edits, each behind a number that a boot is given.

To build a kernel for each edit would take hours. What cannot be put behind a choice has a
kernel of its own. Only objects are compiled here, from files next to the tree, with the
command that kbuild used; then kbuild links. The prepared tree is not touched.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator

from nonblock.common import EXIT_BUILD, Failure, capture, say
from nonblock.kernel import kunit_run
from nonblock.kernel.session import Session
from nonblock.mutants.edits import Mutant, line_of

NAME = 'chosen_mutant'
HEADERS = 'mutant-include'
# At the end of one of the files, which is never in a module
CHOICE = f'''
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kstrtox.h>
int {NAME};
EXPORT_SYMBOL_GPL({NAME});
static int __init choose_mutant(char *text)
{{
	return kstrtoint(text, 10, &{NAME});
}}
early_param("mutant", choose_mutant);
'''
FIRST = 1000000         # the line that stands for mutant 0
# What is said of an edit begins with such a place, or has it among its notes.
PLACE = re.compile(r'\bmutant:(\d+):')
ERROR = re.compile(r'\berror: ')


def chosen(numbers: dict[int, str], original: str, form: str) -> str:
    """All of them, by form: what to do if it is that number, with the original last."""
    return ''.join(form.replace('N', str(number)).replace('@', new)
                   for number, new in numbers.items()) + original


def with_choices(path: Path, text: str, mutants: dict[int, Mutant], define: bool) -> str:
    """The file with all these edits; the compiler tells of mutant N at line FIRST + N."""
    sites: dict[tuple[int, int], dict[int, Mutant]] = defaultdict(dict)
    for number, mutant in mutants.items():
        sites[mutant.edit.site.start, mutant.edit.site.end][number] = mutant
    parts, done = [f'extern int {NAME};\n#line 1 "{path}"\n'], 0
    for (start, end), here in sorted(sites.items()):
        site, body = next(iter(here.values())).edit.site, text[start:end]
        back = f'\n#line {line_of(text, start)} "{path}"\n'
        after = f'\n#line {line_of(text, end)} "{path}"\n'

        def each(form: str) -> str:
            return ''.join(f'\n#line {FIRST + number} "mutant"\n' + form.format(
                test=f'{NAME} == {number}', new=re.sub(r'\s*\n\s*', ' ', mutant.after))
                for number, mutant in here.items())

        parts.append(text[done:start])
        if site.kind == 'entry':
            parts.append(each('if ({test}) {{ {new} }}') + after)
        elif site.kind == 'statement':
            parts.append('{' + each('if ({test}) {{ {new} }} else') + f'{back}{{ {body} }} }}'
                         + after)
        else:
            form = {'condition': ('!!({})',), 'expression': ('(void)({})',)}.get(
                site.kind, ('({})',))[0]
            parts.append(each(f'{{test}} ? {form.replace("{}", "{new}")} :') + back +
                         form.format(body) + after)
        done = end
    return ''.join([*parts, text[done:], CHOICE if define else ''])


def with_edit(text: str, mutant: Mutant) -> str:
    edit = mutant.edit
    return text[:edit.start] + edit.new + text[edit.end:]


class Kernel:
    """A copy of a kernel's build folder, in which objects are replaced."""

    def __init__(self, session: Session):
        self._tree, self._jobs = session.tree, session.jobs
        self._users: dict[str, list[str]] = {}
        self.origin = session.folder
        self.path = session.folder.with_name(f'{session.folder.name}-mutants')
        shutil.rmtree(self.path, ignore_errors=True)
        # Without the sockets of a kernel that was killed
        shutil.copytree(self.origin, self.path, symlinks=True,
                        ignore=shutil.ignore_patterns('uml'))

    def has(self, name: str) -> bool:
        """Whether this file is compiled."""
        return bool(self.sources(name))

    def sources(self, name: str) -> list[str]:
        """The files with code that are compiled from it: those that include a header."""
        if name.endswith('.c'):
            return [name] if self._object(name).exists() else []
        if name not in self._users:
            self._users[name] = list(self._find_users(name))
        return self._users[name]

    def _find_users(self, name: str) -> Iterator[str]:
        for path in sorted(self.path.rglob('.*.o.cmd')):
            text = path.read_text(encoding='utf-8', errors='replace')
            source = re.search(r'(?m)^source_\S+ := (\S+\.c)$', text)
            if source and re.search(rf'(?m)^ *{re.escape(str(self._tree / name))} ', text):
                yield os.path.relpath(source[1], self._tree)

    def _object(self, name: str) -> Path:
        return self.path / re.sub(r'\.c$', '.o', name)

    def _compile(self, name: str, text: str, output: Path, mode: str = '-c',
                 headers: str = HEADERS) -> str:
        """Return what the compiler said, if it failed."""
        target = self._object(name)
        saved = target.with_name(f'.{target.name}.cmd').read_text(encoding='utf-8')
        command = saved.splitlines()[0].partition(' := ')[2].partition(';')[0]
        source = self.path / f'mutant-{name.replace("/", "-")}-{output.name}.c'
        source.write_text(text, encoding='utf-8')
        # What is not initialised shall not be 0.
        words = [word.replace('-auto-var-init=zero', '-auto-var-init=pattern')
                 for word in shlex.split(command) if not word.startswith('-Wp,-MMD')]
        words[words.index('-o') + 1] = str(output)
        words[words.index('-c')] = mode
        words[-1] = str(source)
        # The headers with edits come first.
        words[1:1] = [f'-I{self.path / headers}', '-iquote', str((self._tree / name).parent)]
        result = capture([*words, '-Werror=int-conversion', '-Werror=incompatible-pointer-types'],
                         self.path, {**kunit_run.environment(), 'LC_ALL': 'C'})
        source.unlink()
        return result.stderr or 'the compiler died' if result.returncode else ''

    def _put_header(self, name: str, text: str, headers: str = HEADERS) -> None:
        header = self.path / headers / name.removeprefix('include/')
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(text, encoding='utf-8')

    def code(self, name: str, text: str, worker: int = 0) -> bytes:
        """What the compiler makes of this text; empty if it does not compile."""
        output = self.path / f'mutant-{worker}.o'
        # Where the text is for the moment, must not be in it.
        text = f'#line 1 "{name}"\n{text}'
        if name.endswith('.c'):
            errors = self._compile(name, text, output, '-S')
            return b'' if errors else re.sub(rb'(?m)^\s*\.file.*\n', b'', output.read_bytes())
        # Of a header, what each of its users is given to compile: a macro is nothing by itself.
        headers, found = f'{HEADERS}-{worker}', b''
        self._put_header(name, text, headers)
        for user in self.sources(name):
            errors = self._compile(user, f'#line 1 "{user}"\n{self._text(user)}', output, '-E',
                                   headers)
            found += b'' if errors else re.sub(rb'(?m)^#.*\n', b'', output.read_bytes())
        shutil.rmtree(self.path / headers)
        return found

    def _text(self, name: str) -> str:
        return (self._tree / name).read_text(encoding='utf-8')

    def replace(self, name: str, text: str, all_users: bool = True) -> str:
        """Compile this instead of the file's text; return what the compiler said, if it failed."""
        if name.endswith('.c'):
            return self._compile(name, text, self._object(name))
        self._put_header(name, text)
        users = self.sources(name) if all_users else self.sources(name)[:1]
        with ThreadPoolExecutor(self._jobs) as pool:
            return ''.join(pool.map(lambda user: self._compile(
                user, self._text(user), self._object(user)), users))

    def install(self, name: str, text: str, mutants: dict[int, Mutant], define: bool) -> set[int]:
        """Build the object with all these edits; return which of them do not compile."""
        wrong: set[int] = set()
        all_users = False
        while True:
            left = {number: mutant for number, mutant in mutants.items() if number not in wrong}
            errors = self.replace(name, with_choices(self._tree / name, text, left, define),
                                  all_users)
            found = blame(errors) - wrong
            wrong |= found
            if errors and not found:
                raise Failure(EXIT_BUILD, f'{name} with its mutants: {errors[:2000]}')
            if not errors and (all_users or name.endswith('.c')):
                return wrong
            # One user of a header tells what is wrong with it.
            all_users = not errors

    def restore(self, name: str) -> None:
        for source in self.sources(name):
            built = self._object(source)
            shutil.copy(self.origin / built.relative_to(self.path), built)
        self.forget_headers()

    def forget_headers(self) -> None:
        shutil.rmtree(self.path / HEADERS, ignore_errors=True)

    def link(self) -> None:
        result = capture(['make', '-C', self._tree, 'ARCH=um', f'O={self.path}',
                          f'-j{self._jobs}'], None, kunit_run.environment())
        if result.returncode:
            raise Failure(EXIT_BUILD, f'linking {self.path.name}: {result.stderr[-2000:]}')
        compiled = re.findall(r'^  CC +(\S+)$', result.stdout, re.MULTILINE)
        # Those of the version, and of tables about the kernel
        if odd := [name for name in compiled if not name.startswith(('init/version', '.'))]:
            say(f'compiled again: {" ".join(odd)}')


def blame(errors: str) -> set[int]:
    """Which mutants the compiler complains about."""
    found: set[int] = set()
    # A note belongs to the error before it, "In file included from" to the one after it.
    blocks = re.split(r'(?m)^(?=[^\n]*\berror: )', errors)
    for before, block in zip(blocks, blocks[1:]):
        places = PLACE.findall(block) or PLACE.findall(before)
        if places:
            found.add(int(places[0]) - FIRST)
    return found
