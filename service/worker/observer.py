"""What the engine does, as metrics and as a sign of life."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from service.engine.table import Segment, Table
from service.metrics import WorkerMetrics

log = logging.getLogger(__name__)


class WorkerObserver:
    """Feeds the worker's metrics, and knows when the engine last went round."""

    def __init__(self, metrics: WorkerMetrics, on_retired: Callable[[Table], None]) -> None:
        self._metrics, self._on_retired = metrics, on_retired
        self._live = 0
        self._last_round: float | None = None

    def segment(self, segment: Segment) -> None:
        """Count one segment of one table."""
        metrics = self._metrics
        metrics.slot_segments.labels(segment.task, "live").inc(segment.live)
        metrics.slot_segments.labels(segment.task, "idle").inc(segment.idle)
        metrics.segment_duration.labels(str(segment.shape)).observe(segment.device_s)
        if segment.given_way:
            metrics.lost_segments.labels(segment.task, "gave_way").inc(segment.given_way)
        refill_gap = metrics.refill_gap.labels(segment.task)
        for gap in segment.gaps:
            refill_gap.observe(gap)
        metrics.last_step.set_to_current_time()

    def retired(self, table: Table) -> None:
        """Pass on that a table is empty."""
        self._on_retired(table)

    def alive(self, live: int) -> None:
        """The loop went round."""
        self._live, self._last_round = live, time.monotonic()

    def violation(self, what: str) -> None:
        """Count and say that the engine contradicts itself."""
        self._metrics.invariant_violations.inc()
        log.error("the engine's books do not balance", extra={"violation": what})

    def rest(self) -> None:
        """The loop has ended, and owes no sign of life any more."""
        self._last_round = None

    @property
    def silent_s(self) -> float:
        """Seconds since the loop went round; 0 before its first round and after its last."""
        last = self._last_round
        return 0.0 if last is None else time.monotonic() - last

    def stalled(self, after_s: float) -> str | None:
        """What is wrong, if the loop has not gone round for so long."""
        if self.silent_s <= after_s:
            return None
        return f"no step for {self.silent_s:.0f} s with {self._live} live slots"
