# SPDX-License-Identifier: GPL-2.0-only
"""Real drivers' notifiers: the programs, and what of others has to be in the initramfs.

The kernel's own hmm-tests run unchanged, built from the prepared tree; the load is
Debian's stress-ng.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from nonblock.kernel.boot import SELFTEST, run_tool
from nonblock.common import EXIT_BUILD, EXIT_MACHINE, Failure, capture, tool_failure
from nonblock.kernel.machine import qemu_e2e, uml_e2e
from nonblock.kernel.session import Session, prepared
from nonblock.options import Options
from nonblock.result.verdict import Verdict
from nonblock.verbs import BOOT, MACHINE, Verb
from nonblock.verbs.e2e import PROBE, Suite, TestBoot, run_suite

KERNELS_OWN = 'tools/testing/selftests/mm'
HMM_TESTS = f'{KERNELS_OWN}/hmm-tests.c'


def libraries(program: Path) -> list[Path]:
    """The shared libraries that a program needs, and their loader."""
    result = capture(['ldd', program])
    if result.returncode:
        raise tool_failure(EXIT_BUILD, f'ldd {program}', result.stderr)
    return [Path(path) for path in re.findall(r'(/\S+) \(0x', result.stdout)]


def build_hmm_tests(session: Session) -> Path:
    """In the kernel's build folder, with the headers that belong to them."""
    tree, folder, jobs = session.tree, session.folder, session.jobs
    output = folder / 'selftest-mm'
    output.mkdir(exist_ok=True)
    run_tool('making the kernel\'s headers', [
        'make', '-C', tree, f'O={folder}', 'ARCH=x86_64', f'-j{jobs}', 'headers'])
    run_tool(f'building {HMM_TESTS}', [
        'make', '-C', tree / KERNELS_OWN, f'O={folder}', f'OUTPUT={output}', 'LDFLAGS=-static',
        f'KHDR_INCLUDES=-isystem {folder / "usr/include"}', f'-j{jobs}', output / 'hmm-tests'])
    return output / 'hmm-tests'


def files(session: Session) -> dict[str, Path]:
    stress_ng = shutil.which('stress-ng')
    if stress_ng is None:
        raise Failure(EXIT_MACHINE, 'stress-ng: not found. '
                      'tools/testing/kunit/nonblock/packages.sh drivers installs it.')
    found = {'/hmm-tests': build_hmm_tests(session),
             '/stress-ng': Path(stress_ng)}
    # A path may lead through a link, which is not there.
    return {**found, **{str(path): path for path in libraries(Path(stress_ng))}}


# On 6.12 hmm-tests takes huge pages, and does not make any.
HUGE_PAGES = ' hugepages=8'

DRIVERS = Suite(f'{SELFTEST}/drivers', (
    TestBoot('drivers', 'drivers', memory=320),
    TestBoot('hmm-tests', 'run', ('/hmm-tests',), peer=HMM_TESTS, memory=2048,
             kernel=TestBoot.kernel + HUGE_PAGES),
    TestBoot('stress', 'stress', memory=448),
    # The probe changes nothing for these either, but that it takes its time.
    TestBoot('hmm-tests-probe', 'run', ('/hmm-tests', '-T', 'benchmark_thp_migration'),
             peer=HMM_TESTS, memory=2048, kernel=PROBE + HUGE_PAGES),
    TestBoot('stress-probe', 'stress', memory=448, kernel=PROBE),
), files)


def run(options: Options) -> Verdict:
    with prepared(options, (uml_e2e, qemu_e2e)) as session:
        return run_suite(session, DRIVERS).tell(session.about)


VERB = Verb('drivers', run, (*BOOT, *MACHINE[1:]), arch='x86_64')
