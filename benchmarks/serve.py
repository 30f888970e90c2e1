"""The whole service over HTTP: saturated, and with callers who come at random times at a part of its capacity.

    python -m benchmarks.serve [--slots 64] [--puzzles 2048] [--shares 0.25,0.5,0.75,0.9] [--seconds 60] [--json FILE]

Capacity is what a closed loop of many callers gets, with the load generator on the same machine. Then requests arrive
as a Poisson process, whatever the answers take, and are timed from their arrival. Beside it stand two simulations that
know the same arrivals, the segments that each answer took, and the time t(n) of a segment with n live rows. "Bare" has
it of a process that has the machine for itself; "as run" of the worker's own segments in that very run, which shared
the cores with API, queue and load generator: what then remains is the waiting that HTTP, queue and loop add.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.cluster import Node
from benchmarks.common import options, origin, puzzles, report, shipped, works
from benchmarks.load import Run, closed_loop, drive, open_loop
from benchmarks.peers import whole_service
from benchmarks.ways import run_engine
from model.checkpoint import CheckpointInfo
from service.engine.choice import segment_s
from service.engine.load import Loader
from service.engine.work import Work
from service.settings import load_settings

SegmentTime = Callable[[int], float]
"""Seconds of a segment with n live rows."""


def alone(info: CheckpointInfo, queue: Sequence[Work], slots: int) -> tuple[float, SegmentTime, dict[str, object]]:
    """In this process: puzzles/s of the saturated engine, t(n), and what ran."""
    table = Loader(load_settings(slots=slots)).load(info)
    runner = table.runner
    rows = [n for n in (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512) if n < slots] + [slots]
    seconds = [float(np.median([segment_s(runner, n) for _ in range(9)])) for n in rows]  # type: ignore[arg-type]
    spent, _ = run_engine(table, queue)
    return len(queue) / spent, lambda n: float(np.interp(n, rows, seconds)), runner.describe()


def simulate(arrivals: Sequence[float], segments: Sequence[int], t: SegmentTime, slots: int) -> NDArray[np.float64]:
    """Seconds from each arrival to its answer where nothing but segments takes time.

    At every boundary who has come takes a free slot, first come first served; then all seated run one segment.
    """
    now, coming, seated = 0.0, 0, list[tuple[int, int]]()  # (segments left, request)
    latencies = np.zeros(len(arrivals))
    while coming < len(arrivals) or seated:
        if not seated:
            now = max(now, arrivals[coming])
        while coming < len(arrivals) and arrivals[coming] <= now and len(seated) < slots:
            insort(seated, (segments[coming], coming))
            coming += 1
        now += t(len(seated))
        for left, number in seated:
            if left == 1:
                latencies[number] = now - arrivals[number]
        seated = [(left - 1, number) for left, number in seated if left > 1]
    return latencies


def device_times(worker: Node) -> dict[int, NDArray[np.float64]]:
    """How many segments a worker has run so far, and their seconds in all, by the rows of the segment."""
    of = {kind: worker.samples(f"hrm_segment_duration_seconds_{kind}") for kind in ("count", "sum")}
    return {
        int(labels["bucket"]): np.array([count, seconds])
        for (labels, count), (_, seconds) in zip(of["count"], of["sum"], strict=True)
    }


def times_between(before: Mapping[int, NDArray[np.float64]], after: Mapping[int, NDArray[np.float64]]) -> SegmentTime:
    """t(n) of the segments between two looks at a worker."""
    spent = {rows: total - before.get(rows, 0.0) for rows, total in sorted(after.items())}
    mean = {rows: seconds / count for rows, (count, seconds) in spent.items() if count}
    return lambda n: float(np.interp(n, list(mean), list(mean.values())))


def open_row(share: float, run: Run, bare: NDArray[np.float64], as_run: NDArray[np.float64]) -> Mapping[str, object]:
    """One line of the table."""
    latency = np.array([response.seconds for response in run.responses])
    queued = np.array([float(response.headers["x-queue-time"]) for response in run.responses])
    p50 = float(np.median(latency))
    return {
        "load": f"{share:.0%}",
        "arrivals/s": len(latency) / run.seconds,
        "p50 ms": 1e3 * p50,
        "p95 ms": 1e3 * float(np.quantile(latency, 0.95)),
        "p99 ms": 1e3 * float(np.quantile(latency, 0.99)),
        "p50 / simulated, bare": p50 / float(np.median(bare)),
        "p50 / simulated, as run": p50 / float(np.median(as_run)),
        "p99 / simulated, as run": float(np.quantile(latency, 0.99) / np.quantile(as_run, 0.99)),
        "mean segments": float(np.mean([body["segments"] for body in run.bodies])),
        "p50 queue wait ms": 1e3 * float(np.median(queued)),
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--puzzles", type=int, default=2048, help="of the closed loop, and of the engine alone")
    parser.add_argument("--callers", type=int, default=192, help="of the closed loop")
    parser.add_argument("--shares", default="0.25,0.5,0.75,0.9", help="parts of the capacity")
    parser.add_argument("--seconds", type=float, default=60, help="of each open loop")
    arguments = parser.parse_args()
    info, slots = shipped(arguments.task, arguments.checkpoints), arguments.slots
    queue = works(info, puzzles(info, arguments, arguments.puzzles))
    bodies = [work.request.model_dump(mode="json", exclude_none=True) for work in queue]
    engine_per_s, t, runner = alone(info, queue, slots)
    rng = np.random.default_rng(0)
    rows = []
    with whole_service(arguments.checkpoints, slots) as cluster:
        url, (worker,) = cluster.url, cluster.ready("worker")
        drive(closed_loop(url, bodies.__getitem__, arguments.callers, min(len(bodies), 2 * slots)))  # warms up
        saturated = drive(closed_loop(url, bodies.__getitem__, arguments.callers, len(bodies)))
        for share in map(float, arguments.shares.split(",")):
            rate = share * saturated.per_s
            arrivals = np.cumsum(rng.exponential(1 / rate, int(rate * arguments.seconds))).tolist()
            asked = [bodies[n % len(bodies)] for n in range(len(arrivals))]
            before = device_times(worker)
            run = drive(open_loop(url, asked, arrivals))
            segments = [body["segments"] for body in run.bodies]
            own = times_between(before, device_times(worker))
            rows.append(open_row(share, run, *(simulate(arrivals, segments, each, slots) for each in (t, own))))
    figures: dict[str, object] = {
        "capacity, puzzles/s through HTTP and Redis": saturated.per_s,
        "the engine alone, puzzles/s": engine_per_s,
        "capacity against the engine": saturated.per_s / engine_per_s,
        "saturated p50 ms": 1e3 * float(np.median([response.seconds for response in saturated.responses])),
        "saturated p99 ms": 1e3 * float(np.quantile([response.seconds for response in saturated.responses], 0.99)),
        "t(1), t(n/2), t(n) ms": ", ".join(f"{1e3 * t(n):.4g}" for n in (1, slots // 2, slots)),
        "puzzles": origin(arguments),
        "checkpoint": info.name,
        **runner,
    }
    report(f"Poisson arrivals at a part of the capacity, {slots} slots", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
