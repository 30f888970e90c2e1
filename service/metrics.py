"""Every metric of the service, declared once, under the role that owns it.

Each process makes the metrics of its own role and exports only these. Base units; the prefix is `hrm_`. Label values
that are known at the start are there at 0, so that a rate never misses the first event.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from service.schemas import SEVERAL_ATTEMPTS, HaltedBy, Lane

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REJECTIONS = ("queue_full", "over_quota", "draining", "queue_away")
FINISHES = (*(halt.value for halt in HaltedBy), "cancelled", "error", "poison")
VALIDITIES = ("true", "false", "unknown")

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SEGMENT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LOAD_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_ATTEMPTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
_GAP_SEGMENTS = (0, 1, 2, 4, 8, 16, 32)

# A `_created` series beside every counter says nothing that its first sample does not.
disable_created_metrics()  # type: ignore[no-untyped-call]


class _Common:
    """What both roles export, each for itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.redis_errors = Counter(
            "hrm_redis_errors_total", "Calls to Redis that failed.", ["op"], registry=self.registry
        )
        build_info = Gauge("hrm_build_info", "1; the version is the label.", ["version"], registry=self.registry)
        build_info.labels(version("hrm-serve")).set(1)

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)


class ApiMetrics(_Common):
    """The API's: requests, and the queue as it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.http_requests = Counter(
            "hrm_http_requests_total",
            "HTTP requests answered; 499: the client hung up.",
            ["route", "method", "code"],
            registry=self.registry,
        )
        self.http_request_duration = Histogram(
            "hrm_http_request_duration_seconds",
            "From the first byte of a request to the last of its response.",
            ["route"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.admission_rejected = Counter(
            "hrm_admission_rejected_total", "Puzzles that the queue did not take.", ["reason"], registry=self.registry
        )
        for reason in REJECTIONS:
            self.admission_rejected.labels(reason)
        self.queue_depth = Gauge(
            "hrm_queue_depth", "Puzzles that wait for a worker.", ["task", "lane"], registry=self.registry
        )
        self.queue_oldest_age = Gauge(
            "hrm_queue_oldest_age_seconds", "Age of the oldest that waits.", ["task", "lane"], registry=self.registry
        )

    def know_routes(self, routes: Iterable[tuple[str, str]]) -> None:
        """Show (route, method) at 0."""
        for route, method in routes:
            self.http_requests.labels(route, method, "200")
            self.http_request_duration.labels(route)

    def know_tasks(self, tasks: Iterable[str]) -> None:
        """Show the queues of these tasks at 0."""
        for task, lane in product(tasks, Lane):
            self.queue_depth.labels(task, lane.value)
            self.queue_oldest_age.labels(task, lane.value)


class WorkerMetrics(_Common):
    """The worker's: the engine, its answers, its checkpoints.

    Args:
        max_segments: The most segments that a request may use; bounds the buckets of `segments_used`.
    """

    def __init__(self, max_segments: int) -> None:
        super().__init__()
        self.queue_wait = Histogram(
            "hrm_queue_wait_seconds",
            "From admission to the queue to the take.",
            ["task"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.solve_duration = Histogram(
            "hrm_solve_duration_seconds",
            "From the slot to the answer.",
            ["task"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.segments_used = Histogram(
            "hrm_segments_used",
            "Segments that an answer took; the average is rate(sum) / rate(count).",
            ["task", "halt"],
            buckets=segment_buckets(max_segments),
            registry=self.registry,
        )
        self.requests_finished = Counter(
            "hrm_requests_finished_total", "Puzzles that left the engine.", ["task", "reason"], registry=self.registry
        )
        self.answers = Counter(
            "hrm_answers_total", "Answers by the checker's verdict.", ["task", "valid"], registry=self.registry
        )
        self.attempts = Histogram(
            "hrm_attempts",
            "Attempts of a request that may have several.",
            ["task", "mode"],
            buckets=_ATTEMPTS,
            registry=self.registry,
        )
        self.winning_attempt = Histogram(
            "hrm_winning_attempt",
            "Which attempt the checker accepted, from 1: _count is the verified ones.",
            ["task"],
            buckets=_ATTEMPTS,
            registry=self.registry,
        )
        self.lost_segments = Counter(
            "hrm_lost_segments_total",
            "Segments of attempts that came to nothing: a sibling settled the request, or others needed the slot.",
            ["task", "reason"],
            registry=self.registry,
        )
        self.slots = Gauge("hrm_slots", "Slots of the engine.", ["task"], registry=self.registry)
        self.slots_occupied = Gauge("hrm_slots_occupied", "Slots that hold a puzzle.", ["task"], registry=self.registry)
        self.slot_segments = Counter(
            "hrm_slot_segments_total",
            "Segments run, slot by slot: live ones reasoned, idle ones were wasted.",
            ["task", "state"],
            registry=self.registry,
        )
        self.refill_gap = Histogram(
            "hrm_refill_gap_segments",
            "Segments for which a freed slot stayed empty while work waited.",
            ["task"],
            buckets=_GAP_SEGMENTS,
            registry=self.registry,
        )
        self.segment_duration = Histogram(
            "hrm_segment_duration_seconds",
            "Device time of one segment, by batch shape.",
            ["bucket"],
            buckets=_SEGMENT_S,
            registry=self.registry,
        )
        self.last_step = Gauge(
            "hrm_worker_last_step_timestamp_seconds", "Unix time of the last segment.", registry=self.registry
        )
        self.redeliveries = Counter(
            "hrm_redeliveries_total", "Puzzles taken that somebody had held before.", registry=self.registry
        )
        self.duplicate_results = Counter(
            "hrm_duplicate_results_total", "Results dropped: another was first.", registry=self.registry
        )
        self.dead_letters = Counter(
            "hrm_dead_letters_total", "Puzzles given up after three crashes.", registry=self.registry
        )
        self.invariant_violations = Counter(
            "hrm_invariant_violations_total", "Failed self-checks of the engine.", registry=self.registry
        )
        self.checkpoint_info = Gauge(
            "hrm_checkpoint_info",
            "1 for the checkpoint that new puzzles get.",
            ["task", "version", "sha256"],
            registry=self.registry,
        )
        self.checkpoint_loads = Counter(
            "hrm_checkpoint_loads_total", "Checkpoints loaded or refused.", ["task", "outcome"], registry=self.registry
        )
        self.checkpoint_load_duration = Histogram(
            "hrm_checkpoint_load_duration_seconds",
            "From noticing a checkpoint to serving it.",
            ["task"],
            buckets=_LOAD_S,
            registry=self.registry,
        )
        self.runner_info = Gauge(
            "hrm_runner_info",
            "1 for what runs the network: its backend, dtype and mode.",
            ["task", "backend", "dtype", "mode"],
            registry=self.registry,
        )
        self.device_memory = Gauge("hrm_device_memory_bytes", "Memory of the device.", ["kind"], registry=self.registry)

    def know_tasks(self, tasks: Iterable[str]) -> None:
        """Show everything about these tasks at 0."""
        for task in tasks:
            by_task = (self.queue_wait, self.solve_duration, self.slots, self.slots_occupied, self.refill_gap)
            for metric in (*by_task, self.checkpoint_load_duration):
                metric.labels(task)
            for halt in HaltedBy:
                self.segments_used.labels(task, halt.value)
            for reason in FINISHES:
                self.requests_finished.labels(task, reason)
            for valid in VALIDITIES:
                self.answers.labels(task, valid)
            for mode in SEVERAL_ATTEMPTS:
                self.attempts.labels(task, mode.value)
            self.winning_attempt.labels(task)
            for lost in ("sibling", "gave_way"):
                self.lost_segments.labels(task, lost)
            for state in ("live", "idle"):
                self.slot_segments.labels(task, state)
            for outcome in ("loaded", "refused"):
                self.checkpoint_loads.labels(task, outcome)


def segment_buckets(most: int) -> list[int]:
    """Every number of segments up to 16, then about four steps to a doubling, up to `most`."""
    buckets = list(range(1, min(most, 16) + 1))
    while buckets[-1] < most:
        buckets.append(min(most, buckets[-1] + 2 ** (buckets[-1].bit_length() - 3)))
    return buckets
