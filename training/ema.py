"""An exponential moving average of the weights: what is evaluated and published."""

from __future__ import annotations

import copy

import torch

from model.hrm import HRM
from model.weights import PUZZLE_TABLE


class EMA:
    """Follows a model's parameters with the given decay. The puzzle table is shared: most of its rows rest anyway."""

    def __init__(self, model: HRM, decay: float) -> None:
        self.decay = decay
        shared = {id(table): table for name, table in model.named_buffers() if name == PUZZLE_TABLE}
        self.model = copy.deepcopy(model, shared).requires_grad_(False).eval()
        self._pairs = list(self.model.parameters()), list(model.parameters())

    @torch.no_grad()
    def update(self) -> None:
        """Move a step of 1 - decay towards the model."""
        average, current = self._pairs
        torch._foreach_lerp_([p.data for p in average], [p.data for p in current], 1 - self.decay)
