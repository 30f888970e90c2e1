"""Stop at the next safe place: SIGINT and SIGTERM set a flag that the loop looks at."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ECHO_S = 1.0
"""Ctrl-C under `torchrun` reaches a process twice: from the terminal, and passed on by `torchrun`."""


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Within, a first SIGINT or SIGTERM only makes the given callable true; one more than a second later acts."""
    received: list[float] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(time.monotonic())
        if received[-1] - received[0] > _ECHO_S:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
