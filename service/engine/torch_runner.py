"""Segments with torch: the state of all slots lives on the device, a segment is one graph over the busy ones."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.act import halts, wants_to_halt
from model.hrm import HRM, Carry
from model.probability import log_probabilities
from service.engine.runner import Admission, Readback, Slots


class SegmentResult(NamedTuple):
    """What the graph gives back for n rows."""

    z_H: Tensor
    z_L: Tensor
    tokens: Tensor
    flags: Tensor  # [2, n]: halted, willing
    numbers: Tensor  # [5, n]: q_halt, q_continue, confidence, residual_H, residual_L


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
        self._tokens = zeros(size, length)
        self._predicted = torch.ones(size, length, dtype=torch.bool, device=self.device)
        self._puzzle_ids, self._segments, self._min, self._max = (zeros(size) for _ in range(4))
        self._graph = torch.compile(self._segment, dynamic=True) if compiled else self._segment
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._pending: Future[Readback] | None = None

    @property
    def size(self) -> int:
        """How many slots there are."""
        return self._size

    @torch.inference_mode()
    def admit(self, admission: Admission) -> None:
        """Put fresh puzzles into slots."""
        rows = torch.from_numpy(admission.slots).to(self.device)
        self._tokens[rows] = torch.from_numpy(admission.tokens.astype(np.int64)).to(self.device)
        self._predicted[rows] = torch.from_numpy(admission.predicted).to(self.device)
        self._puzzle_ids[rows] = torch.from_numpy(admission.puzzle_ids).to(self.device)
        self._min[rows] = torch.from_numpy(admission.min_segments).to(self.device)
        self._max[rows] = torch.from_numpy(admission.max_segments).to(self.device)
        self._segments[rows] = 0
        for z, fresh in zip(self._carry, self._fresh, strict=True):
            z[rows] = fresh

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
        for n in sorted({1, 2, self._size}):
            self.launch(np.arange(n))
            self.collect()

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
        everyone = self.fixed_batch or len(slots) == self._size
        if everyone:
            result = self._graph(self._carry, *self._rows(slice(None)))
            self._carry = Carry(result.z_H, result.z_L)
            self._segments += 1
        else:
            rows = torch.from_numpy(slots).to(self.device)
            result = self._graph(Carry(*(z[rows] for z in self._carry)), *self._rows(rows))
            self._carry.z_H[rows], self._carry.z_L[rows] = result.z_H, result.z_L
            self._segments[rows] += 1
        pick = slots if everyone else slice(None)
        flags = result.flags.cpu().numpy()[:, pick]
        numbers = result.numbers.cpu().numpy()[:, pick]
        return Readback(
            tokens=result.tokens.cpu().numpy()[pick],
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

    def _rows(self, rows: Tensor | slice) -> tuple[Tensor, ...]:
        columns = (self._tokens, self._predicted, self._puzzle_ids, self._segments, self._min, self._max)
        return tuple(column[rows] for column in columns)

    def _segment(
        self, carry: Carry, tokens: Tensor, predicted: Tensor, puzzle_ids: Tensor, segments: Tensor, low: Tensor,
        high: Tensor,
    ) -> SegmentResult:  # fmt: skip
        rule = self.model.config.halt_rule
        after, output = self.model.segment(carry, tokens, puzzle_ids)
        answer = output.logits.argmax(-1)
        chosen = log_probabilities(output.logits, self.model.config.loss).gather(-1, answer.unsqueeze(-1)).squeeze(-1)
        confidence = (chosen.exp() * predicted).sum(-1) / predicted.sum(-1).clamp_min(1)
        halted = halts(output.q_halt, output.q_continue, segments + 1, low, high, rule)
        willing = wants_to_halt(output.q_halt, output.q_continue, rule)
        residuals = [(new - old).float().square().sum((1, 2)).sqrt() for new, old in zip(after, carry, strict=True)]
        numbers = torch.stack([output.q_halt, output.q_continue, confidence.float(), *residuals])
        return SegmentResult(after.z_H, after.z_L, answer.to(torch.uint8), torch.stack([halted, willing]), numbers)
