"""What a worker writes to the queue of a puzzle that ended."""

from __future__ import annotations

import logging

from service.broker.records import Claim, Finished, JobState
from service.engine.work import Outcome
from service.problems import ProblemKind
from service.schemas import Answer, Problem

log = logging.getLogger(__name__)


def finished(outcome: Outcome, body: Answer | Problem) -> Finished:
    """The ending of a puzzle that the engine had."""
    claim: Claim = outcome.work.ticket.claim
    if isinstance(body, Answer):
        return Finished(claim.id, claim.fence, JobState.DONE, body.model_dump_json().encode())
    return failed(claim, body)


def failed(claim: Claim, problem: Problem) -> Finished:
    """The ending of a puzzle that has no answer."""
    return Finished(claim.id, claim.fence, JobState.FAILED, problem.model_dump_json(exclude_none=True).encode())


def defect(what: str, job_id: str, error: Exception) -> Problem:
    """A defect of ours spoils one puzzle, and not the worker."""
    log.error(what, exc_info=error, extra={"job_id": job_id})
    return ProblemKind.INTERNAL.problem(f"{what}: {type(error).__name__}")
