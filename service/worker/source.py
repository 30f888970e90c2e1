"""The engine's source in production: the queue, fetched and answered by threads of its own.

The engine's thread never waits for Redis. One thread a task fetches ahead, one publishes what ended, renews leases,
reclaims and announces, one listens for control messages. When Redis is away the engine reasons on; answers wait
here and are published when it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from service.broker.records import BrokerError, Claim, ControlMessage, Finished, JobState, WorkerBroker
from service.engine.codec import decode
from service.engine.work import Key, Outcome, Room, Work
from service.metrics import WorkerMetrics
from service.schemas import Answer, HaltedBy, Problem
from service.tracing import trace_id
from service.worker.endings import defect, finished
from service.worker.fetch import Fetcher, Serving
from service.worker.holdings import Holdings
from service.worker.tracing import trace

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

CONTROL_WAIT_S = 0.25
"""How long the control thread listens before it looks whether the worker ends."""
RETRY_S = 0.2
"""Pause after Redis did not answer."""

FINISHES = {"deadline": "deadline", "cancelled": "cancelled", "poison": "poison", "unreadable": "error"}
"""How the queue ends jobs by itself, and what `hrm_requests_finished_total` calls that."""
DEAD_LETTERS = frozenset({"poison", "unreadable"})

Describe = Callable[[], Mapping[str, object]]


class BrokerSource:
    """Implements `service.engine.work.Source` over a `WorkerBroker`.

    Args:
        broker: the worker's side of the queue.
        serving: the checkpoint that new puzzles of a task get.
        describe: what the worker announces of itself.
        lease_s: how long a claim holds without renewal; renewed three times as often.
        on_reload: called (from the control thread) when a task's CURRENT may have moved.
        tracer: where the spans of traced requests go.
    """

    def __init__(
        self,
        broker: WorkerBroker,
        serving: Serving,
        describe: Describe,
        lease_s: float,
        metrics: WorkerMetrics,
        on_reload: Callable[[], None],
        tracer: Tracer | None = None,
    ) -> None:
        self._broker, self._describe = broker, describe
        self._beat_s, self._metrics, self._on_reload = lease_s / 3, metrics, on_reload
        self._tracer = tracer
        self._holdings = Holdings()
        self._fetcher = Fetcher(broker, self._holdings, serving, metrics, self._redis_failed)
        self._told: Counter[tuple[str, str]] = Counter()
        self._give_up = float("inf")
        self._open = True
        self._away = False
        self.connected = False
        """Whether Redis has taken our word once."""
        loops = {"publish": self._publish_loop, "control": self._control_loop}
        self._threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()]

    def start(self) -> None:
        """Announce the worker; what is fetched is up to `poll`."""
        for thread in self._threads:
            thread.start()

    def stop_fetching(self) -> None:
        """Take nothing more and say so; what the engine has still gets its answer."""
        self._holdings.stop()
        self.announce()

    def announce(self) -> None:
        """Say soon what has become of this worker. May be called from any thread."""
        self._holdings.hurry()

    def hand_back(self, works: Sequence[Work]) -> None:
        """Give work that the engine will not do to others."""
        self._holdings.give_back(works)

    def close(self, give_up: float) -> None:
        """Publish what ended, hand back what was not used, retire, and end the threads.

        While Redis is away, this is tried until the monotonic clock says `give_up`.
        """
        self.stop_fetching()
        self._fetcher.join()
        self._give_up = give_up
        self._open = False
        self._holdings.close()
        for thread in self._threads:
            thread.join()
        try:
            self._broker.retire()
        except BrokerError as error:
            log.info("the worker's record is left to expire", extra={"error": str(error)})
        self._broker.close()

    # The engine's side

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        """What was fetched; and say how much more is wanted."""
        self._fetcher.attend(room)
        return self._holdings.poll(room)

    def revoked(self) -> Collection[Key]:
        """Whose slots should be freed."""
        return self._holdings.revoked()

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Hand over to the publishing thread."""
        self._holdings.leave(outcomes)

    def advanced(self, running: Sequence[Work], waiting: Sequence[Work]) -> None:
        """Remember who moved, for the next renewal."""
        self._holdings.advance(running, waiting)

    def wait(self, timeout_s: float) -> None:
        """Until something was fetched or revoked."""
        self._holdings.wait(timeout_s)

    def leased(self) -> Collection[Key]:
        """What the engine should hold."""
        return self._holdings.inside()

    # The publishing thread

    def _publish_loop(self) -> None:
        next_beat = 0.0
        endings: list[Finished] = []
        returned: list[Claim] = []
        answered: list[Outcome] = []
        while True:
            kept = bool(endings or returned)  # Redis failed, and the pause after that is over
            outbox = self._holdings.outbox(0.0 if kept else max(0.0, next_beat - time.monotonic()))
            endings += outbox.refused + self._written(outbox.ended)
            answered += outbox.ended
            returned += outbox.returned
            if outbox.hurry:
                next_beat = 0.0
            try:
                self._finish(endings)
                endings = []
                if self._tracer:
                    trace(self._tracer, answered, published=time.monotonic())
                answered = []
                self._broker.hand_back(returned)
                returned = []
                if outbox.last:
                    return
                if time.monotonic() >= next_beat:
                    self._beat()
                    next_beat = time.monotonic() + self._beat_s
            except BrokerError as error:
                self._redis_failed("publish", error)
                if outbox.last and time.monotonic() >= self._give_up:
                    log.error("the end comes before Redis: others will answer", extra={"answers": len(endings)})
                    return

    def _written(self, outcomes: Sequence[Outcome]) -> list[Finished]:
        bodies = self._decoded(outcomes)
        for outcome, body in zip(outcomes, bodies, strict=True):
            self._count(outcome, body)
        return [finished(outcome, body) for outcome, body in zip(outcomes, bodies, strict=True)]

    def _decoded(self, outcomes: Sequence[Outcome]) -> list[Answer | Problem]:
        try:
            return decode(outcomes)
        except Exception as error:
            if len(outcomes) == 1:
                return [defect("an answer could not be written", outcomes[0].work.id, error)]
            return [body for outcome in outcomes for body in self._decoded([outcome])]

    def _count(self, outcome: Outcome, body: Answer | Problem) -> None:
        metrics, task, halt = self._metrics, outcome.work.task, outcome.halted_by
        late = halt is HaltedBy.DEADLINE
        failed = isinstance(body, Problem) and not late
        metrics.requests_finished.labels(task, "error" if failed else halt.value).inc()
        metrics.solve_duration.labels(task).observe(outcome.solve_s)
        if log.isEnabledFor(logging.DEBUG):
            ids = {"job_id": outcome.work.id, "trace_id": trace_id(outcome.work.ticket.claim.trace_context)}
            log.debug("puzzle ended", extra={**ids, "halted_by": halt.value, "segments": outcome.segments})
        if isinstance(body, Answer):
            metrics.segments_used.labels(task, halt.value).observe(body.total_segments)
            metrics.answers.labels(task, "unknown" if body.valid is None else str(body.valid).lower()).inc()
        if outcome.spent is not None:
            metrics.attempts.labels(task, outcome.work.request.mode.value).observe(outcome.spent.attempts)
            metrics.lost_segments.labels(task, "sibling").inc(outcome.spent.lost)
            if halt is HaltedBy.VERIFIED:
                metrics.winning_attempt.labels(task).observe(outcome.spent.winner + 1)

    def _finish(self, endings: Sequence[Finished]) -> None:
        verdicts = self._broker.finish(endings)
        for ending, first in zip(endings, verdicts, strict=True):
            if not first and ending.state is not JobState.CANCELLED:
                self._metrics.duplicate_results.inc()

    def _beat(self) -> None:
        """What is due three times a lease: renew, announce, reclaim."""
        claims, ahead = self._holdings.due()
        renewal = self._broker.renew(claims, ahead)
        self._holdings.drop([claim for claim in claims if claim.id in set(renewal.lost)])
        self._drop_cancelled([claim for claim in claims if claim.id in set(renewal.cancelled)])
        self._broker.announce(self._describe())
        self.connected = True
        if self._away:
            log.info("Redis is back")
            self._away = False
        self._broker.reclaim({})  # what that frees, the fetching thread takes
        self._count_the_queues_own()

    def _drop_cancelled(self, claims: Sequence[Claim]) -> list[Claim]:
        dropped = self._holdings.drop(claims)
        for claim in dropped:
            self._metrics.requests_finished.labels(claim.task, "cancelled").inc()
        return dropped

    def _count_the_queues_own(self) -> None:
        """What the queue ended by itself, since the last time."""
        for key, count in dict(self._broker.tally).items():
            task, event = key
            news, self._told[key] = count - self._told[key], count
            if event in DEAD_LETTERS:
                self._metrics.dead_letters.inc(news)
            if event in FINISHES:
                self._metrics.requests_finished.labels(task, FINISHES[event]).inc(news)

    # The control thread

    def _control_loop(self) -> None:
        while self._open:
            try:
                for message in self._broker.control(CONTROL_WAIT_S):
                    self._obey(message)
            except BrokerError as error:
                self._redis_failed("control", error)

    def _obey(self, message: ControlMessage) -> None:
        if message.kind == "reload":
            self._on_reload()
        elif message.kind == "cancel":
            for claim in self._drop_cancelled(self._holdings.find(message.body.get("id", ""))):
                self._holdings.say(Finished(claim.id, claim.fence, JobState.CANCELLED, b""))

    def _redis_failed(self, op: str, error: BrokerError) -> None:
        self._metrics.redis_errors.labels(op).inc()
        if not self._away:  # once for all threads and tries
            log.warning("Redis does not answer; trying until it does", extra={"op": op, "error": str(error)})
        self._away = True
        time.sleep(RETRY_S)
