# SPDX-License-Identifier: GPL-2.0-only
"""Prepare a kernel tree with the hooks and suites, run kunit.py in it, and sum up.

`make help` has the short version. The Makefile's variables are this program's
environment; common.VARIABLES has their names.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import shutil
import signal
import sys
import time
import unittest
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Callable, Iterable, Mapping, Optional

from nonblock.verbs import bench
from nonblock.verbs import check_series
from nonblock.verbs import drivers
from nonblock.verbs import e2e
from nonblock.verbs import guide
from nonblock.kernel import kunit_run
from nonblock.verbs import matrix
from nonblock.verbs import modules
from nonblock.tree import series
from nonblock.audit import cli as audit_cli, selftest as audit_selftest
from nonblock.common import (EXIT_BUILD, EXIT_HANG, EXIT_INTERRUPTED, EXIT_MACHINE, EXIT_USAGE,
                             Failure, lock, say, write_atomically)

from nonblock.kernel.machine import (MAX_CPUS, SANITIZERS, UML, UML_MODULES, Machine, sanitized,
                                     uml, uml_e2e, uml_has_smp, uml_suites, x86_64, x86_64_drivers,
                                     x86_64_e2e, x86_64_suites)
from nonblock.explain import cli as explain
from nonblock.explain.kinds import KNOWN, reworded
from nonblock.tree.source import (DEFAULT_KVER, SUITES, TESTED, Base, cache_dir, from_debian,
                                  from_kdir)
from nonblock.tree.prepare import Preparer, Tree, check_hooks, fill_stage, overlay_files
from nonblock.result.verdict import (Case, Log, Verdict, expected_cases, find_stop, judge,
                                     parse_log, read_failure_rules, read_skip_rules)

REPO = Path(__file__).resolve().parents[4]
SKIP_RULES = Path(__file__).with_name('result') / 'expected-skips'
FAILURE_RULES = Path(__file__).with_name('result') / 'expected-failures'

EXIT_CODES = """exit codes:
  0  everything passed
  1  a test failed, or did not run
  2  bad option or input
  3  a hook or a file of the suites does not fit the tree
  4  the kernel source could not be downloaded or unpacked
  5  the kernel did not build
  6  the kernel hung or crashed
  7  this machine: disk full, no permission, a missing package
  130  interrupted; the next run goes on from there"""


@dataclass(frozen=True)
class Options:
    kver: str
    kdir: str
    jobs: int
    raw: bool
    update: bool
    arch: str = 'um'
    smp: int = 1
    rt: bool = False
    san: str = ''
    driver: str = ''            # the folder of a driver of the user's
    topic: str = ''             # of make series and check-series
    load: int = 0               # in seconds, of make bench


def read_options(env: Mapping[str, str], verb: str = 'run') -> Options:
    def flag(name: str) -> bool:
        if env.get(name, '') not in ('', '0', '1'):
            raise Failure(EXIT_USAGE, f'{name}={env[name]}: want 0 or 1')
        return env.get(name) == '1'

    def number(name: str, default: int) -> int:
        value = env.get(name) or str(default)
        if not value.isdecimal() or int(value) < min(default, 1):
            raise Failure(EXIT_USAGE, f'{name}={value}: want a number, {min(default, 1)} or more')
        return int(value)

    kver, kdir = env.get('KVER', ''), env.get('KDIR', '')
    if kver and kdir:
        raise Failure(EXIT_USAGE, f'KVER={kver} asks for a Debian source and KDIR={kdir} for a '
                      'tree of your own: give one of them')
    arch = env.get('ARCH') or ('x86_64' if verb in ('drivers', 'audit') else 'um')
    if arch not in ('um', 'x86_64'):
        raise Failure(EXIT_USAGE, f'ARCH={arch}: want um (the default) or x86_64')
    if verb in ('drivers', 'audit') and arch == 'um':
        raise Failure(EXIT_USAGE, f'ARCH=um: "{verb}" needs a PC: leave out ARCH')
    options = Options(kver or DEFAULT_KVER, kdir, number('JOBS', len(os.sched_getaffinity(0))),
                      flag('V'), flag('UPDATE'), arch,
                      number('SMP', 1 if arch == 'um' else 2), flag('RT'), env.get('SAN', ''),
                      env.get('DRIVER', ''), env.get('TOPIC', ''), number('LOAD', 0))
    if options.load and verb != 'bench':
        raise Failure(EXIT_USAGE, f'LOAD={options.load}: only with "bench", not "{verb}"')
    if options.topic and verb not in ('series', 'check-series'):
        raise Failure(EXIT_USAGE, f'TOPIC={options.topic}: only with "series" and '
                      f'"check-series", not "{verb}"')
    if options.driver and verb not in ('modules', 'audit'):
        raise Failure(EXIT_USAGE, f'DRIVER={options.driver}: only with "modules" and "audit", '
                      f'not "{verb}"')
    check_machine(options)
    return options


def check_machine(options: Options) -> None:
    """Whether there is such a machine, whatever the kernel."""
    fewest = 1 if options.arch == 'um' else 2
    if not fewest <= options.smp <= MAX_CPUS:
        raise Failure(EXIT_USAGE, f'SMP={options.smp}: want {fewest} to {MAX_CPUS} CPUs with '
                      f'ARCH={options.arch}' + ('; UML has one' if fewest > 1 else ''))
    if options.rt and options.arch == 'um':
        raise Failure(EXIT_USAGE, 'RT=1: only with ARCH=x86_64; UML has no PREEMPT_RT')
    if options.san and options.san not in SANITIZERS:
        raise Failure(EXIT_USAGE, f'SAN={options.san}: want {" or ".join(SANITIZERS)}')
    if options.san == 'kcsan' and options.arch == 'um':
        raise Failure(EXIT_USAGE, 'SAN=kcsan: only with ARCH=x86_64; UML has no KCSAN')


# They have no machine, or know theirs.
NO_CHOICE = ('tree', 'series', 'check-series', 'matrix', 'modules', 'bench', 'explain', 'test',
             'test-all')


def refuse_machine(verb: str) -> None:
    for name in ('ARCH', 'SMP', 'RT', 'SAN'):
        if os.environ.get(name):
            raise Failure(EXIT_USAGE, f'"{verb}" has no choice of machines: leave out {name}; '
                          '"run", "e2e" and "drivers" have one')


def find_base(options: Options) -> Base:
    if options.kdir:
        return from_kdir(options.kdir, REPO / 'build')
    return from_debian(options.kver, options.update)


class Impossible(Failure):
    """This kernel does not have what is asked for."""


def find_machine(options: Options, base: Base, user_mode: Callable[[int], Machine],
                 qemu: Callable[[int, bool], Machine]) -> Machine:
    if options.arch == 'um':
        if options.smp > 1 and not uml_has_smp(base.path):
            raise Impossible(EXIT_USAGE, f'SMP={options.smp}: {base.origin} has no SMP on UML '
                             '(in its arch/um/Kconfig); ARCH=x86_64 has')
        machine = user_mode(options.smp)
    else:
        machine = qemu(options.smp, options.rt)
        say('accelerator: ' + ('none (TCG): no guest runs on KVM here' if machine.path else 'KVM'))
    return sanitized(machine, options.san) if options.san else machine


def build_lock(base: Base) -> Path:
    return REPO / 'build' / base.name / 'lock'


def tree(options: Options) -> None:
    base = find_base(options)
    with lock(build_lock(base), f'build/{base.name}'):
        say(Preparer(REPO, base).prepare().summary)


def write_series(options: Options) -> None:
    base = find_base(options)
    with lock(build_lock(base), f'build/{base.name}'):
        series.series(REPO, base, options.topic)


def boot(options: Options, base: Base, machine: Machine, start: float,
         patch: Optional[Path] = None, quiet: bool = False) -> tuple[Tree, kunit_run.Outcome, Log]:
    """Prepare, build and run, with the lock held; `patch` goes on top of the hooks."""
    prepared = Preparer(REPO, base, patch=patch).prepare()
    say(prepared.summary)
    took = time.monotonic() - start
    outcome = kunit_run.run(prepared.path, machine, options.jobs, options.raw,
                            cache_dir() / 'objects.json', quiet and not options.raw)
    seconds = outcome.seconds
    say(f'time: tree {took:.0f} s, build '
        f'{seconds.get("configure", 0) + seconds.get("build", 0):.0f} s, '
        f'run {seconds.get("run", 0):.0f} s')
    if not outcome.built:
        return prepared, outcome, Log()
    log = prepared.path.with_name(machine.folder) / 'test.log'
    with open(log, encoding='utf-8', errors='replace') as file:
        return prepared, outcome, parse_log(file)


def green_cases() -> list[Case]:
    """All but those that fail by design. These are not built by default."""
    red = {rule.case for rule in read_failure_rules(FAILURE_RULES)}
    return [case for case in expected_cases(REPO) if str(case) not in red]


def run(options: Options, user_mode: Callable[[int], Machine] = uml,
        qemu: Callable[[int, bool], Machine] = x86_64) -> Verdict:
    """Everything up to the verdict, which the caller prints."""
    start = time.monotonic()
    expected = green_cases()
    rules = read_skip_rules(SKIP_RULES)
    base = find_base(options)
    machine = find_machine(options, base, user_mode, qemu)
    with lock(build_lock(base), f'build/{base.name}'):
        prepared, outcome, log = boot(options, base, machine, start)
        if not outcome.built:
            verdict = Verdict()
            verdict.fail(f'FAILED build of {base.origin}: {outcome.error}', EXIT_BUILD)
            return verdict
        return judge(expected, log, rules, prepared.path,
                     outcome.status, outcome.timed_out, machine.timeout, machine.folder)


def end_to_end(options: Options) -> Verdict:
    """The selftests in user space, up to the verdict."""
    rules = read_skip_rules(SKIP_RULES)
    base = find_base(options)
    machine = find_machine(options, base, uml_e2e, x86_64_e2e)
    with lock(build_lock(base), f'build/{base.name}'):
        prepared = Preparer(REPO, base).prepare()
        say(prepared.summary)
        return e2e.run(REPO, prepared.path, machine, options.jobs, options.raw,
                       cache_dir() / 'objects.json', rules)


def driver_tests(options: Options) -> Verdict:
    """Real drivers' notifiers, up to the verdict."""
    rules = read_skip_rules(SKIP_RULES)
    base, machine = find_base(options), x86_64_drivers(options.smp, options.rt)
    if options.san:
        machine = sanitized(machine, options.san)
    with lock(build_lock(base), f'build/{base.name}'):
        prepared = Preparer(REPO, base).prepare()
        say(prepared.summary)
        return e2e.run(REPO, prepared.path, machine, options.jobs, options.raw,
                       cache_dir() / 'objects.json', rules, drivers.DRIVERS)


