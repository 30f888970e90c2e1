"""Segments with torch: the state of all slots lives on the device, a segment is one graph over the busy ones."""

from __future__ import annotations

import logging
import time
from functools import partial

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import CheckpointInfo
from model.hrm import HRM, Carry
from model.weights import load_weights
from service.engine.cuda_graphs import CudaGraphs, bucket, buckets
from service.engine.graph import Rows, SegmentResult, compiled_graph, pack, packed_width, segment_graph, unpack
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

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(size + 1, *shape, dtype=dtype, device=self.device)

        self._fresh = model.initial_carry(1, dtype)
        self._carry = model.initial_carry(size + 1, dtype)
        self._rows = Rows(
            tokens=zeros(length),
            predicted=torch.ones(size + 1, length, dtype=torch.bool, device=self.device),
            puzzle_vectors=zeros(model.config.puzzle_emb_ndim, dtype=torch.float32),
            segments=zeros(),
            min_segments=zeros(),
            max_segments=zeros(),
        )
        self._graph = compiled_graph(self.device.type) if compiled else segment_graph
        self._run = CudaGraphs(self._step) if self.graphs else self._step
        self._turns = turns_of(self.device, size, packed_width(length))
        self._launched = np.empty(0, dtype=np.intp)

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size

    def load(self, info: CheckpointInfo) -> None:
        """Exchange the weights, in place, for those of a checkpoint of the same architecture; raises CheckpointError.

        No slot may be busy.
        """
        load_weights(self.model, info)
        self._fresh = self.model.initial_carry(1, self.dtype)

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
        """Start one segment of these slots."""
        self._launched = slots
        rows = self._shape(len(slots))
        index: Tensor | None = None
        if rows < self._size:
            padded = np.full(rows, self._size)
            padded[: len(slots)] = slots
            index = torch.from_numpy(padded).to(self.device)
        self._turns.start(partial(self._run, index))

    def collect(self) -> Readback:
        """Wait for the segment; an error in it is raised here."""
        packed, device_s = self._turns.wait()
        shape, slots = len(packed), self._launched
        return unpack(packed[slots] if shape == self._size else packed[: len(slots)], shape, device_s)

    def warm_up(self) -> None:
        """Run the shapes that will be used once, so that no request waits for a compiler or a capture."""
        every = buckets(self._size) if self.graphs else {1, min(2, self._size), self._size}
        shapes = sorted({self._shape(rows) for rows in every}, reverse=self.graphs)
        for number, rows in enumerate(shapes, start=1):
            start = time.perf_counter()
            self.launch(np.arange(rows))
            self.collect()
            seconds = round(time.perf_counter() - start, 2)
            log.info("warmed up", extra={"rows": rows, "shape": f"{number}/{len(shapes)}", "seconds": seconds})

    def close(self) -> None:
        """Give the device back."""
        self._turns.close()

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

    def segment(self, carry: Carry, rows: Rows) -> SegmentResult:
        """Run one segment of n rows, wherever they came from."""
        return self._graph(self.model, carry, rows)

    def _shape(self, rows: int) -> int:
        """How many rows the device runs where `rows` have work."""
        if self.fixed_batch:
            return self._size
        if self.graphs:
            return bucket(rows, self._size)
        # A graph compiled for one row alone would be another one: a single puzzle runs in the shape of two.
        return min(self._size, max(rows, 2)) if self.compiled else rows

    def _step(self, index: Tensor | None) -> Tensor:
        """One segment of the rows at `index`, or of all slots, in place; gives what the host wants to know."""
        at = slice(self._size) if index is None else index
        carry = Carry(*(z[at] for z in self._carry))
        result = self.segment(carry, Rows(*(column[at] for column in self._rows)))
        for z, after in zip(self._carry, result.carry, strict=True):
            z[at] = after
        self._rows.segments[at] += 1
        return pack(result)
