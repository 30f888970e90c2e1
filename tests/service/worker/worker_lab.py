"""Workers in threads of this process: a real queue, the real loop, and a stub in the network's place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.stub import StubLoader, StubRunner
from model.checkpoint import CheckpointInfo
from service.broker.config import broker_config
from service.broker.records import JobState, NewJob
from service.schemas import SolveRequest
from service.settings import Settings
from service.worker.main import Worker
from tests.conftest import PUZZLE
from tests.service.broker import broker_lab
from tests.service.broker.broker_lab import Desk, new_job

TASK = "sudoku"
until = partial(broker_lab.until, within_s=30.0)


class Gate:
    """Lets segments end one by one, or all of them."""

    def __init__(self, *, is_open: bool = True) -> None:
        self._passed = threading.Condition()
        self._left = 10**9 if is_open else 0
        self.waiting = False

    def let(self, segments: int = 10**9) -> None:
        """Let so many more segments end."""
        with self._passed:
            self._left += segments
            self._passed.notify_all()

    def pass_one(self) -> None:
        with self._passed:
            self.waiting = not self._left
            self._passed.wait_for(lambda: self._left > 0)
            self.waiting = False
            self._left -= 1


class GatedRunner(StubRunner):
    """Its segments end when the gate lets them."""

    def __init__(self, gate: Gate, info: CheckpointInfo, size: int, **script: Any) -> None:
        super().__init__(info, size, **script)
        self._gate = gate

    def collect(self):
        self._gate.pass_one()
        return super().collect()


class Hired:
    """A worker at work. Its engine is strict: what contradicts itself fails the test at `leave`."""

    def __init__(self, settings: Settings, worker_id: str, gate: Gate, **script: Any) -> None:
        self.id, self.gate = worker_id, gate
        loader = StubLoader(settings, lambda info, size: GatedRunner(gate, info, size, **script))
        self.worker = Worker(settings, worker_id, loader, strict=True)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=worker_id)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self._error = error

    def leave(self) -> float:
        """Drain; returns how many seconds it took."""
        start = time.monotonic()
        self.worker.stopping.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "it does not end"
        if self._error is not None:
            raise self._error
        return time.monotonic() - start

    def metric(self, name: str, **labels: str) -> float:
        return self.worker.metrics.registry.get_sample_value(name, labels) or 0.0

    def finished(self, reason: str) -> float:
        return self.metric("hrm_requests_finished_total", task=TASK, reason=reason)

    @property
    def occupied(self) -> float:
        return self.metric("hrm_slots_occupied", task=TASK)

    @property
    def segments(self) -> float:
        """How many slots have run a segment, so far and in all."""
        return self.metric("hrm_slot_segments_total", task=TASK, state="live")


def puzzle(job_id: str, *, keep_s: float = 60.0, **options: Any) -> NewJob:
    """A job that a worker can solve."""
    timeout_s = options.pop("within_s", 60.0)
    request = SolveRequest(task=TASK, puzzle=PUZZLE, **options).model_dump_json().encode()
    return new_job(job_id, request=request, timeout_s=timeout_s, keep_s=keep_s)


def submit(desk: Desk, *job_ids: str, **options: Any) -> None:
    for job_id in job_ids:
        assert desk.submit(puzzle(job_id, **options)).admission == "accepted"


def states(desk: Desk, *job_ids: str) -> set[JobState | None]:
    return {desk.state(job_id) for job_id in job_ids}


def all_done(desk: Desk, *job_ids: str) -> Callable[[], bool]:
    return lambda: states(desk, *job_ids) == {JobState.DONE}


def desk_of(settings: Settings) -> Desk:
    return Desk(broker_config(settings))
