"""Where a run's numbers go: JSON lines always, TensorBoard where it is installed."""

from __future__ import annotations

import importlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from training.run_files import LOG_FILE

TENSORBOARD_DIR = "tensorboard"


class Sink(Protocol):
    """Takes the entries of the log, each with an `event` and a `step`."""

    def write(self, entry: dict[str, Any]) -> None:
        """Take one."""

    def close(self) -> None:
        """There are no more."""


class JsonLines:
    """log.jsonl, one entry a line; a resumed run goes on in the same file."""

    def __init__(self, path: Path) -> None:
        torn = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")  # by a full disk, or a lost machine
        self._file = path.open("a", encoding="utf-8")
        if torn:
            self._file.write("\n")

    def write(self, entry: dict[str, Any]) -> None:
        """Write it through: a killed run leaves whole lines."""
        self._file.write(json.dumps({"time": round(time.time(), 3), **entry}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Curves: train/NAME, and heldout/SOURCE/NAME."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, entry: dict[str, Any]) -> None:
        """Add a point to the curve of each number."""
        if entry["event"] not in ("steps", "heldout"):
            return
        place = f"heldout/{entry['source']}" if entry["event"] == "heldout" else "train"
        for name, value in entry.items():
            if name != "step" and isinstance(value, (int, float)):
                self._writer.add_scalar(f"{place}/{name}", value, entry["step"])

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def last_start(run_dir: Path) -> dict[str, Any]:
    """What the run last computed with, as its log says; empty where it does not say. Torn lines are passed over."""
    path = run_dir / LOG_FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for line in reversed(lines):
        if '"event": "start"' in line:
            with suppress(ValueError):
                return dict(json.loads(line))
    return {}


def open_sinks(run_dir: Path, step: int) -> list[Sink]:
    """Open the log of a run that goes on from `step`."""
    sinks: list[Sink] = [JsonLines(run_dir / LOG_FILE)]
    try:
        tensorboard = importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return sinks
    return [*sinks, TensorBoard(tensorboard.SummaryWriter(str(run_dir / TENSORBOARD_DIR), purge_step=step))]
