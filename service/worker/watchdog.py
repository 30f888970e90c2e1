"""A worker that is stuck or broken ends, so that its supervisor starts another one, and others take its puzzles."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

log = logging.getLogger(__name__)

EXIT_BROKEN = 70
"""A thread failed: a defect."""
EXIT_STUCK = 75
"""The engine made no step for too long."""


def end_on_failed_threads() -> None:
    """From now on an exception that ends a thread ends the process: a worker with a thread less is none."""

    def hook(failure: threading.ExceptHookArgs) -> None:
        error: tuple[type[BaseException], BaseException, TracebackType | None] | None = (
            (failure.exc_type, failure.exc_value, failure.exc_traceback) if failure.exc_value else None
        )
        log.critical("the thread %s failed", failure.thread.name if failure.thread else "?", exc_info=error)
        os._exit(EXIT_BROKEN)

    threading.excepthook = hook


def watch(stuck: Callable[[], str | None], every_s: float) -> None:
    """Start a thread that ends the process, with a picture of all its threads, once `stuck` says what is wrong."""

    def look() -> None:
        while (reason := stuck()) is None:
            time.sleep(every_s)
        log.critical("ending a stuck worker: %s", reason)
        faulthandler.dump_traceback(sys.stderr)
        os._exit(EXIT_STUCK)

    threading.Thread(target=look, name="watchdog", daemon=True).start()
