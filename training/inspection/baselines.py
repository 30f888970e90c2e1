"""What a network is compared with: a plain recurrent one and a deep feed-forward one, of the same width and blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from model.config import MAX_LAYERS, HRMConfig
from model.hrm import HRM
from model.tasks import Task
from training.evaluation.questions import Questions
from training.inspection.calls import inputs
from training.losses import token_loss
from training.optimiser import AdamATan2

Kind: TypeAlias = Literal["recurrent", "feed-forward"]

_BATCH = 16
_LR = 1e-3
_WEIGHT_DECAY = 0.1


class Baseline:
    """A network without hierarchy, made of HRM's parts: its embedding, the blocks of its L-module, and its head.

    The recurrent one applies the same blocks `depth` times and is shown the puzzle each time, as the L-module is; the
    feed-forward one has `depth` different ones, and is shown the puzzle at the first alone.
    """

    def __init__(self, kind: Kind, like: HRMConfig, depth: int, seed: int) -> None:
        self.kind, self.depth, self.layers = kind, depth, like.L_layers
        torch.manual_seed(seed)
        self.network = HRM(
            replace(
                like, puzzle_emb_ndim=0, puzzle_emb_len=None, num_puzzles=1, shared_levels=True,
                L_layers=like.L_layers * (depth if kind == "feed-forward" else 1),
            )
        )  # fmt: skip

    def states(self, questions: Questions) -> Iterator[Tensor]:
        """The state before the first step and after each, `depth` + 1 of [B, positions, hidden]."""
        network = self.network
        state = embedding = inputs(network, replace(questions, puzzle_ids=None))
        yield state
        blocks = list(network.L_level.layers)
        for step in range(self.depth):
            if self.kind == "recurrent":
                state = network.L_level(state, embedding, network.rotary)
            else:
                for block in blocks[step * self.layers : (step + 1) * self.layers]:
                    state = block(state, network.rotary)
            yield state

    def train(
        self,
        task: Task,
        questions: Questions,
        steps: int,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> float:
        """Train on the questions under random symmetries, the loss at the last step alone; returns the last loss."""
        rng = np.random.Generator(np.random.Philox(key=seed))
        optimiser = AdamATan2(self.network.parameters(), lr=_LR, weight_decay=_WEIGHT_DECAY)
        last = float("nan")
        for step in range(steps):
            batch = _augmented(task, questions, rng)
            *_, state = self.states(batch)
            labels = torch.from_numpy(batch.answers.astype(np.int64)).to(state.device)
            loss = token_loss(self.network.read(state).logits, labels, self.network.config.loss).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad()
            last = float(loss.detach())
            if progress:
                progress(step + 1, steps)
        return last


def greatest_depth(config: HRMConfig) -> int:
    """How many L-modules can be laid on top of each other."""
    return MAX_LAYERS // config.L_layers


def _augmented(task: Task, questions: Questions, rng: np.random.Generator) -> Questions:
    """A batch; what has identifiers was augmented when it was given them."""
    batch = questions.rows(rng.integers(len(questions), size=_BATCH))
    if questions.puzzle_ids is not None:
        return batch
    symmetries = [task.random_symmetry(rng) for _ in range(len(batch))]
    puzzles, answers = (
        np.stack([symmetry.apply(row) for symmetry, row in zip(symmetries, rows, strict=True)])
        for rows in (batch.puzzles, batch.answers)
    )
    return replace(batch, puzzles=puzzles, answers=answers)
