# SPDX-License-Identifier: GPL-2.0-only
"""What the runner has started ends with it, however that ends.

The runner is two processes. The one that the user sees starts the other, which does the
work in a session of its own, and hands on what it is sent: SIGINT, SIGTERM, SIGHUP. If the
worker is killed, what it has started becomes the first one's children, which kills them.
If the first one is killed, the kernel sends the worker a SIGTERM. So make, kunit.py, UML
and QEMU may make as many processes and sessions as they like, and need to know of nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from types import FrameType
from typing import Callable, Optional

from nonblock.kernel.kunit_run import descendants, signal_all

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SECONDS = 10                    # to wait for those who do not die, in a call of the kernel


def prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), 'prctl')


def work(main: Callable[[], int], parent: int) -> int:
    """The worker: `main`, which a SIGTERM interrupts as Ctrl-C does."""
    def interrupt(number: int, _frame: Optional[FrameType]) -> None:
        signal.signal(number, again)
        raise KeyboardInterrupt

    def again(_number: int, _frame: Optional[FrameType]) -> None:
        # It would interrupt the end of what the first has begun to end.
        if os.getppid() != parent:
            raise KeyboardInterrupt

    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, interrupt)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM     # it was too late for that signal
    return main()


def kill_the_rest() -> None:
    """What the worker has left is ours."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        signal_all(descendants(os.getpid()), signal.SIGKILL)
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return


def run(main: Callable[[], int]) -> int:
    """main() in a process that takes all that it has started with it; its exit status."""
    parent = os.getpid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    sys.stdout.flush()
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    # Those that are ignored stay so: nohup.
    signals = {number for number in signals if signal.getsignal(number) != signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    child = os.fork()
    if not child:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return work(main, parent)
    for number in signals:
        signal.signal(number, lambda _number, _frame: signal_all([child], signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    while True:
        pid, status = os.waitpid(-1, 0)     # others are orphans of its children
        if pid == child:
            break
    kill_the_rest()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
