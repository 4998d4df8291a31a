# SPDX-License-Identifier: GPL-2.0-only
"""`make audit`: every callback of a tree, or of a driver outside of it, and what is said."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Optional

from nonblock.common import (EXIT_BUILD, EXIT_FAILED, EXIT_USAGE, Failure, say, user_path,
                             write_atomically)
from nonblock.kernel.session import Session

from . import html, rows
from .compiler import Compiler
from .find import MENTION, Callback, find_callbacks
from .judge import ALWAYS, BLOCK, CLEAN, UNDECIDED, Judge, Judged, World, entry_for
from .kernel import HEADER, read_kernel
from .rows import Baseline, Row
from .sources import Sources

FOLDERS = ('arch', 'block', 'drivers', 'fs', 'io_uring', 'kernel', 'lib', 'mm', 'net', 'samples',
           'security', 'sound', 'virt')
# The core's own use of the tables: it defines none
NO_DRIVERS = ('mm/mmu_notifier.c',)
NO_OBJECT = 'its Kbuild names no object; if it wants variables, set them in the environment'
MOST_ERRORS = 20
MOST_FOLDERS, MOST_FILES = 1000, 3000     # of a repository that is copied whole
COPIED = re.compile(r'.*\.(o|ko|ll|cmd|mod|mod\.c|d)$|^\.git$|^modules\.order$|^Module\.symvers$')


@dataclass
class Audit:
    """One run on one prepared tree."""
    tree: Path
    build: Path             # build/KVER
    jobs: int
    ours: frozenset[str] = frozenset()      # files of this repository, which are no drivers

    def __post_init__(self) -> None:
        self.compiler = Compiler(self.tree, self.build / 'audit', self.jobs)
        self.sources = Sources(self.tree, self.build / 'audit')
        self.cache_file = self.build / 'audit' / 'results.json'
        self.left_out: list[str] = []
        self.errors: list[str] = []
        self.tool = hashlib.sha256(b''.join(
            path.read_bytes() for path in sorted(Path(__file__).parent.glob('*.py')))).hexdigest()

    def start(self) -> None:
        self.compiler.configure()
        layout, reclaim = read_kernel(self.compiler, self.build / 'audit-probe')
        self.world = World(self.compiler, self.sources, layout, reclaim, self.build / 'audit-ir')
        self.header = (self.tree / HEADER).read_text(encoding='utf-8')
        try:
            self.cache: dict[str, Any] = json.loads(self.cache_file.read_text(encoding='utf-8'))
        except (FileNotFoundError, ValueError):
            self.cache = {}

    # Which files

    def tree_sources(self) -> list[str]:
        """Those that mention a table, and are built; the others are listed."""
        config = (self.compiler.out / '.config').read_text(encoding='utf-8')
        enabled = set(re.findall(r'^(CONFIG_\w+)=[ym]', config, re.MULTILINE))
        found = []
        for name in self.sources.grep(MENTION, FOLDERS):
            if name in self.ours or name in NO_DRIVERS:
                continue
            option = self.sources.option(name)
            if name.startswith('arch/') and not name.startswith('arch/x86/'):
                self.left_out.append(f'{name}: needs ARCH={name.split("/")[1]}')
            elif option and option not in enabled:
                self.left_out.append(f'{name}: needs {option}')
            else:
                found.append(name)
        return found

    def _known_inputs(self, sources: Iterable[str]) -> list[str]:
        """What else went into the verdicts on these the last time."""
        wanted = set(sources)
        return [name for entry in self.cache.values() if entry['source'] in wanted
                for name in entry['inputs'] if not name.startswith('/')]

    def run_tree(self) -> list[Row]:
        sources = self.tree_sources()
        paths = self.compiler.compile([*sources, *self._known_inputs(sources)],
                                      'compiling drivers')
        found = []
        for source in sources:
            path = paths[source]
            if path:
                self.world.load(source, path)
            else:
                self.errors.append(f'{source}: {self.compiler.errors[source]}')
        for source in sources:
            if paths[source]:
                found += self._judge_module(source)
        return found

    def run_driver(self, folder: Path) -> list[Row]:
        copy = self.build / 'audit-driver' / f'{folder.name}-{_short(str(folder))}'
        top = _top(folder)
        mirror(top, copy)
        inside = copy / folder.relative_to(top)
        found, errors = self.compiler.compile_external(inside)
        self.errors += [line.replace(str(copy), str(top)) for line in errors]
        if not found:
            raise Failure(EXIT_BUILD, f'DRIVER={folder}: nothing could be compiled:\n    '
                          + '\n    '.join(self.errors[:10] or [NO_OBJECT]))
        for source, path in found.items():
            self.world.load(source, path)
        sources = [source for source in found if source.startswith(str(copy))]
        self.compiler.compile(dict.fromkeys(self._known_inputs(sources)), 'compiling')
        result = [one for source in sources
                  for one in self._judge_module(source, folder.name)]
        text = json.dumps(result).replace(str(copy), str(top))
        content: list[Row] = json.loads(text)
        return content

    # One file

    def _judge_module(self, source: str, driver: str = '') -> list[Row]:
        found: list[Row] = []
        asked: dict[str, bool] = {}     # by the table: whether its first pass asks for a second
        callbacks = sorted(find_callbacks(self.world.modules[source], source, self.header),
                           key=lambda one: one.name == 'invalidate_finish')
        seen = set()
        for callback in callbacks:
            if (callback.name, callback.function) in seen:
                continue
            seen.add((callback.name, callback.function))
            one = self._judge(callback, driver, asked)
            found.append(one)
        return found

    def _judge(self, callback: Callback, driver: str, asked: dict[str, bool]) -> Row:
        table = callback.table or callback.source
        if callback.name == 'invalidate_finish' and asked.get(table) is False:
            return rows.row(callback, Judged(CLEAN, remark='the first pass never asks for it'),
                            driver)
        module = self.world.modules[callback.source]
        if callback.function not in module.defined:
            other = self._elsewhere(callback)
            if not other:
                return rows.row(callback, Judged(UNDECIDED, remark='set at run time, to what is '
                                                 'not known' if callback.function == '?' else
                                                 'its source was not found'), driver)
            callback = other
            module = self.world.modules[callback.source]
        key = '|'.join((callback.source, callback.name, callback.function))
        cached = self.cache.get(key)
        if cached and cached['tool'] == self.tool and self._same(cached['inputs']):
            asked[table] = asked.get(table, False) or cached['hands_out']
            kept: Row = {**cached['row'], 'line': callback.line}
            return kept
        since = time.monotonic()
        judge = Judge(self.world, module, callback.source,
                      entry_for(callback.ops, callback.name, callback.function),
                      None if callback.name == 'invalidate_finish' else self.world.layout)
        result = judge.run()
        asked[table] = asked.get(table, False) or result.hands_out
        one = rows.row(callback, result, driver)
        inputs = {name: loaded.digest for name, loaded in self.world.modules.items()
                  if loaded is module or loaded in judge.program.modules or
                  os.path.dirname(name) == os.path.dirname(callback.source)}
        self.cache[key] = {'source': callback.source, 'tool': self.tool, 'inputs': inputs,
                           'row': one, 'hands_out': result.hands_out}
        if time.monotonic() - since > 5:
            say(f'{one["function"]}(): {one["verdict"]}, {time.monotonic() - since:.0f} s, '
                f'{len(judge.program.modules) + 1} files')
        return one

    def _same(self, inputs: dict[str, str]) -> bool:
        for name, digest in inputs.items():
            if name not in self.world.modules:
                path = self.compiler.done.get(name)
                if not path:
                    return False
                self.world.load(name, path)
            if self.world.modules[name].digest != digest:
                return False
        return True

    def _elsewhere(self, callback: Callback) -> Optional[Callback]:
        """A callback that another file defines."""
        caller = self.world.modules[callback.source]
        module = self.world.defining(callback.function, caller)
        if not module and callback.function != '?' and not callback.source.startswith('/'):
            source = self.world.source_of(callback.function, callback.source)
            path = self.compiler.compile([source])[source] if source else None
            if path:
                self.world.load(source, path)
            module = self.world.defining(callback.function, caller)
        if not module:
            return None
        source = next(name for name, loaded in self.world.modules.items() if loaded is module)
        return Callback(source, callback.ops, callback.table, callback.name, callback.function,
                        module.line_of(callback.function).line)

    def finish(self) -> None:
        write_atomically(self.cache_file, json.dumps(self.cache))


# The driver's folder

def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _top(folder: Path) -> Path:
    """That of its repository, whose other folders it may include from; not that of a tree."""
    for top in (folder, *folder.parents):
        if (top / '.git').exists():
            few = sum(len(files) for _, files in zip(range(MOST_FOLDERS), (
                names for _, _, names in os.walk(top)))) < MOST_FILES
            return top if few and not (top / 'MAINTAINERS').exists() else folder
    return folder


def _link(path: Path, copy: Path, top: Path) -> None:
    """A folder that is a link to another one of the same repository."""
    target = path.resolve()
    if top.resolve() not in target.parents or copy.exists() and not copy.is_symlink():
        return
    text = os.path.relpath(target, path.parent.resolve())
    if not copy.is_symlink() or os.readlink(copy) != text:
        copy.unlink(missing_ok=True)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(text)


def mirror(source: Path, target: Path) -> None:
    """Copy what changed, so that nothing is built in the user's folder."""
    wanted = set()
    for folder, names, files in os.walk(source):
        names[:] = [name for name in names if not COPIED.match(name) and
                    not (Path(folder) / name / '.config').exists()]
        for name in names:
            path = Path(folder) / name
            if path.is_symlink():
                _link(path, target / path.relative_to(source), source)
        for name in files:
            path = Path(folder) / name
            if COPIED.match(name) or not path.is_file():
                continue
            copy = target / path.relative_to(source)
            wanted.add(copy)
            status = path.stat()
            if not copy.exists() or copy.stat().st_mtime_ns != status.st_mtime_ns or \
                    copy.stat().st_size != status.st_size:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
    for path in list(target.rglob('*')) if target.exists() else ():
        if path.is_file() and path not in wanted and path.suffix in ('.c', '.h', '.ll'):
            if path.suffix != '.ll' or path.with_suffix('.c') not in wanted:
                path.unlink()


