"""Upstream's checkpoints into the registry, and ours out of it."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from model.canary import record_canaries
from model.checkpoint import CheckpointError, CheckpointInfo, Precision, write_checkpoint
from model.config import HRMConfig
from model.registry import Registry
from model.tasks import Task, get_task, task_from
from model.upstream import read_identifiers, read_upstream, write_upstream
from model.upstream_config import arch_of
from model.weights import load_model, write_weights

# A grid's characters where nobody names them: digits first, as many as there are tokens.
_CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase + "".join(map(chr, range(0x100, 0x1C1)))


@dataclass(frozen=True, slots=True)
class Reading:
    """How an imported checkpoint's tokens are to be read; upstream keeps that with its data.

    Attributes:
        kind: sudoku, maze, arc or grid.
        seq_len: cells of a puzzle; None: what the checkpoint tells, or else the task's usual number.
        shape: rows and columns; None: the task's only shape, a square, or one row.
        alphabet: characters of a grid, token 1 first; None: digits, then letters.
    """

    kind: str
    seq_len: int | None = None
    shape: tuple[int, int] | None = None
    alphabet: str | None = None

    @property
    def usual_cells(self) -> int | None:
        """Cells where neither the user nor the checkpoint tells; None: nobody knows."""
        if self.shape:
            return math.prod(self.shape)
        return None if self.kind == "grid" else get_task(self.kind).seq_len

    def task(self, name: str, config: HRMConfig) -> Task:
        """The task of a network; raises CheckpointError where it does not fit."""
        described: dict[str, Any] = {"kind": self.kind, "shape": self.shape or _square(config.seq_len)}
        if self.kind == "grid":
            described |= {"name": name, "alphabet": self.alphabet or _CHARACTERS[: config.vocab_size - 1]}
        elif self.kind != "maze" and self.shape is None:
            described = get_task(self.kind).describe()
        try:
            task = task_from(described)
        except ValueError as error:
            raise CheckpointError(str(error)) from None
        if (task.seq_len, task.vocab_size) != (config.seq_len, config.vocab_size):
            raise CheckpointError(
                f"the checkpoint reads {config.seq_len} cells of {config.vocab_size} tokens, "
                f"{self.kind} has {task.seq_len} of {task.vocab_size}"
            )
        return task


def import_upstream(
    registry: Registry,
    path: Path,
    reading: Reading,
    *,
    name: str | None = None,
    version: str | None = None,
    identifiers: Path | None = None,
    precision: Precision | None = None,
) -> CheckpointInfo:
    """Write an upstream checkpoint into the registry as a new version; CURRENT stays as it is.

    Args:
        registry: where to.
        path: upstream's directory, or the file in it.
        reading: what its tokens mean.
        name: the task's name in the registry; None: the kind.
        version: None: the date and a running number.
        identifiers: names of the puzzle embedding's rows; None: `identifiers.json` beside the checkpoint, if it is
            there.
        precision: what it is to be served in; None: in whatever the machine is fast in.

    Raises:
        CheckpointError: it cannot be read, is of another task, or the version exists.
    """
    name = name or reading.kind
    now = datetime.now(UTC)
    target = registry.place(name, version or registry.next_version(name, now.date()))
    upstream = read_upstream(path, reading.seq_len, usual=reading.usual_cells)
    task = reading.task(name, upstream.config)
    rows = read_identifiers(identifiers, upstream.config.num_puzzles) if identifiers else upstream.identifiers
    network = upstream.network()
    canaries, accuracy = record_canaries(network, task, rows)
    training = {
        "upstream": {"file": upstream.file.name, "arch": upstream.arch, "dtypes": upstream.dtypes},
        "step": upstream.step,
        "max_segments": upstream.config.halt_max_segments,
        "published": now.isoformat(timespec="seconds"),
    }
    info = write_checkpoint(
        target,
        task=task.describe(),
        architecture=upstream.config,
        weights=lambda file: write_weights(network, file),
        canaries=canaries,
        canary_accuracy=accuracy,
        training=training,
        precision=precision,
        identifiers=rows,
    )
    registry.share(info.task, info.version)
    return info


def export_upstream(info: CheckpointInfo, directory: Path) -> Path:
    """Write a checkpoint as upstream would, into a new directory, and return the file with its weights.

    What was imported gets its own `arch` block, name and dtypes back.

    Raises:
        CheckpointError: it is damaged, upstream's code could not run it, or the directory holds something.
    """
    info.verify()
    step, origin = info.training.get("step"), info.training.get("upstream")
    if not isinstance(origin, dict):
        origin = {"arch": arch_of(info.architecture)}
    return write_upstream(
        directory,
        load_model(info, torch.device("cpu"), torch.float32),
        origin["arch"],
        step=step if isinstance(step, int) else None,
        dtypes=origin.get("dtypes"),
        identifiers=info.identifiers,
    )


def _square(cells: int) -> tuple[int, int]:
    """A square of so many cells, or one row."""
    side = math.isqrt(cells)
    return (side, side) if side * side == cells else (1, cells)
