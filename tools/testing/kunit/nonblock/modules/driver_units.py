# SPDX-License-Identifier: GPL-2.0-only
"""Drivers' MMU notifiers in KUnit, without their hardware: part of make modules.

Each test of drivers_src includes the driver's source. It is built twice, as a module: with
that of the tree, where expected-failures says which cases fail, and with a copy to which
the driver's patch of the topic "drivers" was applied, where all have to pass.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from nonblock.common import EXIT_TREE, Failure
from nonblock.kernel.boot import run_tool
from nonblock.kernel.session import Session
from nonblock.result.verdict import Case, Verdict, read_failure_rules, scan_source
from nonblock.tree.hooks import candidates, read_hooks, touched_files, try_patches
from nonblock.modules.loads import Load, out_of_tree_command, run_loads

SOURCES = Path(__file__).with_name('drivers_src')
FAILURES = SOURCES / 'expected-failures'
# The tests, and the patch of each
UNITS = {'amdkfd': 'drm-amdkfd-svm-back-off.patch', 'hfi1': 'RDMA-hfi1-do-not-block.patch',
         'mshv': 'hv-mshv-back-off.patch', 'nouveau': 'drm-nouveau-svm-look-at-range.patch'}


def units_for(repo: Path, tree: Path) -> list[str]:
    """Those that this kernel needs."""
    needed = {hook.name for hook in read_hooks(repo) if hook.is_for(tree)}
    return [unit for unit, hook in UNITS.items() if hook in needed]


def cases_of(units: list[str]) -> list[Case]:
    return [case for unit in units for case in
            scan_source((SOURCES / f'{unit}_kunit.c').read_text(encoding='utf-8'), unit)]


def mend(repo: Path, tree: Path, unit: str, folder: Path) -> None:
    """The driver's files with its patch."""
    patches = candidates(repo, UNITS[unit])
    for name in touched_files(patches[0]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree / name, folder / name)
    if reasons := try_patches(patches, folder)[-1].reasons:
        raise Failure(EXIT_TREE, f'{UNITS[unit]}: {"; ".join(reasons)}')


def run(session: Session) -> Verdict:
    """On the kernel that was built with modules."""
    before, after = (session.folder / name for name in ('drivers-as-they-are', 'drivers-mended'))
    for folder in (before, after):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    units = units_for(session.repo, session.tree)
    for unit in units:
        mend(session.repo, session.tree, unit, after)
    total = Verdict()
    for folder, rules in (before, read_failure_rules(FAILURES)), (after, dict[str, str]()):
        for path in (SOURCES / 'Kbuild', *SOURCES.glob('*.c')):
            shutil.copy(path, folder)
        run_tool(f'building {folder}', [
            *out_of_tree_command(session.tree, session.folder, folder),
            f'UNITS={" ".join(units)}'])
        load = Load(folder.name, ('lib/kunit/kunit.ko', *(
            f'{folder.name}/{unit}_test.ko' for unit in units)), tuple(units))
        total.add(run_loads([load], session, cases_of(units), [], rules))
    return total
