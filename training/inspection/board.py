"""Draws a puzzle's cells: digits and characters as text, mazes and ARC grids in colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import NDArray

from model.tasks import Task, Tokens
from model.tasks.arc import Arc, decode
from model.tasks.grid import GridTask
from model.tasks.maze import Maze
from training.pictures import COLOURS

_GIVEN, _RIGHT, _WRONG, _CHANGED = "black", COLOURS[0], "#C00000", "#FFF3B0"
_MAZE = ("white", "#333333", "white", "#009E73", "#CC79A7", "#E69F00")
_ARC = (
    "#000000", "#0074D9", "#FF4136", "#2ECC40", "#FFDC00", "#AAAAAA", "#F012BE", "#FF851B", "#7FDBFF", "#870C25",
)  # fmt: skip


class Board(NamedTuple):
    """A sequence of tokens as it is drawn: codes [R, C], and the colour or the text of each code."""

    codes: NDArray[np.uint8]
    colours: tuple[str, ...] | None
    text: Callable[[int], str]


def board_of(task: Task, tokens: Tokens) -> Board:
    """How a task's tokens [L] are drawn."""
    if isinstance(task, Arc):
        return Board(decode(tokens), _ARC, str)
    if isinstance(task, Maze):
        return Board(tokens.reshape(task.rows, task.columns), _MAZE, str)
    if isinstance(task, GridTask):
        alphabet, blank = task.alphabet, task.blank
        return Board(
            tokens.reshape(task.rows, task.columns),
            None,
            lambda token: "" if not 0 < token <= len(alphabet) or alphabet[token - 1] == blank else alphabet[token - 1],
        )
    side = round(len(tokens) ** 0.5)
    return Board(tokens.reshape(side, side), None, lambda token: str(token - 1) if token > 1 else "")


def draw_board(
    axis: Axes, task: Task, tokens: Tokens, puzzle: Tokens, answer: Tokens, before: Tokens | None = None
) -> None:
    """Draw `tokens`: what is given, what is right and what is wrong, and what has changed since `before`, each [L]."""
    codes, colours, text = board_of(task, tokens)
    rows, columns = codes.shape
    wrong = _differences(codes, board_of(task, answer).codes)
    given = ~_differences(codes, board_of(task, puzzle).codes)
    if colours is not None:
        axis.imshow(codes, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5, interpolation="nearest")
        if not given.all():  # the puzzle itself has nothing wrong in it
            y, x = np.nonzero(wrong)
            axis.scatter(x, y, marker="x", color=_WRONG, s=14, linewidths=1)
    else:
        if before is not None:
            changed = _differences(codes, board_of(task, before).codes)
            axis.imshow(changed, cmap=ListedColormap(["white", _CHANGED]), vmin=0, vmax=1, interpolation="nearest")
        for (row, column), code in np.ndenumerate(codes):
            colour = _GIVEN if given[row, column] else _WRONG if wrong[row, column] else _RIGHT
            axis.text(column, row, text(int(code)), color=colour, ha="center", va="center", fontsize=7)
        _rule(axis, rows, columns)
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[], aspect="equal")
    axis.grid(False)


def _differences(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Cell by cell in the shape of `one`; everything differs where the shapes do."""
    return one != other if one.shape == other.shape else np.ones(one.shape, dtype=np.bool_)


def _rule(axis: Axes, rows: int, columns: int) -> None:
    """Lines between the cells; for a Sudoku, thicker ones between the boxes."""
    thick = 3 if rows == columns == 9 else max(rows, columns)
    for count, line in ((rows, axis.axhline), (columns, axis.axvline)):
        for k in range(count + 1):
            line(k - 0.5, color="black", linewidth=1.0 if k % thick == 0 else 0.3)
