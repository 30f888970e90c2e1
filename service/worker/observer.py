"""What the engine does, as metrics and as a sign of life."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.engine.table import Segment, Table
from service.engine.work import Outcome
from service.metrics import WorkerMetrics
from service.schemas import HaltedBy


class WorkerObserver:
    """Feeds the worker's metrics and answers its `/livez` from progress."""

    def __init__(self, metrics: WorkerMetrics, stall_timeout_s: float, on_retired: Callable[[Table], None]) -> None:
        self._metrics, self._stall_timeout_s, self._on_retired = metrics, stall_timeout_s, on_retired
        self._live, self._last_round = 0, time.monotonic()

    def segment(self, segment: Segment) -> None:
        """Count one segment of one table."""
        metrics = self._metrics
        metrics.slot_segments.labels(segment.task, "live").inc(segment.live)
        metrics.slot_segments.labels(segment.task, "idle").inc(segment.idle)
        metrics.segment_duration.labels(str(segment.shape)).observe(segment.device_s)
        for gap in segment.gaps:
            metrics.refill_gap.labels(segment.task).observe(gap)
        metrics.last_step.set_to_current_time()

    def outcome(self, outcome: Outcome) -> None:
        """Count one puzzle that ended."""
        metrics, task = self._metrics, outcome.work.task
        metrics.requests_finished.labels(task, "error" if outcome.error else outcome.halted_by.value).inc()
        metrics.solve_duration.labels(task).observe(outcome.solve_s)
        if outcome.error is None and outcome.halted_by is not HaltedBy.DEADLINE:
            metrics.segments_used.labels(task, outcome.halted_by.value).observe(outcome.segments)

    def revoked(self, task: str, count: int) -> None:
        """Count puzzles that nobody wanted any more."""
        self._metrics.requests_finished.labels(task, "cancelled").inc(count)

    def retired(self, table: Table) -> None:
        """Pass on that a table is empty."""
        self._on_retired(table)

    def alive(self, live: int) -> None:
        """The loop went round."""
        self._live, self._last_round = live, time.monotonic()

    def stalled(self) -> str | None:
        """What is wrong, if the loop has not gone round for too long."""
        silent_s = time.monotonic() - self._last_round
        if silent_s <= self._stall_timeout_s:
            return None
        return f"no step for {silent_s:.0f} s with {self._live} live slots"
