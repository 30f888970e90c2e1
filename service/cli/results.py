"""What `hrm solve` says of a puzzle: a JSON line for machines, a drawn grid for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.tasks import PuzzleError, Task
from service.cli.rows import Row
from service.schemas import Answer


@dataclass(frozen=True, slots=True)
class Result:
    """A row with its answer, or with what went wrong; `exact` is None where no answer was known."""

    row: Row
    answer: Answer | None
    error: str | None = None
    exact: bool | None = None

    @property
    def solved(self) -> bool:
        """Exact where the answer was known, else valid."""
        if self.answer is None:
            return False
        return self.exact if self.exact is not None else bool(self.answer.valid)


def result_of(row: Row, reply: Answer | str, codecs: Mapping[str, Task]) -> Result:
    """Compare an answer with the known one; a reply that is text is an error."""
    if isinstance(reply, str):
        return Result(row, None, reply)
    if row.answer is None:
        return Result(row, reply)
    codec = codecs.get(reply.task)
    if codec is None:
        return Result(row, reply, exact=reply.solution == row.answer)
    try:
        expected = codec.parse_answer(row.answer)
    except PuzzleError as error:
        return Result(row, None, f"the known answer: {error.detail}")
    try:
        return Result(row, reply, exact=bool(np.array_equal(codec.parse_answer(reply.solution), expected)))
    except PuzzleError:  # the model left a cell empty
        return Result(row, reply, exact=False)


def to_json(result: Result) -> dict[str, Any]:
    """One line of the output."""
    row, answer = result.row, result.answer
    if answer is None or row.request is None:
        return {"line": row.line, "error": result.error}
    line: dict[str, Any] = {
        "puzzle": row.request.puzzle,
        "solution": answer.solution,
        "valid": answer.valid,
        "segments": answer.segments,
        "attempts": answer.attempts,
        "total_segments": answer.total_segments,
        "halted_by": answer.halted_by.value,
        "checkpoint": answer.checkpoint,
    }
    known = {"source": row.source, "exact": result.exact, "optimal": answer.optimal}
    line |= {name: value for name, value in known.items() if value is not None}
    if answer.attempts > 1:
        line["symmetry"] = answer.symmetry
    if answer.votes is not None:
        line["votes"] = [vote.model_dump(mode="json") for vote in answer.votes]
    line |= {"confidence": answer.confidence, "q_halt": answer.q_halt, "q_continue": answer.q_continue}
    if answer.trace is not None:
        line["trace"] = [step.model_dump(mode="json") for step in answer.trace]
    return line


def to_text(result: Result, codecs: Mapping[str, Task]) -> str:
    """The solution drawn, and a line about it."""
    answer = result.answer
    if answer is None:
        return f"line {result.row.line}: {result.error}"
    verdict = {True: "valid", False: "NOT VALID", None: "not checked"}[answer.valid]
    if result.exact is not None:
        verdict += ", exact" if result.exact else ", not the known answer"
    segments = f"{answer.segments} segment{'s' if answer.segments > 1 else ''}"
    if answer.attempts > 1:
        segments += f" of {answer.total_segments} in {answer.attempts} attempts"
    about = [
        f"{verdict}; {segments}, halted by {answer.halted_by.value}; confidence {answer.confidence:.1%}; "
        f"{answer.checkpoint}",
        *(f"  {violation}" for violation in answer.violations),
    ]
    return "\n".join([_drawn(answer, codecs.get(answer.task)), *about])


def _drawn(answer: Answer, codec: Task | None) -> str:
    try:
        if codec is not None:
            return codec.draw(codec.parse_answer(answer.solution))
    except PuzzleError:  # an answer that left a cell empty is shown as it came
        pass
    if isinstance(answer.solution, str):
        return answer.solution
    return "\n".join(" ".join(map(str, row)) for row in answer.solution)
