# SPDX-License-Identifier: GPL-2.0-only
"""make series: write the patches."""

from __future__ import annotations

from nonblock.common import REPO, say
from nonblock.kernel.session import find_base, locked
from nonblock.options import Options
from nonblock.tree.series import ALL, choose_topics, read_topics, write_series
from nonblock.verbs import TREE, Verb


def check(options: Options) -> None:
    choose_topics(read_topics(REPO), options.topic)


def run(options: Options) -> int:
    base = find_base(options)
    with locked(base):
        written = write_series(REPO, base, options.topic)
    path = REPO / 'build' / base.name / 'series'
    for topic, paths in written.items():
        say(f'{path}/{topic}: {len(paths) - 1} patches and a cover letter')
        for patch in paths[1:]:
            say(f'    {patch.name}')
    if written:
        say(f'On Linux {base.release} ({base.origin}), all of it, in its order:\n'
            f'    git am --empty=drop {path / ALL}')
    return 0


VERB = Verb('series', run, (*TREE, 'TOPIC'), check=check)
