"""How the host starts a segment and waits for it, once for devices that run in a thread and once for CUDA."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Semaphore, Thread
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

T = TypeVar("T")
Work = Callable[[], Tensor]
"""Runs a segment; gives [n, width] bytes on the device."""
Bytes = NDArray[np.uint8]


def apart(call: Callable[[], T]) -> T:
    """What `call` gives or raises, run in a thread that then ends; for all of torch's work that is not a segment's.

    OpenMP keeps a team of threads for every thread that ever wanted one. While there are more of them than cores, they
    all go to sleep at every barrier, of which a segment has hundreds: one of two rows then takes three times as long.
    So only the thread of the segments may have one for long.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(call())
        except BaseException as error:
            result.set_exception(error)

    thread = Thread(target=run, name="apart", daemon=True)
    thread.start()
    found = result.result()
    thread.join()
    return found


@cache
def device_thread() -> ThreadPoolExecutor:
    """The thread of this process that computes segments where the device has none of its own."""
    return ThreadPoolExecutor(1, thread_name_prefix="device")


class Turns(Protocol):
    """One segment at a time."""

    def rehearse(self, work: Work) -> None:
        """Run a segment in the calling thread, and wait: the first one of its shape may take a compiler's time."""
        ...

    def before(self, work: Callable[[], None]) -> None:
        """Have this done before the next segment."""
        ...

    def start(self, work: Work) -> None:
        """Begin, and return while the device works."""
        ...

    def wait(self) -> tuple[Bytes, float]:
        """The bytes, valid until the next `start`, and the seconds that the device took; raises what `work` raised."""
        ...


def turns_of(device: torch.device, rows: int, width: int) -> Turns:
    """What suits a device, for at most `rows` rows of `width` bytes."""
    return CudaTurns(device, rows, width) if device.type == "cuda" else ThreadTurns()


class ThreadTurns:
    """The device thread computes, while the engine's thread does the host's work.

    `start` returns when that thread runs: it would else wait for the interpreter, as long as the host's work keeps it.
    """

    def __init__(self) -> None:
        self._before: list[Callable[[], None]] = []
        self._pending: Future[tuple[Bytes, float]] | None = None
        self._running = Semaphore(0)

    @torch.inference_mode()
    def rehearse(self, work: Work) -> None:
        """While the device thread goes on with others."""
        work()

    def before(self, work: Callable[[], None]) -> None:
        """Keep it for the thread."""
        self._before.append(work)

    def start(self, work: Work) -> None:
        """Hand it to the thread."""
        before, self._before = self._before, []
        self._pending = device_thread().submit(_timed, self._running.release, before, work)
        self._running.acquire()

    def wait(self) -> tuple[Bytes, float]:
        """Wait for the thread."""
        if self._pending is None:
            raise RuntimeError("waited for what was not started")
        pending, self._pending = self._pending, None
        return pending.result()


@torch.inference_mode()
def _timed(begin: Callable[[], None], before: Sequence[Callable[[], None]], work: Work) -> tuple[Bytes, float]:
    begin()
    for each in before:
        each()
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

    def rehearse(self, work: Work) -> None:
        """As any other."""
        self.start(work)
        self.wait()

    @torch.inference_mode()
    def before(self, work: Callable[[], None]) -> None:
        """Put it on the device's stream."""
        work()

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
