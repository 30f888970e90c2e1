"""How the host starts a segment and waits for it, once for devices that are the host and once for CUDA."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
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
    So only the thread that runs the segments may have one for long.
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


class Turns(Protocol):
    """One segment at a time."""

    def start(self, work: Work) -> None:
        """Begin, and return while the device works."""
        ...

    def wait(self) -> tuple[Bytes, float]:
        """The bytes, valid until the next `start`, and the seconds that the device took; raises what `work` raised."""
        ...


def turns_of(device: torch.device, rows: int, width: int) -> Turns:
    """What suits a device, for at most `rows` rows of `width` bytes."""
    return CudaTurns(device, rows, width) if device.type == "cuda" else HostTurns()


class HostTurns:
    """The calling thread computes, when it is waited for.

    Handing a segment to another thread and back would take longer than all that the host could do meanwhile: who
    fetches, decodes and publishes does it in threads of its own.
    """

    def __init__(self) -> None:
        self._work: Work | None = None

    def start(self, work: Work) -> None:
        """Remember it."""
        self._work = work

    @torch.inference_mode()
    def wait(self) -> tuple[Bytes, float]:
        """Do it."""
        if self._work is None:
            raise RuntimeError("waited for what was not started")
        work, self._work = self._work, None
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
