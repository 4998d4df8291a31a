# SPDX-License-Identifier: GPL-2.0-only
"""How the audit calls LLVM."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Sequence

SECONDS = 180                   # for one of its tools


class AuditError(Exception):
    """One callback cannot be judged; the others can."""


def run_llvm(command: Sequence[str | Path]) -> None:
    """Run one of its tools; what it says is of use to nobody but us."""
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                errors='replace', check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise AuditError(f'{command[0]} took more than {SECONDS} s') from None
    if result.returncode:
        message = (result.stderr.strip() or 'no message').splitlines()[0]
        raise AuditError(f'{command[0]}: {message}')
