"""The engine's source in production: the queue, fetched and answered by threads of its own.

The engine's thread never waits for Redis. One thread fetches ahead, one publishes what ended, renews leases,
reclaims and announces, one listens for control messages. When Redis is away the engine reasons on; answers wait
here and are published when it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence

from pydantic import ValidationError

from model.checkpoint import CheckpointInfo
from model.tasks import PuzzleError
from service.broker.records import BrokerError, Claim, ControlMessage, Finished, JobState, WorkerBroker
from service.engine.codec import bad_puzzle, decode, encode
from service.engine.work import Outcome, Room, Work
from service.metrics import WorkerMetrics
from service.problems import ProblemKind
from service.schemas import Answer, Problem, SolveRequest

log = logging.getLogger(__name__)

IDLE_WAIT_S = 1.0
"""How long a thread waits for something to do before it looks round again."""
RETRY_S = 0.2
"""Pause after Redis did not answer."""

Describe = Callable[[], Mapping[str, object]]
Serving = Callable[[str], CheckpointInfo | None]


class BrokerSource:
    """Implements `service.engine.work.Source` over a `WorkerBroker`.

    Args:
        broker: the worker's side of the queue.
        serving: the checkpoint that new puzzles of a task get.
        describe: what the worker announces of itself.
        lease_s: how long a claim holds without renewal; renewed three times as often.
        on_reload: called (from the control thread) when a task's CURRENT may have moved.
    """

    def __init__(
        self,
        broker: WorkerBroker,
        serving: Serving,
        describe: Describe,
        lease_s: float,
        metrics: WorkerMetrics,
        on_reload: Callable[[], None],
    ) -> None:
        self._broker, self._serving, self._describe = broker, serving, describe
        self._beat_s, self._metrics, self._on_reload = lease_s / 3, metrics, on_reload
        self._lock = threading.Condition()
        self._room: dict[str, Room] = {}
        self._ready: dict[str, deque[Work]] = defaultdict(deque)
        self._held: dict[str, Claim] = {}
        self._advanced: set[str] = set()
        self._revoked: set[str] = set()
        self._ended: deque[Outcome] = deque()
        self._refused: deque[Finished] = deque()
        self._fetching = True
        self._open = True
        loops = {"fetch": self._fetch_loop, "publish": self._publish_loop, "control": self._control_loop}
        self._threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()]

    def start(self) -> None:
        """Announce the worker and begin to fetch."""
        for thread in self._threads:
            thread.start()

    def stop_fetching(self) -> None:
        """Take nothing more; what is here still gets its answer."""
        with self._lock:
            self._fetching = False
            self._lock.notify_all()

    def close(self, works: Sequence[Work]) -> None:
        """Publish what ended, hand back `works` and whatever was fetched and not used, and end the threads."""
        self.stop_fetching()
        self._threads[0].join()
        with self._lock:
            unused = [work for queue in self._ready.values() for work in queue]
            claims = [self._held[work.id] for work in [*works, *unused] if work.id in self._held]
            self._open = False
            self._lock.notify_all()
        self._threads[1].join()
        self._quietly("hand_back", lambda: self._broker.hand_back(claims))
        self._quietly("retire", self._broker.retire)

    # The engine's side

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        """What was fetched; and say how much more is wanted."""
        works: list[Work] = []
        with self._lock:
            for task, wanted in room.items():
                queue = self._ready[task]
                taken = [queue.popleft() for _ in range(min(wanted.wanted, len(queue)))]
                left = max(0, wanted.wanted - len(taken))
                self._room[task] = Room(left, min(left, wanted.ahead))
                works += taken
            self._lock.notify_all()
        return works

    def revoked(self) -> Collection[str]:
        """Ids whose slots should be freed."""
        with self._lock:
            revoked, self._revoked = self._revoked, set()
        return revoked

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Hand over to the publishing thread."""
        with self._lock:
            self._ended.extend(outcomes)
            self._lock.notify_all()

    def advanced(self, works: Sequence[Work]) -> None:
        """Remember who moved, for the next renewal."""
        with self._lock:
            self._advanced.update(work.id for work in works)

    def wait(self, timeout_s: float) -> None:
        """Until something was fetched or revoked."""
        with self._lock:
            self._lock.wait_for(lambda: any(self._ready.values()) or self._revoked or not self._fetching, timeout_s)

    # The fetching thread

    def _fetch_loop(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._missing() or not self._fetching, IDLE_WAIT_S)
                if not self._fetching:
                    return
                missing = self._missing()
            if not missing:
                continue
            try:
                room = {task: gap.wanted for task, gap in missing.items()}
                claims = self._broker.take(room, {task: gap.ahead for task, gap in missing.items()})
                self._accept(claims)
                if not claims:
                    self._broker.wait_for_work(list(room), IDLE_WAIT_S)
            except BrokerError as error:
                self._redis_failed("take", error)

    def _missing(self) -> dict[str, Room]:
        return {
            task: Room(room.wanted - len(self._ready[task]), room.ahead)
            for task, room in self._room.items()
            if room.wanted > len(self._ready[task])
        }

    def _accept(self, claims: Sequence[Claim]) -> None:
        now = time.monotonic()
        read = [(claim, self._read(claim, now)) for claim in claims]
        with self._lock:
            for claim, work in read:
                if claim.deliveries > 1:
                    self._metrics.redeliveries.inc()
                if isinstance(work, Problem):
                    self._refused.append(_finished(claim, work))
                else:
                    self._held[claim.id] = claim
                    self._ready[claim.task].append(work)
                    self._metrics.queue_wait.labels(claim.task).observe(claim.waited_s)
            self._lock.notify_all()

    def _read(self, claim: Claim, now: float) -> Work | Problem:
        """Validate again what came through Redis: whoever wrote it may have been of another version."""
        info = self._serving(claim.task)
        if info is None:
            return ProblemKind.UNKNOWN_TASK.problem(f"this worker serves no task {claim.task!r}")
        try:
            request = SolveRequest.model_validate_json(claim.request)
            if request.task != claim.task:
                raise PuzzleError(f"the request is for task {request.task!r}, the queue for {claim.task!r}")
            return encode(
                request, info, work_id=claim.id, arrived=now - claim.waited_s, deadline=now + claim.deadline_in_s
            )
        except ValidationError as error:
            return ProblemKind.BAD_REQUEST.problem(f"the queued request cannot be read: {error.errors()[0]['msg']}")
        except PuzzleError as error:
            return bad_puzzle(error)

    # The publishing thread

    def _publish_loop(self) -> None:
        next_beat = 0.0
        endings: list[Finished] = []
        while True:
            with self._lock:
                rest = max(0.0, next_beat - time.monotonic())
                self._lock.wait_for(lambda: self._ended or self._refused or not self._open, rest)
                outcomes, refused = list(self._ended), list(self._refused)
                self._ended.clear()
                self._refused.clear()
                closing = not self._open
            endings += refused + self._written(outcomes)
            try:
                if endings:
                    self._finish(endings)
                    endings = []
                if closing:
                    return
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + self._beat_s
                    self._beat()
            except BrokerError as error:
                self._redis_failed("finish", error)
                if closing:
                    log.error("answers could not be published before the end", extra={"answers": len(endings)})
                    return

    def _written(self, outcomes: Sequence[Outcome]) -> list[Finished]:
        with self._lock:
            ours = [(outcome, self._held[outcome.work.id]) for outcome in outcomes if outcome.work.id in self._held]
        bodies = decode([outcome for outcome, _ in ours])
        for (outcome, _), body in zip(ours, bodies, strict=True):
            if isinstance(body, Answer):
                valid = "unknown" if body.valid is None else str(body.valid).lower()
                self._metrics.answers.labels(outcome.work.task, valid).inc()
        return [_finished(claim, body) for (_, claim), body in zip(ours, bodies, strict=True)]

    def _finish(self, endings: Sequence[Finished]) -> None:
        accepted = self._broker.finish(endings)
        self._metrics.duplicate_results.inc(accepted.count(False))
        with self._lock:
            for ending in endings:
                self._held.pop(ending.id, None)
                self._advanced.discard(ending.id)

    def _beat(self) -> None:
        """What is due three times a lease: renew, announce, reclaim."""
        with self._lock:
            claims = [self._held[work_id] for work_id in self._advanced if work_id in self._held]
            waiting = {work.id for queue in self._ready.values() for work in queue}
            claims += [self._held[work_id] for work_id in waiting]
            self._advanced.clear()
        if claims:
            renewal = self._broker.renew(claims, ahead=waiting)
            self._drop({*renewal.lost, *renewal.cancelled}, keep=set(renewal.cancelled))
        self._broker.announce(self._describe())
        with self._lock:
            room = {task: gap.wanted for task, gap in self._missing().items()} if self._fetching else {}
        self._accept(self._broker.reclaim(room))

    def _drop(self, ids: set[str], keep: set[str]) -> None:
        """Forget claims that are no longer wanted; those in `keep` are still ours and want a last word."""
        with self._lock:
            for work_id in ids:
                claim = self._held.pop(work_id, None)
                if claim is not None and work_id in keep:
                    self._refused.append(Finished(work_id, claim.fence, JobState.CANCELLED, b""))
            for queue in self._ready.values():
                wanted = [work for work in queue if work.id not in ids]
                queue.clear()
                queue.extend(wanted)
            self._revoked |= ids
            self._lock.notify_all()

    # The control thread

    def _control_loop(self) -> None:
        while self._open:
            try:
                for message in self._broker.control(IDLE_WAIT_S):
                    self._obey(message)
            except BrokerError as error:
                self._redis_failed("control", error)

    def _obey(self, message: ControlMessage) -> None:
        if message.kind == "reload":
            self._on_reload()
        elif message.kind == "cancel":
            with self._lock:
                cancelled = {message.body.get("id", "")} & self._held.keys()
            self._drop(cancelled, keep=cancelled)

    def _redis_failed(self, op: str, error: BrokerError) -> None:
        self._metrics.redis_errors.labels(op).inc()
        log.warning("Redis did not answer; trying again", extra={"op": op, "error": str(error)})
        time.sleep(RETRY_S)

    def _quietly(self, op: str, call: Callable[[], None]) -> None:
        try:
            call()
        except BrokerError as error:
            self._metrics.redis_errors.labels(op).inc()
            log.warning("Redis did not answer at the end", extra={"op": op, "error": str(error)})


def _finished(claim: Claim, body: Answer | Problem) -> Finished:
    if isinstance(body, Answer):
        return Finished(claim.id, claim.fence, JobState.DONE, body.model_dump_json().encode())
    return Finished(claim.id, claim.fence, JobState.FAILED, body.model_dump_json(exclude_none=True).encode())
