"""Puzzles with answers, one a row: what is read from a file or made by a generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.tasks import Tokens


@dataclass(frozen=True, slots=True)
class Table:
    """Puzzles and answers, both [n, L] tokens, where each came from and how hard it is (NaN: not said), [n]."""

    puzzles: Tokens
    answers: Tokens
    sources: list[str]
    ratings: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.puzzles)

    def rows(self, which: NDArray[np.intp]) -> Table:
        """The rows of these indices, in this order."""
        return Table(
            self.puzzles[which], self.answers[which], [self.sources[i] for i in which], self.ratings[which]
        )  # fmt: skip

    @classmethod
    def concatenate(cls, tables: Sequence[Table]) -> Table:
        """One after the other."""
        return cls(
            np.concatenate([table.puzzles for table in tables]),
            np.concatenate([table.answers for table in tables]),
            [source for table in tables for source in table.sources],
            np.concatenate([table.ratings for table in tables]),
        )
