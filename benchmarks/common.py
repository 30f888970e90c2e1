"""What the benchmarks share: the shipped checkpoint, puzzles, the machine's name, and one way to report."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
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
from service.schemas import SolveRequest


def shipped(task: str) -> CheckpointInfo:
    """The checkpoint of `task` that comes with the code."""
    info = Registry([SHIPPED]).current(task)
    if info is None:
        raise SystemExit(f"no checkpoint of {task} ships with the code")
    return info


def canary_puzzles(info: CheckpointInfo, count: int, seed: int = 0) -> list[Tokens]:
    """`count` puzzles, each a random symmetry of one of the checkpoint's canaries: as hard, and all different."""
    rng = np.random.default_rng(seed)
    base = [info.codec.parse(canary.puzzle) for canary in info.canaries()]
    return [info.codec.random_symmetry(rng).apply(base[rng.integers(len(base))]) for _ in range(count)]


def works(info: CheckpointInfo, puzzles: list[Tokens], max_segments: int | None = None) -> list[Work]:
    """The puzzles as work for the engine."""
    requests = [
        SolveRequest(task=info.task, puzzle=info.codec.format(p, like=""), max_segments=max_segments) for p in puzzles
    ]
    return [encode(request, info, work_id=str(n)) for n, request in enumerate(requests)]


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
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def report(title: str, rows: list[Mapping[str, Any]], figures: Mapping[str, Any], output: Path | None) -> None:
    """Print a table and the figures below it; write all of it as JSON where `output` is given."""
    picture = Picture(*rows[0], title=title)
    for row in rows:
        picture.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    console = Console()
    console.print(picture)
    for name, value in {**figures, **machine()}.items():
        console.print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}", highlight=False)
    if output is not None:
        output.write_text(json.dumps({"title": title, "rows": rows, **figures, "machine": machine()}, indent=2) + "\n")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
