"""The registry as operators see it, on the command line and over HTTP: what is there, load one, go back."""

from __future__ import annotations

from pydantic import BaseModel, Field

from model.checkpoint import CheckpointError, CheckpointInfo
from model.registry import NoEarlierVersionError, Registry


class VersionInfo(BaseModel):
    """One version of a task's checkpoint; only its name is sure where it is damaged or not copied to this machine."""

    version: str
    current: bool
    sha256: str | None = Field(None, description="Of the weights.")
    bytes: int | None = Field(None, description="Of the weights.")
    max_segments: int | None = None
    published: str | None = None
    problem: str | None = Field(None, description="Why it cannot be read.")


class TaskVersions(BaseModel):
    """What the registry holds for a task."""

    task: str
    current: str | None = Field(description="The version that workers are to serve.")
    previous: str | None = Field(description="What a rollback goes back to.")
    problem: str | None = Field(None, description="Why CURRENT cannot be read.")
    versions: list[VersionInfo] = Field(description="Oldest first.")


def survey(registry: Registry, task: str) -> TaskVersions:
    """Everything the registry holds for a task; weights are not looked at."""
    current, previous, problem = None, None, None
    try:
        current, previous = registry.current_version(task), registry.previous_version(task)
    except CheckpointError as error:
        problem = str(error)
    versions = [_version(registry, task, version, current) for version in registry.versions(task)]
    return TaskVersions(task=task, current=current, previous=previous, problem=problem, versions=versions)


def load(registry: Registry, task: str, version: str) -> CheckpointInfo:
    """Make a version the current one, if it is whole; raises CheckpointError, and then nothing has changed."""
    registry.get(task, version).verify()
    return registry.use(task, version)


def roll_back(registry: Registry, task: str) -> CheckpointInfo:
    """Go back to the version before the current one, if it is whole; raises CheckpointError, as `load` does."""
    previous = registry.previous_version(task)
    if previous is None:
        raise NoEarlierVersionError(f"task {task!r} has no earlier version to go back to")
    registry.get(task, previous).verify()
    return registry.rollback(task)


def _version(registry: Registry, task: str, version: str, current: str | None) -> VersionInfo:
    is_current = version == current
    try:
        info = registry.glance(task, version)
    except CheckpointError as error:
        return VersionInfo(version=version, current=is_current, problem=str(error))
    if info is None:
        return VersionInfo(version=version, current=is_current)
    published = info.training.get("published")
    return VersionInfo(
        version=version,
        current=is_current,
        sha256=info.sha256,
        bytes=info.config["weights"]["bytes"],
        max_segments=info.max_segments,
        published=published if isinstance(published, str) else None,
    )
