"""Several attempts at one request: how many there may be, what they cost, and what they come to.

An attempt is the puzzle under another symmetry of its task, in a slot of its own. In `verified` mode the first
attempt that the checker accepts wins; in `vote` mode all of them are counted.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from model.checkpoint import CheckpointInfo
from model.tasks import Symmetry, Tokens
from model.tasks.views import further_views
from model.tasks.vote import Candidate, vote
from service.engine.work import Outcome, Spent, Thought, Work
from service.schemas import HaltedBy, Mode

_VOTES_SHOWN = 2
"""ARC counts two answers."""


@dataclass(frozen=True, slots=True)
class View:
    """A way to look at a puzzle: a symmetry, and the row of the puzzle embedding that belongs to it."""

    symmetry: Symmetry
    puzzle_id: int


@dataclass(eq=False, slots=True)
class Inquiry:
    """A request with a budget of attempts.

    Attributes:
        work: the request as it was taken; it is the first attempt, too.
        views: further ways to look at the puzzle.
        attempts: how many attempts there may be; falls where `views` ends before.
        begun, running: attempts so far, and those that sit in a slot.
        reserved: segments that running attempts may still take.
        used: segments of those that ended.
        lost: segments of those that were ended for another's sake; contained in `used`.
        put_back: attempts that gave up their slots to others; they begin anew.
        ended: how attempts ended.
    """

    work: Work
    views: Iterator[View]
    attempts: int
    begun: int
    running: int
    reserved: int
    used: int = 0
    lost: int = 0
    put_back: deque[Work] = field(default_factory=deque)
    ended: list[Outcome] = field(default_factory=list)

    @classmethod
    def of(cls, work: Work) -> Inquiry:
        """The inquiry that a request asks for; its first attempt, the request itself, is under way."""
        return cls(work, views(work), work.attempts, begun=1, running=1, reserved=work.max_segments)

    @property
    def unfinished(self) -> bool:
        """Whether the budget allows another attempt."""
        return bool(self.put_back) or (self.begun < self.attempts and self._left > 0)

    @property
    def fans_out(self) -> bool:
        """Whether attempts may run beside each other: all of a vote, of a search only once the first has failed."""
        return self.unfinished and (self.work.request.mode is Mode.VOTE or bool(self.ended))

    def start(self) -> Work | None:
        """The next attempt; None where there is no further way to look at the puzzle."""
        work = self.put_back.popleft() if self.put_back else self._next()
        if work is not None:
            self.running += 1
            self.reserved += work.max_segments
        return work

    def stop(self, work: Work, segments: int) -> None:
        """An attempt was ended because the request is settled."""
        self._leave(work)
        self.used += segments
        self.lost += segments

    def give_way(self, work: Work) -> None:
        """An attempt was ended because others wait for its slot; what it took is not held against the budget."""
        self._leave(work)
        self.put_back.append(work)

    def end(self, outcome: Outcome) -> bool:
        """An attempt came to its end; says whether that settles the request."""
        self._leave(outcome.work)
        self.used += outcome.segments
        self.ended.append(outcome)
        decided = outcome.error is not None or outcome.halted_by in (HaltedBy.VERIFIED, HaltedBy.DEADLINE)
        return decided or not (self.running or self.unfinished)

    def outcome(self, halted_by: HaltedBy | None = None) -> Outcome:
        """What the request comes to, in the puzzle's own orientation. At least one attempt must have ended.

        Args:
            halted_by: what ended it, where that is not what ended its last attempt.
        """
        last = self.ended[-1]
        chosen, votes = self._choose(last)
        queue_s = min(attempt.queue_s for attempt in self.ended)
        symmetry = chosen.work.symmetry
        undo = symmetry.inverse().apply if symmetry else _unchanged
        spent = Spent(
            attempts=self.begun - len(self.put_back),
            segments=self.used,
            lost=self.lost,
            winner=chosen.work.attempt,
            symmetry=symmetry.name if symmetry else "identity",
            votes=votes,
        )
        return replace(
            chosen,
            work=self.work,
            tokens=None if chosen.tokens is None else undo(chosen.tokens),
            thoughts=[_turned(thought, undo) for thought in chosen.thoughts] if symmetry else chosen.thoughts,
            halted_by=halted_by or last.halted_by,
            queue_s=queue_s,
            solve_s=max(attempt.queue_s + attempt.solve_s for attempt in self.ended) - queue_s,
            spent=spent,
        )

    @property
    def _left(self) -> int:
        return self.work.max_total_segments - self.used - self.reserved

    def _next(self) -> Work | None:
        view = next(self.views, None)
        if view is None:
            self.attempts = self.begun
            return None
        work, number = self.work, self.begun
        self.begun += 1
        tokens, most = view.symmetry.apply(work.tokens), min(work.max_segments, self._left)
        return replace(
            work,
            tokens=tokens,
            predicted=work.codec.predicted(tokens),
            min_segments=min(work.min_segments, most),
            max_segments=most,
            puzzle_id=view.puzzle_id,
            attempt=number,
            symmetry=view.symmetry,
        )

    def _leave(self, work: Work) -> None:
        self.running -= 1
        self.reserved -= work.max_segments

    def _choose(self, last: Outcome) -> tuple[Outcome, list[Candidate]]:
        """The attempt to answer with: what was found valid, or has most votes, or what the Q-head thinks most of."""
        whole = [outcome for outcome in self.ended if outcome.tokens is not None]
        if last.error is not None or last.halted_by is HaltedBy.VERIFIED or not whole:
            return last, []
        if self.work.request.mode is not Mode.VOTE:
            return max(whole, key=lambda outcome: outcome.q_halt), []
        identity = self.work.codec.identity()
        symmetries = [outcome.work.symmetry or identity for outcome in whole]
        q_halt = np.array([outcome.q_halt for outcome in whole])
        answers = np.stack([outcome.tokens for outcome in whole if outcome.tokens is not None])
        votes = vote(answers, symmetries, q_halt, keep=_VOTES_SHOWN)
        return whole[votes[0].first], votes


def views(work: Work) -> Iterator[View]:
    """Further ways to look at a puzzle, none twice, in an order that its tokens decide.

    Where the checkpoint has an identifier for every view (ARC), those it knows; elsewhere random symmetries.
    """
    rng = np.random.default_rng(zlib.crc32(work.tokens.tobytes()))
    if work.request.puzzle_id is not None:
        named = list(_named_views(work.info, work.request.puzzle_id))
        yield from (named[i] for i in rng.permutation(len(named)))
        return
    yield from (View(symmetry, work.puzzle_id) for symmetry in further_views(work.codec, work.tokens, rng))


def _named_views(info: CheckpointInfo, puzzle_id: str) -> Iterator[View]:
    for name, row in info.views(puzzle_id):
        try:
            yield View(info.codec.named_symmetry(name), row)
        except ValueError:
            continue  # another puzzle whose identifier only begins like ours


def _turned(thought: Thought, undo: Callable[[Tokens], Tokens]) -> Thought:
    return replace(thought, tokens=undo(thought.tokens))


def _unchanged(tokens: Tokens) -> Tokens:
    return tokens
