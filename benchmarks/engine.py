"""Continuous batching against static batches: the same network, puzzles, slots and segments, in one run.

    python -m benchmarks.engine [--slots 64] [--puzzles 1024] [--output FILE]

Three ways to answer the same puzzles, each through the same runner:
  engine          the service's loop: a slot is filled again in the segment after it halts
  static M_max    batches in which every row runs all segments (upstream's way)
  static last     batches that run until the last row has halted
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import canary_puzzles, report, shipped, works
from service.engine.load import Loader
from service.engine.loop import Engine
from service.engine.table import Segment, Table
from service.engine.work import Key, Outcome, Room, Work
from service.settings import load_settings


@dataclass(slots=True)
class Saturated:
    """A source that always has work, and an observer that counts."""

    waiting: deque[Work]
    slots: int
    ended: int = 0
    used: int = 0
    live: int = 0
    run: int = 0

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        (wanted,) = room.values()
        return [self.waiting.popleft() for _ in range(min(wanted.wanted, len(self.waiting)))]

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        self.ended += len(outcomes)
        self.used += sum(outcome.segments for outcome in outcomes)

    def segment(self, segment: Segment) -> None:
        """Count while all slots could be busy: from the first full segment to the last arrival."""
        if self.waiting:
            self.live += segment.live
            self.run += self.slots

    def revoked(self) -> Collection[Key]:
        return ()

    def leased(self) -> None: ...

    def advanced(self, works: Sequence[Work]) -> None: ...

    def wait(self, timeout_s: float) -> None: ...

    def retired(self, table: Table) -> None: ...

    def alive(self, live: int) -> None: ...

    def violation(self, what: str) -> None: ...


def run_engine(table: Table, queue: list[Work]) -> tuple[float, Saturated]:
    """Seconds for all puzzles, and what was counted."""
    source = Saturated(deque(queue), table.slots.size)
    engine = Engine(source, source, time.monotonic, strict=False)
    engine.install(table)
    start = time.perf_counter()
    while engine.tick() or source.waiting:
        pass
    return time.perf_counter() - start, source


def run_static(table: Table, queue: list[Work], *, until_last: bool, limit: int) -> float:
    """Seconds for all puzzles in batches that are filled only when the whole batch is done."""
    start = time.perf_counter()
    for first in range(0, len(queue), table.slots.size):
        table.staged.extend(queue[first : first + table.slots.size])
        table.refill(0.0)
        slots = np.array([seat.slot for seat in table.slots.seated()])
        halted = np.zeros(len(slots), dtype=bool)
        for _ in range(limit):
            table.runner.launch(slots)
            halted |= table.runner.collect().halted
            if until_last and halted.all():
                break
        table.unseat(0.0)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--puzzles", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3, help="each way is run so often, in turn; medians count")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    info = shipped(arguments.task)
    limit = info.max_segments
    table = Loader(load_settings(slots=arguments.slots)).load(info)
    queue = works(info, canary_puzzles(info, arguments.puzzles))
    seconds: dict[str, list[float]] = {"engine": [], "static M_max": [], "static last": []}
    for _ in range(arguments.rounds):
        spent, counted = run_engine(table, queue)
        seconds["engine"].append(spent)
        seconds["static M_max"].append(run_static(table, queue, until_last=False, limit=limit))
        seconds["static last"].append(run_static(table, queue, until_last=True, limit=limit))
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    mean_segments = counted.used / counted.ended
    rows = [
        {"way": name, "seconds": s, "puzzles/s": len(queue) / s, "engine is faster by": s / median["engine"]}
        for name, s in median.items()
    ]
    promised = limit / mean_segments
    figures = {
        "mean segments": mean_segments,
        "occupancy under saturation": counted.live / counted.run,
        "promised by the segment counts (M_max / mean)": promised,
        "reached of what is promised": median["static M_max"] / median["engine"] / promised,
        "checkpoint": info.name,
        **table.runner.describe(),
    }
    report(f"{len(queue)} puzzles, {arguments.slots} slots, M_max {limit}", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
