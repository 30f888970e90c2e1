"""The puzzles a run draws from: weighted sources in memory, every draw a function of seed, step and row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.tasks import Task, Tokens


@dataclass(frozen=True, slots=True)
class Source:
    """Puzzles with answers, both [n, L] tokens, and how often the pool draws from them."""

    name: str
    puzzles: Tokens
    answers: Tokens
    weight: float

    def __len__(self) -> int:
        return len(self.puzzles)

    def split(self, heldout: int) -> tuple[Source, Source]:
        """The source without its last `heldout` puzzles, and those."""
        cut = len(self) - heldout
        return (
            Source(self.name, self.puzzles[:cut], self.answers[:cut], self.weight),
            Source(self.name, self.puzzles[cut:], self.answers[cut:], self.weight),
        )


class Pool:
    """Draws augmented samples. The same seed, step and row give the same sample on any machine."""

    def __init__(self, task: Task, sources: list[Source], seed: int) -> None:
        self.task, self.sources, self.seed = task, sources, seed
        weights = np.array([source.weight for source in sources])
        self._cumulative = np.cumsum(weights / weights.sum())

    def rng(self, step: int, row: int) -> np.random.Generator:
        """The generator of everything random about the sample that `row` receives at `step`."""
        return np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, step, row]))

    def draw(self, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """One puzzle and its answer under a random symmetry, each [L]."""
        source = self.sources[int(np.searchsorted(self._cumulative, rng.random(), side="right"))]
        index = rng.integers(len(source))
        symmetry = self.task.random_symmetry(rng)
        return symmetry.apply(source.puzzles[index]), symmetry.apply(source.answers[index])
