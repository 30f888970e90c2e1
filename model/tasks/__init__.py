"""The puzzles: one file a task, found by name or by what a checkpoint says of it."""

from __future__ import annotations

from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

from model.tasks.arc import Arc
from model.tasks.base import PAD, Grid, Puzzle, PuzzleError, Task, Verdict
from model.tasks.grid import GridTask
from model.tasks.maze import Maze
from model.tasks.sudoku import Sudoku
from model.tasks.symmetry import Symmetry, Tokens

__all__ = [
    "PAD",
    "Grid",
    "Puzzle",
    "PuzzleError",
    "Symmetry",
    "Task",
    "Tokens",
    "Verdict",
    "get_task",
    "task_from",
    "task_names",
]

_NAMED: dict[str, type[Sudoku | Maze | Arc]] = {"sudoku": Sudoku, "maze": Maze, "arc": Arc}
_KINDS: dict[str, type[Task]] = {**_NAMED, "grid": GridTask}


def task_names() -> list[str]:
    """The tasks that need no description."""
    return sorted(_NAMED)


def get_task(name: str) -> Task:
    """The task called `name` in its usual shape; raises KeyError that lists the known ones."""
    if name not in _NAMED:
        raise KeyError(f"unknown task {name!r}; known: {', '.join(task_names())}")
    return _NAMED[name]()


def task_from(description: Mapping[str, Any]) -> Task:
    """The task that a checkpoint's config describes (see `Task.describe`); raises ValueError for anything else."""
    kind = description.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"task description: kind is {short(kind)}; expected one of {', '.join(sorted(_KINDS))}")
    return _KINDS[kind].from_description(description)
