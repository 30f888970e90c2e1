"""Where a saturated engine spends its time: the parts of its loop, segment by segment, beside the device's work.

    python -m benchmarks.profile [--slots 64] [--puzzles 1024] [--json FILE]

What the engine's thread does from the end of `collect` to `launch` (settle and refill) keeps the device waiting. What
it does between `launch` and `collect` costs nothing on a GPU; on a CPU the same thread computes, and it counts as well.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from benchmarks.common import options, origin, puzzles, report, shipped, works
from benchmarks.ways import Saturated
from service.engine.codec import decode
from service.engine.load import Loader
from service.engine.loop import Engine
from service.engine.table import Segment, Table
from service.engine.work import Outcome, Work
from service.settings import load_settings

PARTS = {
    "collect": "wait for the device",
    "settle": "halting, deadlines, slots freed",
    "refill": "slots filled, puzzles sent to the device",
    "launch": "the next segment started",
    "publish": "what ended handed to the thread that decodes and checks",
}


class Counted(Saturated):
    """Has a thread decode what ends, as a worker does, and adds up the device's time."""

    device_s = 0.0
    segments = 0

    def __init__(self, waiting: deque[Work], slots: int) -> None:
        super().__init__(waiting, slots)
        self.decoder = ThreadPoolExecutor(1)
        self.decoding: list[Future[object]] = []

    def publish(self, outcomes: Sequence[Outcome]) -> None:
        super().publish(outcomes)
        self.decoding.append(self.decoder.submit(decode, outcomes))

    def segment(self, segment: Segment) -> None:
        super().segment(segment)
        self.device_s += segment.device_s
        self.segments += 1


def watch(table: Table, source: Counted) -> Counter[str]:
    """Seconds by part, which fill up as the engine runs."""
    spent: Counter[str] = Counter()

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                spent[name] += time.perf_counter() - start

        return run

    for name in PARTS:
        owner = source if name == "publish" else table
        setattr(owner, name, timed(name, getattr(owner, name)))
    return spent


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--puzzles", type=int, default=1024)
    arguments = parser.parse_args()
    info = shipped(arguments.task, arguments.checkpoints)
    table = Loader(load_settings(slots=arguments.slots)).load(info)
    source = Counted(deque(works(info, puzzles(info, arguments, arguments.puzzles))), arguments.slots)
    spent = watch(table, source)
    engine = Engine(source, source, time.monotonic, strict=False)
    engine.install(table)
    start = time.perf_counter()
    while engine.tick() or source.waiting:
        pass
    wall = time.perf_counter() - start
    for decoded in source.decoding:
        decoded.result()  # raises what went wrong there
    spent["rest"] = wall - sum(spent.values())
    rows = [
        {
            "part": name,
            "what": PARTS.get(name, "polling, books, the loop itself"),
            "ms a segment": 1e3 * seconds / source.segments,
            "% of the time": 100 * seconds / wall,
        }
        for name, seconds in spent.most_common()
    ]
    host = sum(spent[name] for name in ("settle", "refill", "publish", "rest"))
    figures = {
        "device busy %": 100 * source.device_s / wall,
        "device waits for the host %": 100 * (1 - source.device_s / wall),
        "host µs a puzzle (settle, refill, publish, rest)": 1e6 * host / len(source.outcomes),
        "segments": source.segments,
        "mean segments": source.mean_segments,
        "puzzles": origin(arguments),
        "checkpoint": info.name,
        **table.runner.describe(),
    }
    report("where the engine's time goes", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
