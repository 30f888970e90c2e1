"""One training step's arithmetic: a segment, its losses, and what they are measured against."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from model.act import continue_target
from model.hrm import HRM, Carry, Gradient
from training.losses import exact_rows, q_loss, token_loss


class SegmentLoss(NamedTuple):
    """What one segment with gradient gives.

    token and halt are means over the batch (0-dim); exact, q_halt and q_continue are [B]. The continue
    loss is left to the caller: its target needs the segment after this one.
    """

    carry: Carry
    token: Tensor
    halt: Tensor
    exact: Tensor
    q_halt: Tensor
    q_continue: Tensor


class Objective:
    """Loss = token loss + 0.5 * (halt BCE + continue BCE), each a mean over rows (arXiv 2506.21734, section 2).

    Its two passes through the network are compiled where asked; everything around them stays eager.
    """

    def __init__(self, model: HRM, gradient: Gradient, compiled: bool) -> None:
        self.model, self.gradient = model, gradient
        self.run_segment = torch.compile(self._run_segment, dynamic=False) if compiled else self._run_segment
        self._look_ahead = torch.compile(model.segment, dynamic=False) if compiled else model.segment

    def _run_segment(self, carry: Carry, tokens: Tensor, labels: Tensor) -> SegmentLoss:
        carry, output = self.model.segment(carry, tokens, gradient=self.gradient)
        exact = exact_rows(output.logits, labels)
        token = token_loss(output.logits, labels, self.model.config.loss).mean().float()
        halt = q_loss(output.q_halt, exact).mean()
        return SegmentLoss(carry, token, halt, exact, output.q_halt, output.q_continue)

    @torch.no_grad()
    def continue_target(self, carry: Carry, tokens: Tensor, segments: Tensor) -> Tensor:
        """What q_continue of rows [k] should be, from one more segment after `carry` and `segments`."""
        _, ahead = self._look_ahead(carry, tokens)
        config = self.model.config
        is_last = segments + 1 >= config.halt_max_segments
        return continue_target(ahead.q_halt, ahead.q_continue, is_last, config.halt_rule)
