"""The parts of the OpenAPI document that FastAPI cannot read off our routes, which take their bodies raw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.api.access import SECURITY_SCHEMES
from service.api.errors import PROBLEM_JSON
from service.api.outcome import ANSWER_HEADERS
from service.problems import ProblemKind
from service.schemas import Problem

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"

IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A repeated POST with the same key and body gets the first one's result; 409 while that is running.",
    "schema": {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"},
}
REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "description": "A label of yours for logs, which comes back with the response: up to 128 visible ASCII characters.",
    "schema": {"type": "string"},
}


def json_body(model: type[BaseModel], examples: Mapping[str, Any]) -> Json:
    """`requestBody` of a route that reads `model`, with examples by name."""
    content = {
        "schema": {"$ref": _REF.format(model=model.__name__)},
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    return {"required": True, "content": {"application/json": content}}


def response(model: type[BaseModel], description: str, example: Any, media_type: str = "application/json") -> Json:
    """One entry of `responses`: a body that is a `model`."""
    content = {"schema": {"$ref": _REF.format(model=model.__name__)}, "example": example}
    return {"description": description, "content": {media_type: content}}


def answer(model: type[BaseModel], examples: Mapping[str, Any]) -> Json:
    """The entry of `responses` for an answer, with its headers and examples by task."""
    content = {
        "schema": {"$ref": _REF.format(model=model.__name__)},
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in ANSWER_HEADERS.items()}
    return {"description": "The checked answer", "headers": headers, "content": {"application/json": content}}


def problems(*kinds: ProblemKind) -> dict[int | str, Json]:
    """Entries of `responses` for problems: one a status, with an example of each kind."""
    entries: dict[int | str, Json] = {}
    for kind in kinds:
        entry = entries.setdefault(
            kind.status,
            {
                "description": kind.title,
                "content": {PROBLEM_JSON: {"schema": {"$ref": _REF.format(model="Problem")}, "examples": {}}},
            },
        )
        if kind.title not in entry["description"]:
            entry["description"] += f"; {kind.title[0].lower()}{kind.title[1:]}"
        if kind.status in (429, 503):
            entry["headers"] = {
                "Retry-After": {"description": "Seconds to wait before asking again.", "schema": {"type": "integer"}}
            }
        name = kind.name.lower().replace("_", "-")
        entry["content"][PROBLEM_JSON]["examples"][name] = {"value": _EXAMPLES[kind].to_json()}
    return entries


def document(app: FastAPI, models: list[type[BaseModel]]) -> None:
    """Have the app's OpenAPI document hold the schemas of `models` and the security schemes."""
    generate = app.openapi

    def complete() -> Json:
        if app.openapi_schema is None:
            schema = generate()
            wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in models]
            _, definitions = models_json_schema(wanted, ref_template=_REF)
            components = schema.setdefault("components", {})
            components["schemas"] = components.get("schemas", {}) | definitions["$defs"]
            components["securitySchemes"] = SECURITY_SCHEMES
            app.openapi_schema = schema
        return app.openapi_schema or {}

    app.openapi = complete  # type: ignore[method-assign]


_EXAMPLES: dict[ProblemKind, Problem] = {
    kind: kind.problem(detail, pointer)
    for kind, detail, pointer in (
        (ProblemKind.NOT_JSON, "EOF while parsing an object at line 1 column 1", None),
        (ProblemKind.BAD_KEY, "send a key of this server as `Authorization: Bearer KEY`", None),
        (ProblemKind.FORBIDDEN, "this needs the admin key as `Authorization: Bearer KEY`", None),
        (ProblemKind.NOT_FOUND, "see /docs for what is here", None),
        (ProblemKind.UNKNOWN_TASK, "no task 'chess'; known: sudoku", "/task"),
        (ProblemKind.UNKNOWN_JOB, "no job '01a20cc8-f40f-70be-850d-d2af8a20554f'; it may have expired", None),
        (ProblemKind.UNKNOWN_VERSION, "no version '2026.11.24-9' of task 'sudoku' in the registry", None),
        (ProblemKind.METHOD_NOT_ALLOWED, "see /docs for what is here", None),
        (ProblemKind.BODY_TIMEOUT, "100 bytes came within 30 s, and then no more", None),
        (ProblemKind.STILL_RUNNING, "job 01a20cc8-f40f-70be-850d-d2af8a20554f has not ended yet", None),
        (ProblemKind.NO_EARLIER_VERSION, "task 'sudoku' has no earlier version to go back to", None),
        (ProblemKind.CANCELLED, "job 01a20cc8-f40f-70be-850d-d2af8a20554f was cancelled", None),
        (ProblemKind.BODY_TOO_LARGE, "a body may have at most 1048576 bytes", None),
        (ProblemKind.BAD_REQUEST, "max_segments is at most 256 on this server", "/max_segments"),
        (ProblemKind.BAD_PUZZLE, "row 1 holds 5 twice: at row 1, column 1 and at row 1, column 3", "/puzzle/2"),
        (ProblemKind.BAD_CHECKPOINT, "sudoku/2026.11.24-9: config.json is missing", None),
        (ProblemKind.IDEMPOTENCY_KEY_REUSED, "a request with another body or path had this Idempotency-Key", None),
        (ProblemKind.OVER_QUOTA, "alice has 100 unfinished puzzles", None),
        (ProblemKind.INTERNAL, "this is a fault of the server; its log says more", None),
        (ProblemKind.DEAD_LETTER, "the job was given up: it ended its worker three times", None),
        (ProblemKind.QUEUE_FULL, "the queue of task 'sudoku' is full", None),
        (ProblemKind.QUEUE_AWAY, "Redis does not answer; the server goes on as soon as it does", None),
        (ProblemKind.DRAINING, "the server is shutting down", None),
        (ProblemKind.REGISTRY_AWAY, "checkpoints/sudoku: cannot be written: Read-only file system", None),
        (ProblemKind.JOB_LOST, "the queue lost job 01a20cc8-f40f-70be-850d-d2af8a20554f", None),
        (ProblemKind.NOT_READY, "no live worker serves sudoku yet", None),
        (ProblemKind.DEADLINE, "no answer within 30 s", None),
    )
}