def as_modules(options: Options) -> Verdict:
    """The suites and the sample driver as modules, up to the verdict."""
    rules, failures = read_skip_rules(SKIP_RULES), read_failure_rules(FAILURE_RULES)
    base = find_base(options)
    with lock(build_lock(base), f'build/{base.name}'):
        prepared = Preparer(REPO, base).prepare()
        say(prepared.summary)
        if options.driver:
            return modules.run_driver(REPO, prepared.path, UML_MODULES, options.jobs, options.raw,
                                      cache_dir() / 'objects.json',
                                      Path(options.driver).expanduser().resolve())
        verdict = modules.run(REPO, prepared.path, UML_MODULES, options.jobs, options.raw,
                              cache_dir() / 'objects.json', rules, failures)
    # It takes the lock itself.
    verdict.add(guide.run_front_door(REPO, {'KDIR': options.kdir} if options.kdir else
                                     {'KVER': options.kver}))
    return verdict


def report(verdict: Verdict) -> int:
    for line in verdict.lines:
        say(line)
    say(str(verdict))
    return verdict.code


# make matrix

def matrix_run(options: Options, base: Base, patch: Optional[Path] = None) -> matrix.Run:
    """One kernel's part of the matrix. Its trouble does not keep the others from running."""
    say(f'== {base.name}')
    try:
        with lock(build_lock(base), f'build/{base.name}'):
            prepared, outcome, log = boot(options, base, UML, time.monotonic(), patch, quiet=True)
        found = matrix.Run(prepared.path, prepared.hooks, matrix.read_cells(log))
    except (Failure, OSError) as error:
        failure = as_failure(error)
        return matrix.Run(trouble=f'FAILED {failure}', code=failure.code)
    # That tests fail without the annotation is the point; only that it ended matters.
    if not outcome.built:
        found.trouble, found.code = f'FAILED build: {outcome.error}', EXIT_BUILD
    else:
        found.trouble = find_stop(expected_cases(REPO), log, outcome.timed_out,
                                  UML.timeout)[1]
        found.code = EXIT_HANG
    return found


