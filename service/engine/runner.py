"""What the engine asks of a device: a table of slots that run segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.tasks import Tokens

Slots = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Admission:
    """Fresh puzzles for k slots: tokens and predicted [k, L], the rest [k]."""

    slots: Slots
    tokens: Tokens
    predicted: NDArray[np.bool_]
    puzzle_ids: NDArray[np.int64]
    min_segments: NDArray[np.int64]
    max_segments: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Readback:
    """What one segment left, a row for each slot it ran, in the order of `launch`: tokens [n, L], the rest [n].

    `halted` says which rows are done, `willing` which ones the Q-head would end by itself.
    """

    tokens: Tokens
    willing: NDArray[np.bool_]
    halted: NDArray[np.bool_]
    q_halt: NDArray[np.float32]
    q_continue: NDArray[np.float32]
    confidence: NDArray[np.float32]
    residual_H: NDArray[np.float32]
    residual_L: NDArray[np.float32]
    shape: int
    """Rows that the device ran, padding included."""
    device_s: float


class Runner(Protocol):
    """One checkpoint's weights and the state of its slots on a device."""

    @property
    def size(self) -> int:
        """How many slots there are."""
        ...

    def admit(self, admission: Admission) -> None:
        """Put fresh puzzles into slots: their state starts anew, prefix included."""
        ...

    def launch(self, slots: Slots) -> None:
        """Start one segment of these slots and return while the device runs it; a CPU runs it in `collect`."""
        ...

    def collect(self) -> Readback:
        """Wait for what `launch` started."""
        ...

    def describe(self) -> dict[str, object]:
        """Backend, device, dtype and mode, for `/workers`."""
        ...
