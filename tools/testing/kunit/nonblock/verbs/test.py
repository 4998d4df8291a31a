# SPDX-License-Identifier: GPL-2.0-only
"""make test: most verbs on each kernel, and the runner's own tests. STEPS has all of them."""

from __future__ import annotations

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Callable, Iterable

from nonblock.common import EXIT_BUILD, REPO, Failure, as_failure, capture, say
from nonblock.kernel import kunit_run
from nonblock.kernel.kbuild import Builder, base_options
from nonblock.kernel.machine import LLVM_ARCHES, UML
from nonblock.kernel.session import Impossible, find_base, locked, prepared
from nonblock.options import Options
from nonblock.result.verdict import Verdict, report
from nonblock.tree.hooks import candidates, read_hooks, touched_files
from nonblock.tree.prepare import apply_hook, begin_stage, fill_stage, overlay_files
from nonblock.tree.source import SUITES, TESTED
from nonblock.verbs import (Verb, audit, check_series, drivers, e2e, matrix, modules, mutants,
                            run as suites)


PACKAGE = REPO / 'tools/testing/kunit/nonblock'


def files_of_tests() -> list[str]:
    """As modules."""
    return ['.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts)
            for path in sorted(PACKAGE.rglob('*_test.py'))]


def run_file(name: str) -> tuple[int, str, float]:
    """Its exit status, what it said, and how long it took."""
    since = time.monotonic()
    # Options of ours are not for what it runs.
    result = capture([sys.executable, '-m', 'unittest', '--buffer', name], PACKAGE.parent,
                     kunit_run.environment())
    return (result.returncode, (result.stdout + result.stderr).strip(),
            time.monotonic() - since)


def unit_tests(jobs: int) -> Verdict:
    """The runner's own. Each file of them has a process of its own, and counts as one."""
    say('== the runner\'s own tests')
    total, names = Verdict(), files_of_tests()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for name, (status, output, seconds) in zip(names, pool.map(run_file, names)):
                say(f'{name}: {output}')
                if status:
                    total.fail(name, output.splitlines()[-1], report=output)
                else:
                    total.ok(name)
                total.tests[-1].seconds = seconds
        except BaseException:
            # Interrupted: it shall not wait for the others.
            pool.shutdown(wait=False, cancel_futures=True)
            kunit_run.stop_children()
            raise
    return total.tell({}, 'unit tests')


def hook_tests(options: Options) -> Verdict:
    """Do all hooks apply to this kernel, those of no prepared tree, and make matrix's patch?"""
    base, verdict = find_base(options), Verdict()
    folder = REPO / 'build' / base.name / 'hooks.tmp'
    with locked(base):
        hooks = read_hooks(REPO)
        stage = begin_stage(REPO, base, hooks, folder)
        for hook in hooks:
            apply_hook(REPO, base, stage, hook)
        fill_stage(REPO, base, folder, patch=matrix.MAINLINE_PATCH)
        shutil.rmtree(folder)
    verdict.ok('hooks')
    return verdict.tell(base.about)


def known_texts(options: Options) -> Verdict:
    """Does this kernel still print what `make explain` looks for?"""
    from nonblock.explain.kinds import KNOWN, reworded      # see verbs/explain.py
    base = find_base(options)
    missing = reworded(base.path)
    verdict = Verdict()
    for one in KNOWN:
        verdict.note(f'{one.text} in {" or ".join(one.files)}',
                     'is not there' if one in missing else '')
    return verdict.tell(base.about, 'texts')


def cross_compiled(options: Options) -> Verdict:
    """Does what the series touches compile elsewhere, without a warning of W=1?"""
    config = next(config for config in check_series.CONFIGS if config.name == 'arm64')
    with prepared(options, UML) as session:
        touched = {name for hook in read_hooks(REPO) if hook.prepared
                   for patch in candidates(REPO, hook.name) for name in touched_files(patch)}
        files = [name for name in check_series.in_kernel(touched | set(overlay_files(REPO)))
                 if (session.tree / name).exists()]
        builder = Builder(config, session.tree, session.jobs)
        trouble = builder.configure({*base_options(config.arch), *config.options})
        verdict = Verdict()
        if trouble:
            verdict.fail('configuration', trouble, EXIT_BUILD)
            return verdict.tell(session.about)
        objects = builder.objects(files)
        for name in objects:
            # What is up to date would not be compiled, and not warn.
            (builder.out / name).unlink(missing_ok=True)
        compiled, trouble, warnings = builder.build(files)
        trouble = trouble or '; '.join(': '.join(one) for one in sorted(warnings))
        if not compiled:
            trouble = trouble or 'none was compiled'
        say(f'{len(objects)} objects')
        verdict.note('objects', trouble, EXIT_BUILD)
    return verdict.tell(session.about)


