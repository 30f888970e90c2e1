"""The price of accuracy: how many puzzles come out right, against the segments that are spent on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.tasks import Task
from training.errors import RunError
from training.evaluation.attempts import Attempts
from training.evaluation.questions import Questions
from training.evaluation.statistics import Share
from training.evaluation.unroll import Bools, Ints, Trajectory, at

PricedMode: TypeAlias = Literal["act", "fixed", "verified"]
EVERYTHING = "all"
"""The name of the group that holds every puzzle."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of the puzzles of one group.

    Attributes:
        exact, valid: answered as known, and accepted by the checker (None: there is none).
        optimal: accepted, and no valid answer is better; None: valid answers do not differ, or nobody looked.
        segments, attempts: spent on a puzzle, on average.
    """

    exact: Share
    valid: Share | None
    optimal: Share | None
    segments: float
    attempts: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        shares = {"exact": self.exact, "valid": self.valid, "optimal": self.optimal}
        return {
            **{name: share.to_dict() for name, share in shares.items() if share is not None},
            "segments": self.segments,
            "attempts": self.attempts,
        }


@dataclass(frozen=True, slots=True)
class Price:
    """What one budget buys: a mode, the most attempts, the most segments of each, and the results by group."""

    mode: PricedMode
    attempts: int
    limit: int
    groups: dict[str, Result]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "mode": self.mode,
            "attempts": self.attempts,
            "max_segments": self.limit,
            "groups": {name: result.to_dict() for name, result in self.groups.items()},
        }


@dataclass(frozen=True, slots=True)
class _Spent:
    """Puzzle by puzzle, [n]."""

    exact: Bools
    valid: Bools | None
    optimal: Bools | None
    segments: Ints
    attempts: Ints


def refuse_modes(modes: Sequence[PricedMode], task: Task, questions: Questions) -> None:
    """Raise RunError where a mode makes no sense for these questions."""
    if questions.names is not None:
        raise RunError(
            "--modes: every view of these puzzles has an identifier of its own; they are voted on without it"
        )
    if "verified" in modes and not task.has_checker:
        raise RunError(f"--modes verified: the task {task.name} has no checker")


def price_one_attempt(
    mode: PricedMode, limits: Sequence[int], said: Trajectory, sources: NDArray[np.str_]
) -> list[Price]:
    """Of one attempt, ended by the Q-head ("act") or by nothing but the limit ("fixed")."""
    prices = []
    for limit in limits:
        ends = said.halts(limit) if mode == "act" else np.full(len(said), limit)
        valid = None if said.valid is None else at(said.valid, ends)
        spent = _Spent(at(said.exact, ends), valid, None, ends, np.ones_like(ends))
        prices.append(Price(mode, 1, limit, _grouped(spent, sources)))
    return prices


def price_attempts(
    numbers: Sequence[int], limits: Sequence[int], made: Attempts, sources: NDArray[np.str_]
) -> list[Price]:
    """Of every number of verified attempts, one after the other, within every limit."""
    prices = []
    for limit in limits:
        for number in numbers:
            hits = made.accepted[:, :number] <= limit
            winner, rows = hits.argmax(axis=1), np.arange(len(hits))
            solved: Bools = hits[rows, winner]
            tried = np.minimum(number, made.made)
            spent = _Spent(
                exact=solved & made.exact[rows, winner],
                valid=solved,
                optimal=None if made.optimal is None else solved & made.optimal[rows, winner],
                segments=np.where(solved, winner * limit + made.accepted[rows, winner], tried * limit),
                attempts=np.where(solved, winner + 1, tried),
            )
            prices.append(Price("verified", number, limit, _grouped(spent, sources)))
    return prices


def _grouped(spent: _Spent, sources: NDArray[np.str_]) -> dict[str, Result]:
    """All puzzles, and where they come from several sources, those of each."""
    names = sorted(set(sources.tolist()))
    groups = {EVERYTHING: np.ones(len(sources), dtype=np.bool_)}
    if len(names) > 1:
        groups |= {name: sources == name for name in names}
    return {name: _result(spent, rows) for name, rows in groups.items()}


def _result(spent: _Spent, rows: Bools) -> Result:
    return Result(
        exact=Share.of(spent.exact[rows]),
        valid=None if spent.valid is None else Share.of(spent.valid[rows]),
        optimal=None if spent.optimal is None else Share.of(spent.optimal[rows]),
        segments=float(spent.segments[rows].mean()),
        attempts=float(spent.attempts[rows].mean()),
    )
