# SPDX-License-Identifier: GPL-2.0-only
"""make tree: only prepare the tree."""

from __future__ import annotations

from nonblock.kernel.machine import UML
from nonblock.kernel.session import prepared
from nonblock.options import Options
from nonblock.verbs import TREE, Verb


def run(options: Options) -> int:
    with prepared(options, UML):
        return 0


VERB = Verb('tree', run, TREE)
