"""How cost grows: with slots, with tasks on one device, with workers, with the length of a puzzle.

python -m benchmarks.scale slots|tasks|workers|sequence [--json FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.cluster import Cluster
from benchmarks.common import options, puzzles, report, shipped, works
from benchmarks.load import closed_loop, drive
from benchmarks.ways import Saturated, bare_segment_s, run_engine
from model.checkpoint import CheckpointInfo
from model.config import HRMConfig
from model.device import pick_device, pick_dtype, used_memory
from model.hrm import HRM
from model.weights import memory_needed
from service.cores import cores
from service.engine.build import Builder
from service.engine.load import Loader
from service.engine.loop import Engine
from service.engine.table import Segment, Table
from service.engine.torch_runner import TorchRunner
from service.engine.work import Room, Work
from service.settings import load_settings

Rows = list[Mapping[str, object]]


def slots(info: CheckpointInfo, arguments: argparse.Namespace) -> Rows:
    """One table of 1 to 512 slots, all of them busy."""
    rows: Rows = []
    for count in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        builder = Builder(load_settings(slots=count))
        before = used_memory(builder.device) or 0
        runner = builder.build(info, count)
        seconds = bare_segment_s(runner, 10)
        rows.append(
            {
                "slots": count,
                "ms a segment": 1e3 * seconds,
                "slot-segments/s": count / seconds,
                "foreseen MB": memory_needed(info.architecture, count) / 1e6,
                "taken MB": ((used_memory(builder.device) or 0) - before) / 1e6,
                "runs with": runner.backend,
            }
        )
    return rows


@dataclass(slots=True)
class Several(Saturated):
    """Work for several tasks, without end."""

    queues: dict[str, deque[Work]] = field(default_factory=dict)
    device_s: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    number: int = 0

    def poll(self, room: Mapping[str, Room]) -> list[Work]:
        taken: list[Work] = []
        for task, wanted in room.items():
            for _ in range(wanted.wanted):
                self.queues[task].rotate(-1)
                self.number += 1
                taken.append(replace(self.queues[task][-1], id=str(self.number)))
        return taken

    def segment(self, segment: Segment) -> None:
        self.device_s[segment.task] += segment.device_s
        self.segments[segment.task] += segment.live


def tasks(info: CheckpointInfo, arguments: argparse.Namespace) -> Rows:
    """The same checkpoint as one, two and three tasks on one device."""
    rows: Rows = []
    builder = Builder(load_settings(slots=arguments.slots))
    asked = puzzles(info, arguments, 256)
    for count in (1, 2, 3):
        source = Several(deque(), arguments.slots)
        engine = Engine(source, source, time.monotonic, strict=False)
        runners = [builder.build(info, arguments.slots) for _ in range(count)]
        for number, runner in enumerate(runners):
            named = replace(info, task=f"task-{number}")
            source.queues[named.task] = deque(works(named, asked))
            engine.install(Table(named, runner))
        start = time.perf_counter()
        for _ in range(arguments.ticks):
            engine.tick()
        seconds = time.perf_counter() - start
        shares = [source.device_s[task] / sum(source.device_s.values()) for task in source.queues]
        rows.append(
            {
                "tasks": count,
                "slot-segments/s in all": sum(source.segments.values()) / seconds,
                "device busy %": 100 * sum(source.device_s.values()) / seconds,
                "smallest and largest share %": f"{100 * min(shares):.1f}, {100 * max(shares):.1f}",
            }
        )
        engine.drain(0.0)
    return rows


def workers(info: CheckpointInfo, arguments: argparse.Namespace) -> Rows:
    """A worker with all cores, then one to four with one thread each, behind one API process, saturated."""
    queue = works(info, puzzles(info, arguments, arguments.puzzles))
    bodies = [work.request.model_dump(mode="json", exclude_none=True) for work in queue]
    alone_s, _ = run_engine(Loader(load_settings(slots=arguments.slots)).load(info), queue)
    limits = {"slots": arguments.slots, "queue_limit": 100_000}
    rows: Rows = []
    for count, threads in dict.fromkeys([(1, cores()), (1, 1), (2, 1), (3, 1), (4, 1)]):
        with (
            tempfile.TemporaryDirectory() as folder,
            Cluster(Path(folder), arguments.checkpoints, threads=threads, **limits) as cluster,
        ):
            cluster.api()
            for _ in range(count):
                cluster.worker(backend="auto", compile="auto", precision="auto", state_dir=load_settings().state_dir)
            cluster.until_ready(api=1, worker=count)
            callers = 3 * count * arguments.slots
            drive(closed_loop(cluster.url, bodies.__getitem__, callers, min(len(bodies), callers)))
            run = drive(closed_loop(cluster.url, bodies.__getitem__, callers, len(bodies)))
            resident = [node.process.memory_info().rss / 1e6 for node in cluster.ready("worker")]
        rows.append(
            {
                "workers": count,
                "threads of each": threads,
                "puzzles/s": run.per_s,
                "against the engine alone": run.per_s * alone_s / len(queue),
                "p50 ms": 1e3 * float(np.median([response.seconds for response in run.responses])),
                "MB a worker": float(np.mean(resident)),
                "cores": cores(),
            }
        )
    return rows


def sequence(info: CheckpointInfo, arguments: argparse.Namespace) -> Rows:
    """The shipped network's sizes with random weights, for 81 and 900 cells, with both mixers."""
    device = pick_device("auto")
    dtype = pick_dtype("auto", device)
    rows: Rows = []
    for length in (81, 900):
        for mixer in ("mlp", "attention"):
            own = {"seq_len": length, "mixer": mixer, "mixer_norm": "hidden"}  # which both mixers have
            config = HRMConfig.from_dict(info.architecture.to_dict() | own)
            model = HRM(config).requires_grad_(False).eval().to(device, dtype)
            model.reset_positions(device)
            before = used_memory(device) or 0
            runner = TorchRunner(model, arguments.rows, dtype)
            seconds = bare_segment_s(runner, 5)
            rows.append(
                {
                    "cells": length,
                    "mixer": mixer,
                    "rows": arguments.rows,
                    "ms a segment, eager": 1e3 * seconds,
                    "µs a cell": 1e6 * seconds / arguments.rows / length,
                    "taken MB": ((used_memory(device) or 0) - before) / 1e6,
                }
            )
    return rows


WAYS = {"slots": slots, "tasks": tasks, "workers": workers, "sequence": sequence}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("what", choices=WAYS)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--slots", type=int, default=64, help="of tasks and workers")
    parser.add_argument("--ticks", type=int, default=300, help="of tasks")
    parser.add_argument("--puzzles", type=int, default=2048, help="of workers")
    parser.add_argument("--rows", type=int, default=8, help="of sequence")
    arguments = parser.parse_args()
    info = shipped(arguments.task, arguments.checkpoints)
    report(
        f"growing {arguments.what}", WAYS[arguments.what](info, arguments), {"checkpoint": info.name}, arguments.output
    )


if __name__ == "__main__":
    main()
