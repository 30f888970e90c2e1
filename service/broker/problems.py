"""The problems that the queue itself ends a job with, as a waiter gets them."""

from __future__ import annotations

from service.problems import ProblemKind


def _payload(kind: ProblemKind, detail: str) -> bytes:
    return kind.problem(detail).model_dump_json(exclude_none=True).encode()


DEADLINE = _payload(ProblemKind.DEADLINE, "the deadline passed before a worker was free")
POISON = _payload(ProblemKind.DEAD_LETTER, "too many workers died while they held this job")
UNREADABLE = _payload(ProblemKind.DEAD_LETTER, "the job was written by a newer version than its worker's")
