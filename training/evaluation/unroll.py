"""Run puzzles once, without halting, and keep what was said after every segment: any way to halt is read off later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.act import wants_to_halt
from model.hrm import HRM
from model.probability import confidence
from model.tasks import Task, Tokens
from training.losses import count_right

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What a network said of n puzzles after each of S segments.

    Attributes:
        exact, valid: whether the answer was the known one, and whether the checker accepts it (None: there is no
            checker), [n, S].
        cells: the share of right cells, [n, S].
        q_halt: [n, S].
        confidence: the mean probability of what is said of the cells to predict, [n, S]; NaN where no task says which
            they are.
        willing: whether the q-head would have halted, [n, S].
        limit: M_max, of the answers that are kept.
        act_answers, full_answers: under ACT, and after `limit` segments, [n, L].
    """

    exact: Bools
    valid: Bools | None
    cells: Floats
    q_halt: Floats
    confidence: Floats
    willing: Bools
    limit: int
    act_answers: Tokens
    full_answers: Tokens

    def __len__(self) -> int:
        return len(self.exact)

    def halts(self, limit: int | None = None) -> Ints:
        """The segment, counted from 1, after which each puzzle halts under ACT with this M_max, [n]."""
        limit = limit or self.limit
        willing = self.willing[:, :limit].copy()
        willing[:, -1] = True
        first: Ints = willing.argmax(axis=1) + 1
        return first


def at(values: NDArray[Any], segments: Ints) -> NDArray[Any]:
    """From values [n, S], those after the given segment of each puzzle, [n]."""
    picked: NDArray[Any] = values[np.arange(len(values)), segments - 1]
    return picked


@torch.inference_mode()
def unroll(
    model: HRM,
    task: Task | None,
    puzzles: Tokens,
    answers: Tokens,
    puzzle_ids: NDArray[np.integer[Any]] | None = None,
    *,
    limit: int | None = None,
    segments: int | None = None,
    batch_size: int = 256,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int], None] | None = None,
) -> Trajectory:
    """Reason about puzzles [n, L] and compare with their known answers [n, L].

    Args:
        model: on its device, for inference.
        task: whose checker says what is valid, and which cells are to be predicted; None: nobody is asked.
        puzzles: tokens.
        answers: tokens; PAD is not graded.
        puzzle_ids: rows of the puzzle embedding, [n]; all 0 where left out.
        limit: M_max (the model's own where left out).
        segments: how many to run, at least `limit` (`limit` where left out).
        batch_size: puzzles at a time.
        dtype: of the state.
        progress: called with the number of puzzles done.
    """
    limit = limit or model.config.halt_max_segments
    checker = task if task is not None and task.has_checker else None
    count, total = len(puzzles), max(limit, segments or limit)
    ids = np.zeros(count, dtype=np.int64) if puzzle_ids is None else puzzle_ids.astype(np.int64)
    exact, willing, valid = (np.zeros((count, total), dtype=np.bool_) for _ in range(3))
    cells, q_halt, sure = (np.full((count, total), np.nan, dtype=np.float32) for _ in range(3))
    act_answers, full_answers = np.zeros_like(puzzles), np.zeros_like(puzzles)
    device = model.lm_head.weight.device
    for start in range(0, count, batch_size):
        rows = slice(start, min(start + batch_size, count))
        tokens, labels, row_ids = (
            torch.from_numpy(values[rows].astype(np.int64)).to(device) for values in (puzzles, answers, ids)
        )
        predicted = None if task is None else torch.from_numpy(np.stack([task.predicted(p) for p in puzzles[rows]]))
        embedding = model.embed(tokens, model.puzzle_vectors(row_ids))
        carry = model.initial_carry(len(tokens), dtype)
        said = np.zeros_like(puzzles[rows])
        for segment in range(total):
            carry, output = model.reason(carry, embedding)
            answer = output.logits.argmax(-1)
            right, graded = count_right(answer, labels)
            now = (rows, segment)
            exact[now] = (right == graded).cpu().numpy()
            cells[now] = (right / graded.clamp_min(1)).cpu().numpy()
            q_halt[now] = output.q_halt.cpu().numpy()
            if predicted is not None:
                sure[now] = confidence(output.logits, answer, predicted.to(device), model.config.loss).cpu().numpy()
            willing[now] = wants_to_halt(output.q_halt, output.q_continue, model.config.halt_rule).cpu().numpy()
            before, said = said, answer.to(torch.uint8).cpu().numpy()
            if checker is not None:
                valid[now] = _still_valid(checker, puzzles[rows], before, said, exact[now], valid[rows, segment - 1])
            running = ~willing[rows, :segment].any(axis=1)
            if segment < limit:
                act_answers[rows][running] = said[running]
            if segment == limit - 1:
                full_answers[rows] = said
        if progress:
            progress(rows.stop)
    return Trajectory(
        exact=exact,
        valid=valid if checker is not None else None,
        cells=cells,
        q_halt=q_halt,
        confidence=sure,
        willing=willing,
        limit=limit,
        act_answers=act_answers,
        full_answers=full_answers,
    )


def _still_valid(task: Task, puzzles: Tokens, before: Tokens, said: Tokens, exact: Bools, was_valid: Bools) -> Bools:
    """Which answers are valid; the checker is asked only about those that changed and are not the known ones."""
    valid = np.where(exact, True, was_valid)
    asked = (before != said).any(axis=1) & ~exact
    valid[asked] = task.check_many(puzzles[asked], said[asked])
    return valid
