"""A network's reasoning, module call by module call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.hrm import HRM, Module
from training.evaluation.questions import Questions


class Call(NamedTuple):
    """One call of one module: its state before and after, both [B, positions, hidden]."""

    module: Module
    before: Tensor
    after: Tensor


def inputs(model: HRM, questions: Questions) -> Tensor:
    """The embedding of the questions, [B, positions, hidden]."""
    device = model.lm_head.weight.device
    tokens = torch.from_numpy(questions.puzzles.astype(np.int64)).to(device)
    ids = torch.zeros(len(tokens), dtype=torch.int64) if questions.puzzle_ids is None else questions.puzzle_ids
    return model.embed(tokens, model.puzzle_vectors(torch.as_tensor(ids).to(device)))


@torch.inference_mode()
def calls(model: HRM, questions: Questions, segments: int) -> Iterator[Call]:
    """Every module call of so many segments, in order."""
    embedding = inputs(model, questions)
    carry = model.initial_carry(len(questions))
    for _ in range(segments):
        for module in model.schedule:
            before, carry = carry, model.step(module, carry, embedding)
            yield Call(module, *((state.z_H if module == "H" else state.z_L) for state in (before, carry)))


def residual(before: Tensor, after: Tensor) -> Tensor:
    """How far each row's state moved: the root mean square over positions and features, [B].

    A state's own root mean square is 1, since every block ends with RMSNorm.
    """
    return (after - before).float().square().mean((1, 2)).sqrt()
