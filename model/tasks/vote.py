"""Many looks at one puzzle, one answer: undo each look's symmetry and count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.tasks.symmetry import Symmetry, Tokens


@dataclass(frozen=True, eq=False, slots=True)
class Candidate:
    """An answer [L] in the puzzle's own orientation.

    Attributes:
        answer: tokens.
        votes: how many looks gave it.
        q_halt: their mean.
        first: the first of these looks.
    """

    answer: Tokens
    votes: int
    q_halt: float
    first: int


def vote(
    answers: Tokens, symmetries: Sequence[Symmetry], q_halt: NDArray[np.floating], keep: int = 2
) -> list[Candidate]:
    """The most frequent answers, best first; equal counts are ranked by mean q_halt.

    Args:
        answers: [n, L], each to the puzzle as its symmetry showed it.
        symmetries: n of them (`Task.identity()` for the puzzle itself).
        q_halt: [n].
        keep: how many to return at most (ARC counts two attempts).
    """
    looks: dict[bytes, list[int]] = {}
    undone = [symmetry.inverse().apply(answer) for symmetry, answer in zip(symmetries, answers, strict=True)]
    for i, answer in enumerate(undone):
        looks.setdefault(answer.tobytes(), []).append(i)
    candidates = [Candidate(undone[of[0]], len(of), float(q_halt[of].mean()), of[0]) for of in looks.values()]
    return sorted(candidates, key=lambda candidate: (-candidate.votes, -candidate.q_halt))[:keep]
