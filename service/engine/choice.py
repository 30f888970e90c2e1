"""Which backend runs an architecture on this machine: measured once, then remembered in the state directory."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import model
from service.engine.runner import Admission
from service.engine.torch_runner import TorchRunner

log = logging.getLogger(__name__)

ROWS = 32
"""Rows of the segments that are timed: enough to keep a device busy, few enough for a slow one."""
ROUNDS = 5


class Choices:
    """What was measured here before, by everything that could change it; a file that may be deleted at any time.

    It lies in the state directory. Where there is none, none is made: `hrm solve` leaves nothing behind.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir, self._path = state_dir, state_dir / "compiled" / "backends.json"

    def get(self, circumstances: Mapping[str, Any]) -> str | None:
        """The backend that was the faster one under the same circumstances, or None."""
        return self._read().get(_digest(circumstances))

    def put(self, circumstances: Mapping[str, Any], backend: str) -> None:
        """Remember a choice; where the file cannot be written it is measured again at the next start."""
        if not self._state_dir.is_dir():
            return
        try:
            self._path.parent.mkdir(exist_ok=True)
            self._path.write_text(json.dumps(self._read() | {_digest(circumstances): backend}, indent=1))
        except OSError as error:
            log.warning("the choice of a backend cannot be kept", extra={"reason": str(error)})

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def faster(runners: Mapping[str, TorchRunner]) -> tuple[str, dict[str, float]]:
    """The name of the fastest of some idle, warm runners, and the milliseconds that a segment takes each.

    They take turns, and the best of each counts: what else runs on the machine then matters little.
    """
    ms = dict.fromkeys(runners, float("inf"))
    for _ in range(ROUNDS):
        for name, runner in runners.items():
            ms[name] = min(ms[name], 1e3 * segment_s(runner, min(runner.size, ROWS)))
    return min(ms, key=ms.__getitem__), ms


def segment_s(runner: TorchRunner, rows: int) -> float:
    """Seconds that the device takes for one segment of `rows` fresh puzzles (of nothing but token 1)."""
    slots, ones = np.arange(rows), np.ones(rows, dtype=np.int64)
    cells = np.ones((rows, runner.model.config.seq_len), dtype=np.uint8)
    runner.admit(Admission(slots, cells, cells.astype(np.bool_), 0 * ones, ones, ones))
    runner.launch(slots)
    return runner.collect().device_s


def circumstances(**more: Any) -> dict[str, Any]:
    """What a choice depends on: `more`, the machine, and our own code."""
    return {**more, "machine": platform.machine(), "cpu": _cpu(), "code": _code()}


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _code() -> str:
    """Of what makes a segment: a change there may make another backend the faster one."""
    folders = (Path(model.__file__).parent, Path(__file__).parent)
    sources = sorted(path for folder in folders for path in folder.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
