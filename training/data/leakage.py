"""Does a test set hold puzzles that were trained on? For Sudoku the answer sees through every symmetry."""

from __future__ import annotations

from dataclasses import dataclass

from model.tasks import Task, Tokens
from model.tasks.sudoku import Sudoku
from training.data.sudoku_canonical import canonical


@dataclass(frozen=True, slots=True)
class Leakage:
    """How many test puzzles were trained on, and how many have an answer that some training puzzle has.

    `symmetries` says whether copies under the task's symmetries were counted, too, or literal copies alone.
    """

    train: int
    test: int
    puzzles: int
    answers: int
    symmetries: bool

    def __str__(self) -> str:
        under = "under any symmetry" if self.symmetries else "literally"
        return (
            f"{self.puzzles} of {self.test} test puzzles are among the {self.train} of the training set ({under}); "
            f"{self.answers} share an answer with one"
        )


def find_leakage(task: Task, train: tuple[Tokens, Tokens], test: tuple[Tokens, Tokens]) -> Leakage:
    """Compare (puzzles, answers), each [n, L]; Sudokus must have exactly one solution. Takes 1 ms a Sudoku."""
    symmetries = isinstance(task, Sudoku)
    if symmetries:
        train, test = canonical(*train), canonical(*test)
    puzzles, answers = ({row.tobytes() for row in rows} for rows in train)
    return Leakage(
        train=len(train[0]),
        test=len(test[0]),
        puzzles=sum(row.tobytes() in puzzles for row in test[0]),
        answers=sum(row.tobytes() in answers for row in test[1]),
        symmetries=symmetries,
    )
