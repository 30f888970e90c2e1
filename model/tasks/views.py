"""Further looks at one puzzle, each under another symmetry of its task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from model.tasks.base import Task
from model.tasks.symmetry import Symmetry, Tokens

_DRAWS = 64
"""Symmetries that are drawn in search of a view that was not had yet."""


def further_views(task: Task, puzzle: Tokens, rng: np.random.Generator) -> Iterator[Symmetry]:
    """Random symmetries under which a puzzle [L] looks unlike itself and unlike under all before.

    Ends where none is found any more: a maze has eight views at most, Sudoku more than anybody will ask for.
    """
    shown = {puzzle.tobytes()}
    while True:
        for _ in range(_DRAWS):
            symmetry = task.random_symmetry(rng)
            tokens = symmetry.apply(puzzle).tobytes()
            if tokens not in shown:
                break
        else:
            return
        shown.add(tokens)
        yield symmetry
