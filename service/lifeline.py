"""A process that does not outlive the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PARENT = "HRM_PARENT_PID"
_PR_SET_PDEATHSIG = 1


def lifeline() -> dict[str, str]:
    """The environment by which a child finds out whose it is."""
    return {_PARENT: str(os.getpid())}


def hold_lifeline() -> None:
    """Have this process killed when its parent dies, if it was started with `lifeline` (Linux; elsewhere no effect).

    To be called early, and again in every process that this one starts: it is not inherited.
    """
    parent = os.environ.get(_PARENT)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the line above
        sys.exit(1)
