"""What a task is: a codec, a checker, and symmetries. Numpy only, so that the API process stays light."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = NDArray[np.uint8]
Grid: TypeAlias = list[list[int]]
Puzzle: TypeAlias = str | Grid

PAD = 0
"""Token of a position that holds nothing, in every task; as a label: not graded."""


class PuzzleError(ValueError):
    """A puzzle or an answer cannot be read.

    `pointer` is a JSON pointer into the puzzle ("/3/4" for a grid's cell, "/17" for a character, "" for the whole).
    """

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Verdict:
    """The exact checker's word on an answer: valid or not (None: the task has no checker), and why not.

    `optimal` is set only by tasks whose valid answers differ in quality (a maze's path length).
    """

    valid: bool | None
    violations: tuple[str, ...] = ()
    optimal: bool | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Symmetry:
    """A relabelling of cells and tokens that keeps a puzzle a puzzle and its answer its answer.

    Position i of the result holds `tokens[before[cells[i]]]`.
    """

    cells: NDArray[np.intp]
    tokens: Tokens
    name: str = field(default="")

    def apply(self, sequence: Tokens) -> Tokens:
        """sequence [..., L] -> [..., L]."""
        moved: Tokens = self.tokens[sequence[..., self.cells]]
        return moved

    def inverse(self) -> Symmetry:
        """The symmetry that undoes this one."""
        return Symmetry(np.argsort(self.cells), np.argsort(self.tokens).astype(np.uint8), f"inverse of {self.name}")


class Task(ABC):
    """One kind of puzzle. Instances are immutable and hold the shape a checkpoint was trained for."""

    name: str
    seq_len: int
    vocab_size: int
    has_checker: bool = True

    @abstractmethod
    def parse(self, puzzle: Puzzle) -> Tokens:
        """Read a puzzle, as text or as a grid, into tokens [L]; raises PuzzleError that names the place."""

    @abstractmethod
    def parse_answer(self, answer: Puzzle) -> Tokens:
        """Read a finished answer into tokens [L]; raises PuzzleError where a cell is missing."""

    @abstractmethod
    def format(self, tokens: Tokens, like: Puzzle) -> Puzzle:
        """Write tokens [L] in the same form (text or grid) as `like`; impossible tokens become blanks."""

    @abstractmethod
    def draw(self, tokens: Tokens) -> str:
        """A picture for people, in plain text lines."""

    @abstractmethod
    def check(self, puzzle: Tokens, answer: Tokens) -> Verdict:
        """Judge one answer [L] against its puzzle [L]."""

    @abstractmethod
    def check_many(self, puzzles: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        """Which answers [n, L] are valid for their puzzles [n, L], as `check` would say."""

    @abstractmethod
    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        """A symmetry drawn uniformly from the task's group."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a checkpoint's config says of its task; `model.tasks.task_from` reads it back."""


def read_grid(grid: Sequence[Any], rows: int, columns: int, low: int, high: int) -> NDArray[np.int64]:
    """A grid of whole numbers of exactly the given shape and range; raises PuzzleError that names the cell."""
    if len(grid) != rows:
        raise PuzzleError(f"expected {rows} rows, got {len(grid)}")
    for r, row in enumerate(grid):
        if not isinstance(row, (list, tuple)):
            raise PuzzleError(f"row {r + 1} is not a list", f"/{r}")
        if len(row) != columns:
            raise PuzzleError(f"row {r + 1} has {len(row)} cells, expected {columns}", f"/{r}")
        for c, value in enumerate(row):
            if type(value) is not int or not low <= value <= high:
                raise PuzzleError(
                    f"row {r + 1}, column {c + 1}: expected a whole number from {low} to {high}, got {value!r}",
                    f"/{r}/{c}",
                )
    return np.array(grid, dtype=np.int64)