# What is said

def report(audit: Audit, found: list[Row], folder: Path, title: str,
           baseline: str, known: Baseline) -> int:
    found = rows.sort_rows(found)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (('audit.json', rows.as_json(found)), ('audit.sarif', rows.as_sarif(found)),
                       ('audit.html', html.as_html(title, found, audit.left_out + audit.errors))):
        write_atomically(folder / name, text)
    for one in found:
        if one['verdict'] in (BLOCK, UNDECIDED):
            say(rows.as_warning(one))
    say('\n' + rows.as_table(found))
    for label, lines in (('not looked at', audit.left_out), ('not compiled', audit.errors)):
        if lines:
            more = [f'and {len(lines) - MOST_ERRORS} more, see audit.html'] \
                if len(lines) > MOST_ERRORS else []
            say(f'\n{label}:\n    ' + '\n    '.join(lines[:MOST_ERRORS] + more))
    blocking = [one for one in found if one['verdict'] == BLOCK]
    new = [one for one in blocking if rows.key_of(one) not in known]
    say(f'\nalso in {folder}/audit.json, .sarif and .html')
    say(f'{len(found)} callbacks: {len(blocking)} may block'
        + (f' ({len(new)} not in {baseline})' if baseline else '')
        + f', {sum(one["verdict"] == UNDECIDED for one in found)} undecided, '
        f'{sum(one["verdict"] == ALWAYS for one in found)} always back off')
    # What was not compiled was not judged.
    return EXIT_FAILED if new else EXIT_BUILD if audit.errors else 0


