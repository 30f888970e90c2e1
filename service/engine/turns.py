"""How the host starts a segment and waits for it, once for devices that run in a thread and once for CUDA."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Work = Callable[[], Tensor]
"""Runs a segment; gives [n, width] bytes on the device."""
Bytes = NDArray[np.uint8]


class Turns(Protocol):
    """One segment at a time."""

    def start(self, work: Work) -> None:
        """Begin, and return while the device works."""
        ...

    def wait(self) -> tuple[Bytes, float]:
        """The bytes, valid until the next `start`, and the seconds that the device took; raises what `work` raised."""
        ...

    def close(self) -> None:
        """Nothing will follow."""
        ...


def turns_of(device: torch.device, rows: int, width: int) -> Turns:
    """What suits a device, for at most `rows` rows of `width` bytes."""
    return CudaTurns(device, rows, width) if device.type == "cuda" else ThreadTurns()


class ThreadTurns:
    """A thread of its own computes, while the engine's thread does the host's work.

    `start` returns when that thread runs: it would else wait for the interpreter, as long as the host's work keeps it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._pending: Future[tuple[Bytes, float]] | None = None
        self._running = Semaphore(0)

    def start(self, work: Work) -> None:
        """Hand it to the thread."""
        self._pending = self._thread.submit(_timed, work, self._running.release)
        self._running.acquire()

    def wait(self) -> tuple[Bytes, float]:
        """Wait for the thread."""
        if self._pending is None:
            raise RuntimeError("waited for what was not started")
        pending, self._pending = self._pending, None
        return pending.result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


@torch.inference_mode()
def _timed(work: Work, begin: Callable[[], None]) -> tuple[Bytes, float]:
    begin()
    start = time.perf_counter()
    packed = work().cpu().numpy()
    return packed, time.perf_counter() - start


class CudaTurns:
    """The device works while the host goes on.

    What it says travels in one copy, on a stream of its own, into pinned memory; that copy's event is the only thing
    that the host ever waits for.
    """

    def __init__(self, device: torch.device, rows: int, width: int) -> None:
        self._device = device
        self._pinned = torch.empty(rows, width, dtype=torch.uint8, pin_memory=True)
        self._copies = torch.cuda.Stream(device)
        self._begun, self._done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._copied = torch.cuda.Event()
        self._rows = 0

    def start(self, work: Work) -> None:
        """Put everything on the device's streams."""
        with torch.inference_mode(), torch.cuda.device(self._device):
            self._begun.record()
            packed = work()
            self._done.record()
            self._rows = len(packed)
            with torch.cuda.stream(self._copies):
                self._copies.wait_event(self._done)
                self._pinned[: self._rows].copy_(packed, non_blocking=True)
                self._copied.record(self._copies)
            packed.record_stream(self._copies)

    def wait(self) -> tuple[Bytes, float]:
        """Wait for the copy."""
        self._copied.synchronize()
        return self._pinned[: self._rows].numpy(), self._begun.elapsed_time(self._done) / 1e3

    def close(self) -> None:
        """Nothing runs on its own here."""
