"""The running batch: rows that reason side by side and are replaced by fresh puzzles as they halt."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.hrm import HRM
from training.data.pool import Pool


class RunningBatch:
    """State of B rows: their puzzles, their carry and how far each has come.

    Attributes:
        tokens, labels: [B, L] int64.
        puzzle_ids: [B] int64.
        segments, min_segments: [B] int64: segments run so far, and the fewest a row must run.
        halted: [B] bool: rows to be replaced before the next step; all of them at the start.
    """

    def __init__(self, model: HRM, batch_size: int, first_row: int, dtype: torch.dtype, device: torch.device) -> None:
        self.model, self.config, self.dtype = model, model.config, dtype
        self.first_row, self.device = first_row, device
        self.carry = model.initial_carry(batch_size, dtype)
        self.tokens = torch.ones(batch_size, self.config.seq_len, dtype=torch.int64, device=device)
        self.labels = torch.zeros_like(self.tokens)
        self.puzzle_ids = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self.segments = torch.zeros_like(self.puzzle_ids)
        self.min_segments = torch.ones_like(self.puzzle_ids)
        self.halted = torch.ones(batch_size, dtype=torch.bool, device=device)

    def __len__(self) -> int:
        return len(self.tokens)

    def refill(self, pool: Pool, step: int, exploration: float) -> int:
        """Give every halted row a fresh puzzle, a fresh carry and its M_min; says how many there were."""
        rows = self.halted.nonzero().squeeze(-1)
        if not len(rows):
            return 0
        limit = self.config.halt_max_segments
        samples, minima = [], []
        for row in rows.tolist():
            rng = pool.rng(step, self.first_row + row)
            samples.append(pool.draw(rng, step))
            explores = limit > 1 and rng.random() < exploration
            minima.append(int(rng.integers(2, limit + 1)) if explores else 1)
        puzzles, answers, puzzle_ids = zip(*samples, strict=True)
        self.tokens[rows] = self._upload(np.stack(puzzles))
        self.labels[rows] = self._upload(np.stack(answers))
        self.puzzle_ids[rows] = self._upload(np.array(puzzle_ids))
        self.min_segments[rows] = self._upload(np.array(minima))
        self.segments[rows] = 0
        # Asked for each time: the weights that a run begins with bring H_init and L_init of their own.
        for z, fresh in zip(self.carry, self.model.initial_carry(1, self.dtype), strict=True):
            z[rows] = fresh
        return len(rows)

    def spread_ages(self) -> None:
        """Count the rows as 0, 1, .. M_max - 1 segments old: those that began together then end one after another."""
        rows = torch.arange(self.first_row, self.first_row + len(self), device=self.device)
        self.segments = rows % self.config.halt_max_segments

    def tensors(self) -> dict[str, Tensor]:
        """Everything to save, by name."""
        names = ["tokens", "labels", "segments", "min_segments", "halted"]
        if self.config.puzzle_emb_ndim:
            names.append("puzzle_ids")
        return {"z_H": self.carry.z_H, "z_L": self.carry.z_L} | {name: getattr(self, name) for name in names}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` saved."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])

    def _upload(self, rows: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(rows.astype(np.int64)).to(self.device)
