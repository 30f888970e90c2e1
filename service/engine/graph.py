"""One segment as one graph: the network, the halting rule, the answer and its confidence; eager or compiled."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model.act import halts, wants_to_halt
from model.hrm import HRM, Carry
from model.probability import log_probabilities

log = logging.getLogger(__name__)


class Rows(NamedTuple):
    """What the host said about n rows when they were admitted, and how far they are."""

    tokens: Tensor  # [n, L]
    predicted: Tensor  # [n, L]
    puzzle_vectors: Tensor  # [n, puzzle_emb_ndim]
    segments: Tensor  # run so far
    min_segments: Tensor
    max_segments: Tensor


class SegmentResult(NamedTuple):
    """What the graph gives back for n rows."""

    carry: Carry
    tokens: Tensor  # [n, L]
    flags: Tensor  # [2, n]: halted, willing
    numbers: Tensor  # [5, n]: q_halt, q_continue, confidence, residual_H, residual_L


Graph = Callable[[HRM, Carry, Rows], SegmentResult]


def segment_graph(model: HRM, carry: Carry, rows: Rows) -> SegmentResult:
    """Run one segment. The weights are inputs, so that a graph compiled for one bank serves the other."""
    rule = model.config.halt_rule
    after, output = model.reason(carry, model.embed(rows.tokens, rows.puzzle_vectors))
    answer = output.logits.argmax(-1)
    chosen = log_probabilities(output.logits, model.config.loss).gather(-1, answer.unsqueeze(-1)).squeeze(-1)
    confidence = (chosen.exp() * rows.predicted).sum(-1) / rows.predicted.sum(-1).clamp_min(1)
    halted = halts(output.q_halt, output.q_continue, rows.segments + 1, rows.min_segments, rows.max_segments, rule)
    willing = wants_to_halt(output.q_halt, output.q_continue, rule)
    residuals = [(new - old).float().square().sum((1, 2)).sqrt() for new, old in zip(after, carry, strict=True)]
    numbers = torch.stack([output.q_halt, output.q_continue, confidence.float(), *residuals])
    return SegmentResult(after, answer.to(torch.uint8), torch.stack([halted, willing]), numbers)


@cache
def compiled_graph() -> Graph:
    """`segment_graph` compiled once for any number of rows above one; an architecture adds a variant of its own."""
    torch._dynamo.config.recompile_limit = 64
    compiled: Graph = torch.compile(segment_graph, dynamic=True)
    return compiled


def can_compile(device: torch.device) -> bool:
    """Whether this machine has what compiling for `device` needs."""
    if device.type == "cuda":
        return torch.utils._triton.has_triton()
    if device.type != "cpu":
        return False
    from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415 (slow to import)
    from torch._inductor.exc import InvalidCxxCompiler  # noqa: PLC0415

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def compiler_errors() -> tuple[type[Exception], ...]:
    """What a graph that cannot be compiled raises when it is first called."""
    from torch._dynamo.exc import BackendCompilerFailed  # noqa: PLC0415 (slow to import)
    from torch._inductor.exc import InductorError  # noqa: PLC0415

    return BackendCompilerFailed, InductorError


def keep_compiled_in(directory: Path) -> None:
    """Keep what is compiled in `directory`, so that the next start finds it."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(directory.absolute()))
