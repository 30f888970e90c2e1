"""Reading grids and lines of text strictly: what is wrong is named with its place."""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.tasks.base import Puzzle, PuzzleError

MAX_TEXT = 16_384
"""Longest text that is looked at, in characters: four times the largest grid."""


def cell_name(cell: int | np.intp, columns: int) -> str:
    """How messages speak of a cell, counted from 1."""
    return f"row {cell // columns + 1}, column {cell % columns + 1}"


def read_cells(puzzle: Puzzle, rows: int, columns: int, alphabet: str) -> tuple[NDArray[np.uint8], list[str]]:
    """The cells of a puzzle as indices into `alphabet`, [rows * columns], and the JSON pointer of each.

    Text is one line a row, or everything on one line; a grid holds the indices themselves.
    """
    if isinstance(puzzle, str):
        return _read_text(puzzle, rows, columns, alphabet)
    codes = read_grid(puzzle, rows, columns, len(alphabet) - 1)
    return codes.ravel(), [f"/{r}/{c}" for r in range(rows) for c in range(columns)]


def read_grid(grid: Sequence[Any], rows: int, columns: int, high: int) -> NDArray[np.uint8]:
    """A grid of whole numbers from 0 to `high`, exactly [rows, columns]."""
    _refuse_other(grid)
    if len(grid) != rows:
        raise PuzzleError(f"expected {count(rows, 'row')}, got {len(grid)}")
    for r, row in enumerate(grid):
        if not isinstance(row, (list, tuple)):
            raise PuzzleError(f"row {r + 1} is not a list", f"/{r}")
        if len(row) != columns:
            raise PuzzleError(f"row {r + 1} has {count(len(row), 'cell')}, expected {columns}", f"/{r}")
        for c, value in enumerate(row):
            if type(value) is not int or not 0 <= value <= high:
                raise PuzzleError(
                    f"row {r + 1}, column {c + 1}: expected a whole number from 0 to {high}, got {short(value)}",
                    f"/{r}/{c}",
                )
    return np.array(grid, dtype=np.uint8)


def claimed_shape(puzzle: Puzzle) -> tuple[int, int]:
    """The number of rows, and of cells in the first one (0 where it is none); nothing else is looked at."""
    if isinstance(puzzle, str):
        lines = text_lines(puzzle)
        return len(lines), len(lines[0][1]) if lines else 0
    _refuse_other(puzzle)
    return len(puzzle), len(puzzle[0]) if puzzle and isinstance(puzzle[0], (list, tuple)) else 0


def refuse_long(text: str) -> None:
    """Raise PuzzleError for a text that no puzzle needs, before any work is spent on it."""
    if len(text) > MAX_TEXT:
        raise PuzzleError(f"the text has {len(text)} characters; at most {MAX_TEXT} are read")


def text_lines(text: str) -> list[tuple[int, str]]:
    """The lines that hold anything, each with the position of its first character."""
    refuse_long(text)
    lines, position = [], 0
    for line in text.splitlines(keepends=True):
        if content := line.rstrip("\r\n"):
            lines.append((position, content))
        position += len(line)
    return lines


def count(number: int, noun: str) -> str:
    """For messages: "1 row", "2 rows"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _refuse_other(grid: object) -> None:
    if not isinstance(grid, (list, tuple)):
        raise PuzzleError("expected text or a grid, a list of rows")


def _read_text(text: str, rows: int, columns: int, alphabet: str) -> tuple[NDArray[np.uint8], list[str]]:
    lines = text_lines(text)
    if len(lines) == 1 and len(lines[0][1]) == rows * columns:
        start, flat = lines[0]
        lines = [(start + r * columns, flat[r * columns : (r + 1) * columns]) for r in range(rows)]
    if len(lines) != rows:
        got = count(len(lines), "line") if len(lines) > 1 else count(len(text.strip("\r\n")), "character")
        raise PuzzleError(f"expected {count(rows, 'line')} of {columns}, or {rows * columns} characters; got {got}")
    codes = np.empty((rows, columns), dtype=np.uint8)
    for r, (start, line) in enumerate(lines):
        if len(line) != columns:
            raise PuzzleError(f"row {r + 1} has {count(len(line), 'character')}, expected {columns}", f"/{start}")
        for c, character in enumerate(line):
            code = alphabet.find(character)
            if code < 0:
                raise PuzzleError(
                    f"row {r + 1}, column {c + 1} is {character!r}; expected one of {alphabet!r}", f"/{start + c}"
                )
            codes[r, c] = code
    return codes.ravel(), [f"/{start + c}" for start, _ in lines for c in range(columns)]
