"""The body and the lines of a batch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from service.schemas import Answer, Problem, SolveOptions, Strict


class BatchRequest(SolveOptions):
    """Options for all, and the puzzles, which are looked at one by one: a bad one spoils only its own line."""

    puzzles: list[Any] = Field(
        min_length=1,
        description="Puzzles, or objects with the fields of a SolveRequest, which then count for this puzzle alone.",
        json_schema_extra={
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
                    {"$ref": "#/components/schemas/SolveRequest"},
                ]
            }
        },
    )


class BatchLine(Strict):
    """One line of the response: `answer` or `error`."""

    index: int = Field(description="Place of the puzzle in the request, from 0.")
    answer: Answer | None = None
    error: Problem | None = None
