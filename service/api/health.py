"""`GET /livez` and `GET /readyz`: about this process alone, or with `?task=T` about the answers one may expect."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import Field

from service.api import openapi
from service.api.context import Context
from service.api.errors import ApiError
from service.api.workers import describe
from service.problems import ProblemKind
from service.schemas import Strict


class Health(Strict):
    """All is well; otherwise there is a problem instead."""

    status: str = Field(description="live or ready.")


def mount(app: FastAPI, context: Context) -> None:
    """Add the routes."""

    async def livez() -> Health:
        return Health(status="live")

    async def readyz(
        task: Annotated[str | None, Query(description="Ask whether a live, warm worker serves this task.")] = None,
    ) -> Health:
        if unready := context.unready():
            raise _not_ready(unready)
        if task is not None:
            context.catalogue.find(task)
            if not any(describe(worker).serves(task) for worker in await context.desk.workers()):
                raise _not_ready(f"no live worker serves {task} yet")
        return Health(status="ready")

    app.get("/livez", summary="Whether this process lives", tags=["about"])(livez)
    app.get(
        "/readyz",
        summary="Whether this process takes requests",
        description="Started and not shutting down. With `task`: and a live, warm worker serves it.",
        tags=["about"],
        responses=openapi.problems(
            ProblemKind.UNKNOWN_TASK,
            ProblemKind.BAD_REQUEST,
            ProblemKind.NOT_READY,
            ProblemKind.QUEUE_AWAY,
        ),
    )(readyz)


def _not_ready(detail: str) -> ApiError:
    return ApiError(ProblemKind.NOT_READY, detail, retry_after_s=1.0)