def compare(options: Options) -> Verdict:
    """The same fake notifiers on each kernel without the annotation and with it."""
    rules = read_skip_rules(SKIP_RULES)
    total, kernels = Verdict(), []
    one = os.environ.get('KVER') or options.kdir
    for chosen in [options] if one else [replace(options, kver=kver) for kver in TESTED]:
        try:
            base = find_base(chosen)
        except (Failure, OSError) as error:
            if one:
                raise
            failure = as_failure(error)
            total.fail(f'FAILED {chosen.kver}: {failure}', failure.code)
            continue
        kernels.append(matrix.Kernel(base.name, base.release, base.origin, {
            matrix.MAINLINE: matrix_run(chosen, replace(base, name=f'{base.name}-mainline'),
                                        matrix.MAINLINE_PATCH),
            matrix.OURS: matrix_run(chosen, base)}))
    say('\n' + matrix.as_text(kernels) + '\n')
    for name, text in (('matrix.json', matrix.as_json(kernels)),
                       ('matrix.html', matrix.as_html(kernels))):
        (REPO / 'build').mkdir(exist_ok=True)
        write_atomically(REPO / 'build' / name, text)
        say(f'also in build/{name}')
    total.add(matrix.judge(kernels, rules))
    return total


# make bench

def measure(options: Options) -> Verdict:
    """What the series costs on one kernel."""
    base = find_base(options)

    def prepare(without: str) -> Tree:
        name = f'{base.name}-{bench.FIXES}' if without else base.name
        prepared = Preparer(REPO, replace(base, name=name), without).prepare()
        say(prepared.summary)
        return prepared

    with lock(build_lock(base), f'build/{base.name}'):
        return bench.run(REPO, f'Linux {base.release}', prepare, REPO / 'build' / base.name,
                         options.jobs, cache_dir() / 'objects.json', options.load)


