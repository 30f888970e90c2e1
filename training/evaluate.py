"""Run puzzles to their end under ACT and say how many came out right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.act import halts
from model.hrm import HRM, Carry
from model.tasks import Tokens


@dataclass(frozen=True, slots=True)
class Solved:
    """Final answers [n, L], the segments each used [n], and q_halt at its end [n]."""

    answers: Tokens
    segments: NDArray[np.int64]
    q_halt: NDArray[np.float32]

    def exact(self, labels: Tokens) -> NDArray[np.bool_]:
        """Which answers equal their labels, [n]."""
        right: NDArray[np.bool_] = (self.answers == labels).all(axis=1)
        return right


@torch.inference_mode()
def solve(
    model: HRM, puzzles: Tokens, max_segments: int, batch_size: int = 256, dtype: torch.dtype = torch.float32
) -> Solved:
    """Solve puzzles [n, L] in batches that shrink as rows halt."""
    device = model.lm_head.weight.device
    answers = np.zeros_like(puzzles)
    used = np.zeros(len(puzzles), dtype=np.int64)
    confidence = np.zeros(len(puzzles), dtype=np.float32)
    for start in range(0, len(puzzles), batch_size):
        tokens = torch.from_numpy(puzzles[start : start + batch_size].astype(np.int64)).to(device)
        rows = np.arange(start, start + len(tokens))
        carry = model.initial_carry(len(tokens), dtype)
        for segment in range(1, max_segments + 1):
            carry, output = model.segment(carry, tokens)
            count = torch.full((len(tokens),), segment, device=device)
            done = halts(
                output.q_halt, output.q_continue, count, torch.ones_like(count), torch.full_like(count, max_segments),
                model.config.halt_rule,
            )  # fmt: skip
            ended = rows[done.cpu().numpy()]
            answers[ended] = output.logits[done].argmax(-1).to(torch.uint8).cpu().numpy()
            used[ended] = segment
            confidence[ended] = output.q_halt[done].cpu().numpy()
            rows = rows[~done.cpu().numpy()]
            if not len(rows):
                break
            tokens, carry = tokens[~done], Carry(carry.z_H[~done], carry.z_L[~done])
    return Solved(answers, used, confidence)
