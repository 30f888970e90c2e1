"""CUDA graphs of a segment: launched as one piece, once for each number of rows that is run.

A graph keeps the addresses it was captured with: the state, the weights and the index are changed in place only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[Tensor], Tensor]
"""Runs one segment of the rows at an index in place; gives what the host wants to know."""

_REHEARSALS = 3
"""Runs before a capture, in which libraries choose their kernels and take their memory."""


def bucket(rows: int, size: int) -> int:
    """How many rows are run where `rows` have work: the next of 2, 8, 16, 32, ... and all `size`.

    Never one alone: torch.compile would make another graph for that.
    """
    return min(size, 2 if rows <= 2 else max(8, 1 << (rows - 1).bit_length()))


def buckets(size: int) -> list[int]:
    """Every number of rows that is ever run, the largest first: its memory then serves the others, too."""
    return sorted({bucket(rows, size) for rows in range(1, size + 1)}, reverse=True)


class CudaGraphs:
    """A step that is captured when it first meets a number of rows, and replayed from then on."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._pool = torch.cuda.graph_pool_handle()
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, index: Tensor) -> Tensor:
        """Run the step; `index` lies on the device."""
        if len(index) not in self._captured:
            self._captured[len(index)] = self._capture(index)
        graph, own_index, packed = self._captured[len(index)]
        own_index.copy_(index)
        graph.replay()
        return packed

    def _capture(self, index: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        own_index = index.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_REHEARSALS):
                self._step(own_index)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on using the device meanwhile: only what this one does must be fit for a capture.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            packed = self._step(own_index)
        return graph, own_index, packed
