# SPDX-License-Identifier: GPL-2.0-only
"""make series: write the patches."""

from __future__ import annotations

from nonblock.common import REPO
from nonblock.kernel.session import find_base, locked
from nonblock.options import Options
from nonblock.tree.series import series
from nonblock.verbs import TREE, Verb


def write(options: Options) -> int:
    base = find_base(options)
    with locked(base):
        series(REPO, base, options.topic)
    return 0


VERB = Verb('series', write, (*TREE, 'TOPIC'))
