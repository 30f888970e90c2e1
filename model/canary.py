"""Canary puzzles for a network whose right answers nobody knows: what it says today, it must say tomorrow.

An imported checkpoint comes without puzzles. Its canaries hold its own words, recorded in fp32 after one segment, where
rounding has had the least time to grow. Only what bf16 says as well is kept, so that a device of another kind says it,
too; half of that must come out the same. Damaged or mixed-up weights fail this, rounding does not. Where not one
answer is that firm (random weights), the canaries prove only that the checkpoint runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from model.checkpoint import Canary
from model.hrm import HRM
from model.tasks import Puzzle, Task, Tokens

CANDIDATES = 4
ACCURACY = 0.5
"""The share of the firm answers that must come out the same."""


@torch.inference_mode()
def record_canaries(
    network: HRM, task: Task, identifiers: Mapping[str, int] | None = None
) -> tuple[list[Canary], float]:
    """Canaries that hold what the network says, and the share of them that it must say again.

    Args:
        network: as it came, in fp32.
        task: the puzzles it reads.
        identifiers: rows of its puzzle embedding, where a request must name one.
    """
    names = list(identifiers or [])
    chosen = [names[n * len(names) // CANDIDATES] if names else None for n in range(CANDIDATES)]
    puzzles = _puzzles(task, np.random.default_rng(0))
    rows = torch.tensor([identifiers[name] if identifiers and name else 0 for name in chosen])
    exact, rough = (_answers(network, task, puzzles, rows, dtype) for dtype in (torch.float32, torch.bfloat16))
    canaries = [
        Canary(task.format(puzzle, like=""), answer, name, max_segments=1)
        for puzzle, answer, name in zip(puzzles, exact, chosen, strict=True)
    ]
    firm = [
        canary for canary, other in zip(canaries, rough, strict=True) if canary.answer == other and canary.answer != ""
    ]
    return (firm, ACCURACY) if firm else (canaries, 0.0)


def _puzzles(task: Task, rng: np.random.Generator) -> Tokens:
    """Different puzzles of the task, [CANDIDATES, L]: an example in its symmetries, else any cells."""
    if not (examples := task.examples()):
        return rng.integers(1, task.vocab_size, (CANDIDATES, task.seq_len), dtype=np.uint8)
    example = task.parse(examples[0][0])
    return np.stack([task.random_symmetry(rng).apply(example) for _ in range(CANDIDATES)])


def _answers(network: HRM, task: Task, puzzles: Tokens, rows: torch.Tensor, dtype: torch.dtype) -> list[Puzzle]:
    """What the network says in `dtype` after one segment, puzzle by puzzle."""
    answers = []
    for puzzle, row in zip(puzzles, rows, strict=True):
        tokens = torch.from_numpy(puzzle.astype(np.int64)).unsqueeze(0)
        _, output = network.segment(network.initial_carry(1, dtype), tokens, row.unsqueeze(0))
        answers.append(task.format(output.logits[0].argmax(-1).to(torch.uint8).numpy(), like=""))
    return answers
