"""ARC: undo each image's symmetry, let the images of a task vote on each of its tests, and score two attempts.

Votes are counted as upstream counts them: equal grids together, the most votes first, ties broken by the mean
probability that the network gives its own answer.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import IDENTIFIER_SEPARATORS
from model.tasks import Tokens
from model.tasks.arc import Arc, Colours, ColourSymmetry, decode
from training.evaluation.statistics import Share

ATTEMPTS = (1, 2)
_Grid: TypeAlias = tuple[tuple[int, ...], bytes]


@dataclass(frozen=True, slots=True)
class Votes:
    """How many tests were answered right, by the number of attempts at each, in two metrics.

    Attributes:
        tasks, tests: how many.
        outputs: Kaggle's metric (ARC Prize): the share of test outputs that are right.
        task_means: upstream's: the share of a task's tests that are right, averaged over the tasks.
    """

    tasks: int
    tests: int
    outputs: dict[int, Share]
    task_means: dict[int, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "tasks": self.tasks,
            "tests": self.tests,
            "kaggle": {f"pass@{k}": share.to_dict() for k, share in self.outputs.items()},
            "upstream": {f"pass@{k}": mean for k, mean in self.task_means.items()},
        }


def image_of(name: str) -> tuple[str, ColourSymmetry]:
    """The task that an identifier is an image of, and the symmetry that made it."""
    for separator in IDENTIFIER_SEPARATORS:
        task, *parts = name.rsplit(separator, 2)
        with suppress(ValueError):
            return task, ColourSymmetry.from_name("_".join(parts))
    return name, Arc().identity()


def count_votes(
    names: NDArray[np.str_], tests: NDArray[np.int64], said: Tokens, known: Tokens, q_halt: NDArray[np.float32]
) -> Votes:
    """Count the votes of n images.

    Args:
        names: the identifier of each, [n].
        tests: which test of its task each shows, [n].
        said: the network's answer, [n, 900].
        known: the right one, [n, 900].
        q_halt: the network's value of its own answer, [n].
    """
    confidence = 1 / (1 + np.exp(-q_halt.astype(np.float64)))
    ballots: dict[tuple[str, int], dict[_Grid, list[float]]] = defaultdict(lambda: defaultdict(list))
    right: dict[tuple[str, int], _Grid] = {}
    for name, test, answer, label, q in zip(names, tests, said, known, confidence, strict=True):
        task, symmetry = image_of(str(name))
        undo, place = symmetry.inverse(), (task, int(test))
        ballots[place][_key(undo.change(decode(answer)))].append(q)
        right[place] = _key(undo.change(decode(label)))
    ranks = {place: _rank(votes, right[place]) for place, votes in ballots.items()}
    tasks = sorted({task for task, _ in ranks})
    passed = {k: {place: rank < k for place, rank in ranks.items()} for k in ATTEMPTS}
    return Votes(
        tasks=len(tasks),
        tests=len(ranks),
        outputs={k: Share(sum(hits.values()), len(hits)) for k, hits in passed.items()},
        task_means={k: _mean_over_tasks(hits) for k, hits in passed.items()},
    )


def _rank(votes: dict[_Grid, list[float]], right: _Grid) -> float:
    """The place, from 0, of the right grid among those that were voted for; infinite where nobody did."""
    ranked = sorted(votes, key=lambda grid: (len(votes[grid]), np.mean(votes[grid])), reverse=True)
    return ranked.index(right) if right in votes else float("inf")


def _mean_over_tasks(hits: dict[tuple[str, int], bool]) -> float:
    by_task: dict[str, list[bool]] = defaultdict(list)
    for (task, _), hit in hits.items():
        by_task[task].append(hit)
    return float(np.mean([np.mean(of_task) for of_task in by_task.values()]))


def _key(grid: Colours) -> _Grid:
    return grid.shape, grid.tobytes()