# make audit

def audit(options: Options) -> int:
    """A static verdict on every callback; its own exit status."""
    base = find_base(options)
    with lock(build_lock(base), f'build/{base.name}'):
        prepared = Preparer(REPO, base).prepare()
        say(prepared.summary)
        return audit_cli.run(prepared.path, REPO / 'build' / base.name, options.jobs,
                             f'Linux {base.release}', options.driver,
                             os.environ.get('BASELINE', ''), overlay_files(REPO))


def audit_tests(options: Options) -> Verdict:
    """What the audit says of drivers that are known, and of what the suites' callbacks do."""
    base = find_base(options)
    with lock(build_lock(base), f'build/{base.name}'):
        prepared = Preparer(REPO, base).prepare()
        say(prepared.summary)
        return audit_selftest.run(REPO, prepared.path, REPO / 'build' / base.name, options.jobs)


# make check-series

def check(options: Options) -> Verdict:
    """The series on each kernel, or on the one that was asked for."""
    cases, rules = green_cases(), read_skip_rules(SKIP_RULES)
    total = Verdict()
    total.add(check_series.check_runner())
    one = os.environ.get('KVER') or options.kdir
    for chosen in [options] if one else [replace(options, kver=kver) for kver in TESTED]:
        try:
            base = find_base(chosen)
            with lock(build_lock(base), f'build/{base.name}'):
                total.add(check_series.Check(REPO, base, options.jobs, cases, rules).run(
                    options.topic))
        except (Failure, OSError) as error:
            failure = as_failure(error)
            total.fail(f'FAILED {chosen.kdir or chosen.kver}: {failure}', failure.code)
    return total


