"""Examples for the documentation, from the tasks themselves."""

from __future__ import annotations

from typing import Any

from model.tasks import Puzzle, get_task, task_names
from service.schemas import Answer, HaltedBy, Timing

JOB_ID = "01a20cc8-f40f-70be-850d-d2af8a20554f"


_PUZZLE_IDS = {"arc": {"puzzle_id": "007bbfb7"}}


def requests() -> dict[str, dict[str, Any]]:
    """A body of `POST /solve` for each task that comes with one."""
    return {name: {"task": name, "puzzle": puzzle, **_PUZZLE_IDS.get(name, {})} for name, puzzle, _ in _examples()}


def answers() -> dict[str, dict[str, Any]]:
    """What these are answered with."""
    return {name: _answer(name, solution) for name, _, solution in _examples()}


def _examples() -> list[tuple[str, Puzzle, Puzzle]]:
    return [(name, *get_task(name).examples()[0]) for name in task_names() if get_task(name).examples()]


def _answer(task: str, solution: Puzzle) -> dict[str, Any]:
    answer = Answer(
        id=JOB_ID,
        task=task,
        checkpoint=f"{task}/2026.11.24-1",
        solution=solution,
        valid=True if get_task(task).has_checker else None,
        halted_by=HaltedBy.ACT,
        segments=3,
        total_segments=3,
        confidence=0.998,
        q_halt=4.1,
        q_continue=-3.7,
        timing=Timing(queue_s=0.001, solve_s=0.021),
    )
    return answer.model_dump(mode="json")
