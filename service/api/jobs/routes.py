"""`POST /jobs`, `GET /jobs/{id}`, `DELETE /jobs/{id}`. A job belongs to the key that made it."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import FastAPI, Path, Request, Response

from service.api import examples, openapi
from service.api.body import parse
from service.api.context import Context
from service.api.jobs.schemas import Job, job_of
from service.api.middleware import JOB_ID
from service.broker.records import JobRecord, JobState
from service.problems import ProblemKind
from service.schemas import SolveRequest

JobId = Annotated[str, Path(description="As `POST /jobs` gave it.", max_length=64)]

_SUBMIT_PROBLEMS = (
    ProblemKind.NOT_JSON,
    ProblemKind.BAD_KEY,
    ProblemKind.UNKNOWN_TASK,
    ProblemKind.BODY_TIMEOUT,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.BAD_REQUEST,
    ProblemKind.BAD_PUZZLE,
    ProblemKind.IDEMPOTENCY_KEY_REUSED,
    ProblemKind.OVER_QUOTA,
    ProblemKind.QUEUE_FULL,
    ProblemKind.QUEUE_AWAY,
    ProblemKind.DRAINING,
)
_READ_PROBLEMS = (ProblemKind.BAD_KEY, ProblemKind.UNKNOWN_JOB, ProblemKind.BAD_REQUEST, ProblemKind.QUEUE_AWAY)

_JOB = {"id": examples.JOB_ID, "task": "sudoku", "created": "2026-11-24T09:00:00Z"}
_QUEUED = _JOB | {"state": "queued"}
_DONE = _JOB | {"state": "done", "answer": examples.answers()["sudoku"]}
_CANCELLED = _JOB | {"state": "cancelled"}


def mount(app: FastAPI, context: Context) -> None:
    """Add the routes."""
    desk = context.desk

    async def submit(request: Request) -> Response:
        caller = context.keyring.caller(request)
        body = await context.bodies.read(request)
        terms = context.intake.terms_of_job(request, body, caller)
        job = context.intake.job(parse(SolveRequest, body), terms)
        receipt = await desk.admit(job)
        request.scope[JOB_ID] = receipt.job_id
        if receipt.job_id == job.id:
            record = JobRecord(job.id, job.task, JobState.QUEUED, caller, b"", time.time())
        else:
            record = await desk.record(receipt.job_id, caller)
        return _show(record, status=202, headers={"Location": f"/jobs/{record.id}"})

    async def read(request: Request, job_id: JobId) -> Response:
        return _show(await desk.record(job_id, context.keyring.caller(request)))

    async def cancel(request: Request, job_id: JobId) -> Response:
        caller = context.keyring.caller(request)
        await desk.record(job_id, caller)
        await desk.cancel(job_id)
        return _show(await desk.record(job_id, caller))

    app.post(
        "/jobs",
        status_code=202,
        summary="Queue a puzzle as a job",
        description="Answers at once; the job lives on when you hang up. `timeout_s` left out, it may wait for hours.",
        tags=["jobs"],
        responses={
            202: openapi.response(Job, "Queued", _QUEUED)
            | {"headers": {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}},
            **openapi.problems(*_SUBMIT_PROBLEMS),
        },
        openapi_extra={
            **context.keyring.operation,
            "parameters": [openapi.IDEMPOTENCY_KEY, openapi.REQUEST_ID],
            "requestBody": openapi.json_body(SolveRequest, examples.requests()),
        },
    )(submit)
    app.get(
        "/jobs/{job_id}",
        summary="A job, with its answer once it is done",
        tags=["jobs"],
        responses={200: openapi.response(Job, "The job", _DONE), **openapi.problems(*_READ_PROBLEMS)},
        openapi_extra=context.keyring.operation,
    )(read)
    app.delete(
        "/jobs/{job_id}",
        summary="Cancel a job",
        description="One that has ended stays as it is.",
        tags=["jobs"],
        responses={200: openapi.response(Job, "The job as it is now", _CANCELLED), **openapi.problems(*_READ_PROBLEMS)},
        openapi_extra=context.keyring.operation,
    )(cancel)


def _show(record: JobRecord, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(job_of(record).model_dump_json(exclude_none=True), status, headers, "application/json")
