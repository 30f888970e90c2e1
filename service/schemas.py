"""What a request asks and what an answer says: shared by the API, the queue and the worker."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

Grid = list[list[StrictInt]]
Puzzle = StrictStr | Grid


class Lane(StrEnum):
    """The two lanes of a task's queue."""

    HIGH = "high"
    NORMAL = "normal"


class Mode(StrEnum):
    """How a request decides that it is done."""

    ACT = "act"
    FIXED = "fixed"
    VERIFIED = "verified"
    VOTE = "vote"


class HaltedBy(StrEnum):
    """What ended the reasoning."""

    ACT = "act"
    MAX_SEGMENTS = "max_segments"
    VERIFIED = "verified"
    DEADLINE = "deadline"


class Strict(BaseModel):
    """Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SolveRequest(Strict):
    """The body of `POST /solve`, and what waits in the queue."""

    task: Annotated[str, Field(max_length=64)] | None = Field(None, description="Left out: the server's default task.")
    puzzle: Puzzle = Field(description="Text or a grid; the solution comes back in the same form.")
    puzzle_id: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="The identifier of a puzzle embedding, for tasks that need one (ARC)."
    )
    min_segments: Annotated[int, Field(ge=1)] = 1
    max_segments: Annotated[int, Field(ge=1)] | None = Field(None, description="Left out: the checkpoint's own limit.")
    mode: Literal[Mode.ACT, Mode.FIXED] = Mode.ACT
    trace: bool = Field(False, description="Add what the model thought after each segment.")
    timeout_s: Annotated[float, Field(gt=0)] | None = Field(None, description="Left out: the server's default.")
    priority: Lane = Lane.NORMAL


class Timing(Strict):
    """Where the time went, in seconds."""

    queue_s: float
    solve_s: float


class TraceStep(Strict):
    """The state of mind after one segment."""

    segment: int
    grid: Puzzle
    q_halt: float
    q_continue: float
    cells_changed: int
    residual_H: float
    residual_L: float


class Answer(Strict):
    """The body of a 200."""

    id: str
    task: str
    checkpoint: str
    solution: Puzzle
    valid: bool | None
    violations: list[str] = []
    optimal: bool | None = None
    halted_by: HaltedBy
    segments: int
    confidence: float
    q_halt: float
    q_continue: float
    timing: Timing
    trace: list[TraceStep] | None = None


class Problem(BaseModel):
    """An error in the form of RFC 9457 (application/problem+json); `type` is stable, `detail` is for people."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    detail: str
    pointer: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The body, without what is not set."""
        return self.model_dump(exclude_none=True)
