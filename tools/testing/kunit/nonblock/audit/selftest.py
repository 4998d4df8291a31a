# SPDX-License-Identifier: GPL-2.0-only
"""The audit of what is known: small drivers of test_data, the samples, the suites' operations.

The operations tie the table of sleeps.py to the KUnit suites: what these show to be reported in
a nonblocking section has to be found here, and what they show to be silent must not be.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from nonblock.common import Failure, say
from nonblock.kernel.session import Session
from nonblock.result.verdict import Verdict

from .audit import Audit
from .judge import BLOCK, CLEAN, UNDECIDED, Judge
from .specialise import Entry

TRAITS = Path(__file__).with_name('test_data') / 'drivers'
# These sleep for memory of vmalloc() only, which the audit cannot know.
DEPENDS = ('kvfree',)
OPS = 'mm/tests/mmu_notifier_ops_kunit.h'
# The tables of it are static, and it is but a header
USER = '''#include <linux/processor.h>
#include "mmu_notifier_ops_kunit.h"
const void *const tables[] = { wrong_ops, protected_ops };
'''
EXPECT = re.compile(r'/\* expect: (\w+) ([\w-]+) \*/')
SAMPLES = {     # of samples/mmu_notifier: what is wrong that can be seen
    'mirror_invalidate': 'may-back-off', 'invalidate_waits_for_lock': BLOCK,
    'invalidate_allocates': BLOCK, 'invalidate_waits_for_work': BLOCK, 'resume_device': BLOCK,
    'invalidate_everything': 'may-back-off',
}


def expectations(folder: Path) -> dict[str, str]:
    return {name: verdict for path in sorted(folder.glob('*.c'))
            for name, verdict in EXPECT.findall(path.read_text(encoding='utf-8'))}


@dataclass(frozen=True)
class Operation:
    name: str
    function: str
    wrong: bool


def read_ops(text: str) -> list[Operation]:
    """Those of the suites' tables. What is wrong for the sake of others is left out."""
    found = []
    for table, body in re.findall(r'^static const struct mn_op (wrong|protected)_ops\[\] = \{\n'
                                  r'(.*?)^\};', text, re.MULTILINE | re.DOTALL):
        for entry in re.split(r'^\t\{ ', body, flags=re.MULTILINE)[1:]:
            match = re.match(r'(OP|ALLOCATOR|KMALLOC)\(([^)]*)\)', entry)
            if not match or '.nonblock = CIRCULAR' in entry or '.scope' in entry:
                continue
            name = 'kmalloc' if match[1] == 'KMALLOC' else match[2]
            found.append(Operation(name, f'op_{name}', table == 'wrong'))
    return list(dict.fromkeys(found))


def judge_ops(audit: Audit, repo: Path) -> Verdict:
    """What the audit says of each operation, called as the suites call it."""
    verdict = Verdict()
    folder = audit.build / 'audit-ops'
    folder.mkdir(parents=True, exist_ok=True)
    text = (repo / OPS).read_text(encoding='utf-8')
    # There is no lockdep in the kernel of the audit.
    (folder / Path(OPS).name).write_text(
        re.sub(r'=\s*STATIC_LOCKDEP_MAP_INIT\([^;]*;', '= { };', text), encoding='utf-8')
    (folder / 'ops.c').write_text(USER, encoding='utf-8')
    (folder / 'Kbuild').write_text('obj-m := ops.o\n', encoding='utf-8')
    found, errors = audit.compiler.compile_external(folder)
    source = str(folder / 'ops.c')
    if source not in found:
        verdict.fail('operations', '; '.join(errors[:3]))
        return verdict
    module = audit.world.load(source, found[source])
    for one in read_ops(text):
        symbol = next((name for name in module.defined
                       if name.split('.s')[0] == one.function), '')
        if not symbol:
            continue            # this kernel does not have it
        gfp = audit.world.reclaim if one.wrong else 0
        result = Judge(audit.world, module, source, Entry(symbol, ((0, str(gfp)),)), None).run()
        good = result.verdict in ((UNDECIDED if one.name in DEPENDS else BLOCK,) if one.wrong
                                  else (CLEAN, UNDECIDED))
        kind = 'wrong' if one.wrong else 'protected'
        reasons = ', '.join(finding.name for finding in result.findings[:5])
        verdict.note(f'operations: {one.name}, {kind}', '' if good else 'the suites show that it '
                     f'{"sleeps" if one.wrong else "does not sleep"}, and the audit says '
                     f'{result.verdict}: {reasons}')
        if not one.wrong and result.verdict == UNDECIDED:
            say(f'operations: {one.name}: undecided: {reasons}')
    return verdict


def judge_folder(audit: Audit, folder: Path, expected: dict[str, str]) -> Verdict:
    verdict = Verdict()
    missing = dict(expected)
    for one in audit.run_driver(folder):
        want = missing.pop(one['function'], None)
        if want is None:
            continue
        verdict.note(f'{one["function"]}()', '' if one['verdict'] == want else
                     f'{one["verdict"]}, and not {want}: {one["reason"]}')
    for name in missing:
        verdict.fail(f'{name}()', 'was not found')
    return verdict


def run(session: Session) -> Verdict:
    total, repo, build = Verdict(), session.repo, session.build
    expected = expectations(TRAITS)
    if 'invalidate_finish' not in (session.tree / 'include/linux/mmu_notifier.h').read_text(
            encoding='utf-8'):
        for name, _ in EXPECT.findall((TRAITS / 'twopass.c').read_text(encoding='utf-8')):
            del expected[name]
    for folder, want in ((TRAITS, expected), (repo / 'samples/mmu_notifier/out-of-tree', SAMPLES)):
        audit = Audit(session.tree, build, session.jobs)
        audit.start()
        if folder != TRAITS:
            folder = sample(repo, build)
        try:
            total.add(judge_folder(audit, folder, want))
        except Failure as failure:
            total.fail(str(folder), str(failure), failure.code)
        if folder == TRAITS and not any('broken.c' in error and 'no_such_thing' in error
                                        for error in audit.errors):
            total.fail('broken.c', 'what the compiler says of it is not told')
    total.add(judge_ops(audit, repo))
    return total


def sample(repo: Path, build: Path) -> Path:
    """The sample drivers in a folder of their own, as somebody outside of the tree has them."""
    folder = build / 'audit-samples'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in [*(repo / 'samples/mmu_notifier').glob('mirror*.[ch]')]:
        if not path.name.endswith('_kunit.c'):
            shutil.copy2(path, folder)
    (folder / 'Kbuild').write_text('obj-m := mirror.o mirror_wrong.o\n', encoding='utf-8')
    return folder
