"""One form for all Sudokus that are the same up to symmetry: how copies of a puzzle are found in another set."""

from __future__ import annotations

from itertools import permutations, product
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from model.tasks import Tokens
from model.tasks.sudoku import BLANK
from training.data.sudoku_solver import Ints

_Mask: TypeAlias = NDArray[np.bool_]

_COLUMN_ORDERS = np.array(
    [
        [3 * stack + within for stack, inner in zip(stacks, inners, strict=True) for within in inner]
        for stacks in permutations(range(3))
        for inners in product(permutations(range(3)), repeat=3)
    ],
    dtype=np.int64,
)
"""The 1296 orders of the columns that keep the stacks together."""


def canonical(puzzles: Tokens, answers: Tokens) -> tuple[Tokens, Tokens]:
    """The canonical form of puzzles with exactly one solution, both [n, 81] tokens.

    Two puzzles have the same form exactly when a symmetry (digits, bands, rows, stacks, columns, transpose) makes one
    of the other. The form of the answer is the smallest of its 9! * 2 * 6^8 images, read as a number; that of the
    puzzle is its smallest image (a clue is larger than a blank) under the symmetries that lead to this answer, of
    which there are several only for an answer that is symmetric itself.

    Returns:
        Forms of the puzzles and forms of the answers, each [n, 81] tokens.
    """
    forms = np.empty_like(puzzles)
    solutions = np.empty_like(answers)
    _canonical(np.ascontiguousarray(puzzles), np.ascontiguousarray(answers), forms, solutions)
    return forms, solutions


@njit(cache=True)
def _canonical(puzzles: Tokens, answers: Tokens, forms: Tokens, solutions: Tokens) -> None:
    for i in range(len(puzzles)):
        given = (puzzles[i] > BLANK).reshape(9, 9)
        grid = answers[i].astype(np.int64).reshape(9, 9) - 2
        best = np.full((9, 9), 9, dtype=np.int64)
        best_given = np.ones((9, 9), dtype=np.bool_)
        _search_images(given, grid, best, best_given)
        _search_images(given.T.copy(), grid.T.copy(), best, best_given)
        for cell in range(81):
            token = best[cell // 9, cell % 9] + 2
            solutions[i, cell] = token
            forms[i, cell] = token if best_given[cell // 9, cell % 9] else BLANK


@njit(cache=True)
def _search_images(given: _Mask, grid: Ints, best: Ints, best_given: _Mask) -> None:
    """Keep the smallest image of a grid [9, 9] of 0 to 8, and of its clues, over all but the transpose.

    Its first row is 0 to 8, which settles the digits; its first column is sorted as far as the bands allow, which
    settles the rows. So the images to look at are the 9 rows that can come first times the orders of the columns.
    """
    rows = np.empty(9, dtype=np.int64)
    labels = np.empty(9, dtype=np.int64)
    for first in range(9):
        for columns in _COLUMN_ORDERS:
            for c in range(9):
                labels[grid[first, columns[c]]] = c
            _order_band(grid, first, columns[0], labels, rows)
            order = _compare(grid, rows, columns, labels, best, 1, 3)
            if order > 0:
                continue
            _order_other_bands(grid, columns[0], labels, rows)
            if order == 0:
                order = _compare(grid, rows, columns, labels, best, 3, 9)
            if order < 0 or (order == 0 and _blank_first(given, rows, columns, best_given)):
                for r in range(9):
                    for c in range(9):
                        best[r, c] = labels[grid[rows[r], columns[c]]]
                        best_given[r, c] = given[rows[r], columns[c]]


@njit(cache=True)
def _order_band(grid: Ints, first: int, column: int, labels: Ints, rows: Ints) -> None:
    """The first three rows: `first` and its two neighbours, in the only order that can be smallest."""
    start = first // 3 * 3
    low, high = start + (first - start + 1) % 3, start + (first - start + 2) % 3
    if labels[grid[low, column]] > labels[grid[high, column]]:
        low, high = high, low
    rows[0], rows[1], rows[2] = first, low, high


@njit(cache=True)
def _order_other_bands(grid: Ints, column: int, labels: Ints, rows: Ints) -> None:
    """The other six rows: each band sorted by its labels in `column`, then the bands by their first row."""
    start = 3
    for band in range(3):
        if band == rows[0] // 3:
            continue
        for i in range(3):
            r = 3 * band + i
            k = start + i
            while k > start and labels[grid[rows[k - 1], column]] > labels[grid[r, column]]:
                rows[k] = rows[k - 1]
                k -= 1
            rows[k] = r
        start += 3
    if labels[grid[rows[3], column]] > labels[grid[rows[6], column]]:
        for k in range(3, 6):
            rows[k], rows[k + 3] = rows[k + 3], rows[k]


@njit(cache=True)
def _compare(grid: Ints, rows: Ints, columns: Ints, labels: Ints, best: Ints, start: int, stop: int) -> int:
    """-1, 0, 1: rows `start` to `stop` of the image are smaller than those of `best`, equal, larger."""
    for r in range(start, stop):
        for c in range(9):
            difference = labels[grid[rows[r], columns[c]]] - best[r, c]
            if difference:
                return -1 if difference < 0 else 1
    return 0


@njit(cache=True)
def _blank_first(given: _Mask, rows: Ints, columns: Ints, best: _Mask) -> bool:
    """Whether the image of the clues is smaller than `best`: where they first differ, it has a blank."""
    for r in range(9):
        for c in range(9):
            if given[rows[r], columns[c]] != best[r, c]:
                return not given[rows[r], columns[c]]
    return False
