"""What a swap of checkpoints costs its callers: a closed loop through the service, with swaps and without, in turn.

    python -m benchmarks.swap [--checkpoints DIR] [--task sudoku] [--rounds 2] [--requests 2000] [--callers 64]
                              [--every 5] [--json FILE]

The versions that take turns are two copies of one checkpoint, and all rounds ask the same puzzles: the reasoning is the
same with and without swaps. The first swap, which takes a second bank of weights, is not timed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.cluster import Cluster, Node
from benchmarks.common import canary_puzzles, options, report, shipped
from benchmarks.load import Response, Run, closed_loop, drive
from model.checkpoint import CheckpointInfo
from model.registry import Registry
from service.cores import cores
from service.settings import load_settings

VERSIONS = ("one", "two")
OK = 200


class Swapper:
    """A registry with two copies of a checkpoint, and the worker that follows it."""

    def __init__(self, root: Path, info: CheckpointInfo) -> None:
        self.task, self.registry = info.task, Registry([root])
        for version in VERSIONS:
            shutil.copytree(info.path, root / info.task / version)
        self.registry.use(info.task, VERSIONS[0])
        self._next = itertools.cycle(reversed(VERSIONS))

    def swap(self) -> str:
        """Returns how answers will name the new one."""
        return self.registry.use(self.task, next(self._next)).name

    async def swap_every(self, pause_s: float) -> None:
        while True:
            await asyncio.to_thread(self.swap)
            await asyncio.sleep(pause_s)


@dataclass(slots=True)
class Rounds:
    """All rounds with swaps, or all without."""

    seconds: list[float] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    loads: float = 0.0
    load_s: float = 0.0

    @property
    def latency(self) -> list[float]:
        return [response.seconds for response in self.responses]

    @property
    def p99(self) -> float:
        return float(np.quantile(self.latency, 0.99))

    def row(self, name: str) -> Mapping[str, object]:
        return {
            "rounds": name,
            "swaps": int(self.loads),
            "requests/s": len(self.responses) / sum(self.seconds),
            "p50 ms": 1e3 * float(np.median(self.latency)),
            "p99 ms": 1e3 * self.p99,
            "longest ms": 1e3 * max(self.latency),
            "failed": sum(response.status != OK for response in self.responses),
        }


def loads(worker: Node) -> tuple[float, float]:
    """How many checkpoints a worker has loaded, and the seconds that took."""
    name = "hrm_checkpoint_load_duration_seconds"
    return worker.metric(f"{name}_count"), worker.metric(f"{name}_sum")


async def measure(cluster: Cluster, swapper: Swapper, arguments: argparse.Namespace) -> dict[str, Rounds]:
    (worker,), info = cluster.ready("worker"), swapper.registry.get(swapper.task, VERSIONS[0])
    puzzles = [info.codec.format(p, like="") for p in canary_puzzles(info, arguments.requests)]

    async def ask(requests: int, callers: int = arguments.callers) -> Run:
        return await closed_loop(cluster.url, lambda n: {"task": info.task, "puzzle": puzzles[n]}, callers, requests)

    async def settle() -> None:
        """Wait until the version of CURRENT answers."""
        current = f"{info.task}/{swapper.registry.current_version(info.task)}"
        while (await ask(1, 1)).responses[0].headers.get("x-hrm-checkpoint") != current:
            await asyncio.sleep(0.1)

    await asyncio.to_thread(swapper.swap)
    await asyncio.gather(ask(min(500, arguments.requests)), settle())
    kinds = {"without swaps": Rounds(), "with swaps": Rounds()}
    for _, (name, rounds) in itertools.product(range(arguments.rounds), kinds.items()):
        count, spent = await asyncio.to_thread(loads, worker)
        swapping = asyncio.create_task(swapper.swap_every(arguments.every)) if name == "with swaps" else None
        run = await ask(arguments.requests)
        if swapping:
            swapping.cancel()
            await settle()
        after, spent_after = await asyncio.to_thread(loads, worker)
        rounds.seconds.append(run.seconds)
        rounds.responses += run.responses
        rounds.loads += after - count
        rounds.load_s += spent_after - spent
    return kinds


def main() -> None:
    parser = options(__doc__, file=False)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--requests", type=int, default=2000, help="in a round")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two swaps")
    arguments = parser.parse_args()
    info, settings = shipped(arguments.task, arguments.checkpoints), load_settings()
    own = {name: getattr(settings, name) for name in ("backend", "compile", "precision", "state_dir")}
    with tempfile.TemporaryDirectory() as folder:
        swapper = Swapper(Path(folder) / "registry", info)
        with Cluster(Path(folder), swapper.registry.writable, threads=cores()) as cluster:
            cluster.api()
            cluster.worker(**own)
            cluster.until_ready(api=1, worker=1)
            kinds = drive(measure(cluster, swapper, arguments))
    still, swapped = kinds["without swaps"], kinds["with swaps"]
    figures = {
        "p99 with swaps / without": swapped.p99 / still.p99,
        "seconds to load a version": swapped.load_s / max(1.0, swapped.loads),
        "checkpoint": info.name,
    }
    title = f"a swap every {arguments.every:g} s under {arguments.callers} callers"
    report(title, [rounds.row(name) for name, rounds in kinds.items()], figures, arguments.output)


if __name__ == "__main__":
    main()
