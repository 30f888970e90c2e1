"""What a user would run instead, with the same checkpoint and the same puzzles, in one run.

    python -m benchmarks.peers [--slots 64] [--puzzles 1024] [--http-puzzles 2048] [--no-http] [--json FILE]

In one process, through the same runner:
  engine          this service's loop
  (a) M_max       batches in which every row runs all segments
  (b) last        batches that run until the last row has halted
  (c) shrinking   batches that drop what has halted and are filled again when they are empty
  (e) one by one  one puzzle at a time
Through HTTP, with one API process and one worker each, and the load generator on the same machine:
  served          this service
  (d) LitServe    dynamic batching around (b); needs the extra `bench`
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from benchmarks.cluster import Cluster, until
from benchmarks.common import options, origin, puzzles, report, shipped, works
from benchmarks.load import closed_loop, drive
from benchmarks.ways import run_batches, run_engine
from model.checkpoint import CheckpointInfo
from model.tasks import Tokens
from service.cli.ports import free_ports
from service.cores import cores
from service.engine.load import Loader
from service.engine.work import Work
from service.settings import load_settings

ENGINE, A, B, C, E = "engine", "(a) M_max", "(b) last", "(c) shrinking", "(e) one by one"
SERVED, LITSERVE = "served", "(d) LitServe"
ALONE = 64
"""Puzzles that are solved one by one: enough to know how long one takes."""


def in_process(
    info: CheckpointInfo, queue: Sequence[Work], slots: int, rounds: int
) -> tuple[dict[str, float], float, dict[str, int], dict[str, object]]:
    """Puzzles/s by way, mean segments, how many answers differ from the engine's by way, and what ran."""
    table = Loader(load_settings(slots=slots)).load(info)
    per_s: dict[str, list[float]] = {name: [] for name in (ENGINE, A, B, C, E)}
    answers: dict[str, dict[str, Tokens]] = {}
    for _ in range(rounds):
        seconds, counted = run_engine(table, queue)
        per_s[ENGINE].append(len(queue) / seconds)
        for name, batching in ((A, "M_max"), (B, "last"), (C, "shrinking")):
            seconds, answers[name] = run_batches(table.runner, queue, batching, info.max_segments)
            per_s[name].append(len(queue) / seconds)
        seconds, answers[E] = run_batches(table.runner, queue[:ALONE], "last", info.max_segments, size=1)
        per_s[E].append(min(ALONE, len(queue)) / seconds)
    reference = counted.answers
    differing = {
        name: sum(not np.array_equal(tokens, reference[work_id]) for work_id, tokens in found.items())
        for name, found in answers.items()
    }
    return _medians(per_s), counted.mean_segments, differing, table.runner.describe()


def over_http(
    checkpoints: Path, queue: Sequence[Work], slots: int, rounds: int, callers: int
) -> tuple[dict[str, float], int]:
    """Puzzles/s of this service and of LitServe, and how many of their answers differ."""
    bodies = [work.request.model_dump(mode="json", exclude_none=True) for work in queue]
    per_s: dict[str, list[float]] = {SERVED: [], LITSERVE: []}
    solutions: dict[str, list[object]] = {}
    for _ in range(rounds):
        for name, serving in ((SERVED, served), (LITSERVE, litserve)):
            with serving(checkpoints, slots) as url:
                drive(closed_loop(url, bodies.__getitem__, callers, min(len(bodies), 2 * slots)))  # warms up
                run = drive(closed_loop(url, bodies.__getitem__, callers, len(bodies)))
            per_s[name].append(run.per_s)
            solutions[name] = [body["solution"] for body in run.bodies]
    differing = sum(ours != theirs for ours, theirs in zip(solutions[SERVED], solutions[LITSERVE], strict=True))
    return _medians(per_s), differing


@contextmanager
def whole_service(checkpoints: Path, slots: int) -> Iterator[Cluster]:
    """This service: one API process, one worker, Valkey."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(Path(folder), checkpoints, threads=cores(), slots=slots, queue_limit=100_000) as cluster,
    ):
        cluster.api()
        cluster.worker(backend="auto", compile="auto", precision="auto", state_dir=load_settings().state_dir)
        cluster.until_ready(api=1, worker=1)
        yield cluster


@contextmanager
def served(checkpoints: Path, slots: int) -> Iterator[str]:
    """Where this service listens."""
    with whole_service(checkpoints, slots) as cluster:
        yield cluster.url


@contextmanager
def litserve(checkpoints: Path, slots: int) -> Iterator[str]:
    """LitServe: one API process, one worker."""
    (port,) = free_ports("127.0.0.1", [0])
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "benchmarks.litserve_app", "--port", str(port), "--slots", str(slots)]
    command += ["--checkpoints", str(checkpoints)]
    process = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)

    def ready() -> bool:
        if process.poll() is not None:
            raise SystemExit("LitServe ended; is the extra `bench` installed?")
        try:
            return httpx.get(f"{url}/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(ready, 600)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its processes outlive it otherwise
        process.wait()


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--task", default="sudoku")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--puzzles", type=int, default=1024)
    parser.add_argument("--http-puzzles", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3, help="each way is run so often, in turn; medians count")
    parser.add_argument("--http", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    info, slots = shipped(arguments.task, arguments.checkpoints), arguments.slots
    queue = works(info, puzzles(info, arguments, max(arguments.puzzles, arguments.http_puzzles)))
    per_s, mean_segments, differing, runner = in_process(info, queue[: arguments.puzzles], slots, arguments.rounds)
    figures: dict[str, object] = {
        "mean segments": mean_segments,
        "promised against (a): M_max / mean segments": info.max_segments / mean_segments,
        "reached of it": per_s[ENGINE] / per_s[A] / (info.max_segments / mean_segments),
    }
    rows = [_row(name, value, per_s[ENGINE] / value, differing.get(name, 0)) for name, value in per_s.items()]
    if arguments.http:
        http, apart = over_http(
            arguments.checkpoints, queue[: arguments.http_puzzles], slots, arguments.rounds, 3 * slots
        )
        rows += [
            _row(SERVED, http[SERVED], 1.0, 0),
            _row(LITSERVE, http[LITSERVE], http[SERVED] / http[LITSERVE], apart),
        ]
        figures["served against the engine"] = http[SERVED] / per_s[ENGINE]
    figures |= {"puzzles": origin(arguments), "checkpoint": info.name, **runner}
    report(f"what a user would run instead; {slots} slots, M_max {info.max_segments}", rows, figures, arguments.output)


def _row(way: str, per_s: float, factor: float, differing: int) -> Mapping[str, object]:
    return {"way": way, "puzzles/s": per_s, "ours is faster by": factor, "answers that differ": differing}


def _medians(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: float(np.median(some)) for name, some in values.items()}


if __name__ == "__main__":
    main()
