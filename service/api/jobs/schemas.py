"""A job as its owner sees it."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import Field, ValidationError

from service.broker.records import JobRecord, JobState
from service.problems import ProblemKind
from service.schemas import Answer, Problem, Strict


class Job(Strict):
    """The state of a job; `answer` once it is done, `error` where it failed or was given up."""

    id: str
    task: str
    state: JobState = Field(description="queued, running, or how it ended: done, failed, cancelled, dead.")
    created: datetime
    answer: Answer | None = None
    error: Problem | None = None


def job_of(record: JobRecord) -> Job:
    """The record with its payload read."""
    answer, error = None, None
    try:
        if record.state is JobState.DONE:
            answer = Answer.model_validate_json(record.payload)
        elif record.state in (JobState.FAILED, JobState.DEAD):
            error = Problem.model_validate_json(record.payload)
    except ValidationError:
        error = ProblemKind.INTERNAL.problem(f"the result of job {record.id} cannot be read")
    return Job(
        id=record.id,
        task=record.task,
        state=record.state,
        created=datetime.fromtimestamp(record.created_s, UTC),
        answer=answer,
        error=error,
    )
