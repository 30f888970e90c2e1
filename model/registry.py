"""The registry: `<root>/<task>/<version>/` and `<root>/<task>/CURRENT`, the version in use.

Several roots are laid over each other: the first is written to, the others (the checkpoints that ship with
the code) are read. CURRENT in an earlier root wins, and may name a version that lies in a later one.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from model.checkpoint import CheckpointError, CheckpointInfo, read_checkpoint

CURRENT_FILE = "CURRENT"
SHIPPED = Path(__file__).parent.parent / "checkpoints"
"""The read-only registry that comes with the code."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def valid_name(name: str) -> bool:
    """Whether `name` may be a task or a version: it cannot leave the registry."""
    return _NAME.fullmatch(name) is not None


class Registry:
    """Reads versions and moves CURRENT. It holds no state: every call looks at the disk."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(dict.fromkeys(root.resolve() for root in roots))

    @property
    def writable(self) -> Path:
        """Where new versions go."""
        return self.roots[0]

    def tasks(self) -> list[str]:
        """Tasks with a CURRENT version."""
        found = {path.parent.name for root in self.roots for path in root.glob(f"*/{CURRENT_FILE}")}
        return sorted(name for name in found if valid_name(name))

    def versions(self, task: str) -> list[str]:
        """All versions of a task, oldest first by name."""
        _require_name(task)
        found = {
            path.name
            for root in self.roots
            for path in (root / task).glob("*")
            if valid_name(path.name) and path.is_dir()
        }
        return sorted(found, key=_version_key)

    def current_version(self, task: str) -> str | None:
        """The version in use, or None; raises CheckpointError where CURRENT names nothing possible."""
        _require_name(task)
        for root in self.roots:
            try:
                version = (root / task / CURRENT_FILE).read_text(errors="replace").strip()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not valid_name(version):
                raise CheckpointError(f"{root / task / CURRENT_FILE}: does not name a version")
            return version
        return None

    def current(self, task: str) -> CheckpointInfo | None:
        """The checkpoint in use, or None; raises CheckpointError if it cannot be read."""
        version = self.current_version(task)
        return None if version is None else self.get(task, version)

    def get(self, task: str, version: str) -> CheckpointInfo:
        """One version; raises CheckpointError if it is not there or cannot be read."""
        _require_name(task)
        _require_name(version)
        for root in self.roots:
            path = root / task / version
            if path.is_dir():
                if root not in path.resolve().parents:
                    raise CheckpointError(f"{path}: a link that leads out of the registry")
                return read_checkpoint(path)
        raise CheckpointError(f"no version {version!r} of task {task!r} in the registry")

    def use(self, task: str, version: str) -> CheckpointInfo:
        """Make a version the current one, in one move."""
        info = self.get(task, version)
        directory = self.writable / task
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f".{CURRENT_FILE}.{uuid.uuid4().hex}"
        partial.write_text(version + "\n")
        os.replace(partial, directory / CURRENT_FILE)  # noqa: PTH105 (the atomic call is meant)
        return info

    def next_version(self, task: str, today: date) -> str:
        """A version name that is not taken: the date and a running number."""
        stem = today.strftime("%Y.%m.%d")
        taken = set(self.versions(task))
        return next(name for n in range(1, len(taken) + 2) if (name := f"{stem}-{n}") not in taken)


def _require_name(name: str) -> None:
    if not valid_name(name):
        raise CheckpointError(f"{name!r} is not a possible name in the registry")


def _version_key(version: str) -> list[tuple[int, int | str]]:
    """Numbers inside a version compare as numbers: 2026.11.24-10 comes after 2026.11.24-9."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", version)]
