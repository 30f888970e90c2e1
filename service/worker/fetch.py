"""Fetching: what the queue has goes to the engine before it asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from pydantic import ValidationError

from model.checkpoint import CheckpointInfo
from model.tasks import PuzzleError
from service.broker.records import BrokerError, Claim, WorkerBroker
from service.engine.codec import bad_puzzle, encode
from service.engine.work import Work
from service.metrics import WorkerMetrics
from service.problems import ProblemKind
from service.schemas import Problem, SolveRequest
from service.worker.endings import defect, failed
from service.worker.holdings import Holdings

IDLE_WAIT_S = 1.0
"""How long a thread waits for something to do before it looks round again."""

Serving = Callable[[str], CheckpointInfo | None]


class Fetcher:
    """One thread a task: it waits for room, then for work, and takes it.

    The tasks do not share a thread: while that waited in Redis for the work of an idle task, it would not hear that
    a busy one has room again.

    Args:
        serving: the checkpoint that new puzzles of a task get.
        redis_failed: is told which call failed, and pauses.
    """

    def __init__(
        self,
        broker: WorkerBroker,
        holdings: Holdings,
        serving: Serving,
        metrics: WorkerMetrics,
        redis_failed: Callable[[str, BrokerError], None],
    ) -> None:
        self._broker, self._holdings, self._serving = broker, holdings, serving
        self._metrics, self._redis_failed = metrics, redis_failed
        self._threads: dict[str, threading.Thread] = {}

    def attend(self, tasks: Iterable[str]) -> None:
        """Fetch for these tasks, too, from now on. Called by one thread only."""
        for task in tasks:
            if task not in self._threads:
                name = f"fetch {task}"
                self._threads[task] = threading.Thread(target=self._fetch, args=(task,), name=name, daemon=True)
                self._threads[task].start()

    def join(self) -> None:
        """Wait for the threads' end; to be called when the holdings want nothing more."""
        for thread in self._threads.values():
            thread.join()

    def _fetch(self, task: str) -> None:
        wait_s = 0.0
        while (gap := self._holdings.gap(task, IDLE_WAIT_S)) is not None:
            if not gap.wanted:
                continue
            try:
                claims = self._broker.take({task: gap.wanted}, {task: gap.ahead}, wait_s)
                # The queue was empty: to ask again at once would be in vain.
                wait_s = IDLE_WAIT_S if len(claims) < gap.wanted else 0.0
                self._accept(claims)
            except BrokerError as error:
                wait_s = 0.0
                self._redis_failed("take", error)

    def _accept(self, claims: Sequence[Claim]) -> None:
        now = time.monotonic()
        accepted: list[tuple[Claim, Work]] = []
        for claim in claims:
            info = self._serving(claim.task)
            if info is None:  # it was withdrawn just now
                self._holdings.pass_on(claim)
                continue
            self._metrics.redeliveries.inc(claim.deliveries > 1)
            self._metrics.queue_wait.labels(claim.task).observe(claim.waited_s)
            read = self._read(claim, info, now)
            if isinstance(read, Work):
                accepted.append((claim, read))
            else:
                self._metrics.requests_finished.labels(claim.task, "error").inc()
                self._holdings.say(failed(claim, read))
        if accepted:
            self._holdings.accept(accepted)

    def _read(self, claim: Claim, info: CheckpointInfo, now: float) -> Work | Problem:
        """Validate again what came through Redis: whoever wrote it may have been of another version."""
        try:
            request = SolveRequest.model_validate_json(claim.request)
            if request.task != claim.task:
                raise PuzzleError(f"the request is for task {request.task!r}, the queue for {claim.task!r}")
            return encode(
                request,
                info,
                work_id=claim.id,
                arrived=now - claim.waited_s,
                deadline=now + claim.deadline_in_s,
                delivery=claim.fence,
            )
        except ValidationError as error:
            return ProblemKind.BAD_REQUEST.problem(f"the queued request cannot be read: {error.errors()[0]['msg']}")
        except PuzzleError as error:
            return bad_puzzle(error)
        except Exception as error:
            return defect("a puzzle could not be read", claim.id, error)