# make test

def unit_tests() -> Verdict:
    """The runner's own tests."""
    say('== the runner\'s own tests')
    suite = unittest.defaultTestLoader.discover(
        str(Path(__file__).parent), '*_test.py', str(Path(__file__).parents[1]))
    result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(suite)
    verdict = Verdict(skipped=len(result.skipped))
    for test, _ in result.failures + result.errors:
        verdict.fail(f'FAILED {test.id()}')
    verdict.passed = result.testsRun - verdict.failed - verdict.skipped
    return verdict


def hook_tests(options: Options) -> Verdict:
    """One check for each hook, and for the patch of make matrix: does it apply to this kernel?"""
    base = find_base(options)
    folder = REPO / 'build' / base.name / 'hooks.tmp'
    verdict = Verdict()

    def note(hook: str, failure: Optional[Failure]) -> None:
        say(f'hook {hook} on {base.name}: {"does not apply" if failure else "ok"}')
        if failure:
            verdict.fail(f'FAILED {base.name}: {failure}', failure.code)
        else:
            verdict.passed += 1

    with lock(build_lock(base), f'build/{base.name}'):
        check_hooks(REPO, base, folder, note)
        try:
            fill_stage(REPO, base, folder, patch=matrix.MAINLINE_PATCH)
            note(matrix.MAINLINE_PATCH.name, None)
        except Failure as failure:
            note(matrix.MAINLINE_PATCH.name, failure)
        shutil.rmtree(folder, ignore_errors=True)
    return verdict


def known_texts(options: Options) -> Verdict:
    """Does this kernel still print what `make explain` looks for?"""
    missing = reworded(find_base(options).path)
    verdict = Verdict(passed=len(KNOWN) - len(missing))
    for text in missing:
        verdict.fail(f'FAILED {text}')
    return verdict


def suites_on_e2e(options: Options) -> Verdict:
    return run(options, uml_suites, x86_64_suites)


@dataclass(frozen=True)
class Step:
    """What is run on each kernel."""
    title: str
    run: Callable[[Options], Verdict]
    arch: str = 'um'
    smp: int = 1
    rt: bool = False
    san: str = ''
    in_test: bool = False       # of `make test`; all are of `make test-all`
    kernels: tuple[str, ...] = TESTED


# The order is that in which they run.
STEPS = (
    Step('hooks', hook_tests, in_test=True, kernels=tuple(SUITES)),
    Step('texts of explain', known_texts, in_test=True),
    Step('suites', run, in_test=True, kernels=tuple(SUITES)),
    Step('e2e', end_to_end, in_test=True),
    Step('modules', as_modules, in_test=True),
    Step('suites, SMP', run, smp=2, in_test=True),
    Step('audit', audit_tests, in_test=True),
    # In real time, so that it takes ten minutes.
    Step('e2e, SMP', end_to_end, smp=2),
    # On two CPUs where UML has them. From here on one kernel serves for all.
    Step('suites, KASAN', suites_on_e2e, san='kasan', kernels=('6.12',)),
    Step('e2e, KASAN', end_to_end, san='kasan', kernels=('6.12',)),
    Step('suites, SMP KASAN', suites_on_e2e, smp=2, san='kasan', kernels=('7.3',)),
    Step('e2e, SMP KASAN', end_to_end, smp=2, san='kasan', kernels=('7.3',)),
    Step('suites, x86_64', suites_on_e2e, 'x86_64', 2),
    Step('e2e, x86_64', end_to_end, 'x86_64', 2),
    Step('drivers', driver_tests, 'x86_64', 2),
    Step('suites, x86_64 RT', suites_on_e2e, 'x86_64', 2, rt=True),
    Step('e2e, x86_64 RT', end_to_end, 'x86_64', 2, rt=True),
    Step('drivers, RT', driver_tests, 'x86_64', 2, rt=True),
    Step('suites, x86_64 KCSAN', suites_on_e2e, 'x86_64', 2, san='kcsan'),
    Step('e2e, x86_64 KCSAN', end_to_end, 'x86_64', 2, san='kcsan'),
)


