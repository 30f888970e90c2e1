"""From logits to probabilities: stablemax (arXiv 2501.04697) or softmax, as a checkpoint was trained."""

from __future__ import annotations

import torch
from torch import Tensor

from model.config import LossKind


def log_probabilities(logits: Tensor, kind: LossKind) -> Tensor:
    """Log probabilities over the last axis, in float64 (float32 on MPS, which has no other).

    Stablemax replaces exp by s(x) = x + 1 above zero and 1 / (1 - x) below: no overflow, slower saturation.
    """
    wide = logits.float() if logits.device.type == "mps" else logits.double()
    if kind == "softmax":
        return torch.log_softmax(wide, dim=-1)
    s = torch.where(wide >= 0, wide + 1, 1 / (1 - wide.clamp_max(0)))
    return torch.log(s / s.sum(-1, keepdim=True))


def confidence(logits: Tensor, answer: Tensor, predicted: Tensor, kind: LossKind) -> Tensor:
    """The mean probability of the tokens of `answer` over the predicted cells, [B] in the dtype of `log_probabilities`.

    Args:
        logits: [B, L, V].
        answer: [B, L] tokens.
        predicted: [B, L], which cells count.
        kind: how the checkpoint was trained.
    """
    chosen = log_probabilities(logits, kind).gather(-1, answer.unsqueeze(-1)).squeeze(-1).exp()
    return (chosen * predicted).sum(-1) / predicted.sum(-1).clamp_min(1)
