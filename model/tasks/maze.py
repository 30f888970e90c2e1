"""Maze: '#' wall, ' ' free, 'S' start, 'G' goal, and 'o' the path, which is the answer; tokens 1 to 5 in this order.

An answer is valid when it is the maze with one path drawn into its free cells: from S to G by steps up, down, left and
right, without a fork, without a mark beside the path, and without passing beside itself (there a shorter way would be
drawn as well, and the marks would not say which one is meant). It is optimal when no path is shorter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.tasks.base import Puzzle, PuzzleError, Verdict
from model.tasks.bitboard import bitboards, cells, distance, follow
from model.tasks.description import read_shape, refuse_unknown
from model.tasks.grid import GridTask
from model.tasks.reading import cell_name, count
from model.tasks.symmetry import Tokens

ALPHABET = "# SGo"
WALL, FREE, START, GOAL, PATH = range(1, 6)

_MOST_CHANGES_NAMED = 10


class Maze(GridTask):
    """Text (one line a row, or all on one line) or a grid of 0 wall, 1 free, 2 start, 3 goal, 4 path."""

    has_checker = True
    grades = True

    def __init__(self, rows: int = 30, columns: int = 30) -> None:
        super().__init__("maze", (rows, columns), ALPHABET, blank=" ", symmetries=("dihedral",))

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Needs the shape."""
        refuse_unknown(description, ("shape",))
        return cls(*read_shape(description.get("shape")))

    def describe(self) -> dict[str, Any]:
        """A maze has no more than a shape."""
        return {"kind": "maze", "shape": [self.rows, self.columns]}

    def examples(self) -> list[tuple[Puzzle, Puzzle]]:
        """A single way that winds from the first row to the last."""
        wall = "#" * (self.columns - 1)
        period = (" " * self.columns, wall + " ", " " * self.columns, " " + wall)
        grid = [list(period[r % 4]) for r in range(self.rows)]
        grid[0][0] = "S"
        grid[-1][-1 if (self.rows - 1) % 4 < 2 else 0] = "G"
        maze = "\n".join(map("".join, grid))
        return [(maze, maze.replace(" ", "o"))]

    def parse(self, puzzle: Puzzle) -> Tokens:
        """Read a maze with one S, one G, and a way from one to the other."""
        tokens, pointers = self._read(puzzle)
        marks = np.flatnonzero(tokens == PATH)
        if len(marks):
            raise PuzzleError(
                f"{self._name(marks[0])} is 'o', the path, which belongs to the answer and not to the puzzle",
                pointers[marks[0]],
            )
        for token, what in ((START, "start 'S'"), (GOAL, "goal 'G'")):
            found = np.flatnonzero(tokens == token)
            if not len(found):
                raise PuzzleError(f"the maze has no {what}")
            if len(found) > 1:
                raise PuzzleError(
                    f"the maze has more than one {what}: at {self._name(found[0])} and at {self._name(found[1])}",
                    pointers[found[1]],
                )
        if self.shortest(tokens) is None:
            raise PuzzleError("no way leads from S to G")
        return tokens

    def parse_answer(self, answer: Puzzle) -> Tokens:
        """Read a maze with a path in it; what the path is worth is the checker's matter."""
        return self._read(answer)[0]

    def shortest(self, puzzle: Tokens) -> int | None:
        """Steps of the shortest way through a maze [L] with one S and one G; None where there is none."""
        free, start, goal = self._boards(np.stack([puzzle != WALL, puzzle == START, puzzle == GOAL]))
        return distance(free, start, goal, self.columns)

    def check(self, puzzle: Tokens, answer: Tokens) -> Verdict:
        """Judge one answer; see the module for what counts as valid."""
        changed = np.flatnonzero(~_kept(puzzle, answer))
        violations = [f"{self._name(cell)}: the maze itself was changed" for cell in changed[:_MOST_CHANGES_NAMED]]
        if len(changed) > _MOST_CHANGES_NAMED:
            violations.append(f"{count(len(changed) - _MOST_CHANGES_NAMED, 'more cell')} of the maze changed")

        on_path = _on_path(puzzle, answer)
        path, start, goal = self._boards(np.stack([on_path, puzzle == START, puzzle == GOAL]))
        walked, last, ahead = follow(path, start, self.columns)
        if ahead:
            violations.append(f"{self._where(last)}: the path forks or passes beside itself")
        elif last != goal:
            violations.append(f"{self._where(last)}: the path ends here and not at G")
        elif walked != path:
            violations.append(f"{self._where(path & ~walked)}: a mark that does not belong to the path")
        if violations:
            return Verdict(False, tuple(violations), optimal=False)
        return Verdict(True, optimal=int(on_path.sum()) - 1 == self.shortest(puzzle))

    def check_many(self, puzzles: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        """Vectorised as far as neighbours tell; only what may hold rings of marks beside the path is walked."""
        on_path = _on_path(puzzles, answers)
        fits = ~on_path | (self._path_neighbours(on_path) == np.where(answers == PATH, np.uint8(2), np.uint8(1)))
        valid = np.asarray((fits & _kept(puzzles, answers)).all(axis=1))
        rows = np.flatnonzero(valid)
        paths = self._boards(on_path[rows])
        starts, goals = self._boards(puzzles[rows] == START), self._boards(puzzles[rows] == GOAL)
        for row, path, start, goal in zip(rows, paths, starts, goals, strict=True):
            walked, last, _ = follow(path, start, self.columns)
            valid[row] = last == goal and walked == path
        return valid

    def _path_neighbours(self, on_path: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """How many of a cell's four neighbours are on the path, [n, L] -> [n, L]."""
        path = on_path.reshape(-1, self.rows, self.columns).view(np.uint8)
        number = np.zeros_like(path)
        number[:, 1:] += path[:, :-1]
        number[:, :-1] += path[:, 1:]
        number[:, :, 1:] += path[:, :, :-1]
        number[:, :, :-1] += path[:, :, 1:]
        return number.reshape(on_path.shape)

    def _boards(self, masks: NDArray[np.bool_]) -> list[int]:
        return bitboards(masks.reshape(len(masks), self.rows, self.columns))

    def _name(self, cell: int | np.intp) -> str:
        return cell_name(cell, self.columns)

    def _where(self, board: int) -> str:
        return self._name(cells(board, self.columns)[0])


def _kept(puzzles: Tokens, answers: Tokens) -> NDArray[np.bool_]:
    """Cell by cell: as in the maze, or a free cell that the path goes through."""
    kept: NDArray[np.bool_] = (answers == puzzles) | ((puzzles == FREE) & (answers == PATH))
    return kept


def _on_path(puzzles: Tokens, answers: Tokens) -> NDArray[np.bool_]:
    """The cells that the answer's path claims, its two ends included."""
    on_path: NDArray[np.bool_] = (answers == PATH) | (puzzles == START) | (puzzles == GOAL)
    return on_path
