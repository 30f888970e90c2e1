"""A stub in the network's place, for what is measured or tested around it. It reasons about nothing.

It knows the answers of its task's examples by heart and gives every other puzzle back as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model.checkpoint import Canary, CheckpointInfo, write_checkpoint
from model.config import HRMConfig
from model.registry import Registry
from model.tasks import get_task
from service.engine.runner import Admission, Readback, Runner, Slots
from service.engine.table import Table
from service.settings import Settings


class StubRunner:
    """Slots whose puzzles halt after `segments` segments, each of which takes `segment_s`."""

    def __init__(self, info: CheckpointInfo, size: int, *, segments: int = 1, segment_s: float = 0.0) -> None:
        self.size = size
        self._segments, self._segment_s = segments, segment_s
        self._tokens = np.zeros((size, info.codec.seq_len), dtype=np.uint8)
        self._run, self._last = np.zeros(size, dtype=int), np.zeros(size, dtype=int)
        self._answers = {
            info.codec.parse(puzzle).tobytes(): info.codec.parse_answer(answer)
            for puzzle, answer in info.codec.examples()
        }
        self._slots: Slots = np.empty(0, dtype=np.intp)
        self._ends = 0.0

    def admit(self, admission: Admission) -> None:
        """Put puzzles into slots, answered already."""
        self._tokens[admission.slots] = [self._answers.get(t.tobytes(), t) for t in admission.tokens]
        self._run[admission.slots] = 0
        self._last[admission.slots] = np.clip(self._segments, admission.min_segments, admission.max_segments)

    def launch(self, slots: Slots) -> None:
        """Begin to wait."""
        self._slots, self._ends = slots, time.perf_counter() + self._segment_s

    def collect(self) -> Readback:
        """The end of the wait."""
        time.sleep(max(0.0, self._ends - time.perf_counter()))
        slots = self._slots
        self._run[slots] += 1
        halted = self._run[slots] >= self._last[slots]
        q = np.where(halted, 1.0, -1.0).astype(np.float32)
        zeros = np.zeros(len(slots), dtype=np.float32)
        return Readback(
            self._tokens[slots], halted, halted, q, -q, zeros, zeros, zeros, len(slots), device_s=self._segment_s
        )

    def describe(self) -> dict[str, object]:
        """That it is a stub."""
        return {"backend": "stub"}


class StubLoader:
    """Tables over stub runners; `make` builds one for a checkpoint and a number of slots."""

    def __init__(self, settings: Settings, make: Callable[[CheckpointInfo, int], Runner] = StubRunner) -> None:
        self._slots, self._make = settings.slots or 64, make

    def load(self, info: CheckpointInfo) -> Table:
        """A table at once: the weights are never read."""
        return Table(info, self._make(info, self._slots))

    def release(self, runner: Runner) -> None:
        """Nothing to take back."""

    def describe(self) -> dict[str, object]:
        """That it is a stub."""
        return {"device": "none", "precision": "none", "backend": "stub"}

    def memory(self) -> dict[str, float]:
        """None is taken."""
        return {"used": 0.0, "free": 0.0}


def stub_registry(root: Path, name: str = "sudoku") -> Path:
    """A registry with one checkpoint whose weights are none: only stubs can serve it."""
    task = get_task(name)
    puzzle, answer = task.examples()[0]
    write_checkpoint(
        root / name / "stub",
        task=task.describe(),
        architecture=HRMConfig(vocab_size=task.vocab_size, seq_len=task.seq_len, halt_max_segments=16),
        weights=b"none",
        canaries=[Canary(puzzle, answer)],
        canary_accuracy=1.0,
        training={},
    )
    Registry([root]).use(name, "stub")
    return root
