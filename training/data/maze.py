"""Generates mazes: walls strewn at random, S and G set far apart, and a shortest path between them as the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.tasks import Tokens
from model.tasks.maze import FREE, GOAL, PATH, START, WALL
from training.data.errors import DataError

_Mask: TypeAlias = NDArray[np.bool_]
_Ints: TypeAlias = NDArray[np.int64]
_Floats: TypeAlias = NDArray[np.float64]

_WALL_SHARE = (0.3, 0.5)
"""The share of walls is drawn from this range, as in the paper's mazes (Lehnert et al., arXiv 2402.14083)."""
_CHUNK = 10
"""Mazes made from one random generator; a prefix of the result does not depend on its length."""
_TRIES = 200_000
"""Grids tried for one maze before its conditions count as out of reach."""


def generate(
    count: int,
    seed: int,
    shape: tuple[int, int] = (30, 30),
    min_path: int = 111,
    unique: bool = False,
    first: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tokens, Tokens]:
    """Generate mazes with a shortest path of at least `min_path` steps.

    Args:
        count: How many.
        seed: The same seed gives the same mazes; more of them begin with the same ones.
        shape: Rows and columns.
        min_path: Steps from S to G, at least. The published hard set has more than 110 on 30x30.
        unique: Only mazes with a single shortest path.
        first: Where there are several, the answer is the one that comes first: walking back from G, it goes up rather
            than down, down rather than left, left rather than right. Otherwise all are equally likely.
        progress: Called with the number of mazes made so far.

    Returns:
        Mazes and answers, each [count, rows * columns] tokens.

    Raises:
        DataError: If mazes of this shape hardly ever have so long a path.
    """
    chunks = -(-count // _CHUNK)
    puzzles = np.empty((chunks * _CHUNK, shape[0] * shape[1]), dtype=np.uint8)
    answers = np.empty_like(puzzles)
    for chunk in range(chunks):
        rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 1, chunk]))
        rows = slice(chunk * _CHUNK, (chunk + 1) * _CHUNK)
        if not _generate(rng, shape, min_path, unique, first, puzzles[rows], answers[rows]):
            raise DataError(
                f"mazes of {shape[0]} x {shape[1]} hardly ever have a shortest path of {min_path} steps"
                f"{' and no other as short' if unique else ''}: none in {_TRIES} tries; ask for a shorter one"
            )
        if progress:
            progress(min(rows.stop, count))
    return puzzles[:count], answers[:count]


@njit(cache=True)
def _generate(
    rng: np.random.Generator,
    shape: tuple[int, int],
    min_path: int,
    unique: bool,
    first: bool,
    puzzles: Tokens,
    answers: Tokens,
) -> bool:
    low, high = _WALL_SHARE
    size = shape[0] * shape[1]
    steps = np.empty(size, dtype=np.int64)
    ways = np.empty(size, dtype=np.float64)
    queue = np.empty(size, dtype=np.int64)
    for i in range(len(puzzles)):
        tries = 0
        goal = -1
        while goal < 0:
            if tries == _TRIES:
                return False
            tries += 1
            walls = rng.random(size) < rng.uniform(low, high)
            start = int(rng.integers(0, size))
            walls[start] = False
            reached = _walk(walls, shape, start, steps, ways, queue)
            goal = _pick_goal(rng, reached, steps, ways, queue, min_path, unique)
        for cell in range(size):
            puzzles[i, cell] = WALL if walls[cell] else FREE
        puzzles[i, start], puzzles[i, goal] = START, GOAL
        answers[i] = puzzles[i]
        _draw_path(rng, shape, goal, steps, ways, first, answers[i])
    return True


@njit(cache=True)
def _walk(walls: _Mask, shape: tuple[int, int], start: int, steps: _Ints, ways: _Floats, queue: _Ints) -> int:
    """Breadth first from `start`: steps to each cell (-1: no way) and the number of shortest ways to it.

    Returns:
        How many cells were reached; `queue` holds them, nearest first.
    """
    steps[:] = -1
    steps[start], ways[start], queue[0] = 0, 1.0, start
    reached, done = 1, 0
    while done < reached:
        cell = queue[done]
        done += 1
        for other in _neighbours(cell, shape):
            if other < 0 or walls[other]:
                continue
            if steps[other] < 0:
                steps[other], ways[other], queue[reached] = steps[cell] + 1, ways[cell], other
                reached += 1
            elif steps[other] == steps[cell] + 1:
                ways[other] += ways[cell]
    return reached


@njit(cache=True)
def _neighbours(cell: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The cells above, below, left and right; -1 outside the grid."""
    rows, columns = shape
    row, column = cell // columns, cell % columns
    return (
        cell - columns if row else -1,
        cell + columns if row < rows - 1 else -1,
        cell - 1 if column else -1,
        cell + 1 if column < columns - 1 else -1,
    )


@njit(cache=True)
def _pick_goal(
    rng: np.random.Generator, reached: int, steps: _Ints, ways: _Floats, queue: _Ints, min_path: int, unique: bool
) -> int:
    """Any of the cells that are far enough, all equally likely; -1 where there is none."""
    goal, found = -1, 0
    for k in range(reached - 1, 0, -1):
        cell = queue[k]
        if steps[cell] < min_path:
            break
        if unique and ways[cell] > 1:
            continue
        found += 1
        if rng.integers(0, found) == 0:
            goal = cell
    return goal


@njit(cache=True)
def _draw_path(
    rng: np.random.Generator,
    shape: tuple[int, int],
    goal: int,
    steps: _Ints,
    ways: _Floats,
    first: bool,
    answer: Tokens,
) -> None:
    """Walk back from the goal: the first step that is one, or each as likely as the ways that lead through it."""
    cell = goal
    while steps[cell] > 1:
        chosen = 0.0 if first else rng.random() * ways[cell]
        back = -1
        for other in _neighbours(cell, shape):
            if other >= 0 and steps[other] == steps[cell] - 1:
                back = other
                chosen -= ways[other]
                if chosen < 0:
                    break
        answer[back] = PATH
        cell = back
