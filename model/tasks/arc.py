"""ARC: grids of colours 0..9 on a 30x30 canvas. Token 0 is PAD, 1 is EOS, colour c is c + 2.

A grid's end is marked by EOS in the row below it and in the column right of it, where the canvas has one. What a
network drew is read as upstream's evaluation reads it: the largest rectangle of colours from the canvas's first cell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from model.tasks.base import PAD, Puzzle, PuzzleError, Task
from model.tasks.description import refuse_unknown, require_shape
from model.tasks.reading import claimed_shape, count, read_cells
from model.tasks.symmetry import DIHEDRAL_INVERSE, Symmetry, Tokens, dihedral

SIDE = 30
EOS = 1
_FIRST_COLOUR = 2
_COLOURS = "0123456789"

Colours: TypeAlias = NDArray[np.uint8]
"""A grid [R, C] of 0..9."""


def encode(grid: Colours, offset: tuple[int, int] = (0, 0)) -> Tokens:
    """Place a grid on the canvas, its first cell at `offset` (row, column): tokens [900]."""
    (top, left), (rows, columns) = offset, grid.shape
    bottom, right = top + rows, left + columns
    if min(offset) < 0 or max(bottom, right) > SIDE:
        raise ValueError(f"a grid of {rows} x {columns} at {offset} does not fit on a canvas of {SIDE} x {SIDE}")
    canvas = np.full((SIDE, SIDE), PAD, dtype=np.uint8)
    canvas[top:bottom, left:right] = grid + np.uint8(_FIRST_COLOUR)
    canvas[bottom : bottom + 1, left:right] = EOS
    canvas[top:bottom, right : right + 1] = EOS
    return canvas.ravel()


def decode(tokens: Tokens) -> Colours:
    """The grid that tokens [900] show at the canvas's first cell; [0, 0] where there is none."""
    canvas = tokens.reshape(SIDE, SIDE)
    coloured = (canvas >= _FIRST_COLOUR) & (canvas < _FIRST_COLOUR + len(_COLOURS))
    leading = np.logical_and.accumulate(coloured, axis=1).sum(axis=1)  # colours at the start of each row
    widths = np.minimum.accumulate(leading)
    rows = int(np.argmax(widths * np.arange(1, SIDE + 1))) + 1
    columns = int(widths[rows - 1])
    if not columns:
        rows = 0
    grid: Colours = canvas[:rows, :columns] - np.uint8(_FIRST_COLOUR)
    return grid


@dataclass(frozen=True, eq=False, slots=True)
class ColourSymmetry(Symmetry):
    """One of the eight rotations and reflections (`turn`) and a permutation of the colours that keeps 0.

    It acts on the grid, not on the canvas: the result starts at the canvas's first cell again. It is named as upstream
    names it in the identifiers of augmented puzzles, which are <puzzle>_<name>.
    """

    turn: int
    colours: Colours
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"t{self.turn}_{''.join(map(str, self.colours))}")

    @classmethod
    def from_name(cls, name: str) -> Self:
        """The symmetry of this name; raises ValueError where it is none."""
        match = re.fullmatch(r"t([0-7])_(0[1-9]{9})", name, re.ASCII)
        if match is None or len(set(match[2])) < len(_COLOURS):
            raise ValueError(f"{short(name)} is not the name of a symmetry, like t3_0192837465")
        return cls(int(match[1]), np.array([int(digit) for digit in match[2]], dtype=np.uint8))

    def apply(self, sequence: Tokens) -> Tokens:
        """Sequence [..., 900] -> [..., 900]."""
        changed = [encode(self.change(decode(tokens))) for tokens in sequence.reshape(-1, SIDE * SIDE)]
        return np.array(changed, dtype=np.uint8).reshape(sequence.shape)

    def change(self, grid: Colours) -> Colours:
        """The grid itself, changed."""
        changed: Colours = dihedral(self.colours[grid], self.turn)
        return changed

    def inverse(self) -> Self:
        """Both parts undone."""
        return type(self)(DIHEDRAL_INVERSE[self.turn], np.argsort(self.colours).astype(np.uint8))


class Arc(Task):
    """A grid of 1 to 30 rows and columns, as lists of 0..9 or as lines of digits.

    There is no checker: only the task's hidden rule says what is right.
    """

    name = "arc"
    seq_len = SIDE * SIDE
    vocab_size = _FIRST_COLOUR + len(_COLOURS)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """There is one canvas."""
        refuse_unknown(description, ("shape",))
        require_shape(description.get("shape"), [SIDE, SIDE])
        return cls()

    def describe(self) -> dict[str, Any]:
        """There is one canvas."""
        return {"kind": "arc", "shape": [SIDE, SIDE]}

    def examples(self) -> list[tuple[Puzzle, Puzzle]]:
        """A test input of a task that asks for the mirrored grid."""
        return [([[1, 0, 0], [0, 2, 0]], [[0, 0, 1], [0, 2, 0]])]

    def parse(self, puzzle: Puzzle) -> Tokens:
        """Read a grid and place it at the canvas's first cell."""
        rows, columns = claimed_shape(puzzle)
        if not (1 <= rows <= SIDE and 1 <= columns <= SIDE):
            raise PuzzleError(
                f"expected a grid of 1 to {SIDE} rows and columns, got {count(rows, 'row')} of {count(columns, 'cell')}"
            )
        colours, _ = read_cells(puzzle, rows, columns, _COLOURS)
        return encode(colours.reshape(rows, columns))

    def parse_answer(self, answer: Puzzle) -> Tokens:
        """An answer is a grid like any other."""
        return self.parse(answer)

    def format(self, tokens: Tokens, like: Puzzle) -> Puzzle:
        """Lines of digits or lists, after the form of `like`; nothing where the canvas shows no grid."""
        grid: list[list[int]] = decode(tokens).tolist()
        return "\n".join("".join(map(str, row)) for row in grid) if isinstance(like, str) else grid

    def draw(self, tokens: Tokens) -> str:
        """Lines of digits."""
        return str(self.format(tokens, ""))

    def random_symmetry(self, rng: np.random.Generator) -> ColourSymmetry:
        """Eight rotations and reflections x permutations of the colours 1 to 9."""
        return ColourSymmetry(int(rng.integers(8)), np.append(0, rng.permutation(9) + 1).astype(np.uint8))

    def named_symmetry(self, name: str) -> ColourSymmetry:
        """Such as t3_0192837465."""
        return ColourSymmetry.from_name(name)

    def identity(self) -> ColourSymmetry:
        """Changes nothing but what lies outside the grid."""
        return ColourSymmetry(0, np.arange(10, dtype=np.uint8))
