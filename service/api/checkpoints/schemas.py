"""What administrators ask about checkpoints, and what they are told."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.checkpoints import TaskVersions
from service.schemas import LastLoad, Strict


class Load(Strict):
    """The body of `POST /checkpoints/{task}/load`."""

    version: str = Field(max_length=128, description="One of the task's versions.")


class WorkerStatus(BaseModel):
    """What one living worker does with a task."""

    worker: str
    checkpoint: str | None = Field(None, description="What new puzzles get, as task/version.")
    last_load: LastLoad | None = None


class TaskStatus(TaskVersions):
    """What the registry holds for a task, and what the workers made of it."""

    workers: list[WorkerStatus]
