"""From a request to work for the engine, and from its outcome to an answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from model.calibration import Calibration
from model.checkpoint import CheckpointInfo
from model.tasks import PuzzleError, Tokens, Verdict
from model.tasks.vote import Candidate
from service.engine.work import Outcome, Work
from service.problems import ProblemKind
from service.schemas import (
    DEFAULT_ATTEMPTS,
    NO_CHECKER,
    Answer,
    HaltedBy,
    Mode,
    Problem,
    SolveRequest,
    Timing,
    TraceStep,
    Vote,
)


def encode(
    request: SolveRequest,
    info: CheckpointInfo,
    *,
    work_id: str,
    arrived: float = 0.0,
    deadline: float = float("inf"),
    delivery: int = 0,
    ticket: Any = None,
) -> Work:
    """Read a request's puzzle; raises PuzzleError where it or its puzzle_id cannot be used.

    Times are by the engine's clock.
    """
    if request.mode is Mode.VERIFIED and not info.codec.has_checker:
        raise PuzzleError(NO_CHECKER.format(info.task))
    tokens = info.codec.parse(request.puzzle)
    most = request.max_segments or info.max_segments
    attempts = (request.attempts or DEFAULT_ATTEMPTS) if request.several else 1
    total = request.max_total_segments or attempts * most
    most = min(most, total)
    return Work(
        id=work_id,
        request=request,
        info=info,
        tokens=tokens,
        predicted=info.codec.predicted(tokens),
        min_segments=most if request.mode == Mode.FIXED else min(request.min_segments, most),
        max_segments=most,
        attempts=attempts,
        max_total_segments=total,
        puzzle_id=_embedding_row(request, info),
        arrived=arrived,
        deadline=deadline,
        delivery=delivery,
        ticket=ticket,
    )


def adapt(work: Work, info: CheckpointInfo) -> Work:
    """The same work for another checkpoint of its task; raises PuzzleError where that one cannot take it."""
    if work.info is info:
        return work
    return encode(
        work.request,
        info,
        work_id=work.id,
        arrived=work.arrived,
        deadline=work.deadline,
        delivery=work.delivery,
        ticket=work.ticket,
    )


def decode(outcomes: Sequence[Outcome]) -> list[Answer | Problem]:
    """Check and write out what ended, in the same order; the checker looks at all answers of a task at once."""
    said = zip(outcomes, _verdicts(outcomes), _confidences(outcomes), strict=True)
    return [_decode(outcome, verdict, confidence) for outcome, verdict, confidence in said]


def bad_puzzle(error: PuzzleError) -> Problem:
    """The problem that a puzzle which cannot be read is."""
    return ProblemKind.BAD_PUZZLE.problem(error.detail, f"/puzzle{error.pointer}")


def _embedding_row(request: SolveRequest, info: CheckpointInfo) -> int:
    known = info.identifiers
    if known is None:
        if request.puzzle_id is not None:
            raise PuzzleError(f"checkpoint {info.name} knows no puzzle identifiers; leave puzzle_id out")
        return 0
    if request.puzzle_id is None:
        raise PuzzleError(f"checkpoint {info.name} needs a puzzle_id")
    if request.puzzle_id not in known:
        raise PuzzleError(f"checkpoint {info.name} was not trained on puzzle_id {request.puzzle_id!r}")
    return known[request.puzzle_id]


def _verdicts(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """One verdict an outcome. The valid ones are found together; only the others are asked what is wrong."""
    verdicts = [Verdict(None)] * len(outcomes)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, outcome in enumerate(outcomes):
        if outcome.tokens is not None and outcome.work.codec.has_checker:
            groups[id(outcome.work.codec)].append(index)
    for indices in groups.values():
        codec = outcomes[indices[0]].work.codec
        puzzles = np.stack([outcomes[i].work.tokens for i in indices])
        answers = np.stack([_tokens(outcomes[i]) for i in indices])
        valid = codec.check_many(puzzles, answers)
        for row, index in enumerate(indices):
            sure = valid[row] and not codec.grades
            verdicts[index] = Verdict(True) if sure else codec.check(puzzles[row], answers[row])
    return verdicts


def _confidences(outcomes: Sequence[Outcome]) -> list[float]:
    """How likely each answer is exact where its checkpoint is calibrated; else what the network's tokens say."""
    confidences = [outcome.confidence for outcome in outcomes]
    groups: dict[Calibration, list[int]] = defaultdict(list)
    for index, outcome in enumerate(outcomes):
        if outcome.work.info.calibration is not None:
            groups[outcome.work.info.calibration].append(index)
    for calibration, indices in groups.items():
        raw, q_halt = [confidences[i] for i in indices], [outcomes[i].q_halt for i in indices]
        for index, probability in zip(indices, calibration.probability(raw, q_halt).tolist(), strict=True):
            confidences[index] = probability
    return confidences


def _decode(outcome: Outcome, verdict: Verdict, confidence: float) -> Answer | Problem:
    if outcome.error is not None:
        return outcome.error
    answer = None if outcome.tokens is None else _answer(outcome, verdict, confidence)
    if outcome.halted_by is not HaltedBy.DEADLINE:
        return answer or ProblemKind.INTERNAL.problem("no segment was run")
    spent = f"the deadline passed after {outcome.segments} segments"
    if answer is None:
        return ProblemKind.DEADLINE.problem(spent)
    return ProblemKind.DEADLINE.problem(spent, answer=answer.model_dump(mode="json"))


def _answer(outcome: Outcome, verdict: Verdict, confidence: float) -> Answer:
    work, spent = outcome.work, outcome.spent
    return Answer(
        id=work.id,
        task=work.task,
        checkpoint=outcome.checkpoint,
        solution=work.codec.format(_tokens(outcome), like=work.request.puzzle),
        valid=verdict.valid,
        violations=list(verdict.violations),
        optimal=verdict.optimal,
        halted_by=outcome.halted_by,
        segments=outcome.segments,
        attempts=spent.attempts if spent else 1,
        total_segments=spent.segments if spent else outcome.segments,
        symmetry=spent.symmetry if spent else "identity",
        votes=[_vote(work, candidate) for candidate in spent.votes] if spent and spent.votes else None,
        confidence=confidence,
        q_halt=outcome.q_halt,
        q_continue=outcome.q_continue,
        timing=Timing(queue_s=round(outcome.queue_s, 6), solve_s=round(outcome.solve_s, 6)),
        trace=_trace(outcome) if work.request.trace else None,
    )


def _vote(work: Work, candidate: Candidate) -> Vote:
    solution = work.codec.format(candidate.answer, like=work.request.puzzle)
    return Vote(solution=solution, votes=candidate.votes, q_halt=candidate.q_halt)


def _trace(outcome: Outcome) -> list[TraceStep]:
    before = outcome.work.tokens
    steps = []
    for number, thought in enumerate(outcome.thoughts, start=1):
        steps.append(
            TraceStep(
                segment=number,
                grid=outcome.work.codec.format(thought.tokens, like=outcome.work.request.puzzle),
                q_halt=thought.q_halt,
                q_continue=thought.q_continue,
                cells_changed=int((thought.tokens != before).sum()),
                residual_H=thought.residual_H,
                residual_L=thought.residual_L,
            )
        )
        before = thought.tokens
    return steps


def _tokens(outcome: Outcome) -> Tokens:
    if outcome.tokens is None:
        raise ValueError(f"{outcome.work.id} has no answer")
    return outcome.tokens
