"""`POST /solve`: one puzzle, and its answer in the response."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

from service.api import examples, openapi
from service.api.body import parse
from service.api.context import Context
from service.api.disconnect import unless_gone
from service.api.errors import ApiError
from service.api.middleware import JOB_ID
from service.api.outcome import answer_response
from service.api.route import ShortWay
from service.broker.records import Ending
from service.problems import ProblemKind
from service.schemas import Answer, SolveRequest

PROBLEMS = (
    ProblemKind.NOT_JSON,
    ProblemKind.BAD_KEY,
    ProblemKind.UNKNOWN_TASK,
    ProblemKind.BODY_TIMEOUT,
    ProblemKind.STILL_RUNNING,
    ProblemKind.CANCELLED,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.BAD_REQUEST,
    ProblemKind.BAD_PUZZLE,
    ProblemKind.IDEMPOTENCY_KEY_REUSED,
    ProblemKind.OVER_QUOTA,
    ProblemKind.DEAD_LETTER,
    ProblemKind.QUEUE_FULL,
    ProblemKind.QUEUE_AWAY,
    ProblemKind.DRAINING,
    ProblemKind.JOB_LOST,
    ProblemKind.DEADLINE,
)


def mount(app: FastAPI, context: Context) -> None:
    """Add the route, documented by FastAPI and served the short way."""
    desk = context.desk

    async def solve(request: Request) -> Response:
        caller = context.keyring.caller(request)
        body = await context.bodies.read(request)
        terms = context.intake.terms_of_waiter(request, body, caller, desk.reply_to)
        job = context.intake.job(parse(SolveRequest, body), terms)
        receipt = await desk.admit(job)
        request.scope[JOB_ID] = receipt.job_id
        if receipt.job_id != job.id:
            return answer_response(await earlier(receipt.job_id, caller))
        keep = bool(job.idempotency_key)
        ending = desk.ending(job.id, job.timeout_s, keep=keep)
        return answer_response(await (ending if keep else unless_gone(request.receive, ending)))

    async def earlier(job_id: str, caller: str) -> Ending:
        record = await desk.record(job_id, caller)
        if not record.state.final:
            raise ApiError(ProblemKind.STILL_RUNNING, f"job {job_id} has not ended yet", retry_after_s=1.0)
        return Ending(record.id, record.state, record.payload)

    app.add_api_route(
        "/solve",
        solve,
        methods=["POST"],
        summary="Solve a puzzle",
        description="Answers when the puzzle is solved or its deadline passes. Hanging up cancels it, unless the "
        "request carries an Idempotency-Key.",
        tags=["solve"],
        responses={200: openapi.answer(Answer, examples.answers()), **openapi.problems(*PROBLEMS)},
        openapi_extra={
            **context.keyring.operation,
            "parameters": [openapi.IDEMPOTENCY_KEY, openapi.REQUEST_ID],
            "requestBody": openapi.json_body(SolveRequest, examples.requests()),
        },
    )
    app.add_middleware(ShortWay, route=cast(APIRoute, app.routes[-1]))
