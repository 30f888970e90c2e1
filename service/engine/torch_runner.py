"""Segments with torch: the state of all slots lives on the device, a segment is one graph over the busy ones."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from model.hrm import HRM, Carry
from service.engine.graph import Rows, compiled_graph, segment_graph
from service.engine.runner import Admission, Readback, Slots

log = logging.getLogger(__name__)


class TorchRunner:
    """A table of slots for one checkpoint, on any torch device, eager or compiled.

    With `fixed_batch` every segment runs all slots, so that every puzzle sees one shape only.
    """

    def __init__(
        self, model: HRM, size: int, dtype: torch.dtype, *, compiled: bool = False, fixed_batch: bool = False
    ) -> None:
        self.model, self._size, self.dtype = model, size, dtype
        self.compiled, self.fixed_batch = compiled, fixed_batch
        self.device = model.lm_head.weight.device
        length = model.config.seq_len

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=self.device)

        self._fresh = model.initial_carry(1, dtype)
        self._carry = model.initial_carry(size, dtype)
        self._rows = Rows(
            tokens=zeros(size, length),
            predicted=torch.ones(size, length, dtype=torch.bool, device=self.device),
            puzzle_vectors=zeros(size, model.config.puzzle_emb_ndim, dtype=torch.float32),
            segments=zeros(size),
            min_segments=zeros(size),
            max_segments=zeros(size),
        )
        self._graph = compiled_graph() if compiled else segment_graph
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._pending: Future[Readback] | None = None

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size

    @torch.inference_mode()
    def admit(self, admission: Admission) -> None:
        """Put fresh puzzles into slots."""
        slots = torch.from_numpy(admission.slots).to(self.device)
        fresh = Rows(
            tokens=torch.from_numpy(admission.tokens.astype(np.int64)),
            predicted=torch.from_numpy(admission.predicted),
            puzzle_vectors=self.model.puzzle_vectors(torch.from_numpy(admission.puzzle_ids)),
            segments=torch.zeros(len(slots), dtype=torch.int64),
            min_segments=torch.from_numpy(admission.min_segments),
            max_segments=torch.from_numpy(admission.max_segments),
        )
        for column, values in zip(self._rows, fresh, strict=True):
            column[slots] = values.to(self.device)
        for z, start in zip(self._carry, self._fresh, strict=True):
            z[slots] = start

    def launch(self, slots: Slots) -> None:
        """Start one segment of these slots in the device's thread."""
        self._pending = self._thread.submit(self._run, slots)

    def collect(self) -> Readback:
        """Wait for the segment; an error in it is raised here."""
        if self._pending is None:
            raise RuntimeError("collect without launch")
        pending, self._pending = self._pending, None
        return pending.result()

    def warm_up(self) -> None:
        """Run the shapes that will be used once, so that no request waits for a compiler."""
        for n in sorted({1, min(2, self._size), self._size}):
            start = time.perf_counter()
            self.launch(np.arange(n))
            self.collect()
            log.info("warmed up", extra={"rows": n, "seconds": round(time.perf_counter() - start, 2)})

    def close(self) -> None:
        """End the device's thread."""
        self._thread.shutdown()

    def describe(self) -> dict[str, object]:
        """Backend, device, dtype and mode."""
        return {
            "backend": "torch",
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "mode": "compiled" if self.compiled else "eager",
            "fixed_batch": self.fixed_batch,
            "slots": self._size,
        }

    @torch.inference_mode()
    def _run(self, slots: Slots) -> Readback:
        start = time.perf_counter()
        if self.fixed_batch or len(slots) == self._size:
            result = self._graph(self.model, self._carry, self._rows)
            self._carry = result.carry
            self._rows.segments.add_(1)
            mine = slots
        else:
            # A graph for one row alone would be another one: a single puzzle runs twice, in the shape of two.
            padded = np.repeat(slots, 2) if self.compiled and len(slots) == 1 else slots
            rows = torch.from_numpy(padded).to(self.device)
            carry = Carry(*(z[rows] for z in self._carry))
            result = self._graph(self.model, carry, Rows(*(column[rows] for column in self._rows)))
            self._carry.z_H[rows], self._carry.z_L[rows] = result.carry
            self._rows.segments[rows[: len(slots)]] += 1
            mine = np.arange(len(slots))
        flags = result.flags.cpu().numpy()[:, mine]
        numbers = result.numbers.cpu().numpy()[:, mine]
        return Readback(
            tokens=result.tokens.cpu().numpy()[mine],
            halted=flags[0],
            willing=flags[1],
            q_halt=numbers[0],
            q_continue=numbers[1],
            confidence=numbers[2],
            residual_H=numbers[3],
            residual_L=numbers[4],
            shape=len(result.tokens),
            device_s=time.perf_counter() - start,
        )
