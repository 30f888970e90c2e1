"""What a swap of checkpoints costs its callers: a closed loop through `hrm serve`, with swaps and without, in turn.

    python -m benchmarks.swap [--checkpoints DIR] [--task sudoku] [--rounds 3] [--requests 5000] [--callers 64]
                              [--every 5] [--json FILE]

The versions that take turns are two copies of one checkpoint, and all rounds ask the same puzzles: the reasoning is the
same with and without swaps. The first swap, which takes a second bank of weights, is not timed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from benchmarks.cluster import HRM, Node, total, until
from benchmarks.common import canary_puzzles, report
from benchmarks.load import Response, Run, closed_loop
from model.registry import SHIPPED, Registry
from service.lifeline import lifeline

VERSIONS = ("one", "two")
START_S = 600.0
"""Compiling takes its time."""
OK = 200


@dataclass(slots=True)
class Kind:
    """All rounds with swaps, or all without."""

    responses: list[Response] = field(default_factory=list)
    seconds: float = 0.0
    swaps: int = 0
    load_s: float = 0.0

    def row(self, name: str) -> Mapping[str, object]:
        latency = np.array([response.seconds for response in self.responses])
        return {
            "rounds": name,
            "swaps": self.swaps,
            "requests/s": len(latency) / self.seconds,
            "p50 ms": float(np.quantile(latency, 0.5)) * 1e3,
            "p99 ms": self.p99 * 1e3,
            "longest ms": float(latency.max()) * 1e3,
            "failed": sum(response.status != OK for response in self.responses),
        }

    @property
    def p99(self) -> float:
        return float(np.quantile([response.seconds for response in self.responses], 0.99))


class Served:
    """One `hrm serve` with two copies of a checkpoint, to be swapped."""

    def __init__(self, root: Path, checkpoints: Path, task: str) -> None:
        info = Registry([checkpoints]).current(task)
        if info is None:
            raise SystemExit(f"there is no checkpoint of {task} in {checkpoints}")
        self.info, self._registry = info, Registry([root / "registry"])
        for version in VERSIONS:
            shutil.copytree(info.path, self._registry.writable / task / version)
        self._registry.use(task, VERSIONS[0])
        self._next = itertools.cycle(reversed(VERSIONS))
        flags = ["--port", "0", "--state-dir", str(root / "state"), "--checkpoints", str(self._registry.writable)]
        self._node = Node("serve", [*HRM, "serve", *flags], lifeline(), root / "serve.log")

    def wait(self) -> None:
        """Return when it would answer."""
        until(lambda: self._node.ready or not self._node.alive, START_S)
        found = re.search(r"listening on (http://\S+)", self._node.log)
        if found is None:
            raise SystemExit(self._node.log)
        self.url = found[1]
        until(lambda: httpx.get(f"{self.url}/readyz", params={"task": self.info.task}).status_code == OK, START_S)

    def swap(self) -> None:
        self._registry.use(self.info.task, next(self._next))

    def settled(self) -> bool:
        """Whether the worker serves what CURRENT names."""
        (worker,) = httpx.get(f"{self.url}/workers").json()
        current = self._registry.current_version(self.info.task)
        return bool(worker["tasks"][self.info.task]["checkpoint"] == f"{self.info.task}/{current}")

    def loads(self) -> tuple[int, float]:
        """How many checkpoints were loaded so far, and the seconds that took."""
        name = "hrm_checkpoint_load_duration_seconds"
        return int(total(self.url, f"{name}_count")), total(self.url, f"{name}_sum")

    def stop(self) -> None:
        self._node.process.terminate()
        self._node.process.wait()


async def swap_every(served: Served, pause_s: float) -> None:
    while True:
        await asyncio.to_thread(served.swap)
        await asyncio.sleep(pause_s)


async def measure(served: Served, arguments: argparse.Namespace) -> dict[str, Kind]:
    puzzles = canary_puzzles(served.info, arguments.requests)
    bodies = [{"task": served.info.task, "puzzle": served.info.codec.format(p, like="")} for p in puzzles]

    async def ask(requests: int) -> Run:
        return await closed_loop(served.url, bodies.__getitem__, arguments.callers, requests)

    served.swap()
    await asyncio.gather(ask(min(500, arguments.requests)), asyncio.to_thread(until, served.settled))
    kinds = {"without swaps": Kind(), "with swaps": Kind()}
    for _, (name, kind) in itertools.product(range(arguments.rounds), kinds.items()):
        before = await asyncio.to_thread(served.loads)
        swapping = asyncio.create_task(swap_every(served, arguments.every)) if name == "with swaps" else None
        run = await ask(arguments.requests)
        if swapping:
            swapping.cancel()
            await asyncio.to_thread(until, served.settled)
        after = await asyncio.to_thread(served.loads)
        kind.responses += run.responses
        kind.seconds += run.seconds
        kind.swaps += after[0] - before[0]
        kind.load_s += after[1] - before[1]
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=SHIPPED)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=5000, help="in a round")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two swaps")
    parser.add_argument("--json", dest="output", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        served = Served(Path(folder), arguments.checkpoints, arguments.task)
        try:
            served.wait()
            kinds = asyncio.run(measure(served, arguments))
        finally:
            served.stop()
    still, swapped = kinds["without swaps"], kinds["with swaps"]
    figures = {
        "p99 with swaps / without": swapped.p99 / still.p99,
        "seconds to load a version": swapped.load_s / max(1, swapped.swaps),
        "checkpoint": served.info.name,
    }
    report(
        f"swaps every {arguments.every:g} s under {arguments.callers} callers",
        [kind.row(name) for name, kind in kinds.items()],
        figures,
        arguments.output,
    )


if __name__ == "__main__":
    main()
