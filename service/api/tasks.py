"""`GET /tasks`: which puzzles this server takes."""

from __future__ import annotations

from fastapi import FastAPI, Request

from model.checkpoint import CheckpointInfo
from service.api import openapi
from service.api.context import Context
from service.problems import ProblemKind
from service.schemas import TaskInfo
from service.settings import Settings

_EXAMPLE = {
    "task": "sudoku",
    "checkpoint": "sudoku/2026.11.24-1",
    "description": {"kind": "sudoku", "shape": [9, 9]},
    "max_segments": 16,
    "max_segments_cap": 256,
    "attempts_cap": 32,
    "total_segments_cap": 4096,
    "has_checker": True,
    "needs_puzzle_id": False,
    "example": "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
}


def mount(app: FastAPI, context: Context) -> None:
    """Add the route."""

    async def tasks(request: Request) -> list[TaskInfo]:
        context.keyring.caller(request)
        return [_task_info(checkpoint, context.settings) for checkpoint in context.catalogue.all()]

    app.get(
        "/tasks",
        summary="The tasks and their checkpoints",
        tags=["about"],
        responses={
            200: {"content": {"application/json": {"example": [_EXAMPLE]}}},
            **openapi.problems(ProblemKind.BAD_KEY),
        },
        openapi_extra=context.keyring.operation,
    )(tasks)


def _task_info(checkpoint: CheckpointInfo, settings: Settings) -> TaskInfo:
    examples = checkpoint.codec.examples()
    return TaskInfo(
        task=checkpoint.task,
        checkpoint=checkpoint.name,
        description=checkpoint.task_description,
        max_segments=min(checkpoint.max_segments, settings.max_segments_cap),
        max_segments_cap=settings.max_segments_cap,
        attempts_cap=settings.attempts_cap,
        total_segments_cap=settings.total_segments_cap,
        has_checker=checkpoint.codec.has_checker,
        needs_puzzle_id=checkpoint.identifiers is not None,
        example=examples[0][0] if examples else None,
    )
