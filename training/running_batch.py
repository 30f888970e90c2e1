"""The running batch: rows that reason side by side and are replaced by fresh puzzles as they halt."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.hrm import HRM, Carry
from training.data.pool import Pool


class RunningBatch:
    """State of B rows: their puzzles, their carry and how far each has come.

    Attributes:
        tokens, labels: [B, L] int64.
        segments, min_segments: [B] int64: segments run so far, and the fewest a row must run.
        halted: [B] bool: rows to be replaced before the next step; all of them at the start.
    """

    def __init__(self, model: HRM, batch_size: int, first_row: int, dtype: torch.dtype, device: torch.device) -> None:
        length = model.config.seq_len
        self.first_row, self.device = first_row, device
        self.fresh = model.initial_carry(1, dtype)
        self.carry = Carry(*(z.expand(batch_size, -1, -1).clone() for z in self.fresh))
        self.tokens = torch.ones(batch_size, length, dtype=torch.int64, device=device)
        self.labels = torch.zeros(batch_size, length, dtype=torch.int64, device=device)
        self.segments = torch.zeros(batch_size, dtype=torch.int64, device=device)
        self.min_segments = torch.ones(batch_size, dtype=torch.int64, device=device)
        self.halted = torch.ones(batch_size, dtype=torch.bool, device=device)

    def refill(self, pool: Pool, step: int, exploration: float, max_segments: int) -> int:
        """Give every halted row a fresh puzzle, a fresh carry and its M_min; says how many there were."""
        rows = self.halted.nonzero().squeeze(-1)
        if not len(rows):
            return 0
        puzzles, answers, minima = [], [], []
        for row in rows.tolist():
            rng = pool.rng(step, self.first_row + row)
            puzzle, answer = pool.draw(rng, step)
            puzzles.append(puzzle)
            answers.append(answer)
            explores = max_segments > 1 and rng.random() < exploration
            minima.append(int(rng.integers(2, max_segments + 1)) if explores else 1)
        self.tokens[rows] = self._upload(puzzles)
        self.labels[rows] = self._upload(answers)
        self.min_segments[rows] = torch.tensor(minima, device=self.device)
        self.segments[rows] = 0
        for z, fresh in zip(self.carry, self.fresh, strict=True):
            z[rows] = fresh
        return len(rows)

    def tensors(self) -> dict[str, Tensor]:
        """Everything to save, by name."""
        names = ("tokens", "labels", "segments", "min_segments", "halted")
        return {"z_H": self.carry.z_H, "z_L": self.carry.z_L} | {name: getattr(self, name) for name in names}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` saved."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])

    def _upload(self, rows: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(rows).astype(np.int64)).to(self.device)
