"""`hrm-train eval`: how well a checkpoint answers puzzles whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from model.checkpoint import read_checkpoint
from model.device import pick_device
from model.weights import load_model
from training.data.csv_file import read_csv
from training.evaluate import solve


@dataclass(frozen=True, slots=True)
class Judgement:
    """Counts and means over the puzzles of one source."""

    source: str
    puzzles: int
    exact: float
    cells: float
    valid: float | None
    segments: float


def judge(checkpoint: Path, data: Path, segments: int | None, device: str = "auto") -> list[Judgement]:
    """Solve a CSV file with a checkpoint under ACT, in fp32: one judgement a source, then one of all."""
    info = read_checkpoint(checkpoint)
    info.verify()
    model = load_model(info, pick_device(device), torch.float32)
    table = read_csv(data, info.codec)
    solved = solve(model, table.puzzles, segments or info.max_segments)
    exact = solved.exact(table.answers)
    cells = (solved.answers == table.answers).mean(axis=1)
    valid = info.codec.check_many(table.puzzles, solved.answers) if info.codec.has_checker else None
    sources = np.array(table.sources)
    groups = [(name, sources == name) for name in sorted(set(table.sources))]
    return [
        Judgement(
            source=name,
            puzzles=int(rows.sum()),
            exact=float(exact[rows].mean()),
            cells=float(cells[rows].mean()),
            valid=None if valid is None else float(valid[rows].mean()),
            segments=float(solved.segments[rows].mean()),
        )
        for name, rows in [*groups, ("all", np.ones(len(sources), dtype=np.bool_))]
    ]


def print_judgement(judgements: list[Judgement]) -> None:
    """A table on stdout."""
    table = Table("source", "puzzles", "exact", "cells", "valid", "segments")
    for j in judgements:
        valid = "-" if j.valid is None else f"{j.valid:.3f}"
        table.add_row(j.source, str(j.puzzles), f"{j.exact:.3f}", f"{j.cells:.4f}", valid, f"{j.segments:.2f}")
    Console().print(table)
