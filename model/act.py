"""Adaptive computation time: the halting rule and the Q-targets (arXiv 2506.21734, section 2).

Pure functions on tensors, used by training and by serving alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.config import HaltRule


def wants_to_halt(q_halt: Tensor, q_continue: Tensor, rule: HaltRule) -> Tensor:
    """Whether the Q-head would stop here, [B] booleans."""
    return q_halt > (q_continue if rule == "halt_over_continue" else 0.0)


def halts(
    q_halt: Tensor, q_continue: Tensor, segments: Tensor, min_segments: Tensor, max_segments: Tensor, rule: HaltRule
) -> Tensor:
    """Which rows end after this segment, [B] booleans: never before M_min, always at M_max.

    `segments` counts the segments a row has run, this one included.
    """
    willing = wants_to_halt(q_halt, q_continue, rule) & (segments >= min_segments)
    return willing | (segments >= max_segments)


def continue_target(q_halt: Tensor, q_continue: Tensor, is_last: Tensor, rule: HaltRule) -> Tensor:
    """The target of q_continue, from the *next* segment's values: [B] probabilities.

    Where this segment `is_last`, at M_max, the next one could only halt; elsewhere it takes the better action.
    Under "halt_over_zero" continuing is never chosen by its value, so the target is the halting value alone.
    """
    best = q_halt if rule == "halt_over_zero" else torch.where(is_last, q_halt, torch.maximum(q_halt, q_continue))
    return torch.sigmoid(best)
