# SPDX-License-Identifier: GPL-2.0-only
"""One file for each verb: VERB in it says what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from nonblock.common import EXIT_CODES
from nonblock.options import Options
from nonblock.result.verdict import Verdict

# Variables: what each verb takes that prepares a tree, and builds; that shows what its kernels
# print; and what chooses a machine
TREE = ('KVER', 'KDIR')
BUILD = (*TREE, 'JOBS', 'JUNIT', 'JSON')
BOOT = (*BUILD, 'V')
MACHINE = ('ARCH', 'SMP', 'RT', 'SAN')


@dataclass(frozen=True)
class Verb:
    name: str
    run: Callable[[Options], Verdict | int]     # a Verdict, or the exit status
    variables: tuple[str, ...]                  # what it takes
    arch: str = 'um'            # the default, and the only one if it does not take ARCH
    strict: bool = True         # refuse what is exported, and it does not take
    exit_codes: str = EXIT_CODES
    # A Failure if what is given cannot do: before anything is installed or copied
    check: Callable[[Options], object] = lambda options: None

    def takes(self, name: str, text: str) -> bool:
        """JSON is a file for those that end in a verdict, and 1 for others."""
        return name in self.variables and (
            name != 'JSON' or ('JUNIT' in self.variables) != (text in ('0', '1')))
