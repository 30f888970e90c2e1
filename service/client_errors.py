"""What the client raises: one small hierarchy that carries what the server's problem+json said."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import ValidationError

from service.schemas import Answer, Problem


class ServiceError(Exception):
    """The service did not give an answer.

    Attributes:
        status: The HTTP status; None where there was no response.
        type: The problem's stable type.
        detail: What is wrong, for people.
        pointer: Where in the request, as a JSON pointer.
        retry_after: Seconds after which the server wants to be asked again.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        type: str = "about:blank",  # noqa: A002 - the problem's own word
        pointer: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.status, self.type = detail, status, type
        self.pointer, self.retry_after = pointer, retry_after


class RequestError(ServiceError):
    """The request is wrong, forbidden, or about something that is not there: asking again would not help."""


class BusyError(ServiceError):
    """The service is full, draining, restarting or out of reach, or the caller is over its quota: ask again later."""


class DeadlineError(ServiceError):
    """The request's deadline passed; `best` is the best answer so far, where there is one."""

    best: Answer | None = None


class JobEndedError(ServiceError):
    """A job was cancelled; one that failed raises what its problem stands for."""


def error_of_response(response: httpx.Response) -> ServiceError:
    """The error that a response without success stands for."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:  # a proxy's page, not ours
        text = response.text.strip().splitlines()
        problem = Problem(
            type="about:blank",
            title=response.reason_phrase,
            status=response.status_code,
            detail=text[0][:200] if text else response.reason_phrase,
        )
    error = error_of_problem(problem)
    seconds = response.headers.get("Retry-After", "")
    error.retry_after = float(seconds) if seconds.isdigit() else None
    return error


def error_of_problem(problem: Problem) -> ServiceError:
    """The error that a problem stands for."""
    said: dict[str, Any] = {"status": problem.status, "type": problem.type, "pointer": problem.pointer}
    # 409: an attempt of ours with the same Idempotency-Key is still running.
    if problem.status in (409, 429, 502, 503):
        return BusyError(problem.detail, **said)
    if problem.status == 504:
        error = DeadlineError(problem.detail, **said)
        best = (problem.model_extra or {}).get("answer")
        error.best = Answer.model_validate(best, extra="ignore") if best else None
        return error
    if problem.status == 410:
        return JobEndedError(problem.detail, **said)
    if problem.status < 500:
        return RequestError(problem.detail, **said)
    return ServiceError(problem.detail, **said)
