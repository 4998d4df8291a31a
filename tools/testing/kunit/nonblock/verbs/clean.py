# SPDX-License-Identifier: GPL-2.0-only
"""make clean: remove the build folders, but not from under a run."""

from __future__ import annotations

from nonblock.common import REPO, clean as remove
from nonblock.options import Options
from nonblock.verbs import Verb


def clean(_options: Options) -> int:
    remove(REPO / 'build')
    return 0


VERB = Verb('clean', clean, (), strict=False)
