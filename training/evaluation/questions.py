"""What a network is asked: puzzles with known answers from a CSV file, a dataset folder, or a checkpoint's canaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Canary
from model.tasks import PuzzleError, Tokens
from training.data.csv_file import read_csv
from training.data.errors import DataError
from training.data.folder import Split, is_dataset, read_identifiers, read_split
from training.evaluation.votes import image_of
from training.subject import Subject


@dataclass(frozen=True, slots=True)
class Questions:
    """n puzzles.

    Attributes:
        puzzles, answers: [n, L] tokens.
        sources: where each came from, [n].
        difficulty: how hard each is, [n]; NaN where nobody knows.
        measure: what the difficulty is.
        puzzle_ids: rows of the network's puzzle embedding, [n]; None: it has one for all.
        names, tests: of ARC: the identifier of each puzzle, and which of its tests it is, [n].
    """

    puzzles: Tokens
    answers: Tokens
    sources: NDArray[np.str_]
    difficulty: NDArray[np.float64]
    measure: str
    puzzle_ids: NDArray[np.int64] | None = None
    names: NDArray[np.str_] | None = None
    tests: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.puzzles)

    def rows(self, which: NDArray[np.intp]) -> Questions:
        """Some of them, by index."""
        picked: dict[str, Any] = {
            field: value[which]
            for field in self.__slots__
            if isinstance(value := getattr(self, field), np.ndarray)
        }  # fmt: skip
        return replace(self, **picked)

    def sample(self, count: int, seed: int = 0) -> Questions:
        """`count` of them drawn at random; of ARC, all images of so many tasks, since these vote together."""
        rng = np.random.Generator(np.random.Philox(key=seed))
        if self.names is None:
            return self.rows(np.sort(rng.permutation(len(self))[:count]))
        tasks = np.array([image_of(str(name))[0] for name in self.names])
        chosen = rng.permutation(np.unique(tasks))[:count]
        return self.rows(np.flatnonzero(np.isin(tasks, chosen)))


def read_questions(path: Path, subject: Subject, split: str = "test") -> Questions:
    """Read a CSV file, or a split of a dataset folder.

    Raises:
        DataError: It cannot be read, or names puzzles that the network does not know.
    """
    if not is_dataset(path):
        table = read_csv(path, subject.task)
        return graded(table.puzzles, table.answers, np.array(table.sources), table.ratings)
    read = read_split(path, split, subject.task)
    if not len(read.inputs):
        raise DataError(f"{path}: the split {split!r} is empty")
    questions = graded(np.array(read.inputs), np.array(read.labels), np.full(len(read.inputs), path.name))
    if read.metadata["num_puzzle_identifiers"] == 1:
        return questions
    return _identified(questions, path, read, subject)


def graded(
    puzzles: Tokens, answers: Tokens, sources: NDArray[Any], ratings: NDArray[np.float64] | None = None
) -> Questions:
    """Questions whose difficulty is their rating or, where none has one, how many cells there are to find."""
    if ratings is not None and not np.isnan(ratings).all():
        return Questions(puzzles, answers, sources, ratings, "rating")
    return Questions(puzzles, answers, sources, (puzzles != answers).sum(axis=1).astype(np.float64), "cells to find")


def canary_questions(subject: Subject, canaries: Sequence[Canary]) -> Questions:
    """A checkpoint's own puzzles, each with its answer; raises DataError where an import's canaries hold none."""
    try:
        puzzles = np.stack([subject.task.parse(canary.puzzle) for canary in canaries])
        answers = np.stack([subject.task.parse_answer(canary.answer) for canary in canaries])
    except PuzzleError as error:
        raise DataError(f"{subject.name}: its canaries hold no answers ({error.detail}); name puzzles") from None
    questions = graded(puzzles, answers, np.full(len(puzzles), "canaries"))
    names = [canary.puzzle_id for canary in canaries]
    if subject.identifiers is None or None in names:
        return questions
    return replace(questions, puzzle_ids=np.array([subject.identifiers[str(name)] for name in names]))


def _identified(questions: Questions, path: Path, read: Split, subject: Subject) -> Questions:
    numbers = read.example_identifiers
    names = np.array(read_identifiers(path))[numbers]
    if subject.identifiers is None:
        rows = numbers.astype(np.int64)
    else:
        unknown = next((name for name in names if name not in subject.identifiers), None)
        if unknown is not None:
            raise DataError(f"{path}: {subject.name} was not trained on the puzzle {unknown!r}")
        rows = np.array([subject.identifiers[name] for name in names])
    if rows.max() >= subject.config.num_puzzles:
        raise DataError(f"{path}: has more identifiers than {subject.name} was trained on")
    tests = np.concatenate([np.arange(n) for n in np.diff(read.puzzle_indices)])
    return replace(questions, puzzle_ids=rows, names=names, tests=tests)
