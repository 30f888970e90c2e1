"""The optimiser of the puzzle embeddings: a table of up to a million rows, of which a batch uses a few."""

from __future__ import annotations

import torch
from torch import Tensor

from training.world import World


class SparseSignSGD:
    """Rows that the batch used move by lr * sign(gradient), after a decoupled weight decay; no others are touched.

    No state is kept beside the table, which may be larger than the network.
    """

    def __init__(self, table: Tensor, weight_decay: float, world: World) -> None:
        self.table, self.weight_decay, self.world = table, weight_decay, world

    @torch.no_grad()
    def step(self, puzzle_ids: Tensor, gradients: Tensor, lr: float) -> None:
        """Update the rows `puzzle_ids` [B], used with these gradients [B, puzzle_emb_ndim], here and on all others.

        Where several rows of the batch share an identifier, their gradients add up.
        """
        ids, gradients = self.world.gather(puzzle_ids), self.world.gather(gradients)
        used, where = ids.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        summed = torch.zeros(len(used), gradients.shape[1], device=gradients.device).index_add_(0, where, gradients)
        self.table[used] = self.table[used] * (1 - lr * self.weight_decay) - lr * summed.sign()
