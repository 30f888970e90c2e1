"""One segment as one graph: the network, the halting rule, the answer and its confidence; eager or compiled."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.act import halts, wants_to_halt
from model.config import HaltRule
from model.hrm import HRM, Carry
from model.probability import confidence
from service.engine.runner import Admission, Readback

_COUNTS = 3
"""Numbers in a row of `Rows.numbers` after the cells."""
_NUMBERS, _FLAGS = 5 * 4, 2
"""Bytes a row that is read back."""


class Rows(NamedTuple):
    """What the host said about n rows when they were admitted, and how far they are."""

    numbers: Tensor  # [n, 2 L + 3] int64, see `row_numbers`
    puzzle_vectors: Tensor  # [n, puzzle_emb_ndim]

    @property
    def tokens(self) -> Tensor:
        """The puzzles, [n, L]."""
        return self.numbers[:, : self._length]

    @property
    def predicted(self) -> Tensor:
        """Which cells count for the confidence, [n, L] booleans."""
        return self.numbers[:, self._length : -_COUNTS].bool()

    @property
    def segments(self) -> Tensor:
        """Segments run so far, [n]."""
        return self.numbers[:, -3]

    @property
    def min_segments(self) -> Tensor:
        """Before so many the Q-head ends nothing, [n]."""
        return self.numbers[:, -2]

    @property
    def max_segments(self) -> Tensor:
        """After so many the row has halted, [n]."""
        return self.numbers[:, -1]

    @property
    def _length(self) -> int:
        return (self.numbers.shape[1] - _COUNTS) // 2


def row_numbers(admission: Admission) -> NDArray[np.int64]:
    """What the host says about k rows, in one array, so that it travels in one copy: [k, 2 L + 3].

    Tokens, predicted cells, segments run so far (none), and the least and the most of them.
    """
    counts = [np.zeros_like(admission.min_segments), admission.min_segments, admission.max_segments]
    return np.concatenate([admission.tokens, admission.predicted, np.stack(counts, axis=1)], axis=1, dtype=np.int64)


def numbers_width(length: int) -> int:
    """How many numbers a row has of a puzzle of that length."""
    return 2 * length + _COUNTS


class Said(NamedTuple):
    """What the network says of n rows after a segment."""

    carry: Carry
    answer: Tensor  # [n, L] the chosen tokens
    q_halt: Tensor  # [n], as all that follow
    q_continue: Tensor
    confidence: Tensor
    residual_H: Tensor
    residual_L: Tensor


class SegmentResult(NamedTuple):
    """What a graph gives back for n rows."""

    carry: Carry
    tokens: Tensor  # [n, L] uint8
    flags: Tensor  # [n, 2]: halted, willing
    numbers: Tensor  # [n, 5]: q_halt, q_continue, confidence, residual_H, residual_L, in fp32


Segment = Callable[[Carry, Rows], SegmentResult]
"""Runs one segment of n rows, wherever they came from."""
Step = Callable[[HRM, Carry, Rows, Tensor], Tensor]
"""`segment_step`, eager or compiled."""


def segment_step(model: HRM, carry: Carry, rows: Rows, index: Tensor) -> Tensor:
    """`in_place` with torch. The weights are inputs, so that a graph compiled for one bank serves the other."""
    return in_place(partial(segment_result, model), carry, rows, index)


def in_place(segment: Segment, carry: Carry, rows: Rows, index: Tensor) -> Tensor:
    """Run one segment of the slots at `index` [n], of all slots' state; gives what `pack` makes of it, [n, 22 + L]."""
    result = segment(Carry(*(z[index] for z in carry)), Rows(*(column[index] for column in rows)))
    for z, after in zip(carry, result.carry, strict=True):
        z[index] = after
    rows.segments[index] += 1
    return pack(result)


def segment_result(model: HRM, carry: Carry, rows: Rows) -> SegmentResult:
    """Run one segment of n rows."""
    carry = begun(model, carry, rows)
    after, output = model.reason(carry, model.embed(rows.tokens, rows.puzzle_vectors))
    answer = output.logits.argmax(-1)
    sure = confidence(output.logits, answer, rows.predicted, model.config.loss)
    residuals = [(new - old).float().square().sum((1, 2)).sqrt() for new, old in zip(after, carry, strict=True)]
    return judged(Said(after, answer, output.q_halt, output.q_continue, sure, *residuals), rows, model.config.halt_rule)


def begun(model: HRM, carry: Carry, rows: Rows) -> Carry:
    """The state that n rows go on from: where no segment was run yet, the one that every puzzle starts from."""
    fresh = (rows.segments == 0)[:, None, None]
    start = model.initial_carry(1, carry.z_H.dtype)
    return Carry(*(torch.where(fresh, first, z) for first, z in zip(start, carry, strict=True)))


def judged(said: Said, rows: Rows, rule: HaltRule) -> SegmentResult:
    """Apply the halting rule to what the network said."""
    halted = halts(said.q_halt, said.q_continue, rows.segments + 1, rows.min_segments, rows.max_segments, rule)
    willing = wants_to_halt(said.q_halt, said.q_continue, rule)
    numbers = [said.q_halt, said.q_continue, said.confidence.float(), said.residual_H, said.residual_L]
    return SegmentResult(
        said.carry, said.answer.to(torch.uint8), torch.stack([halted, willing], dim=1), torch.stack(numbers, dim=1)
    )


def pack(result: SegmentResult) -> Tensor:
    """All that the host wants of a segment in one buffer, [n, 22 + L] bytes, so that it travels in one copy."""
    return torch.cat([result.numbers.view(torch.uint8), result.flags.view(torch.uint8), result.tokens], dim=1)


def packed_width(length: int) -> int:
    """Bytes a row of what `pack` makes of puzzles of that length."""
    return _NUMBERS + _FLAGS + length


def unpack(packed: NDArray[np.uint8], shape: int, device_s: float) -> Readback:
    """Read copies of what `pack` packed; the buffer may then be used again."""
    numbers = packed[:, :_NUMBERS].copy().view(np.float32)
    flags = packed[:, _NUMBERS : _NUMBERS + _FLAGS].astype(np.bool_)
    return Readback(
        tokens=packed[:, _NUMBERS + _FLAGS :].copy(),
        halted=flags[:, 0],
        willing=flags[:, 1],
        q_halt=numbers[:, 0],
        q_continue=numbers[:, 1],
        confidence=numbers[:, 2],
        residual_H=numbers[:, 3],
        residual_L=numbers[:, 4],
        shape=shape,
        device_s=device_s,
    )


@cache
def compiled_step(device_type: str) -> Step:
    """`segment_step` compiled once for any number of rows above one; an architecture adds a variant of its own.

    On a CPU its kernels are called from C++, which frees the interpreter for the host's threads during the segment; on
    CUDA the calls are captured in graphs anyway.
    """
    torch._dynamo.config.recompile_limit = 64
    compiled: Step = torch.compile(segment_step, dynamic=True, options={"cpp_wrapper": device_type == "cpu"})
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
