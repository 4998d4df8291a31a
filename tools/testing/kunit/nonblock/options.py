# SPDX-License-Identifier: GPL-2.0-only
"""What the user asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Options:
    """What was asked for, in the order of the Makefile's export. KVER is empty if none was."""
    kver: str = ''
    kdir: str = ''
    jobs: int = 1
    v: bool = False
    arch: str = 'um'
    smp: int = 1
    rt: bool = False
    san: str = ''
    llvm: bool = False
    driver: str = ''            # the folder of a driver of the user's
    topic: str = ''
    log: tuple[str, ...] = ()
    vmlinux: str = ''
    modules: str = ''
    json: str = ''              # the name of a file; for explain, 1
    baseline: str = ''
    junit: str = ''
    only: str = ''              # a part of the names of mutants


# As in the environment, and of make
VARIABLES = tuple(field.name.upper() for field in fields(Options))
FLAGS = tuple(field.name.upper() for field in fields(Options) if isinstance(field.default, bool))
