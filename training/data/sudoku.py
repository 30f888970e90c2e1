"""Generates Sudokus with exactly one solution: a random full grid, from which clues are dug in random order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from model.tasks import Tokens
from training.data.errors import DataError
from training.data.sudoku_solver import (
    CELL_ORDER,
    DIGIT_ORDER,
    PLACED,
    SIZE,
    Ints,
    new_stack,
    place,
    search,
    solve,
    start,
)

FEWEST_CLUES = 17
"""No Sudoku with fewer clues has exactly one solution (McGuire et al., arXiv 1201.0749)."""
REACHABLE_CLUES = 24
"""About half of all digging orders come down to this many clues; an upper limit below it is refused."""
_DIGS = 4
"""A minimal puzzle is the one with the fewest clues of this many digs into one grid, about one fewer than one dig
gives."""
_CHUNK = 100
"""Puzzles made from one random generator; a prefix of the result does not depend on its length."""
_GIVE_UP_CHUNKS = 300
"""Chunks without a puzzle of the wanted difficulty before it counts as out of reach."""

ANY_DIFFICULTY = (0, 1 << 62)
"""Fewest and most guesses."""


def generate(
    count: int,
    seed: int,
    clues: tuple[int, int] = (17, 35),
    minimal_share: float = 0.5,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tokens, Tokens]:
    """Generate puzzles that have exactly one solution, proved by the solver.

    Args:
        count: How many.
        seed: The same seed gives the same puzzles, on any machine; more of them begin with the same ones.
        clues: Fewest and most clues. Each puzzle aims at a number drawn evenly from this range, and keeps more where
            no clue can be removed before it is reached.
        minimal_share: Share of the puzzles that are dug to the end instead (22 to 25 clues, mostly): no clue can be
            left out. `clues` does not bind them.
        progress: Called with the number of puzzles made so far.

    Returns:
        Puzzles and answers, each [count, 81] tokens.

    Raises:
        DataError: If the range of clues or the share is out of bounds.
    """
    puzzles, answers, _ = generate_rated(count, seed, clues, minimal_share, progress=progress)
    return puzzles, answers


def generate_rated(
    count: int,
    seed: int,
    clues: tuple[int, int] = (17, 35),
    minimal_share: float = 0.5,
    guesses: tuple[int, int] = ANY_DIFFICULTY,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tokens, Tokens, Ints]:
    """Generate as `generate` does, and keep the puzzles for which the solver needs so many guesses.

    The guesses are `sudoku_solver.solve`'s: singles alone solve a puzzle of 0; one in twenty minimal puzzles needs 10.

    Returns:
        Puzzles and answers, each [count, 81] tokens, and the guesses, [count].

    Raises:
        DataError: As `generate`, and if hardly any puzzle is of this difficulty.
    """
    low, high = clues
    if not FEWEST_CLUES <= low <= high <= 81 or high < REACHABLE_CLUES:
        raise DataError(
            f"clues {low} to {high}: the range lies within {FEWEST_CLUES} to 81 and reaches up to at least "
            f"{REACHABLE_CLUES}"
        )
    if not 0 <= minimal_share <= 1:
        raise DataError(f"minimal_share {minimal_share} is not between 0 and 1")
    puzzles = np.empty((count, 81), dtype=np.uint8)
    answers = np.empty_like(puzzles)
    needed = np.empty(count, dtype=np.int64)
    done = found_at = 0
    chunk = 0
    while done < count:
        made, solved = _generate_chunk(seed, chunk, clues, minimal_share)
        _, _, rating = solve(made)
        found = np.flatnonzero((rating >= guesses[0]) & (rating <= guesses[1]))[: count - done]
        if len(found):
            found_at = chunk
        elif chunk - found_at >= _GIVE_UP_CHUNKS:
            raise DataError(
                f"none of {_GIVE_UP_CHUNKS * _CHUNK} puzzles takes {guesses[0]} to {guesses[1]} guesses; ask for "
                f"another difficulty"
            )
        rows = slice(done, done + len(found))
        puzzles[rows], answers[rows], needed[rows] = made[found], solved[found], rating[found]
        done, chunk = rows.stop, chunk + 1
        if progress:
            progress(done)
    return puzzles, answers, needed


def _generate_chunk(seed: int, chunk: int, clues: tuple[int, int], minimal_share: float) -> tuple[Tokens, Tokens]:
    """The puzzles and answers [_CHUNK, 81] of one random generator."""
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, chunk]))
    targets = rng.integers(clues[0], clues[1] + 1, size=_CHUNK)
    targets[rng.random(_CHUNK) < minimal_share] = 0
    puzzles = np.empty((_CHUNK, 81), dtype=np.uint8)
    answers = np.empty_like(puzzles)
    _generate(rng, targets, clues[1], puzzles, answers)
    return puzzles, answers


@njit(cache=True)
def _generate(rng: np.random.Generator, targets: Ints, most: int, puzzles: Tokens, answers: Tokens) -> None:
    """Fill `puzzles` and `answers` [n, 81]; a target of 0 clues means: dig to the end."""
    stack = new_stack()
    for i in range(len(targets)):
        left = 82
        while left > (81 if targets[i] == 0 else most):
            full = random_grid(rng, stack)
            clues, left = _dig_best(full, targets[i], 1 if targets[i] else _DIGS, rng, stack)
        puzzles[i] = (clues + 1).astype(np.uint8)
        answers[i] = (full + 1).astype(np.uint8)


@njit(cache=True)
def _dig_best(full: Ints, target: int, digs: int, rng: np.random.Generator, stack: Ints) -> tuple[Ints, int]:
    """The clues [81] with the fewest left of several digs into the same grid, and how many are left."""
    best, fewest = full, 82
    for _ in range(digs):
        clues = full.copy()
        left = dig(clues, rng.permutation(81), target, stack)
        if left < fewest:
            best, fewest = clues, left
    return best, fewest


@njit(cache=True)
def random_grid(rng: np.random.Generator, stack: Ints) -> Ints:
    """A full grid [81] of digits: the solver's first one when it breaks every tie at random."""
    digit_order = np.empty((81, 9), dtype=np.int64)
    for cell in range(81):
        digit_order[cell] = rng.permutation(9)
    grid = np.zeros(81, dtype=np.int64)
    start(stack[0], grid)
    search(stack, 1, rng.permutation(81), digit_order, grid)
    return grid


@njit(cache=True)
def dig(clues: Ints, order: Ints, target: int, stack: Ints) -> int:
    """Blank clues of a one-solution puzzle, in place, while it keeps one solution; returns how many are left.

    One pass is enough: a clue that is needed now is needed all the more once others are gone. So a pass that does not
    stop at `target` ends in a minimal puzzle.
    """
    left = 0
    for cell in range(81):
        left += clues[cell] > 0
    for cell in order:
        if left <= target:
            break
        digit = clues[cell]
        if digit:
            clues[cell] = 0
            if _has_other_solution(clues, cell, digit, stack):
                clues[cell] = digit
            else:
                left -= 1
    return left


@njit(cache=True)
def _has_other_solution(clues: Ints, cell: int, digit: int, stack: Ints) -> bool:
    """Whether the clues [81] have a solution in which `cell` does not hold `digit`."""
    state = stack[0]
    start(state, clues)
    if state[cell] & PLACED:
        return False
    state[cell] &= ~(1 << (digit - 1))
    if SIZE[state[cell]] == 1 and not place(state, cell, state[cell]):
        return False
    solutions, _ = search(stack, 1, CELL_ORDER, DIGIT_ORDER, np.empty(81, dtype=np.int64))
    return solutions > 0
