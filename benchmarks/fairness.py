"""What a flood of many-attempt requests does to callers who want one: their latency, beside that under plain load.

    python -m benchmarks.fairness [--slots 16] [--probes 200] [--json FILE]

The background is kept at a constant number of unfinished requests, all for a puzzle that nothing solves, so that every
attempt takes all its segments:
  plain   single attempts of `max_segments`
  flood   verified requests of 32 such attempts
Probes, single-attempt requests for puzzles that the checkpoint knows, come at random times (Poisson) and are timed
from their arrival to their answer. Both backgrounds are run in turn, at as many requests as there are slots (every slot
is busy) and at two (a flood fans out into all slots; two plain ones leave slots idle, so they are padded to as many).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from benchmarks.common import canary_puzzles, options, report, shipped, works
from benchmarks.ways import Bystander
from model.checkpoint import CheckpointInfo
from service.engine.codec import encode
from service.engine.load import Loader
from service.engine.loop import Engine
from service.engine.table import Segment, Table
from service.engine.work import Outcome, Room, Work
from service.schemas import Mode, SolveRequest
from service.settings import load_settings

UNSOLVABLE = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4........."
"""No two givens contradict each other, and there is no solution."""


@dataclass(slots=True)
class Callers(Bystander):
    """A source of probes and background, and an observer that counts busy slots."""

    probes: deque[tuple[float, Work]]
    background: Iterator[Work]
    unfinished: int
    """Background requests that are always under way."""
    under_way: int = 0
    latencies: list[float] = field(default_factory=list)
    live: list[int] = field(default_factory=list)

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        (wanted,) = (room.wanted for room in room.values())
        now = time.monotonic()
        taken: list[Work] = []
        while self.probes and self.probes[0][0] <= now and len(taken) < wanted:
            arrived, work = self.probes.popleft()
            taken.append(replace(work, arrived=arrived))
        while self.under_way < self.unfinished and len(taken) < wanted:
            taken.append(replace(next(self.background), arrived=now))
            self.under_way += 1
        return taken

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        now = time.monotonic()
        for outcome in outcomes:
            if outcome.work.id.startswith("probe"):
                self.latencies.append(now - outcome.work.arrived)
            else:
                self.under_way -= 1

    def segment(self, segment: Segment) -> None:
        self.live.append(segment.live)


def background(info: CheckpointInfo, mode: Mode, max_segments: int, attempts: int | None) -> Iterator[Work]:
    """Requests that take all the segments they may."""
    request = SolveRequest(
        task=info.task, puzzle=UNSOLVABLE, mode=mode, max_segments=max_segments, attempts=attempts, timeout_s=None
    )
    for number in count():
        yield encode(request, info, work_id=f"{mode.value} {number}")


def run(table: Table, probes: list[Work], others: Iterator[Work], unfinished: int, gap_s: float) -> Callers:
    """Time the probes, which come `gap_s` apart in the mean, beside so many unfinished other requests."""
    rng = np.random.default_rng(0)
    arrivals = time.monotonic() + 20 * gap_s + np.cumsum(rng.exponential(gap_s, len(probes)))
    callers = Callers(deque(zip(arrivals.tolist(), probes, strict=True)), others, unfinished)
    engine = Engine(callers, callers, time.monotonic, strict=False)
    engine.install(table)
    while len(callers.latencies) < len(probes):
        engine.tick()
    table.unseat(time.monotonic())
    table.unstage()
    return callers


def main() -> None:
    parser = options(__doc__, file=False)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--max-segments", type=int, default=16, help="of one attempt")
    parser.add_argument("--gap", type=float, default=6.0, help="segments between two probes, in the mean")
    arguments = parser.parse_args()

    info = shipped("sudoku", arguments.checkpoints)
    table = Loader(load_settings(slots=arguments.slots)).load(info)
    puzzles = [replace(work, id=f"probe {work.id}") for work in works(info, canary_puzzles(info, arguments.probes))]
    segment_s = _segment_s(table, info, arguments.max_segments)
    rows = []
    for requests in (arguments.slots, 2):
        p95: dict[str, float] = {}
        for name, mode, attempts in (("plain", Mode.FIXED, None), ("flood", Mode.VERIFIED, 32)):
            unfinished = requests if mode is Mode.VERIFIED else arguments.slots
            others = background(info, mode, arguments.max_segments, attempts)
            callers = run(table, puzzles, others, unfinished, arguments.gap * segment_s)
            p50, p95[name] = (float(np.percentile(callers.latencies, q)) for q in (50, 95))
            rows.append(
                {
                    "background": f"{unfinished} x {name}",
                    "busy slots": float(np.mean(callers.live)),
                    "p50 ms": p50 * 1e3,
                    "p95 ms": p95[name] * 1e3,
                    "p95 beside plain": p95[name] / p95["plain"],
                }
            )
    figures = {"segment ms": segment_s * 1e3, "checkpoint": info.name, **table.runner.describe()}
    report(f"single-attempt requests, {arguments.slots} slots", rows, figures, arguments.output)


def _segment_s(table: Table, info: CheckpointInfo, max_segments: int) -> float:
    """Seconds of a segment of the full table."""
    others = background(info, Mode.FIXED, max_segments, None)
    table.staged.extend(next(others) for _ in range(table.slots.size))
    start, segments = time.perf_counter(), 0
    while table.busy:
        table.refill(0.0)
        if table.launch(0.0):
            table.settle(table.collect(), 0.0)
            segments += 1
    return (time.perf_counter() - start) / segments


if __name__ == "__main__":
    main()
