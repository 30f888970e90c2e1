"""Continuous batching against static batches and against its own bound: one network, one machine, one run.

    python -m benchmarks.engine [--slots 64] [--puzzles 4096] [--json FILE]

Three ways to answer puzzles, each through the same runner:
  engine          the service's loop: a slot is filled again in the segment after it halts
  static M_max    batches in which every row runs all segments (upstream's way)
  static last     batches that run until the last row has halted
The bound is what the bare segment allows: slots / seconds of a segment of all slots / mean segments. An engine that
runs out of puzzles empties its slots in as many segments as the longest needs, so there are many; the static ways,
whose rate does not depend on their number, get the first quarter. Each round is compared with the bare segments right
before and after the engine's run: a machine that others share is not the same a minute later.
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
    parser.add_argument("--puzzles", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3, help="each way is run so often, in turn; medians count")
    parser.add_argument("--backend", default="auto", help="torch, onnx or auto")
    arguments = parser.parse_args()

    info = shipped(arguments.task, arguments.checkpoints)
    limit = info.max_segments
    table = Loader(load_settings(slots=arguments.slots, backend=arguments.backend)).load(info)
    queue = works(info, puzzles(info, arguments, arguments.puzzles))
    quarter = queue[: max(1, len(queue) // 4)]
    per_s: dict[str, list[float]] = {"engine": [], "static M_max": [], "static last": []}
    segment = [bare_segment_s(table.runner)]
    for _ in range(arguments.rounds):
        spent, counted = run_engine(table, queue)
        segment.append(bare_segment_s(table.runner))
        per_s["engine"].append(len(queue) / spent)
        per_s["static M_max"].append(len(quarter) / run_batches(table.runner, quarter, "M_max", limit)[0])
        per_s["static last"].append(len(quarter) / run_batches(table.runner, quarter, "last", limit)[0])
    median = {name: float(np.median(values)) for name, values in per_s.items()}
    rows = [
        {"way": name, "puzzles/s": rate, "engine is faster by": median["engine"] / rate}
        for name, rate in median.items()
    ]
    promised = limit / counted.mean_segments
    around = (np.array(segment[:-1]) + segment[1:]) / 2
    bounds = arguments.slots / around / counted.mean_segments
    figures = {
        "mean segments": counted.mean_segments,
        "occupancy under saturation": counted.occupancy,
        "slot-segments, live and idle, under saturation": f"{counted.live} and {counted.run - counted.live}",
        "bare segment ms": 1e3 * float(np.median(around)),
        "bound puzzles/s": float(np.median(bounds)),
        "reached of the bound": float(np.median(per_s["engine"] / bounds)),
        "promised by the segment counts (M_max / mean)": promised,
        "reached of what is promised": median["engine"] / median["static M_max"] / promised,
        "puzzles": origin(arguments),
        "checkpoint": info.name,
        **table.runner.describe(),
    }
    report(f"{len(queue)} puzzles, {arguments.slots} slots, M_max {limit}", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
