"""The losses of one segment (arXiv 2506.21734, section 2), row by row: token cross entropy and the two Q losses."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from model.config import LossKind
from model.probability import log_probabilities

IGNORE = 0
"""Label of a position that is not graded: every task's PAD token."""


def token_loss(logits: Tensor, labels: Tensor, kind: LossKind) -> Tensor:
    """Cross entropy of each row, averaged over its graded positions: [B]. logits [B, L, V], labels [B, L]."""
    graded = labels != IGNORE
    picked = log_probabilities(logits, kind).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -(picked * graded).sum(-1) / graded.sum(-1).clamp_min(1)


def count_right(answers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How many of each row's graded positions hold the right token, and how many there are, each [B]."""
    graded = labels != IGNORE
    return ((answers == labels) & graded).sum(-1), graded.sum(-1)


def q_loss(q: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of a Q value against its target, [B]."""
    return F.binary_cross_entropy_with_logits(q, target.to(q.dtype), reduction="none")
