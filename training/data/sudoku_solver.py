"""A Sudoku solver compiled by numba: naked and hidden singles, then a guess at the cell with the fewest candidates."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.tasks import Tokens
from model.tasks.sudoku import UNITS

Ints: TypeAlias = NDArray[np.int64]

ALL = (1 << 9) - 1
"""The nine candidates of an open cell, digit d as bit d - 1."""
PLACED = 1 << 15
"""Marks a cell of the state whose digit is settled and struck from its peers."""

_PEERS = np.array(
    [sorted({int(p) for unit in UNITS if cell in unit for p in unit} - {cell}) for cell in range(81)], dtype=np.int64
)
SIZE = np.array([mask.bit_count() for mask in range(ALL + 1)], dtype=np.int64)
"""How many candidates a cell with this state has."""

CELL_ORDER = np.arange(81)
DIGIT_ORDER = np.tile(np.arange(9), (81, 1))
"""The orders in which the plain solver breaks ties and tries digits."""


def solve(puzzles: Tokens) -> tuple[Tokens, Ints, Ints]:
    """Solve puzzles [n, 81] (tokens), looking for a second solution each time.

    Returns:
        The first solution found, [n, 81] tokens (zeros where there is none); the number of solutions, [n], 0, 1 or 2
        for "several"; and the guesses, [n]: the cells at which the singles stopped and the solver had to try digits,
        until it had proved the number of solutions. The guesses are our measure of difficulty.
    """
    answers = np.zeros_like(puzzles)
    counts = np.zeros(len(puzzles), dtype=np.int64)
    guesses = np.zeros(len(puzzles), dtype=np.int64)
    _solve_all(np.ascontiguousarray(puzzles), answers, counts, guesses)
    return answers, counts, guesses


@njit(cache=True)
def _solve_all(puzzles: Tokens, answers: Tokens, counts: Ints, guesses: Ints) -> None:
    stack = new_stack()
    grid = np.zeros(81, dtype=np.int64)
    for i in range(len(puzzles)):
        if start(stack[0], puzzles[i].astype(np.int64) - 1):
            counts[i], guesses[i] = search(stack, 2, CELL_ORDER, DIGIT_ORDER, grid)
            if counts[i]:
                answers[i] = (grid + 1).astype(np.uint8)


@njit(cache=True)
def new_stack() -> Ints:
    """Room for `search`: a state (candidates of each cell) for every depth, [82, 81]."""
    return np.empty((82, 81), dtype=np.int64)


@njit(cache=True)
def start(state: Ints, digits: Ints) -> bool:
    """Write the clues `digits` [81] (0 is blank) into `state`; False if they contradict each other."""
    state[:] = ALL
    for cell in range(81):
        if digits[cell]:
            bit = 1 << (digits[cell] - 1)
            if not state[cell] & bit or not place(state, cell, bit):
                return False
    return True


@njit(cache=True)
def place(state: Ints, cell: int, bit: int) -> bool:
    """Settle a cell, strike its digit from the peers, and settle every naked single that follows; False: dead end."""
    if state[cell] & PLACED:
        return True
    waiting = np.empty(81, dtype=np.int64)
    waiting[0] = cell
    count = 1
    state[cell] = bit
    while count:
        count -= 1
        cell = waiting[count]
        bit = state[cell]
        state[cell] = bit | PLACED
        for k in range(20):
            peer = _PEERS[cell, k]
            candidates = state[peer]
            if candidates & bit:
                candidates &= ~bit
                if candidates & PLACED or candidates == 0:
                    return False
                state[peer] = candidates
                if SIZE[candidates] == 1:
                    waiting[count] = peer
                    count += 1
    return True


@njit(cache=True)
def _place_hidden_singles(state: Ints) -> bool:
    """Settle digits that have one place left in a unit until there are none; False: dead end."""
    found = True
    while found:
        found = False
        for u in range(27):
            once = twice = 0
            for k in range(9):
                candidates = state[UNITS[u, k]] & ALL
                twice |= once & candidates
                once |= candidates
            if once != ALL:
                return False
            if twice == ALL:
                continue
            for k in range(9):
                cell = UNITS[u, k]
                if state[cell] & PLACED:
                    continue
                hidden = state[cell] & ~twice
                if hidden:
                    if SIZE[hidden] > 1 or not place(state, cell, hidden):
                        return False
                    found = True
    return True


@njit(cache=True)
def _fewest(state: Ints, cell_order: Ints) -> int:
    """The open cell with the fewest candidates, the first one in `cell_order`; -1 if all are settled."""
    best, best_size = -1, 10
    for cell in cell_order:
        if not state[cell] & PLACED and SIZE[state[cell]] < best_size:
            best, best_size = cell, SIZE[state[cell]]
            if best_size == 2:
                break
    return best


@njit(cache=True)
def search(stack: Ints, limit: int, cell_order: Ints, digit_order: Ints, grid: Ints) -> tuple[int, int]:
    """Count the solutions of `stack[0]` up to `limit`, the first one into `grid` [81] as digits.

    `cell_order` [81] breaks ties between cells, `digit_order` [81, 9] says which digit (0 to 8) a cell tries first.

    Returns:
        (solutions, guesses)
    """
    solutions = guesses = 0
    if not _place_hidden_singles(stack[0]):
        return solutions, guesses
    guessed = np.empty(82, dtype=np.int64)
    untried = np.zeros(82, dtype=np.int64)
    depth = 0
    while True:
        cell = _fewest(stack[depth], cell_order)
        if cell < 0:
            if solutions == 0:
                for i in range(81):
                    grid[i] = _digit(stack[depth, i] & ALL)
            solutions += 1
            if solutions == limit:
                return solutions, guesses
            untried[depth] = 0
        else:
            guesses += 1
            guessed[depth], untried[depth] = cell, stack[depth, cell]
        while True:
            while depth >= 0 and untried[depth] == 0:
                depth -= 1
            if depth < 0:
                return solutions, guesses
            cell = guessed[depth]
            k = 0
            while not untried[depth] >> digit_order[cell, k] & 1:
                k += 1
            bit = 1 << digit_order[cell, k]
            untried[depth] &= ~bit
            stack[depth + 1] = stack[depth]
            if place(stack[depth + 1], cell, bit) and _place_hidden_singles(stack[depth + 1]):
                depth += 1
                break


@njit(cache=True)
def _digit(bit: int) -> int:
    digit = 0
    while bit:
        bit >>= 1
        digit += 1
    return digit
