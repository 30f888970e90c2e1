"""What a route raises, and how it reaches the caller: application/problem+json (RFC 9457)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from service.problems import ProblemKind
from service.schemas import Problem

PROBLEM_JSON = "application/problem+json"
CLIENT_GONE = 499
"""The status, for logs and metrics only, of a request whose client hung up."""

_LISTED_FAULTS = 20
_MOST_FAULTS = 1000
"""More are not looked at: a body of a megabyte may have a hundred thousand fields that nobody knows."""

_HTTP_KINDS = {404: ProblemKind.NOT_FOUND, 405: ProblemKind.METHOD_NOT_ALLOWED}


class ApiError(Exception):
    """A request ends in a problem.

    Args:
        kind: Which one.
        detail: What is wrong, for people.
        pointer: JSON pointer to what is wrong in the body.
        retry_after_s: When asking again makes sense.
        headers: Further headers of the response.
        extra: Further members of the problem.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        pointer: str | None = None,
        retry_after_s: float | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.kind, self.retry_after_s = kind, retry_after_s
        self.problem = kind.problem(detail, pointer, **extra)
        self.headers = headers or {}


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The problem as a response."""
    return Response(problem.model_dump_json(exclude_none=True), problem.status, headers, PROBLEM_JSON)


def error_response(error: ApiError) -> Response:
    """What the caller gets."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return problem_response(error.problem, headers)


def bug_response() -> Response:
    """What the caller gets where a route raised what it never should."""
    return problem_response(ProblemKind.INTERNAL.problem("this is a fault of the server; its log says more"))


def invalid_body(error: ValidationError, within: str = "", puzzle_at: str = "/puzzle") -> ApiError:
    """What a caller is told of a body that does not fit its schema: 400 if it is not JSON, else 422.

    `within` and `puzzle_at` are JSON pointers to what was validated and to its puzzle in the body.
    """
    if (count := error.error_count()) > _MOST_FAULTS:
        return ApiError(ProblemKind.BAD_REQUEST, f"{count} faults; /docs shows which fields there are", pointer=within)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return ApiError(ProblemKind.NOT_JSON, faults[0]["msg"].removeprefix("Invalid JSON: "))
    return _bad_request(
        [{"pointer": _pointer(fault, within, puzzle_at), "detail": _words(fault)} for fault in faults[:_LISTED_FAULTS]]
    )


def handle_errors(app: FastAPI) -> None:
    """Have everything that a route may raise answered as a problem; bugs are for RequestsMiddleware."""

    async def on_api_error(_: Request, error: ApiError) -> Response:
        return error_response(error)

    async def on_invalid_parameter(_: Request, error: RequestValidationError) -> Response:
        faults = (f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return problem_response(ProblemKind.BAD_REQUEST.problem("; ".join(faults)))

    async def on_http_error(request: Request, error: HTTPException) -> Response:
        kind = _HTTP_KINDS.get(error.status_code)
        headers = dict(error.headers or {})
        if kind is ProblemKind.METHOD_NOT_ALLOWED:
            headers["Allow"] = _allowed(request)
        if kind is None:
            title = HTTPStatus(error.status_code).phrase
            problem = Problem(type="about:blank", title=title, status=error.status_code, detail=error.detail)
        else:
            problem = kind.problem("see /docs for what is here")
        return problem_response(problem, headers)

    async def on_client_gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    app.add_exception_handler(ApiError, on_api_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid_parameter)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]
    app.add_exception_handler(ClientDisconnect, on_client_gone)  # type: ignore[arg-type]


def _allowed(request: Request) -> str:
    """The methods of all routes with this path: the router itself looks at the first one only."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}))


def _bad_request(faults: list[dict[str, str]]) -> ApiError:
    first = faults[0]
    where = f"{first['pointer']}: " if first["pointer"] else ""
    return ApiError(
        ProblemKind.BAD_REQUEST,
        where + first["detail"],
        pointer=first["pointer"],
        errors=faults if len(faults) > 1 else None,
    )


def _pointer(fault: ErrorDetails, within: str, puzzle_at: str) -> str:
    steps, start = fault["loc"], within
    if steps[:1] == ("puzzle",) and len(steps) > 1:
        steps, start = steps[2:], puzzle_at  # the second step is "text" or "grid", the form that was meant
    return start + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)


def _words(fault: ErrorDetails) -> str:
    if fault["type"] == "list_type" and fault["loc"] == ("puzzle", "grid"):
        return "a puzzle is text, or a grid: a list of rows of whole numbers"
    message = fault["msg"]
    return message[0].lower() + message[1:]
