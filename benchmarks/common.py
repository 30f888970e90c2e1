"""What the benchmarks share: the shipped checkpoint, puzzles, the machine's name, and one way to report."""

from __future__ import annotations

import argparse
import csv
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table as Picture

from model.checkpoint import CheckpointInfo
from model.registry import SHIPPED, Registry
from model.tasks import Tokens
from service.engine.codec import encode
from service.engine.work import Work
from service.packages import installed
from service.schemas import SolveRequest

_FILES = ("--json", "--checkpoints", "--file")


def options(description: str | None, *, checkpoints: bool = True, file: bool = True) -> argparse.ArgumentParser:
    """A parser with what benchmarks take: a file of results, a registry, puzzles from a file."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if checkpoints:
        parser.add_argument("--checkpoints", type=Path, default=SHIPPED, help="a registry, in place of the shipped one")
    if file:
        parser.add_argument(
            "--file", type=Path, help="puzzles, as CSV source,question,answer,rating; else: the canaries"
        )
        parser.add_argument("--source", help="of the file, only what comes from there")
    parser.add_argument("--json", dest="output", type=Path, metavar="FILE", help="write everything as JSON, too")
    return parser


def shipped(task: str, root: Path = SHIPPED) -> CheckpointInfo:
    """The checkpoint of `task` that comes with the code, or the current one of another registry."""
    info = Registry([root]).current(task)
    if info is None:
        raise SystemExit(f"no checkpoint of {task} in {root}")
    return info


Pair = tuple[Tokens, Tokens]
"""A puzzle and its answer."""


def puzzles(info: CheckpointInfo, arguments: argparse.Namespace, count: int) -> list[Tokens]:
    """`count` puzzles, each a random symmetry of one of the file's or of the checkpoint's canaries."""
    return [puzzle for puzzle, _ in turned(info, pairs(info, arguments.file, arguments.source), count)]


def canary_puzzles(info: CheckpointInfo, count: int) -> list[Tokens]:
    """The same, of the canaries."""
    return [puzzle for puzzle, _ in turned(info, pairs(info), count)]


def pairs(info: CheckpointInfo, file: Path | None = None, source: str | None = None) -> list[Pair]:
    """The puzzles of a file (from one source), or the checkpoint's canaries."""
    codec = info.codec
    if file is None and source is not None:
        raise SystemExit("--source is of a --file, and none is given")
    if file is None:
        return [(codec.parse(canary.puzzle), codec.parse_answer(canary.answer)) for canary in info.canaries()]
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if source in (None, row["source"])]
    if not rows:
        raise SystemExit(f"no puzzle of {source or 'any source'} in {file}")
    return [(codec.parse(row["question"]), codec.parse_answer(row["answer"])) for row in rows]


def turned(info: CheckpointInfo, base: Sequence[Pair], count: int) -> list[Pair]:
    """`count` pairs, each a random symmetry of one of `base`: as hard, and all different."""
    rng = np.random.default_rng(0)
    chosen = [(info.codec.random_symmetry(rng), base[rng.integers(len(base))]) for _ in range(count)]
    return [(symmetry.apply(puzzle), symmetry.apply(answer)) for symmetry, (puzzle, answer) in chosen]


def origin(arguments: argparse.Namespace) -> str:
    """Where the puzzles come from, for a report."""
    return f"symmetries of {arguments.file.name if arguments.file else 'the canaries'}"


def works(info: CheckpointInfo, asked: Sequence[Tokens], max_segments: int | None = None) -> list[Work]:
    """The puzzles as work for the engine."""
    requests = [
        SolveRequest(task=info.task, puzzle=info.codec.format(p, like=""), max_segments=max_segments) for p in asked
    ]
    return [encode(request, info, work_id=str(n)) for n, request in enumerate(requests)]


def command() -> str:
    """How this process was started, less what names files of this machine."""
    words, skip = [], False
    for word in sys.argv[1:]:
        skip, kept = word in _FILES, not skip and word not in _FILES
        words += [word] if kept else []
    return " ".join([f"python -m benchmarks.{Path(sys.argv[0]).stem}", *words])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "onnxruntime": next((version(name) for name in ("onnxruntime", "onnxruntime-gpu") if installed(name)), "none"),
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def report(title: str, rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], output: Path | None) -> None:
    """Print a table and the figures below it; write all of it as JSON where `output` is given."""
    picture = Picture(*rows[0], title=title)
    for row in rows:
        picture.add_row(*map(shown, row.values()))
    console = Console()
    console.print(picture)
    for name, value in {**figures, **machine()}.items():
        console.print(f"{name}: {shown(value)}", highlight=False)
    if output is not None:
        whole = {"title": title, "command": command(), "rows": rows, "figures": figures, "machine": machine()}
        output.write_text(json.dumps(whole, indent=2) + "\n")


def shown(value: object) -> str:
    """A figure for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
