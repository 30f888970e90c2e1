"""`GET /checkpoints`, `GET /checkpoints/{task}`, and `POST` to its `load` and `rollback`, all with the admin key.

They move CURRENT; the workers follow within seconds, and say how they fared in `last_load`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Path, Request

from model.checkpoint import CheckpointError, CheckpointInfo
from model.registry import NoEarlierVersionError, RegistryAwayError, UnknownVersionError, valid_name
from service.api import openapi
from service.api.body import parse
from service.api.checkpoints.schemas import Load, TaskStatus, WorkerStatus
from service.api.context import Context
from service.api.errors import ApiError
from service.api.workers import describe
from service.broker.records import WorkerRecord
from service.checkpoints import TaskVersions, load, roll_back, survey
from service.problems import ProblemKind

TaskName = Annotated[str, Path(description="As `GET /checkpoints` lists it.", max_length=128)]

T = TypeVar("T")

_KINDS: dict[type[CheckpointError], ProblemKind] = {
    UnknownVersionError: ProblemKind.UNKNOWN_VERSION,
    NoEarlierVersionError: ProblemKind.NO_EARLIER_VERSION,
    RegistryAwayError: ProblemKind.REGISTRY_AWAY,
}
_RETRY_S = 5.0

_READ_PROBLEMS = (ProblemKind.FORBIDDEN, ProblemKind.QUEUE_AWAY, ProblemKind.REGISTRY_AWAY)
_MOVE_PROBLEMS = (
    ProblemKind.FORBIDDEN,
    ProblemKind.UNKNOWN_TASK,
    ProblemKind.BAD_CHECKPOINT,
    ProblemKind.REGISTRY_AWAY,
)
_LOAD_PROBLEMS = (
    *_MOVE_PROBLEMS,
    ProblemKind.NOT_JSON,
    ProblemKind.BODY_TIMEOUT,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.BAD_REQUEST,
    ProblemKind.UNKNOWN_VERSION,
)

_VERSION = {"sha256": "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4", "bytes": 2412776}
_VERSIONS = {
    "task": "sudoku",
    "current": "2026.11.24-2",
    "previous": "2026.11.24-1",
    "versions": [
        {"version": "2026.11.24-1", "current": False, **_VERSION, "max_segments": 16},
        {"version": "2026.11.24-2", "current": True, **_VERSION, "max_segments": 16},
    ],
}
_REFUSED = {
    "version": "2026.11.24-2",
    "outcome": "refused",
    "reason": "checkpoints/sudoku/2026.11.24-2: 3 of 16 canary puzzles came out exact; 0.500 of them must",
    "seconds": 0.41,
    "at": 1795510800.0,
}
_STATUS = {
    **_VERSIONS,
    "workers": [{"worker": "worker-1", "checkpoint": "sudoku/2026.11.24-1", "last_load": _REFUSED}],
}

log = logging.getLogger(__name__)


def mount(app: FastAPI, context: Context) -> None:
    """Add the routes."""
    registry, desk, keyring = context.registry, context.desk, context.keyring

    async def every(request: Request) -> list[TaskStatus]:
        keyring.admin(request)
        tasks = await _ask(registry.all_tasks)
        workers = await desk.workers()
        return [_status(await _ask(survey, registry, task), workers) for task in tasks]

    async def one(request: Request, task: TaskName) -> TaskStatus:
        keyring.admin(request)
        await _require(task)
        return _status(await _ask(survey, registry, task), await desk.workers())

    async def load_version(request: Request, task: TaskName) -> TaskVersions:
        keyring.admin(request)
        wanted = parse(Load, await context.bodies.read(request))
        await _require(task)
        return await _move(task, load, wanted.version)

    async def rollback(request: Request, task: TaskName) -> TaskVersions:
        keyring.admin(request)
        await _require(task)
        return await _move(task, roll_back)

    async def _move(task: str, move: Callable[..., CheckpointInfo], *arguments: str) -> TaskVersions:
        info = await _ask(move, registry, task, *arguments)
        log.info("the current checkpoint was changed", extra={"checkpoint": info.name})
        await desk.announce_reload(task)
        return await _ask(survey, registry, task)

    async def _require(task: str) -> None:
        known = await _ask(registry.all_tasks)
        if not valid_name(task) or task not in known:
            listed = ", ".join(known) or "none"
            raise ApiError(ProblemKind.UNKNOWN_TASK, f"no task {task!r} in the registry; there are: {listed}")

    secured: dict[str, Any] = {"openapi_extra": keyring.admin_operation, "tags": ["checkpoints"]}
    body = {"requestBody": openapi.json_body(Load, {"version": {"version": "2026.11.24-2"}})}
    app.get(
        "/checkpoints",
        summary="Every task's versions, and what the workers serve",
        responses={
            200: {"content": {"application/json": {"example": [_STATUS]}}},
            **openapi.problems(*_READ_PROBLEMS),
        },
        **secured,
    )(every)
    app.get(
        "/checkpoints/{task}",
        summary="A task's versions, and what the workers serve",
        responses={
            200: openapi.response(TaskStatus, "The versions", _STATUS),
            **openapi.problems(*_READ_PROBLEMS, ProblemKind.UNKNOWN_TASK, ProblemKind.BAD_REQUEST),
        },
        **secured,
    )(one)
    app.post(
        "/checkpoints/{task}/load",
        summary="Have the workers load a version",
        description="The version is verified before CURRENT moves. `GET /checkpoints/{task}` then tells how every "
        "worker fared; one that refuses it goes on with what it has.",
        responses={
            200: openapi.response(TaskVersions, "CURRENT has moved", _VERSIONS),
            **openapi.problems(*_LOAD_PROBLEMS),
        },
        **{**secured, "openapi_extra": keyring.admin_operation | body},
    )(load_version)
    app.post(
        "/checkpoints/{task}/rollback",
        summary="Go back to the version before",
        responses={
            200: openapi.response(TaskVersions, "CURRENT has moved back", _VERSIONS),
            **openapi.problems(*_MOVE_PROBLEMS, ProblemKind.NO_EARLIER_VERSION, ProblemKind.BAD_REQUEST),
        },
        **secured,
    )(rollback)


async def _ask(question: Callable[..., T], *arguments: Any) -> T:
    """Ask the registry off the event loop: it may lie on a slow disk; raises ApiError."""
    try:
        return await asyncio.to_thread(question, *arguments)
    except CheckpointError as error:
        kind = _KINDS.get(type(error), ProblemKind.BAD_CHECKPOINT)
        retry = _RETRY_S if kind is ProblemKind.REGISTRY_AWAY else None
        raise ApiError(kind, str(error), retry_after_s=retry) from None


def _status(versions: TaskVersions, workers: Sequence[WorkerRecord]) -> TaskStatus:
    """A task's versions, with the workers that serve it or tried to."""
    statuses = []
    for record in workers:
        said = describe(record)
        serving, last_load = said.tasks.get(versions.task), said.loads.get(versions.task)
        if serving or last_load:
            checkpoint = serving.checkpoint if serving else None
            statuses.append(WorkerStatus(worker=record.id, checkpoint=checkpoint, last_load=last_load))
    return TaskStatus(**versions.model_dump(), workers=statuses)
