"""Continuous batching against static batches and against its own bound: one network, one machine, one run.

    python -m benchmarks.engine [--slots 64] [--puzzles 1024] [--json FILE]

Three ways to answer the same puzzles, each through the same runner:
  engine          the service's loop: a slot is filled again in the segment after it halts
  static M_max    batches in which every row runs all segments (upstream's way)
  static last     batches that run until the last row has halted
The bound is what the bare segment allows: slots / seconds of a segment of all slots / mean segments.
"""

from __future__ import annotations

import numpy as np

from benchmarks.common import options, origin, puzzles, report, shipped, works
from benchmarks.ways import bare_segment_s, run_batches, run_engine
from service.engine.load import Loader
from service.settings import load_settings


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--puzzles", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3, help="each way is run so often, in turn; medians count")
    parser.add_argument("--backend", default="auto", help="torch, onnx or auto")
    arguments = parser.parse_args()

    info = shipped(arguments.task, arguments.checkpoints)
    limit = info.max_segments
    table = Loader(load_settings(slots=arguments.slots, backend=arguments.backend)).load(info)
    queue = works(info, puzzles(info, arguments, arguments.puzzles))
    seconds: dict[str, list[float]] = {"engine": [], "static M_max": [], "static last": []}
    segment: list[float] = []
    for _ in range(arguments.rounds):
        segment.append(bare_segment_s(table.runner))
        spent, counted = run_engine(table, queue)
        seconds["engine"].append(spent)
        seconds["static M_max"].append(run_batches(table.runner, queue, "M_max", limit)[0])
        seconds["static last"].append(run_batches(table.runner, queue, "last", limit)[0])
    median = {name: float(np.median(values)) for name, values in seconds.items()}
    rows = [
        {"way": name, "seconds": s, "puzzles/s": len(queue) / s, "engine is faster by": s / median["engine"]}
        for name, s in median.items()
    ]
    promised = limit / counted.mean_segments
    bound = arguments.slots / float(np.median(segment)) / counted.mean_segments
    figures = {
        "mean segments": counted.mean_segments,
        "occupancy under saturation": counted.occupancy,
        "slot-segments, live and idle, under saturation": f"{counted.live} and {counted.run - counted.live}",
        "bare segment ms": 1e3 * float(np.median(segment)),
        "bound puzzles/s": bound,
        "reached of the bound": len(queue) / median["engine"] / bound,
        "promised by the segment counts (M_max / mean)": promised,
        "reached of what is promised": median["static M_max"] / median["engine"] / promised,
        "puzzles": origin(arguments),
        "checkpoint": info.name,
        **table.runner.describe(),
    }
    report(f"{len(queue)} puzzles, {arguments.slots} slots, M_max {limit}", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
