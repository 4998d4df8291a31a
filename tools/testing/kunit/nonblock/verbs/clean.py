# SPDX-License-Identifier: GPL-2.0-only
"""make clean: empty the build folders, but not from under a run."""

from __future__ import annotations

import contextlib
import fcntl
import shutil

from nonblock.common import EXIT_USAGE, LOCK, REPO, Failure, holder_of
from nonblock.options import Options
from nonblock.verbs import Verb


def run(_options: Options) -> int:
    """Remove all but the locks, if nobody is using one of the build folders."""
    with contextlib.ExitStack() as stack:
        folders = [path for path in (REPO / 'build').glob('*') if path.is_dir()]
        for folder in folders:
            file = stack.enter_context(open(folder / LOCK, 'a+', encoding='utf-8'))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failure(EXIT_USAGE, f'build/{folder.name}: {holder_of(file)} is using '
                              'it. Nothing was removed.') from None
        for path in [path for folder in folders for path in folder.iterdir()]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
    return 0


VERB = Verb('clean', run, (), strict=False)
