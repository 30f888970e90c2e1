"""What a request asks and what an answer says: shared by the API, the queue and the worker."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    ValidationInfo,
    field_validator,
)

# A body may hold half a million cells; were all of them wrong, all their faults would take half a gigabyte.
Grid = Annotated[list[Annotated[list[StrictInt], Field(fail_fast=True)]], Field(fail_fast=True)]


def _form(puzzle: object) -> str:
    return "text" if isinstance(puzzle, str) else "grid"


# Told apart by hand: an error then speaks of the form that was meant, not of both.
Puzzle = Annotated[
    Annotated[StrictStr, Tag("text")] | Annotated[Grid, Tag("grid")],
    Discriminator(_form),
]

SegmentCount = Annotated[StrictInt, Field(ge=1)]

DEFAULT_ATTEMPTS = 8
"""Of a request that may have several and does not say how many."""

NO_CHECKER = "task {!r} has no checker, so that nothing can be verified; mode `vote` counts answers instead"


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


SEVERAL_ATTEMPTS = (Mode.VERIFIED, Mode.VOTE)
"""The modes whose requests may look at a puzzle more than once."""


class HaltedBy(StrEnum):
    """What ended the reasoning."""

    ACT = "act"
    MAX_SEGMENTS = "max_segments"
    VERIFIED = "verified"
    DEADLINE = "deadline"


class Strict(BaseModel):
    """Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SolveOptions(Strict):
    """How a puzzle is to be solved."""

    task: Annotated[str, Field(max_length=64)] | None = Field(None, description="Left out: the server's default task.")
    min_segments: SegmentCount = Field(1, description="Do not halt before.")
    max_segments: SegmentCount | None = Field(None, description="Left out: the checkpoint's own limit.")
    mode: Mode = Field(
        Mode.ACT,
        description="`act` halts by the Q-head; `fixed` runs exactly `max_segments`; `verified` ends when the checker "
        "accepts the answer, and looks again under other symmetries until it does; `vote` looks under several "
        "symmetries and counts.",
    )
    attempts: Annotated[StrictInt, Field(ge=1)] | None = Field(
        None, description=f"For `verified` and `vote`: looks at the puzzle, at most. Left out: {DEFAULT_ATTEMPTS}."
    )
    max_total_segments: SegmentCount | None = Field(
        None, description="For `verified` and `vote`: segments of all attempts. Left out: `attempts` x `max_segments`."
    )
    trace: StrictBool = Field(False, description="Add what the model thought after each segment.")
    timeout_s: Annotated[float, Field(ge=0.001, strict=True, allow_inf_nan=False)] | None = Field(
        None, description="Seconds until the deadline. Left out: the server's default."
    )
    priority: Lane = Field(Lane.NORMAL, description="`high` is served before `normal`.")

    @field_validator("attempts", "max_total_segments")
    @classmethod
    def _for_several_attempts(cls, value: int | None, info: ValidationInfo) -> int | None:
        mode = info.data.get("mode")
        if value is not None and isinstance(mode, Mode) and mode not in SEVERAL_ATTEMPTS:
            raise ValueError(f"is for the modes verified and vote, not for {mode}")
        return value

    @property
    def several(self) -> bool:
        """Whether it may spend several attempts."""
        return self.mode in SEVERAL_ATTEMPTS


class SolveRequest(SolveOptions):
    """The body of `POST /solve`, and what waits in the queue."""

    puzzle: Puzzle = Field(description="Text or a grid; the solution comes back in the same form.")
    puzzle_id: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="The identifier of a puzzle embedding, for tasks that need one (ARC)."
    )


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


class Vote(Strict):
    """One of the answers that several looks at a puzzle gave."""

    solution: Puzzle
    votes: int
    q_halt: float = Field(description="Mean over its votes.")


class Answer(Strict):
    """The body of a 200."""

    id: str
    task: str
    checkpoint: str
    solution: Puzzle
    valid: bool | None = Field(None, description="The exact checker's verdict; null where the task has no checker.")
    violations: list[str] = []
    optimal: bool | None = None
    halted_by: HaltedBy
    segments: int = Field(description="Of the attempt that the answer is from.")
    attempts: int = 1
    total_segments: int = Field(description="Of all attempts.")
    symmetry: str = Field("identity", description="What the attempt that the answer is from saw the puzzle under.")
    votes: list[Vote] | None = Field(None, description="In mode `vote`: the two most frequent answers.")
    confidence: float = Field(
        description="How likely the answer is exact, calibrated on held-out puzzles; of a checkpoint that is not "
        "calibrated, the mean probability of its tokens."
    )
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


class TaskInfo(BaseModel):
    """What the API says of one task and its current checkpoint."""

    model_config = ConfigDict(frozen=True)

    task: str
    checkpoint: str = Field(description="As task/version.")
    description: dict[str, Any] = Field(description="Kind, shape, alphabet.")
    max_segments: int = Field(description="The limit of a request that names none.")
    max_segments_cap: int = Field(description="The limit that a request may name.")
    attempts_cap: int = Field(description="The most attempts that a request may ask for.")
    total_segments_cap: int = Field(description="The most segments that its attempts may take together.")
    has_checker: bool = Field(description="Whether `valid` is ever more than null.")
    needs_puzzle_id: bool
    example: Puzzle | None


class LoadedTask(BaseModel):
    """What a worker says of one task that it serves."""

    model_config = ConfigDict(extra="allow", frozen=True)

    checkpoint: str = Field(description="The version that new puzzles get, as task/version.")
    warm: bool = Field(description="Whether it has compiled and is ready to answer.")
    slots: int


class LastLoad(BaseModel):
    """How a worker fared when it last followed a task's CURRENT."""

    model_config = ConfigDict(extra="allow", frozen=True)

    version: str
    outcome: str = Field(description="`loaded`, or `refused`: what was served before is served still.")
    reason: str | None = Field(None, description="Why it was refused.")
    seconds: float = Field(description="How long it took.")
    at: float = Field(description="When it ended, in Unix time.")


class WorkerDescription(BaseModel):
    """How a worker describes itself: what it announces to the queue and `GET /workers` shows."""

    model_config = ConfigDict(extra="allow", frozen=True)

    tasks: dict[str, LoadedTask] = {}
    loads: dict[str, LastLoad] = {}
    draining: bool = False
    device: str | None = None
    precision: str | None = None
    backend: str | None = None

    def serves(self, task: str) -> bool:
        """Whether a puzzle of this task that comes now would be answered without waiting for a start."""
        loaded = self.tasks.get(task)
        return loaded is not None and loaded.warm and not self.draining
