"""The puzzles: one file a task, found by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.tasks.base import PAD, Grid, Puzzle, PuzzleError, Symmetry, Task, Tokens, Verdict
from model.tasks.sudoku import Sudoku

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

_TASKS: dict[str, type[Task]] = {"sudoku": Sudoku}


def task_names() -> list[str]:
    """The kinds of puzzle this version knows."""
    return sorted(_TASKS)


def get_task(name: str) -> Task:
    """The task called `name` in its usual shape; raises KeyError that lists the known ones."""
    if name not in _TASKS:
        raise KeyError(f"unknown task {name!r}; known: {', '.join(task_names())}")
    return _TASKS[name]()


def task_from(description: Mapping[str, Any]) -> Task:
    """The task that a checkpoint's config describes (see `Task.describe`)."""
    return get_task(str(description.get("kind")))
