"""`GET /workers`: who answers."""

from __future__ import annotations

from fastapi import FastAPI, Request
from pydantic import Field, ValidationError

from service.api import openapi
from service.api.context import Context
from service.broker.records import WorkerRecord
from service.problems import ProblemKind
from service.schemas import WorkerDescription


class WorkerInfo(WorkerDescription):
    """A living worker, as it described itself last."""

    id: str
    expires_in_s: float = Field(description="When it counts as dead unless it says more.")


_EXAMPLE = {
    "id": "worker-1",
    "expires_in_s": 6.2,
    "tasks": {"sudoku": {"checkpoint": "sudoku/2026.11.24-1", "warm": True, "slots": 64}},
    "draining": False,
    "device": "cpu",
    "precision": "bf16",
    "backend": "torch",
}


def mount(app: FastAPI, context: Context) -> None:
    """Add the route."""

    async def workers(request: Request) -> list[WorkerInfo]:
        context.keyring.caller(request)
        return [
            WorkerInfo.model_validate(
                {**describe(record).model_dump(), "id": record.id, "expires_in_s": record.expires_in_s}
            )
            for record in await context.desk.workers()
        ]

    app.get(
        "/workers",
        summary="The living workers and what they serve",
        tags=["about"],
        responses={
            200: {"content": {"application/json": {"example": [_EXAMPLE]}}},
            **openapi.problems(ProblemKind.BAD_KEY, ProblemKind.QUEUE_AWAY),
        },
        openapi_extra=context.keyring.operation,
    )(workers)


def describe(record: WorkerRecord) -> WorkerDescription:
    """What a worker says of itself; nothing, where it speaks another version's language."""
    try:
        return WorkerDescription.model_validate(record.description)
    except ValidationError:
        return WorkerDescription()
