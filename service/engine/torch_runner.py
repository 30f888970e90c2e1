"""Segments with torch: the state of all slots lives on the device, a segment is one graph over the busy ones."""

from __future__ import annotations

import logging
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import CheckpointInfo
from model.hrm import HRM
from model.weights import load_weights
from service.engine.cuda_graphs import CudaGraphs, bucket, buckets
from service.engine.graph import Rows, compiled_step, numbers_width, packed_width, row_numbers, segment_step, unpack
from service.engine.runner import Admission, Readback, Slots
from service.engine.turns import turns_of

log = logging.getLogger(__name__)


class TorchRunner:
    """A table of slots for one checkpoint, on any torch device, eager or compiled; on CUDA by CUDA graphs.

    With `fixed_batch` every segment runs all slots, so that every puzzle sees one shape only. Behind the slots lies
    one more row that belongs to nobody: it fills up shapes.
    """

    backend = "torch"

    def __init__(
        self,
        model: HRM,
        size: int,
        dtype: torch.dtype,
        *,
        compiled: bool = False,
        fixed_batch: bool = False,
        graphs: bool = True,
    ) -> None:
        """Take the memory of `size` slots.

        Args:
            model: on the device, ready for inference in `dtype`.
            size: how many slots.
            dtype: what the state is in.
            compiled: whether segments are compiled.
            fixed_batch: see above.
            graphs: whether segments are launched as CUDA graphs where the device is CUDA.
        """
        self.model, self.dtype = model, dtype
        self.compiled, self.fixed_batch = compiled, fixed_batch
        self.device = model.lm_head.weight.device
        self.graphs = graphs and self.device.type == "cuda"
        self._size, length = size, model.config.seq_len

        self._carry = model.initial_carry(size + 1, dtype)
        # Ones: tokens that every network knows, for the segments of the warm-up.
        self._rows = Rows(
            numbers=torch.ones(size + 1, numbers_width(length), dtype=torch.int64, device=self.device),
            puzzle_vectors=torch.zeros(size + 1, model.config.puzzle_emb_ndim, device=self.device),
        )
        self._segment_step = compiled_step(self.device.type) if compiled else segment_step
        self._run = CudaGraphs(self._step) if self.graphs else self._step
        self._turns = turns_of(self.device, size, packed_width(length))
        self._launched = 0

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size

    def load(self, info: CheckpointInfo) -> None:
        """Exchange the weights, in place, for those of a checkpoint of the same architecture; raises CheckpointError.

        No slot may be busy.
        """
        load_weights(self.model, info)

    @torch.inference_mode()
    def admit(self, admission: Admission) -> None:
        """Put fresh puzzles into slots."""
        slots = torch.from_numpy(admission.slots).to(self.device)
        self._rows.numbers[slots] = torch.from_numpy(row_numbers(admission)).to(self.device)
        if self.model.config.puzzle_emb_ndim:
            vectors = self.model.puzzle_vectors(torch.from_numpy(admission.puzzle_ids))
            self._rows.puzzle_vectors[slots] = vectors.to(self.device)

    def launch(self, slots: Slots) -> None:
        """Start one segment of these slots."""
        self._launched = len(slots)
        padded = np.full(self._shape(len(slots)), self._size)
        padded[: len(slots)] = slots
        self._turns.start(partial(self._run, torch.from_numpy(padded).to(self.device)))

    def collect(self) -> Readback:
        """Wait for the segment; an error in it is raised here."""
        packed, device_s = self._turns.wait()
        return unpack(packed[: self._launched], len(packed), device_s)

    def warm_up(self) -> None:
        """Run the shapes that will be used once, so that no request waits for a compiler or a capture.

        No slot may be busy.
        """
        every = buckets(self._size) if self.graphs else {1, min(2, self._size), self._size}
        shapes = sorted({self._shape(rows) for rows in every}, reverse=self.graphs)
        for number, rows in enumerate(shapes, start=1):
            start = time.perf_counter()
            self.launch(np.arange(rows))
            self.collect()
            seconds = round(time.perf_counter() - start, 2)
            log.info("warmed up", extra={"rows": rows, "shape": f"{number}/{len(shapes)}", "seconds": seconds})

    def describe(self) -> dict[str, object]:
        """Backend, device, dtype and mode."""
        return {
            "backend": self.backend,
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "mode": self.mode,
            "fixed_batch": self.fixed_batch,
            "slots": self._size,
        }

    @property
    def mode(self) -> str:
        """How segments are run."""
        return ("compiled" if self.compiled else "eager") + (", CUDA graphs" if self.graphs else "")

    def _shape(self, rows: int) -> int:
        """How many rows the device runs where `rows` have work."""
        if self.fixed_batch:
            return self._size
        if self.graphs:
            return bucket(rows, self._size)
        # A graph compiled for one row alone would be another one: a single puzzle runs in the shape of two.
        return min(self._size, max(rows, 2)) if self.compiled else rows

    def _step(self, index: Tensor) -> Tensor:
        """One segment of the slots at `index`; gives what the host wants to know."""
        return self._segment_step(self.model, self._carry, self._rows, index)
