"""What it costs to check every slot's answer at every segment, beside the segment itself.

    python -m benchmarks.checker [--slots 64] [--segments 200] [--json FILE]

The same puzzles run in every slot as single attempts (`fixed`) and as verified ones, in turn; the difference of what
settling a segment takes is the checker's. The puzzle has no solution, so that no slot is ever freed by it.
"""

from __future__ import annotations

import time
from itertools import islice

import numpy as np

from benchmarks.common import options, report, shipped
from benchmarks.fairness import background
from service.engine.load import Loader
from service.engine.table import Table
from service.engine.work import Work
from service.schemas import Mode
from service.settings import load_settings


def settling_s(table: Table, works: list[Work], segments: int) -> tuple[float, float]:
    """Median seconds of a segment on the device, and of settling it."""
    table.staged.extend(works)
    table.refill(0.0)
    device: list[float] = []
    host: list[float] = []
    for _ in range(segments):
        start = time.perf_counter()
        table.launch(0.0)
        readback = table.collect()
        middle = time.perf_counter()
        table.settle(readback, 0.0)
        host.append(time.perf_counter() - middle)
        device.append(middle - start)
    table.unseat(0.0)
    return float(np.median(device)), float(np.median(host))


def main() -> None:
    parser = options(__doc__, file=False)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--segments", type=int, default=200)
    arguments = parser.parse_args()

    info = shipped("sudoku", arguments.checkpoints)
    table = Loader(load_settings(slots=arguments.slots)).load(info)
    rows = []
    for mode in (Mode.FIXED, Mode.VERIFIED):
        works = list(islice(background(info, mode, arguments.segments + 1, None), arguments.slots))
        device_s, host_s = settling_s(table, works, arguments.segments)
        rows.append({"mode": mode.value, "segment ms": device_s * 1e3, "settling us": host_s * 1e6})
    plain, verified = rows
    cost = (verified["settling us"] - plain["settling us"]) / 1e3 / plain["segment ms"]
    figures = {"checker / segment": cost, "checkpoint": info.name, **table.runner.describe()}
    report(f"the checker beside the segment, {arguments.slots} slots", rows, figures, arguments.output)


if __name__ == "__main__":
    main()