@dataclass(frozen=True)
class Step:
    """What is run on each kernel."""
    title: str
    run: Callable[[Options], Verdict]
    arch: str = 'um'
    smp: int = 1
    rt: bool = False
    llvm: bool = False
    san: str = ''
    in_test: bool = False       # of `make test`; all are of `make test-all`
    kernels: tuple[str, ...] = TESTED


# What has been run of them, and of others, Documentation/architectures.rst says.
OTHERS = ('arm64', 'i386', 'arm', 'riscv', 's390', 'powerpc', 'powerpcle')

# The order is that in which they run.
STEPS = (
    Step('hooks', hook_tests, in_test=True, kernels=tuple(SUITES)),
    Step('texts of explain', known_texts, in_test=True),
    Step('suites', suites.run, in_test=True, kernels=tuple(SUITES)),
    Step('sample of mutants', mutants.sample, in_test=True),
    Step('e2e', e2e.run, in_test=True),
    Step('modules', modules.run, in_test=True),
    Step('suites, SMP', suites.run, smp=2, in_test=True),
    Step('audit', audit.of_known_drivers, in_test=True),
    Step('objects of arm64', cross_compiled, in_test=True, kernels=TESTED[-1:]),
    # In real time, so that it takes ten minutes.
    Step('e2e, SMP', e2e.run, smp=2),
    # On two CPUs where UML has them. From here on one kernel serves for all.
    Step('suites, KASAN', suites.on_e2e, san='kasan', kernels=TESTED[:1]),
    Step('e2e, KASAN', e2e.run, san='kasan', kernels=TESTED[:1]),
    Step('suites, SMP KASAN', suites.on_e2e, smp=2, san='kasan', kernels=TESTED[1:]),
    Step('e2e, SMP KASAN', e2e.run, smp=2, san='kasan', kernels=TESTED[1:]),
    Step('suites, x86_64', suites.on_e2e, 'x86_64', 2),
    Step('e2e, x86_64', e2e.run, 'x86_64', 2),
    Step('drivers', drivers.run, 'x86_64', 2),
    Step('suites, x86_64 RT', suites.on_e2e, 'x86_64', 2, rt=True),
    Step('e2e, x86_64 RT', e2e.run, 'x86_64', 2, rt=True),
    Step('drivers, RT', drivers.run, 'x86_64', 2, rt=True),
    Step('suites, x86_64 KCSAN', suites.on_e2e, 'x86_64', 2, san='kcsan'),
    Step('e2e, x86_64 KCSAN', e2e.run, 'x86_64', 2, san='kcsan'),
    *(Step(f'suites, {arch}', suites.run, arch, 2) for arch in OTHERS),
    *(Step(f'suites, {arch} RT', suites.run, arch, 2, rt=True) for arch in OTHERS),
    *(Step(f'suites, {arch} clang', suites.run, arch, 1 if arch == 'um' else 2, llvm=True)
      for arch in LLVM_ARCHES),
    *(Step(f'e2e, {arch}', e2e.run, arch, 2) for arch in ('arm64', 's390')),
)


def run_step(step: Step, options: Options) -> Verdict:
    """Its verdict, whatever comes: a failure does not keep the rest from running."""
    where = f'{step.title} on {options.kver}'
    say(f'== {where}')
    verdict, since = Verdict(), time.monotonic()
    try:
        verdict = step.run(replace(options, arch=step.arch, smp=step.smp, rt=step.rt,
                                   llvm=step.llvm, san=step.san))
    except Impossible as reason:
        say(f'skipped {where}: {reason}')
        verdict.skip(step.title, str(reason))
    except (Failure, OSError) as error:
        failure = as_failure(error)
        verdict.fail('', str(failure), failure.code)
    verdict = verdict.within(where)
    seconds = f'{time.monotonic() - since:.0f}'
    for test in verdict.tests:
        test.about = {**test.about, 'step_seconds': seconds}
    report(verdict)
    return verdict


def run_steps(steps: Iterable[Step], options: Options,
              kernels: Iterable[str] = tuple(SUITES)) -> Verdict:
    since, total = time.monotonic(), unit_tests(options.jobs)
    times = [f'{time.monotonic() - since:5.0f} s  the runner\'s own tests']
    for kver in kernels:
        for step in (step for step in steps if kver in step.kernels):
            since = time.monotonic()
            total.add(run_step(step, replace(options, kver=kver)))
            times.append(f'{time.monotonic() - since:5.0f} s  {step.title} on {kver}')
    say('\n'.join(['== where the time went', *times, '== total']))
    return total


def run(options: Options) -> Verdict:
    """The most of it on every kernel."""
    return run_steps([step for step in STEPS if step.in_test], options)


VERB = Verb('test', run, ('JOBS', 'V', 'JUNIT', 'JSON'))
