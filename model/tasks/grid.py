"""Any puzzle on a grid of characters, described by data alone: token 0 is PAD, character i of the alphabet is i + 1."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from reprlib import repr as short
from typing import Any, Self

import numpy as np

from model.tasks.base import PAD, Grid, Puzzle, PuzzleError, Task
from model.tasks.description import read_alphabet, read_name, read_shape, refuse_unknown
from model.tasks.reading import cell_name, read_cells
from model.tasks.symmetry import DIHEDRAL_NAMES, CellSymmetry, Symmetry, Tokens, dihedral, random_dihedral

SYMMETRIES = ("dihedral", "symbols")


class GridTask(Task):
    """Text (one line a row, or all on one line) or a grid of indices into the alphabet.

    There is no checker: a description does not say what is right.

    Args:
        name: what the task is called in the registry and in requests.
        shape: rows and columns, at most 4096 cells.
        alphabet: the characters that a cell may hold.
        blank: the character of a cell that is to be filled in; an answer may not hold it. None: an answer may hold
            the whole alphabet.
        symmetries: what keeps a puzzle of this kind a puzzle: "dihedral", the rotations and reflections that keep
            the shape; "symbols", every renaming of the characters other than the blank.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int],
        alphabet: str,
        blank: str | None = None,
        symmetries: Collection[str] = (),
    ) -> None:
        self.name = read_name(name)
        self.rows, self.columns = read_shape(shape)
        self.alphabet = read_alphabet(alphabet)
        if blank is not None and not (isinstance(blank, str) and len(blank) == 1 and blank in alphabet):
            raise ValueError(f"task description: blank is {short(blank)}; expected one character of the alphabet")
        if not isinstance(symmetries, (list, tuple)) or any(symmetry not in SYMMETRIES for symmetry in symmetries):
            raise ValueError(
                f"task description: symmetries is {short(symmetries)}; expected a list of {', '.join(SYMMETRIES)}"
            )
        self.blank, self.symmetries = blank, tuple(symmetries)
        self.seq_len = self.rows * self.columns
        self.vocab_size = len(self.alphabet) + 1

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """Needs name, shape and alphabet; may say blank and symmetries."""
        refuse_unknown(description, ("name", "shape", "alphabet", "blank", "symmetries"))
        for key in ("name", "shape", "alphabet"):
            if key not in description:
                raise ValueError(f"task description: {key} is missing")
        return cls(**{key: value for key, value in description.items() if key != "kind"})

    def describe(self) -> dict[str, Any]:
        """Everything about the task."""
        return {
            "kind": "grid",
            "name": self.name,
            "shape": [self.rows, self.columns],
            "alphabet": self.alphabet,
            "blank": self.blank,
            "symmetries": list(self.symmetries),
        }

    def examples(self) -> list[tuple[Puzzle, Puzzle]]:
        """None: a description does not say what solves a puzzle."""
        return []

    def parse(self, puzzle: Puzzle) -> Tokens:
        """Read a puzzle of exactly this shape and alphabet."""
        return self._read(puzzle)[0]

    def parse_answer(self, answer: Puzzle) -> Tokens:
        """Read an answer; a blank is an error where the task has one."""
        tokens, pointers = self._read(answer)
        if self.blank is not None:
            blanks = np.flatnonzero(tokens == self._token(self.blank))
            if len(blanks):
                raise PuzzleError(f"the answer leaves {cell_name(blanks[0], self.columns)} blank", pointers[blanks[0]])
        return tokens

    def format(self, tokens: Tokens, like: Puzzle) -> Puzzle:
        """Text on one line or on several, or a grid, after the form of `like`; PAD is written as the blank."""
        if not isinstance(like, str):
            return self._codes(tokens)
        return ("\n" if "\n" in like.strip("\r\n") else "").join(self._lines(tokens))

    def draw(self, tokens: Tokens) -> str:
        """One line a row."""
        return "\n".join(self._lines(tokens))

    def random_symmetry(self, rng: np.random.Generator) -> Symmetry:
        """Drawn from the symmetries that the description claims."""
        cells, tokens, names = np.arange(self.seq_len), np.arange(self.vocab_size, dtype=np.uint8), []
        if "dihedral" in self.symmetries:
            which = random_dihedral(rng, self.rows, self.columns)
            cells = dihedral(cells.reshape(self.rows, self.columns), which).ravel()
            names.append(DIHEDRAL_NAMES[which])
        if "symbols" in self.symmetries:
            symbols = [self._token(character) for character in self.alphabet if character != self.blank]
            tokens[symbols] = rng.permutation(symbols)
            names.append("symbols " + "".join(self.alphabet[token - 1] for token in tokens[1:]))
        return CellSymmetry(cells, tokens, ", ".join(names) or "identity")

    def _token(self, character: str) -> int:
        return self.alphabet.index(character) + 1

    def _read(self, puzzle: Puzzle) -> tuple[Tokens, list[str]]:
        codes, pointers = read_cells(puzzle, self.rows, self.columns, self.alphabet)
        return codes + np.uint8(1), pointers

    def _codes(self, tokens: Tokens) -> Grid:
        nothing = self._token(self.blank or self.alphabet[0])
        known = np.where((tokens > PAD) & (tokens < self.vocab_size), tokens, nothing)
        codes: Grid = (known.reshape(self.rows, self.columns) - 1).tolist()
        return codes

    def _lines(self, tokens: Tokens) -> list[str]:
        return ["".join(self.alphabet[code] for code in row) for row in self._codes(tokens)]
