"""How an ending looks to its caller. The worker's JSON is passed on as it is, after a look at a few fields."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response
from pydantic import BaseModel, Field, ValidationError

from service.api.errors import PROBLEM_JSON, ApiError
from service.broker.records import Ending, JobState
from service.problems import ProblemKind
from service.schemas import Timing

ANSWER_HEADERS = {
    "X-HRM-Segments": "Segments that the answer took.",
    "X-HRM-Checkpoint": "The checkpoint that gave it, as task/version.",
    "x-queue-time": "Seconds in the queue.",
    "x-inference-time": "Seconds from the slot to the answer.",
}


class _AnswerHead(BaseModel):
    checkpoint: Annotated[str, Field(pattern=r"^[\x20-\x7e]+$")]
    segments: int
    timing: Timing


class _ProblemHead(BaseModel):
    status: Annotated[int, Field(ge=400, le=599)]


def answer_response(ending: Ending) -> Response:
    """200 with the answer, or the problem that the job ended in; raises ApiError where there is none to show."""
    if ending.state is not JobState.DONE:
        payload, status = problem_json(ending)
        return Response(payload, status, media_type=PROBLEM_JSON)
    try:
        head = _AnswerHead.model_validate_json(ending.payload)
    except ValidationError:
        raise _unreadable(ending) from None
    headers = {
        "X-HRM-Segments": str(head.segments),
        "X-HRM-Checkpoint": head.checkpoint,
        "x-queue-time": f"{head.timing.queue_s:.6f}",
        "x-inference-time": f"{head.timing.solve_s:.6f}",
    }
    return Response(ending.payload, headers=headers, media_type="application/json")


def answer_json(ending: Ending) -> bytes:
    """The answer of a job that is DONE; raises ApiError for what is not one."""
    try:
        _AnswerHead.model_validate_json(ending.payload)
    except ValidationError:
        raise _unreadable(ending) from None
    return ending.payload


def problem_json(ending: Ending) -> tuple[bytes, int]:
    """The problem of a job that did not end well, and its status; raises ApiError where it left none."""
    if ending.state is JobState.CANCELLED:
        raise ApiError(ProblemKind.CANCELLED, f"job {ending.id} was cancelled")
    try:
        return ending.payload, _ProblemHead.model_validate_json(ending.payload).status
    except ValidationError:
        raise _unreadable(ending) from None


def _unreadable(ending: Ending) -> ApiError:
    return ApiError(ProblemKind.INTERNAL, f"the result of job {ending.id} cannot be read")
