"""Sudoku, 9x9: vocabulary 0 PAD, 1 blank, digit d -> d + 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from model.tasks.base import Puzzle, PuzzleError, Task, Verdict
from model.tasks.description import refuse_unknown, require_shape
from model.tasks.reading import cell_name, read_grid, refuse_long
from model.tasks.symmetry import CellSymmetry, Symmetry, Tokens

BLANK = 1
_BLANK_CHARACTERS = ".0_"
_RULES = "|-+"

_PLAIN = b"._0123456789"
_PLAIN_TOKENS = bytes.maketrans(_PLAIN, bytes([BLANK, BLANK, *range(BLANK, 11)]))
_CHARACTERS = b"..123456789".ljust(256, b".")
"""What each token is written as."""

_CELL = np.arange(81)
_ROW, _COLUMN = _CELL // 9, _CELL % 9
_BOX = _ROW // 3 * 3 + _COLUMN // 3

UNITS: NDArray[np.intp] = np.stack([np.flatnonzero(group == i) for group in (_ROW, _COLUMN, _BOX) for i in range(9)])
"""The 27 units (9 rows, 9 columns, 9 boxes) as cell indices, [27, 9]."""

_SHARED = (_ROW == _ROW[:, None]) | (_COLUMN == _COLUMN[:, None]) | (_BOX == _BOX[:, None])
_PEERS = np.stack(np.nonzero(np.triu(_SHARED, 1)))
"""The 810 pairs of cells that share a unit, [2, 810]."""

_ALL_DIGITS = sum(1 << (digit + 1) for digit in range(1, 10))

_UNIT_NAMES = [f"{kind} {i + 1}" for kind in ("row", "column", "box") for i in range(9)]


class Sudoku(Task):
    """Text of 81 characters or a 9x9 grid of 0..9; see the module for the tokens."""

    name = "sudoku"
    seq_len = 81
    vocab_size = 11
    has_checker = True

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Sudoku has one shape."""
        refuse_unknown(description, ("shape",))
        require_shape(description.get("shape"), [9, 9])
        return cls()

    def describe(self) -> dict[str, Any]:
        """Sudoku has one shape."""
        return {"kind": "sudoku", "shape": [9, 9]}

    def examples(self) -> list[tuple[Puzzle, Puzzle]]:
        """An easy one that has been printed many times."""
        return [
            (
                "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
                "534678912672195348198342567859761423426853791713924856961537284287419635345286179",
            )
        ]

    def parse(self, puzzle: Puzzle) -> Tokens:
        """Read a puzzle; two equal givens in one unit are an error that names both cells."""
        tokens = _read_at_once(puzzle)
        if tokens is None or _contradicts(tokens):
            tokens, pointers = _read(puzzle)
            _refuse_contradiction(tokens, pointers)
        return tokens

    def parse_answer(self, answer: Puzzle) -> Tokens:
        """Read a finished grid; a blank is an error, a wrong digit is not (the checker says that)."""
        tokens, pointers = _read(answer)
        blanks = np.flatnonzero(tokens == BLANK)
        if len(blanks):
            raise PuzzleError(f"the answer leaves {_name(blanks[0])} blank", pointers[blanks[0]])
        return tokens

    def format(self, tokens: Tokens, like: Puzzle) -> Puzzle:
        """Text (blanks as '.') or a grid (blanks as 0), after the form of `like`."""
        if isinstance(like, str):
            return tokens.astype(np.uint8).tobytes().translate(_CHARACTERS).decode("ascii")
        digits = np.where(tokens > BLANK, tokens - np.uint8(1), np.uint8(0))
        rows: list[list[int]] = digits.reshape(9, 9).tolist()
        return rows

    def draw(self, tokens: Tokens) -> str:
        """A grid with rules between the boxes."""
        text = str(self.format(tokens, ""))
        lines = [" | ".join(" ".join(text[r * 9 + c : r * 9 + c + 3]) for c in (0, 3, 6)) for r in range(9)]
        rule = "------+-------+------"
        return "\n".join([*lines[:3], rule, *lines[3:6], rule, *lines[6:]])

    def check(self, puzzle: Tokens, answer: Tokens) -> Verdict:
        """Valid if every given is kept and every unit holds each digit once; else says what is violated."""
        violations = [
            f"{_name(cell)}: given {puzzle[cell] - 1} was changed"
            for cell in np.flatnonzero((puzzle != BLANK) & (answer != puzzle))
        ]
        for unit, name in zip(UNITS, _UNIT_NAMES, strict=True):
            digits = answer[unit]
            if len(set(digits.tolist())) < 9 or digits.min() <= BLANK:
                violations.append(f"{name} does not hold each digit once")
        return Verdict(not violations, tuple(violations))

    def check_many(self, puzzles: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        """Vectorised `check` over [n, 81]: the digits of a unit are nine different bits."""
        kept = (puzzles == BLANK) | (puzzles == answers)
        bits = np.left_shift(np.uint16(1), answers, dtype=np.uint16)
        seen = np.bitwise_or.reduce(bits[:, UNITS], axis=2)  # [n, 27]
        return np.asarray(kept.all(axis=1) & (seen == _ALL_DIGITS).all(axis=1))

    def predicted(self, puzzle: Tokens) -> NDArray[np.bool_]:
        """The cells that are not given."""
        blank: NDArray[np.bool_] = puzzle == BLANK
        return blank

    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        """Digits x bands x rows in a band x stacks x columns in a stack x transpose."""
        rows, columns, digits = _shuffled_lines(rng), _shuffled_lines(rng), rng.permutation(9) + 1
        cells = rows[:, None] * 9 + columns
        name = f"digits {_join(digits)}, rows {_join(rows + 1)}, columns {_join(columns + 1)}"
        if rng.integers(2):
            cells, name = cells.T, f"{name}, transposed"
        return CellSymmetry(cells.ravel(), np.concatenate(([0, BLANK], digits + 1)).astype(np.uint8), name)


def _read_at_once(puzzle: Puzzle) -> Tokens | None:
    """Tokens [81], in a tenth of the time that `_read` takes; None for a text that it has to look at."""
    if not isinstance(puzzle, str):
        return read_grid(puzzle, 9, 9, 9).ravel() + np.uint8(BLANK)
    refuse_long(puzzle)
    cells = puzzle.encode("ascii", "replace").translate(None, b" \t\r\n" + _RULES.encode())
    if len(cells) != 81 or cells.translate(None, _PLAIN):
        return None
    return np.frombuffer(bytearray(cells.translate(_PLAIN_TOKENS)), dtype=np.uint8)


def _read(puzzle: Puzzle) -> tuple[Tokens, list[str]]:
    """Tokens [81] and, cell by cell, the JSON pointer to where each was written."""
    if not isinstance(puzzle, str):
        digits = read_grid(puzzle, 9, 9, 9)
        return digits.ravel() + np.uint8(BLANK), [f"/{r}/{c}" for r in range(9) for c in range(9)]
    refuse_long(puzzle)
    tokens, pointers = [], []
    for position, character in enumerate(puzzle):
        if character.isspace() or character in _RULES:
            continue
        if character in _BLANK_CHARACTERS:
            tokens.append(BLANK)
        elif character in "123456789":
            tokens.append(int(character) + 1)
        else:
            raise PuzzleError(
                f"character {position + 1} is {character!r}; expected 1 to 9, or one of '.', '0', '_' for a blank",
                f"/{position}",
            )
        pointers.append(f"/{position}")
    if len(tokens) != 81:
        raise PuzzleError(f"expected 81 cells, got {len(tokens)}")
    return np.array(tokens, dtype=np.uint8), pointers


def _contradicts(tokens: Tokens) -> bool:
    """Whether a unit holds a digit twice."""
    one, other = tokens[_PEERS]
    return bool(((one == other) & (one != BLANK)).any())


def _refuse_contradiction(tokens: Tokens, pointers: list[str]) -> None:
    for unit, name in zip(UNITS, _UNIT_NAMES, strict=True):
        first: dict[int, int] = {}
        for cell in unit:
            token = int(tokens[cell])
            if token == BLANK:
                continue
            if token in first:
                raise PuzzleError(
                    f"{name} holds {token - 1} twice: at {_name(first[token])} and at {_name(cell)}", pointers[cell]
                )
            first[token] = int(cell)


def _shuffled_lines(rng: np.random.Generator) -> NDArray[np.int64]:
    """The nine rows (or columns) with the bands in any order, and the rows of each band in any order, [9]."""
    within = rng.permuted(np.tile(np.arange(3), (3, 1)), axis=1)
    lines: NDArray[np.int64] = (rng.permutation(3)[:, None] * 3 + within).ravel()
    return lines


def _join(numbers: NDArray[np.int64]) -> str:
    return "".join(map(str, numbers.tolist()))


def _name(cell: int | np.intp) -> str:
    return cell_name(cell, 9)