def find_paths(driver: str, baseline: str) -> tuple[Optional[Path], Baseline]:
    """That of the driver, and what the baseline has, if they are as they have to be."""
    known: Baseline = set()
    path = user_path('BASELINE', baseline)
    if baseline and not path.is_file():
        raise Failure(EXIT_USAGE, f'BASELINE={baseline}: there is no such file')
    if baseline:
        try:
            known = rows.read_baseline(path)
        except (ValueError, TypeError, KeyError):
            raise Failure(EXIT_USAGE, f'BASELINE={baseline}: is not an audit.json of make '
                          'audit') from None
    folder = user_path('DRIVER', driver) if driver else None
    if folder and not any((folder / name).is_file() for name in ('Kbuild', 'Makefile')):
        raise Failure(EXIT_USAGE, f'DRIVER={driver}: has no Kbuild and no Makefile')
    return folder, known


def run(session: Session, driver: str = '', baseline: str = '', ours: Iterable[str] = ()) -> int:
    """All of it; the exit status: 1 if something may block that the baseline has not."""
    folder, known = find_paths(driver, baseline)
    audit = Audit(session.tree, session.build, session.jobs, frozenset(ours))
    audit.start()
    try:
        found = audit.run_driver(folder) if folder else audit.run_tree()
    finally:
        audit.finish()
    if folder and not found and not audit.errors:
        say(f'{folder} has no MMU notifier')
    target = session.build / 'audit-driver' / f'{folder.name}-{_short(str(folder))}.out' if folder \
        else session.build
    of = folder or f'Linux {session.base.release}'
    return report(audit, found, target, f'MMU notifiers of {of}', baseline, known)
