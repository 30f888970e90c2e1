"""What a trajectory says about a network: under ACT, after every number of segments, by source and by difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from model.tasks import Task
from training.evaluation.questions import Questions
from training.evaluation.statistics import Reliability, Share
from training.evaluation.unroll import Bools, Ints, Trajectory, at
from training.evaluation.votes import Votes, count_votes

DIFFICULTY_BINS = 5


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of some puzzles, when each runs a certain number of segments.

    Attributes:
        exact: answered as known.
        cells: the mean share of right cells.
        valid: accepted by the checker; None: there is none.
        optimal: valid and none is better, where valid answers differ and somebody looked.
        segments, of_exact, of_wrong: mean segments of all, of those answered exactly, and of the others (0: none).
    """

    exact: Share
    cells: float
    valid: Share | None
    optimal: Share | None
    segments: float
    of_exact: float
    of_wrong: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        shares = {"exact": self.exact, "valid": self.valid, "optimal": self.optimal}
        return {
            **{name: share.to_dict() for name, share in shares.items() if share is not None},
            "cells": self.cells,
            "segments": {"mean": self.segments, "of_exact": self.of_exact, "of_wrong": self.of_wrong},
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that is known of a network's answers.

    Attributes:
        limit: M_max.
        act: under ACT with this M_max.
        fixed: after exactly so many segments, by their number.
        limited: under ACT with another M_max, by that.
        sources, difficulties: under ACT, by source and by bin of difficulty; `measure` is what the difficulty is.
        at_halt, at_every_segment: whether sigmoid(q_halt) is the probability of being exact.
        confidence: whether the confidence that is served is the probability of being exact, at halt.
        uncalibrated: the same before calibration; None: the checkpoint brings no calibration, the confidence is raw.
        votes: of ARC.
    """

    puzzles: int
    limit: int
    act: Accuracy
    fixed: dict[int, Accuracy]
    limited: dict[int, Accuracy]
    sources: dict[str, Accuracy]
    difficulties: dict[str, Accuracy]
    measure: str
    at_halt: Reliability
    at_every_segment: Reliability
    confidence: Reliability
    uncalibrated: Reliability | None
    votes: Votes | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "puzzles": self.puzzles,
            "max_segments": self.limit,
            "act": self.act.to_dict(),
            "fixed_segments": {str(n): accuracy.to_dict() for n, accuracy in self.fixed.items()},
            "act_with_max_segments": {str(n): accuracy.to_dict() for n, accuracy in self.limited.items()},
            "sources": {name: accuracy.to_dict() for name, accuracy in self.sources.items()},
            "difficulty": {
                "measure": self.measure,
                "bins": {name: accuracy.to_dict() for name, accuracy in self.difficulties.items()},
            },
            "q_halt_reliability": {
                "at_halt": self.at_halt.to_dict(),
                "at_every_segment": self.at_every_segment.to_dict(),
            },
            "confidence_reliability": {
                "served": self.confidence.to_dict(),
                "uncalibrated": self.uncalibrated.to_dict() if self.uncalibrated else None,
            },
            "votes": self.votes.to_dict() if self.votes else None,
        }


def evaluate(
    task: Task, questions: Questions, trajectory: Trajectory, calibration: Calibration | None = None
) -> Evaluation:
    """Judge what was said of the questions; `calibration` is the checkpoint's own, where it brings one."""
    total, limit = trajectory.exact.shape[1], trajectory.limit
    halts = trajectory.halts()
    optimal = _optimal(task, questions, trajectory)
    belief = 1 / (1 + np.exp(-trajectory.q_halt.astype(np.float64)))

    def under_act(rows: Bools) -> Accuracy:
        return _accuracy(trajectory, halts, rows, optimal)

    confidence, uncalibrated = _confidence(trajectory, halts, calibration)
    everything = np.ones(len(trajectory), dtype=np.bool_)
    numbers = sorted({*doublings(total), limit})
    return Evaluation(
        puzzles=len(trajectory),
        limit=limit,
        act=under_act(everything),
        fixed={n: _accuracy(trajectory, np.full(len(trajectory), n)) for n in numbers},
        limited={n: _accuracy(trajectory, trajectory.halts(n)) for n in numbers},
        sources={name: under_act(questions.sources == name) for name in sorted(set(questions.sources.tolist()))},
        difficulties={name: under_act(rows) for name, rows in bins(questions.difficulty)},
        measure=questions.measure,
        at_halt=Reliability.of(at(belief, halts), at(trajectory.exact, halts)),
        at_every_segment=Reliability.of(belief[:, :limit], trajectory.exact[:, :limit]),
        confidence=confidence,
        uncalibrated=uncalibrated,
        votes=_votes(questions, trajectory),
    )


def doublings(most: int) -> list[int]:
    """1, 2, 4 and so on, and `most` itself."""
    return [*(2**k for k in range(most.bit_length()) if 2**k < most), most]


def bins(difficulty: NDArray[np.float64]) -> list[tuple[str, Bools]]:
    """Bins of about as many puzzles each, with the range of each as its name; what is not rated comes last."""
    rated = ~np.isnan(difficulty)
    found: list[tuple[str, Bools]] = []
    if rated.any():
        edges = np.unique(np.quantile(difficulty[rated], np.linspace(0, 1, DIFFICULTY_BINS + 1)))
        which = np.clip(np.searchsorted(edges, difficulty, side="right") - 1, 0, max(0, len(edges) - 2))
        for number in np.unique(which[rated]):
            rows = rated & (which == number)
            low, high = difficulty[rows].min(), difficulty[rows].max()
            found.append((f"{low:g}" if low == high else f"{low:g} to {high:g}", rows))
    if not rated.all():
        found.append(("not rated", ~rated))
    return found


def _accuracy(
    trajectory: Trajectory, segments: Ints, rows: Bools | None = None, optimal: Bools | None = None
) -> Accuracy:
    """Of the puzzles `rows`, each after its number of segments."""
    chosen = np.ones(len(trajectory), dtype=np.bool_) if rows is None else rows
    exact, used = at(trajectory.exact, segments)[chosen], segments[chosen]
    return Accuracy(
        exact=Share.of(exact),
        cells=float(at(trajectory.cells, segments)[chosen].mean()),
        valid=None if trajectory.valid is None else Share.of(at(trajectory.valid, segments)[chosen]),
        optimal=None if optimal is None else Share.of(optimal[chosen]),
        segments=float(used.mean()),
        of_exact=float(used[exact].mean()) if exact.any() else 0.0,
        of_wrong=float(used[~exact].mean()) if not exact.all() else 0.0,
    )


def _confidence(
    trajectory: Trajectory, halts: Ints, calibration: Calibration | None
) -> tuple[Reliability, Reliability | None]:
    """Of the confidence as it is served, and before its calibration."""
    raw, exact = at(trajectory.confidence, halts), at(trajectory.exact, halts)
    if calibration is None:
        return Reliability.of(raw, exact), None
    served = calibration.probability(raw, at(trajectory.q_halt, halts))
    return Reliability.of(served, exact), Reliability.of(raw, exact)


def _optimal(task: Task, questions: Questions, trajectory: Trajectory) -> Bools | None:
    """Which of ACT's answers are as good as any; None where valid answers do not differ."""
    if not task.grades:
        return None
    pairs = zip(questions.puzzles, trajectory.act_answers, strict=True)
    return np.array([bool(task.check(puzzle, answer).optimal) for puzzle, answer in pairs])


def _votes(questions: Questions, trajectory: Trajectory) -> Votes | None:
    """After M_max segments, as published numbers mean it."""
    if questions.names is None or questions.tests is None:
        return None
    q_halt = trajectory.q_halt[:, trajectory.limit - 1]
    return count_votes(questions.names, questions.tests, trajectory.full_answers, questions.answers, q_halt)
