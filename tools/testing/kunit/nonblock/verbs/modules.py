# SPDX-License-Identifier: GPL-2.0-only
"""The suites as modules, and the sample driver as one that is built outside of the tree.

A UML kernel's init loads them; a suite runs when its module is loaded. The sample's
wrong MMU notifiers are among them, whose tests must fail. On the same kernel the
commands of the guide are run, see modules/guide.py, and the tests of a user's own driver.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from nonblock.kernel import kunit_run
from nonblock.kernel.boot import run_tool
from nonblock.common import EXIT_BUILD, EXIT_TREE, EXIT_USAGE, REPO, Failure, say, user_path
from nonblock.kernel.machine import UML_MODULES
from nonblock.kernel.session import Session, prepared
from nonblock.modules import driver_units, guide
from nonblock.modules.loads import Load, out_of_tree_command, run_loads
from nonblock.options import Options
from nonblock.result.verdict import (Case, SkipRule, Verdict, expected_cases, read_failure_rules,
                                     read_skip_rules, scan_source)
from nonblock.verbs import BOOT, Verb

SAMPLE = 'samples/mmu_notifier'
OUT_OF_TREE = 'out-of-tree'

LOADS = (
    Load('in-tree', ('lib/kunit/kunit.ko', 'lib/kunit/report-test.ko',
                     'lib/kunit/mmu_notifier-test.ko', 'mm/mmu_notifier_nonblock_kunit.ko',
                     f'{SAMPLE}/mirror_test.ko', f'{SAMPLE}/mirror_wrong_test.ko'), ()),
    Load('out-of-tree', ('lib/kunit/kunit.ko', f'{OUT_OF_TREE}/mirror_test.ko',
                         f'{OUT_OF_TREE}/mirror_wrong_test.ko'), ('mirror', 'mirror_wrong')),
    # KUnit must not leave anything behind.
    Load('again', ('lib/kunit/kunit.ko', '-kunit', 'lib/kunit/kunit.ko',
                   'lib/kunit/report-test.ko'), ('kunit_report',)),
)


def copy_sample(repo: Path, folder: Path) -> None:
    """The sample as somebody would keep it who is not in the tree: sources and a Kbuild."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in [*(repo / SAMPLE).glob('*.[ch]'), repo / SAMPLE / OUT_OF_TREE / 'Kbuild']:
        shutil.copy(path, folder)


def run_suites(session: Session) -> Verdict:
    """Build all in the folder next to the prepared tree, boot all, and judge."""
    cases, failures = expected_cases(session.repo), read_failure_rules()
    unknown = failures.keys() - {str(case) for case in cases}
    if unknown:
        raise Failure(EXIT_TREE, f'expected-failures has {", ".join(sorted(unknown))}, and no '
                      'such test is in the sources')
    total = Verdict()
    outcome = kunit_run.build(session)
    if not outcome.built:
        total.fail('build', outcome.error, EXIT_BUILD)
        return total
    folder = session.folder / OUT_OF_TREE
    copy_sample(session.repo, folder)
    built = guide.run_out_of_tree(session, folder)
    total.add(built)
    if built.failed:
        return total
    total.add(run_loads(LOADS, session, cases, read_skip_rules(), failures))
    total.add(guide.run_boots(session, folder))
    return total


# A user's own driver

def driver_cases(folder: Path) -> list[Case]:
    if not folder.is_dir():
        raise Failure(EXIT_USAGE, f'DIR= or DRIVER={folder}: there is no such folder')
    if not any((folder / name).is_file() for name in ('Kbuild', 'Makefile')):
        raise Failure(EXIT_USAGE, f'DIR= or DRIVER={folder}: has no Kbuild and no Makefile')
    if re.search(r'[\s:]', str(folder)):
        raise Failure(EXIT_USAGE, f'DIR= or DRIVER={folder}: no module can be built in a '
                      'folder with a blank or a colon in its path')
    cases = [case for path in sorted(folder.rglob('*.c')) for case in
             scan_source(path.read_text(encoding='utf-8', errors='replace'), str(path))]
    if not cases:
        raise Failure(EXIT_USAGE, f'DIR= or DRIVER={folder}: there is no KUNIT_CASE in any *.c')
    return cases


def driver_modules(folder: Path) -> list[Path]:
    """In the order of the Makefile; the names are relative in some kernels."""
    names = (folder / 'modules.order').read_text(encoding='utf-8').split()
    return [(folder / name).with_suffix('.ko') for name in names]


# Its author knows why: each skip of a driver's own tests is right.
ANY_SKIP = SkipRule('', '.config', '(?!)')


def run_driver(session: Session, folder: Path) -> Verdict:
    """Build the driver in its own folder, and load its modules."""
    cases = driver_cases(folder)
    outcome = kunit_run.build(session)
    if not outcome.built:
        total = Verdict()
        total.fail('build', outcome.error, EXIT_BUILD)
        return total
    command = out_of_tree_command(session.tree, session.folder, folder)
    say(f'$ {shlex.join(map(str, command))}')
    run_tool(f'building {folder}', command)
    load = Load('driver', ('lib/kunit/kunit.ko', *map(str, driver_modules(folder))),
                tuple({case.suite for case in cases}))
    return run_loads([load], session, cases, [ANY_SKIP], {})


def driver_folder(options: Options) -> Path:
    return user_path('DRIVER', options.driver)


def check(options: Options) -> None:
    if options.driver:
        driver_cases(driver_folder(options))


def run(options: Options) -> Verdict:
    """The suites and the sample driver as modules, or a driver of the user's."""
    with prepared(options, UML_MODULES) as session:
        if options.driver:
            return run_driver(session, driver_folder(options)).tell(session.about)
        verdict = run_suites(session).tell(session.about)
        # Of other kernels it is not known what a driver's headers need.
        if not verdict.failed and not options.kdir:
            verdict.add(driver_units.run(session))
    # It takes the lock itself.
    verdict.add(guide.run_front_door(REPO, {'KDIR': options.kdir} if options.kdir else
                                     {'KVER': options.kver}))
    return verdict


VERB = Verb('modules', run, (*BOOT, 'DRIVER'), check=check)
