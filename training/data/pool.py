"""The puzzles a run draws from: weighted sources in memory, every draw a function of seed, step and row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.tasks import Task, Tokens
from training.data.errors import DataError

EASY_SHARE = 0.3
"""Share of a source that a run with `easy_steps` begins with."""


@dataclass(frozen=True, slots=True)
class Source:
    """Puzzles with answers, both [n, L] tokens, and how often the pool draws from them.

    Attributes:
        sha256, licence: what a checkpoint's card says of the data; the licence where it is known.
        starts: where each group of puzzles starts that are copies of one another, and where the last one ends, [g + 1];
            None: every puzzle is alone.
        puzzle_ids: the puzzle embedding of every puzzle, [n]. They were augmented when they were given their ids, so
            the pool shows them as they are.
        num_puzzles: how many puzzle embeddings there are.
        heldout: what the data itself sets aside to be judged by; None: the last puzzles serve.
    """

    name: str
    puzzles: Tokens
    answers: Tokens
    weight: float
    sha256: str = ""
    licence: str | None = None
    starts: NDArray[np.integer[Any]] | None = None
    puzzle_ids: NDArray[np.int32] | None = None
    num_puzzles: int = 1
    heldout: Source | None = None

    def __len__(self) -> int:
        return len(self.puzzles)

    def card(self) -> dict[str, Any]:
        """What a checkpoint's card says of the source."""
        return {"name": self.name, "count": len(self), "sha256": self.sha256, "licence": self.licence}

    def split(self, heldout: int) -> tuple[Source, Source]:
        """The source without `heldout` of its puzzles, and those. No group of copies is split."""
        if self.heldout is not None:
            spread = np.linspace(0, len(self.heldout) - 1, min(heldout, len(self.heldout))).astype(np.intp)
            return self, self.heldout.rows(spread)
        cut = len(self) - heldout
        if self.starts is not None:
            cut = int(self.starts[np.searchsorted(self.starts, cut, side="right") - 1])
        if not cut:
            raise DataError(f"{self.name}: holding out {heldout} puzzles leaves none to train on")
        return self.rows(slice(None, cut)), self.rows(slice(cut, None))

    def rows(self, which: slice | NDArray[np.intp]) -> Source:
        """The source reduced to some of its puzzles; groups are no longer told apart."""
        return replace(
            self,
            puzzles=self.puzzles[which],
            answers=self.answers[which],
            puzzle_ids=None if self.puzzle_ids is None else self.puzzle_ids[which],
            starts=None,
        )


class Sample(NamedTuple):
    """A puzzle and its answer, each [L], and which puzzle embedding it has."""

    puzzle: Tokens
    answer: Tokens
    puzzle_id: int


class Pool:
    """Draws augmented samples. The same seed, step and row give the same sample on any machine.

    For the first `easy_steps` steps a source shows its easy puzzles first: at the start the `EASY_SHARE` with the
    fewest cells to find, then steadily more, and all of them at the end.
    """

    def __init__(self, task: Task, sources: list[Source], seed: int, easy_steps: int = 0, augment: bool = True) -> None:
        self.task, self.sources, self.seed = task, sources, seed
        self.easy_steps, self.augment = easy_steps, augment
        self._orders = [easiest_first(source) for source in sources] if easy_steps else []
        weights = np.array([source.weight for source in sources])
        self._bounds = np.cumsum(weights / weights.sum())[:-1]

    @property
    def num_puzzles(self) -> int:
        """How many puzzle embeddings its samples need."""
        return max(source.num_puzzles for source in self.sources)

    def rng(self, step: int, row: int) -> np.random.Generator:
        """The generator of everything random about the sample that `row` receives at `step`."""
        return np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, step, row]))

    def draw(self, rng: np.random.Generator, step: int) -> Sample:
        """One puzzle under a random symmetry, or as it is where that is wanted or it was augmented before."""
        which = int(np.searchsorted(self._bounds, rng.random(), side="right"))
        source = self.sources[which]
        if step < self.easy_steps:
            reach = EASY_SHARE + (1 - EASY_SHARE) * step / self.easy_steps
            index = self._orders[which][rng.integers(ceil(reach * len(source)))]
        else:
            index = rng.integers(len(source))
        puzzle, answer = source.puzzles[index], source.answers[index]
        if source.puzzle_ids is not None:
            return Sample(puzzle, answer, int(source.puzzle_ids[index]))
        if not self.augment:
            return Sample(puzzle, answer, 0)
        symmetry = self.task.random_symmetry(rng)
        return Sample(symmetry.apply(puzzle), symmetry.apply(answer), 0)


def easiest_first(source: Source) -> NDArray[np.intp]:
    """The puzzles in order of how many cells there are to find, [n]."""
    return np.argsort((source.puzzles != source.answers).sum(axis=1), kind="stable")
