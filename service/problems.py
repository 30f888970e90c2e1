"""Every error that a caller can meet, by name: its stable type, its HTTP status and its title."""

from __future__ import annotations

from enum import Enum
from typing import Any

from service.schemas import Problem


class ProblemKind(Enum):
    """(status, title); the name, in lower case with hyphens, ends the problem's type."""

    NOT_HTTP = 400, "The request cannot be parsed"
    NOT_JSON = 400, "The body is not JSON"
    BAD_KEY = 401, "The API key is missing or unknown"
    FORBIDDEN = 403, "Not allowed"
    NOT_FOUND = 404, "Nothing is here"
    UNKNOWN_TASK = 404, "Unknown task"
    UNKNOWN_JOB = 404, "Unknown job"
    UNKNOWN_VERSION = 404, "Unknown version"
    METHOD_NOT_ALLOWED = 405, "Method not allowed"
    HEAD_TIMEOUT = 408, "The headers did not arrive in time"
    BODY_TIMEOUT = 408, "The body did not arrive in time"
    STILL_RUNNING = 409, "The first request with this Idempotency-Key is still running"
    NO_EARLIER_VERSION = 409, "There is nothing to roll back to"
    CANCELLED = 410, "The job was cancelled"
    BODY_TOO_LARGE = 413, "The body is too large"
    BAD_REQUEST = 422, "A field is wrong"
    BAD_PUZZLE = 422, "The puzzle cannot be read"
    BAD_CHECKPOINT = 422, "The checkpoint cannot be used"
    IDEMPOTENCY_KEY_REUSED = 422, "The Idempotency-Key belongs to another request"
    OVER_QUOTA = 429, "The caller's quota is used up"
    HEAD_TOO_LARGE = 431, "The headers are too large"
    INTERNAL = 500, "Internal error"
    DEAD_LETTER = 500, "The puzzle was given up"
    QUEUE_FULL = 503, "The queue is full"
    QUEUE_AWAY = 503, "The queue cannot be reached"
    DRAINING = 503, "The server is shutting down"
    REGISTRY_AWAY = 503, "The registry cannot be reached"
    JOB_LOST = 503, "The queue lost the job"
    NOT_READY = 503, "Not ready"
    DEADLINE = 504, "The deadline passed"

    def __init__(self, status: int, title: str) -> None:
        self.status = status
        self.title = title

    @property
    def type(self) -> str:
        """The URN by which programs tell problems apart."""
        return f"urn:hrm:problem:{self.name.lower().replace('_', '-')}"

    def problem(self, detail: str, pointer: str | None = None, **extra: Any) -> Problem:
        """The body; `extra` are further members (a deadline's `answer`)."""
        return Problem(type=self.type, title=self.title, status=self.status, detail=detail, pointer=pointer, **extra)
