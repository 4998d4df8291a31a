# SPDX-License-Identifier: GPL-2.0-only
"""make check-series: does each topic of the series build and pass, patch by patch?

On a pristine tree, in git, of each kernel, for each topic: git am of the topics that it
depends on, then of one of its patches after the other. checkpatch reads each, and the
objects that the topic touches are built with W=1 in each configuration of series_build.py,
without a warning: mainline has none in these files. Then a kernel is built and booted, with
the suites that it has by then. Last, all topics are applied in their order, and what can
be checked of the whole is.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterator, TypeVar

from nonblock.verbs.check_whole import Checks, checkpatch
from nonblock.common import EXIT_TREE, REPO, Failure, as_failure, say
from nonblock.kernel.session import each_kernel, find_base, locked
from nonblock.options import Options
from nonblock.tree.hooks import touched_files
from nonblock.tree.series import DEPENDS, choose_topics, read_topics, write_series
from nonblock.verbs.series_build import SeriesBuilder, in_kernel, is_built, never_built
from nonblock.result.verdict import Verdict, green_cases, read_skip_rules
from nonblock.verbs import BUILD, Verb

T = TypeVar('T')


class Check(Checks):
    """One kernel."""

    def run(self, name: str = '') -> Verdict:
        """One topic, or all and then the whole."""
        topics = read_topics(self.repo)
        for topic in [name] if name else list(topics):
            self.topic(topic, [one.name for one in choose_topics(topics, topic)[:-1]],
                       all(hook.prepared for hook in topics[topic].hooks))
        if not name:
            self.all_topics()
        return self.verdict

    def topic(self, name: str, before: list[str], builds: bool = True) -> None:
        """A topic alone on those that it depends on.

        No configuration here has the drivers of the one that is in no prepared tree. What
        compiles their patches is make modules.
        """
        say(f'== {self.base.name}: topic {name}'
            + (f', after {", ".join(before)}' if before else ''))
        self.checkout.reset()
        patches = write_series(self.repo, self.base, name).get(name, [])[1:]
        if not patches:
            return
        depends = patches[0].parents[1] / DEPENDS.format(name)
        if depends.exists():
            self.checkout.am([depends])
        every = sorted({touched for patch in patches for touched in touched_files(patch)})
        # Who else includes a header that it touches is in the kernel that is booted.
        self.sources = set(in_kernel(every, '.c'))
        if self.sources and builds:
            self.begin(name)
        for number, patch in enumerate(patches, 1):
            if not self.apply(patch, f'{name} {number}/{len(patches)}', builds):
                return
        if builds and any(map(is_built, every)):
            self.one(f'topic {name}: a kernel with it boots, and its suites pass',
                     lambda: self.suites(True))

    def all_topics(self) -> None:
        """What is checked of the whole."""
        self.checkout.reset()
        patches = [patch for paths in write_series(self.repo, self.base).values()
                   for patch in paths[1:]]
        self.checkout.am(patches)
        every = sorted({name for patch in patches for name in touched_files(patch)})
        self.sources = set(in_kernel(every, '.c'))
        self.whole(every)

    def for_each(self, do: Callable[[SeriesBuilder], T]
                 ) -> Iterator[tuple[SeriesBuilder, T, float]]:
        """In their order: what it returns, and the seconds that it took."""
        def timed(builder: SeriesBuilder) -> tuple[SeriesBuilder, T, float]:
            start = time.monotonic()
            found = do(builder)
            return builder, found, time.monotonic() - start

        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                yield from pool.map(timed, self.builders)
            except BaseException:
                # Interrupted: those that have not begun need not.
                pool.shutdown(cancel_futures=True)
                raise

    def begin(self, topic: str) -> None:
        symbols, present = self.checkout.symbols(), self.present()
        for builder, _, _ in self.for_each(lambda builder: builder.begin(present, symbols)):
            if builder.trouble:
                self.note(f'before {topic}, {builder.config.name}', builder.trouble)

    def apply(self, patch: Path, number: str, builds: bool = True) -> bool:
        say(f'== {self.base.name}: {number} {patch.stem}')
        try:
            self.checkout.am([patch])
        except Failure as failure:
            return self.note(f'{patch.name}: git am', str(failure), EXIT_TREE)
        self.note(f'{patch.name}: checkpatch', '\n    '.join(checkpatch(self.tree, patch)))
        names = touched_files(patch)
        if not builds or not any(map(is_built, names)):
            return True
        symbols = self.checkout.symbols() if any('Kconfig' in name for name in names) else None
        present = self.present()
        for builder, (compiled, trouble), seconds in self.for_each(
                lambda builder: (0, '') if builder.trouble else builder.check(present, symbols)):
            if builder.trouble:
                continue
            say(f'{builder.config.name}: {trouble or f"{compiled} objects"}, {seconds:.0f} s')
            if compiled or trouble:
                self.note(f'{patch.name}: {builder.config.name}', trouble)
        unseen = never_built(self.tree, self.builders, names)
        self.note(f'{patch.name}: compiled', f'in no configuration: {unseen}' if unseen else '')
        return True


def check(options: Options) -> Verdict:
    """The series on each kernel, or on the one that was asked for."""
    cases, rules = green_cases(REPO), read_skip_rules()
    total = Verdict()
    for chosen in each_kernel(options):
        try:
            base = find_base(chosen)
            with locked(base):
                total.add(Check(REPO, base, options.jobs, cases, rules).run(options.topic))
        except (Failure, OSError) as error:
            failure = as_failure(error)
            total.fail(chosen.kdir or chosen.kver, str(failure), failure.code)
    return total


VERB = Verb('check-series', check, (*BUILD, 'TOPIC'))
