"""`POST /solve/batch`: many puzzles, a line for each as it ends."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from service.api import examples, openapi
from service.api.batch.schemas import BatchLine, BatchRequest
from service.api.batch.stream import Batch, LineStream, jobs_of, joined
from service.api.body import parse
from service.api.context import Context
from service.api.disconnect import unless_gone
from service.api.errors import ApiError
from service.problems import ProblemKind

PROBLEMS = (
    ProblemKind.NOT_JSON,
    ProblemKind.BAD_KEY,
    ProblemKind.BODY_TIMEOUT,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.BAD_REQUEST,
    ProblemKind.IDEMPOTENCY_KEY_REUSED,
    ProblemKind.OVER_QUOTA,
    ProblemKind.QUEUE_FULL,
    ProblemKind.QUEUE_AWAY,
    ProblemKind.DRAINING,
)


def mount(app: FastAPI, context: Context) -> None:
    """Add the route."""

    async def solve_batch(request: Request) -> Response:
        limit = context.settings.batch_limit
        caller = context.keyring.caller(request)
        body = await context.bodies.read(request)
        wanted = parse(BatchRequest, body)
        if len(wanted.puzzles) > limit:
            raise ApiError(ProblemKind.BAD_REQUEST, f"a batch has at most {limit} puzzles", pointer="/puzzles")
        terms = context.intake.terms_of_waiter(request, body, caller, context.desk.reply_to)
        batch = Batch(context.desk, jobs_of(wanted, context.intake, terms), keep=bool(terms.idempotency_key))
        await batch.start()
        if request.scope["http_version"] == "1.0":  # which has no chunks
            lines = await unless_gone(request.receive, joined(batch.lines()))
            return Response(lines, media_type=LineStream.media_type)
        return LineStream(batch.lines)

    requests, answers = examples.requests(), examples.answers()
    bodies = {task: {"task": task, "puzzles": [body]} for task, body in requests.items()}
    line = {"index": 0, "answer": next(iter(answers.values()))}
    app.add_api_route(
        "/solve/batch",
        solve_batch,
        methods=["POST"],
        summary="Solve many puzzles",
        description="Streams a line of JSON for each puzzle as it ends, in no particular order. A deadline counts "
        "from when its puzzle enters the queue. Hanging up cancels what has not ended, unless there is an "
        "Idempotency-Key.",
        tags=["solve"],
        responses={
            200: openapi.response(BatchLine, "A line for each puzzle", line, LineStream.media_type),
            **openapi.problems(*PROBLEMS),
        },
        openapi_extra={
            **context.keyring.operation,
            "parameters": [openapi.IDEMPOTENCY_KEY, openapi.REQUEST_ID],
            "requestBody": openapi.json_body(BatchRequest, bodies),
        },
    )
