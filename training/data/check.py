"""Is an answer the right one? Asked of every row that is read from outside."""

from __future__ import annotations

import numpy as np

from model.tasks import Task, Tokens
from model.tasks.maze import Maze
from model.tasks.sudoku import Sudoku
from training.data.sudoku_solver import solve


def first_wrong(task: Task, puzzles: Tokens, answers: Tokens) -> tuple[int, str] | None:
    """The first row of [n, L] whose answer is not the right one, and why; None if all are right.

    Right is: a Sudoku's only solution; a path that the maze's checker accepts and that no path is shorter than; what
    the checker accepts; and anything where the task has no checker.
    """
    if isinstance(task, Sudoku):
        return _first_wrong_sudoku(task, puzzles, answers)
    if isinstance(task, Maze):
        return _first_wrong_maze(task, puzzles, answers)
    if task.has_checker:
        for row in np.flatnonzero(~task.check_many(puzzles, answers)):
            return int(row), _wrong(task, puzzles[row], answers[row])
    return None


def _first_wrong_sudoku(task: Sudoku, puzzles: Tokens, answers: Tokens) -> tuple[int, str] | None:
    solved, solutions, _ = solve(puzzles)
    for row in np.flatnonzero((solutions != 1) | (solved != answers).any(axis=1)):
        if solutions[row] == 0:
            return int(row), "the puzzle has no solution"
        if solutions[row] > 1:
            return int(row), "the puzzle has more than one solution"
        return int(row), _wrong(task, puzzles[row], answers[row])
    return None


def _first_wrong_maze(task: Maze, puzzles: Tokens, answers: Tokens) -> tuple[int, str] | None:
    for row, (puzzle, answer) in enumerate(zip(puzzles, answers, strict=True)):
        verdict = task.check(puzzle, answer)
        if not verdict.valid:
            return row, _wrong(task, puzzle, answer)
        if not verdict.optimal:
            return row, f"the answer is wrong: a path of {task.shortest(puzzle)} steps is shorter"
    return None


def _wrong(task: Task, puzzle: Tokens, answer: Tokens) -> str:
    return f"the answer is wrong: {task.check(puzzle, answer).violations[0]}"
