# SPDX-License-Identifier: GPL-2.0-only
"""What the user asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What was asked for. KVER is empty if none was."""
    kver: str = ''
    kdir: str = ''
    update: bool = False
    jobs: int = 1
    v: bool = False
    arch: str = 'um'
    smp: int = 1
    rt: bool = False
    san: str = ''
    llvm: bool = False
    driver: str = ''            # the folder of a driver of the user's
    topic: str = ''
    load: int = 0               # in seconds
    baseline: str = ''
    log: tuple[str, ...] = ()
    json: str = ''              # the name of a file; for explain, 1
    junit: str = ''
    vmlinux: str = ''
    modules: str = ''
    only: str = ''              # a part of the names of mutants
