"""Further attempts at what the checker did not accept, each under another symmetry of the task.

One pass tells how every smaller budget would have ended: attempts are made one after the other, and what matters of
each is only the segment in which the checker first accepted its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.hrm import HRM, Carry
from model.tasks import Symmetry, Task, Tokens
from model.tasks.views import further_views
from training.evaluation.unroll import Bools, Ints

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Attempts:
    """Up to A attempts at each of n puzzles; no more were made than some budget needs.

    Attributes:
        made: how many were made at each, [n]; fewer than budgeted where no further view of the puzzle was found.
        accepted: the segment, counted from 1, in which the checker accepted the answer, [n, A]; a number above every
            budget where it never did.
        exact: whether the accepted answer is the known one, [n, A].
        optimal: whether no valid answer is better than the accepted one, [n, A]; None: valid answers do not differ.
    """

    made: Ints
    accepted: Ints
    exact: Bools
    optimal: Bools | None


@dataclass(frozen=True, slots=True)
class Budget:
    """What an evaluation may spend on each puzzle.

    Attributes:
        attempts: the most that are made.
        segments: limits of one attempt that are asked about.
        seed: decides the symmetries; the first attempt is the puzzle as it is.
    """

    attempts: int
    segments: Sequence[int]
    seed: int = 0


@torch.inference_mode()
def attempt(
    model: HRM,
    task: Task,
    puzzles: Tokens,
    answers: Tokens,
    budget: Budget,
    *,
    batch_size: int = 256,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> Attempts:
    """Try puzzles [n, L], whose known answers are [n, L], until the checker accepts or the budget is spent.

    Args:
        model: on its device, for inference; one whose symmetric views need no identifiers of their own.
        task: has a checker.
        puzzles: tokens.
        answers: tokens.
        budget: how often, and how long.
        batch_size: puzzles at a time.
        dtype: of the state.
        progress: called with the attempts made and the most there can be.
    """
    count = len(puzzles)
    made = np.zeros(count, dtype=np.int64)
    accepted = np.full((count, budget.attempts), _NEVER)
    exact, optimal = (np.zeros((count, budget.attempts), dtype=np.bool_) for _ in range(2))
    views = [_views(task, puzzle, budget.seed, row) for row, puzzle in enumerate(puzzles)]
    for number in range(budget.attempts):
        limits = _still_needed(accepted[:, :number].min(axis=1, initial=_NEVER), budget.segments)
        limits[made < number] = 0
        rows = np.argsort(-limits, kind="stable")[: np.count_nonzero(limits)]
        looks = {row: look for row in rows if (look := next(views[row], None)) is not None}
        rows = np.array(list(looks), dtype=np.intp)
        made[rows] += 1
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            shown, known = (np.stack([looks[row].apply(values[row]) for row in batch]) for values in (puzzles, answers))
            for row, segment, said in _run(model, task, shown, limits[batch], dtype):
                where = (batch[row], number)
                accepted[where] = segment
                exact[where] = np.array_equal(said, known[row])
                optimal[where] = task.grades and bool(task.check(shown[row], said).optimal)
        if progress:
            progress(number + 1, budget.attempts)
    return Attempts(made, accepted, exact, optimal if task.grades else None)


def _still_needed(accepted: Ints, limits: Sequence[int]) -> Ints:
    """The longest of the limits within which each puzzle is not solved yet, [n]; 0: it is solved within all."""
    each = np.array(sorted(limits), dtype=np.int64)
    return np.concatenate([[0], each])[np.searchsorted(each, accepted)]


def _views(task: Task, puzzle: Tokens, seed: int, row: int) -> Iterator[Symmetry]:
    yield task.identity()
    yield from further_views(task, puzzle, np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, row])))


def _run(
    model: HRM, task: Task, puzzles: Tokens, limits: Ints, dtype: torch.dtype
) -> list[tuple[int, int, NDArray[np.uint8]]]:
    """Reason about puzzles [k, L], each for at most so many segments; what is accepted leaves the batch at once.

    Returns:
        The accepted ones: row, segment and answer.
    """
    device = model.lm_head.weight.device
    tokens = torch.from_numpy(puzzles.astype(np.int64)).to(device)
    embedding = model.embed(tokens, model.puzzle_vectors(torch.zeros_like(tokens[:, 0])))
    carry, left = model.initial_carry(len(puzzles), dtype), np.arange(len(puzzles))
    found = []
    for segment in range(1, int(limits.max()) + 1):
        carry, output = model.reason(carry, embedding)
        said = output.logits.argmax(-1).to(torch.uint8).cpu().numpy()
        valid = task.check_many(puzzles[left], said)
        found += [(int(left[i]), segment, said[i]) for i in np.flatnonzero(valid)]
        stay = np.flatnonzero(~valid & (limits[left] > segment))
        if not len(stay):
            break
        if len(stay) < len(left):
            which = torch.from_numpy(stay).to(device)
            carry, embedding, left = Carry(*(z[which] for z in carry)), embedding[which], left[stay]
    return found
