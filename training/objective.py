"""One training step's arithmetic: a segment, its losses, and what they are measured against."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from model.act import continue_target
from model.hrm import HRM, Carry, Gradient, Output
from training.losses import count_right, q_loss, token_loss


class SegmentLoss(NamedTuple):
    """What one segment with gradient gives, row by row: all but the carry are [B].

    `cells` is the share of right ones. The continue loss is left to the caller: its target needs the segment after
    this one.
    """

    carry: Carry
    token: Tensor
    halt: Tensor
    exact: Tensor
    cells: Tensor
    q_halt: Tensor
    q_continue: Tensor


class Objective:
    """Loss = token loss + 0.5 * (halt BCE + continue BCE), each a mean over rows (arXiv 2506.21734, section 2).

    Its two passes through the network are compiled where asked; everything around them stays eager.
    """

    def __init__(self, model: HRM, gradient: Gradient, compiled: bool) -> None:
        self.model, self.gradient = model, gradient
        self.run_segment = torch.compile(self._run_segment, dynamic=False) if compiled else self._run_segment
        self._look_ahead = torch.compile(self._segment, dynamic=False) if compiled else self._segment

    def _run_segment(self, carry: Carry, tokens: Tensor, labels: Tensor, vectors: Tensor) -> SegmentLoss:
        carry, output = self.model.reason(carry, self.model.embed(tokens, vectors), self.gradient)
        token = token_loss(output.logits, labels, self.model.config.loss).float()
        right, graded = count_right(output.logits.argmax(-1), labels)
        exact, cells = right == graded, right / graded.clamp_min(1)
        return SegmentLoss(carry, token, q_loss(output.q_halt, exact), exact, cells, output.q_halt, output.q_continue)

    def _segment(self, carry: Carry, tokens: Tensor, vectors: Tensor) -> Output:
        return self.model.reason(carry, self.model.embed(tokens, vectors))[1]

    @torch.no_grad()
    def continue_target(self, carry: Carry, tokens: Tensor, vectors: Tensor, segments: Tensor) -> Tensor:
        """What q_continue of rows [k] should be, from one more segment after `carry`.

        `segments` [k] counts those that the rows have run, the one that `carry` comes from included.
        """
        ahead = self._look_ahead(carry, tokens, vectors)
        config = self.model.config
        is_last = segments >= config.halt_max_segments
        return continue_target(ahead.q_halt, ahead.q_continue, is_last, config.halt_rule)
