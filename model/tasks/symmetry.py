"""Symmetries: changes of a puzzle that keep it a puzzle and its answer its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = NDArray[np.uint8]
_Array: TypeAlias = NDArray[Any]


class Symmetry(ABC):
    """Used for augmentation in training and for further looks at the same puzzle at inference."""

    name: str

    @abstractmethod
    def apply(self, sequence: Tokens) -> Tokens:
        """The changed puzzles or answers: sequence [..., L] -> [..., L]."""

    @abstractmethod
    def inverse(self) -> Self:
        """The symmetry that undoes this one."""


@dataclass(frozen=True, eq=False, slots=True)
class CellSymmetry(Symmetry):
    """A relabelling of cells and tokens: position i of the result holds `tokens[before[cells[i]]]`."""

    cells: NDArray[np.intp]
    tokens: Tokens
    name: str

    @classmethod
    def identity(cls, seq_len: int, vocab_size: int) -> Self:
        """Every cell and every token stays."""
        return cls(np.arange(seq_len), np.arange(vocab_size, dtype=np.uint8), "identity")

    def apply(self, sequence: Tokens) -> Tokens:
        """Move the cells of sequence [..., L], then relabel what they hold."""
        changed: Tokens = self.tokens[sequence[..., self.cells]]
        return changed

    def inverse(self) -> Self:
        """Both permutations undone."""
        cells, tokens = np.argsort(self.cells), np.argsort(self.tokens).astype(np.uint8)
        return type(self)(cells, tokens, f"inverse of {self.name}")


# The order is upstream's: its augmented ARC puzzles are named by this number.
_DIHEDRAL: tuple[tuple[str, Callable[[_Array], _Array]], ...] = (
    ("identity", lambda grid: grid),
    ("rotated by 90 degrees", np.rot90),
    ("rotated by 180 degrees", lambda grid: np.rot90(grid, 2)),
    ("rotated by 270 degrees", lambda grid: np.rot90(grid, 3)),
    ("mirrored left to right", np.fliplr),
    ("mirrored top to bottom", np.flipud),
    ("transposed", np.transpose),
    ("transposed along the other diagonal", lambda grid: np.fliplr(np.rot90(grid))),
)
DIHEDRAL_NAMES = tuple(name for name, _ in _DIHEDRAL)
DIHEDRAL_INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)
_SHAPE_KEEPING = (0, 2, 4, 5)


def dihedral(grid: _Array, which: int) -> _Array:
    """One of the eight rotations and reflections of a grid [R, C]: `DIHEDRAL_NAMES[which]`."""
    return _DIHEDRAL[which][1](grid)


def random_dihedral(rng: np.random.Generator, rows: int, columns: int) -> int:
    """One of the eight for a square shape, one of the four that keep the shape for any other."""
    return int(rng.integers(8)) if rows == columns else int(rng.choice(_SHAPE_KEEPING))
