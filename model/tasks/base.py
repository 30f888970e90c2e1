"""What a task is: a codec, a checker, and symmetries. Numpy only, so that the API process stays light."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.tasks.symmetry import CellSymmetry, Symmetry, Tokens

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


class Task(ABC):
    """One kind of puzzle. Instances are immutable and hold the shape a checkpoint was trained for."""

    name: str
    seq_len: int
    vocab_size: int
    has_checker: bool = False
    grades: bool = False
    """Whether valid answers differ in quality: `check` then says `optimal`, which `check_many` does not."""

    @classmethod
    @abstractmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """The task that `describe` described; raises ValueError for anything else (it comes from a file)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a checkpoint's config says of its task; `model.tasks.task_from` reads it back."""

    @abstractmethod
    def examples(self) -> list[tuple[Puzzle, Puzzle]]:
        """Small puzzles with their answers, for documentation; empty where the task knows none."""

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
    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        """A symmetry drawn uniformly from the task's group."""

    def named_symmetry(self, name: str) -> Symmetry:
        """The symmetry that augmented puzzles of this name were made with; raises ValueError where it is none."""
        raise ValueError(f"task {self.name!r} does not name its symmetries")

    def check(self, puzzle: Tokens, answer: Tokens) -> Verdict:
        """Judge one answer [L] against its puzzle [L]; without a checker nothing is said."""
        return Verdict(None)

    def check_many(self, puzzles: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        """Which answers [n, L] are valid for their puzzles [n, L]; without a checker none is known to be."""
        return np.zeros(len(answers), dtype=np.bool_)

    def predicted(self, puzzle: Tokens) -> NDArray[np.bool_]:
        """Which cells of a puzzle [L] the model has to find, [L]: over these its confidence is averaged."""
        return np.ones(self.seq_len, dtype=np.bool_)

    def identity(self) -> Symmetry:
        """The symmetry that changes nothing."""
        return CellSymmetry.identity(self.seq_len, self.vocab_size)