def run_step(step: Step, options: Options) -> Verdict:
    """Its verdict, whatever comes: a failure does not keep the rest from running."""
    where = f'{step.title} on {options.kver}'
    say(f'== {where}')
    verdict = Verdict()
    try:
        verdict = step.run(replace(options, arch=step.arch, smp=step.smp, rt=step.rt,
                                   san=step.san))
    except Impossible as reason:
        say(f'skipped {where}: {reason}')
        verdict.skipped += 1
    except (Failure, OSError) as error:
        failure = as_failure(error)
        verdict.fail(f'FAILED: {failure}', failure.code)
    verdict.lines = [f'{where}: {line}' for line in verdict.lines]
    report(verdict)
    return verdict


def run_steps(steps: Iterable[Step], verb: str, options: Options) -> Verdict:
    if os.environ.get('KVER') or options.kdir:
        raise Failure(EXIT_USAGE, f'"{verb}" runs on all known kernels: leave out KVER and KDIR, '
                      'or use "run" for one kernel')
    total, times = unit_tests(), []
    for kver in SUITES:
        for step in (step for step in steps if kver in step.kernels):
            since = time.monotonic()
            total.add(run_step(step, replace(options, kver=kver)))
            times.append(f'{time.monotonic() - since:5.0f} s  {step.title} on {kver}')
    say('\n'.join(['== where the time went', *times, '== total']))
    return total


def test(options: Options) -> Verdict:
    """The most of it on every kernel."""
    return run_steps([step for step in STEPS if step.in_test], 'test', options)


def test_all(options: Options) -> Verdict:
    """Everything on every kernel and every machine."""
    return run_steps(STEPS, 'test-all', options)


def as_failure(error: Failure | OSError) -> Failure:
    if isinstance(error, Failure):
        return error
    way_out = {errno.ENOSPC: ' Free some space and run it again; it goes on from here.',
               errno.EACCES: ' Who owns it?'}.get(error.errno or 0, '')
    return Failure(EXIT_MACHINE, f'{error.filename or "writing"}: {error.strerror}.{way_out}')


def interrupt(_number: int, _frame: Optional[FrameType]) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXIT_CODES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('verb', choices=('run', 'e2e', 'modules', 'drivers', 'tree', 'test',
                                         'test-all', 'matrix', 'bench', 'explain', 'audit',
                                         'series', 'check-series'))
    verb = parser.parse_args().verb
    signal.signal(signal.SIGTERM, interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The kernel may print what the user's locale cannot.
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        if verb in NO_CHOICE:
            refuse_machine(verb)
        options = read_options(os.environ, verb)
        if verb == 'tree':
            tree(options)
            return 0
        if verb == 'series':
            write_series(options)
            return 0
        if verb == 'audit':
            return audit(options)
        if verb == 'explain':
            return explain.from_make(os.environ, options.kdir)
        verbs: dict[str, Callable[[Options], Verdict]] = {
            'run': run, 'e2e': end_to_end, 'modules': as_modules,
            'drivers': driver_tests, 'matrix': compare,
            'bench': measure, 'test': test, 'test-all': test_all, 'check-series': check}
        return report(verbs[verb](options))
    except (Failure, OSError) as error:
        failure = as_failure(error)
        message, code = f'error: {failure}', failure.code
    except KeyboardInterrupt:
        message, code = 'interrupted; the next run goes on from here', EXIT_INTERRUPTED
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    return code
