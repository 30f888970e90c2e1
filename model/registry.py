"""The registry: `<root>/<task>/<version>/` and `<root>/<task>/CURRENT`, the version in use.

Several roots are laid over each other: the first is written to, the others (the checkpoints that ship with
the code) are read. CURRENT in an earlier root wins, and may name a version that lies in a later one. Beside it,
HISTORY lists the versions that were in use, one a line, the present one last: `rollback` walks back along it.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from model.checkpoint import CheckpointError, CheckpointInfo, read_checkpoint

CURRENT_FILE = "CURRENT"
HISTORY_FILE = "HISTORY"
SHIPPED = Path(__file__).parent.parent / "checkpoints"
"""The read-only registry that comes with the code."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_HISTORY_KEPT = 100


class UnknownVersionError(CheckpointError):
    """The registry has no such version."""


class NoEarlierVersionError(CheckpointError):
    """There is nothing to roll back to."""


class RegistryAwayError(CheckpointError):
    """The registry cannot be reached or written; the call may be repeated."""


def valid_name(name: str) -> bool:
    """Whether `name` may be a task or a version: it cannot leave the registry."""
    return _NAME.fullmatch(name) is not None


def sort_versions(versions: Iterable[str]) -> list[str]:
    """Oldest first. Numbers inside a version compare as numbers: 2026.11.24-10 comes after 2026.11.24-9."""

    def key(version: str) -> list[tuple[int, int | str]]:
        return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", version)]

    return sorted(versions, key=key)


def open_registry(location: str | Path, cache: Path, only: Collection[str] = ()) -> Registry:
    """The registry at a path or an fsspec URL (s3://bucket/checkpoints), with the shipped checkpoints under it.

    Args:
        location: anything with "://" is a URL.
        cache: where a URL's checkpoints are copied to.
        only: see Registry.

    Raises:
        CheckpointError: the URL cannot be used here, or something else than a directory is at the path.
    """
    if "://" not in str(location):
        path = Path(location)
        if path.exists() and not path.is_dir():
            raise CheckpointError(f"{path} is no directory")
        return Registry([path, SHIPPED], only)
    from model.mirror import MirroredRegistry  # noqa: PLC0415 (fsspec is an extra)

    return MirroredRegistry(str(location), cache, [SHIPPED], only)


class Registry:
    """Reads versions and moves CURRENT. It holds no state: every call looks at the disk.

    Args:
        roots: the first is written to; what it lacks is looked for in the next.
        only: the tasks that are served from here; all where it is empty.
    """

    def __init__(self, roots: Sequence[Path], only: Collection[str] = ()) -> None:
        self.roots = list(dict.fromkeys(root.resolve() for root in roots))
        self.only = frozenset(only)

    @property
    def writable(self) -> Path:
        """Where new versions go."""
        return self.roots[0]

    def tasks(self) -> list[str]:
        """Tasks to be served: with a CURRENT version, and among those it was opened for."""
        found = {path.parent.name for root in self.roots for path in root.glob(f"*/{CURRENT_FILE}")}
        return sorted(name for name in found if valid_name(name) and (not self.only or name in self.only))

    def all_tasks(self) -> list[str]:
        """Tasks with any version, in use or not."""
        found = {path.name for root in self.roots for path in root.glob("*") if path.is_dir()}
        return sorted(set(self.tasks()) | {name for name in found if valid_name(name) and self.versions(name)})

    def versions(self, task: str) -> list[str]:
        """All versions of a task, oldest first by name."""
        _require_name(task)
        return sort_versions({version for root in self.roots for version in _versions_in(root / task)})

    def current_version(self, task: str) -> str | None:
        """The version in use, or None; raises CheckpointError where CURRENT names nothing possible."""
        _require_name(task)
        for root in self.roots:
            path = root / task / CURRENT_FILE
            try:
                _require_inside(root, path)
                version = path.read_text(errors="replace").strip()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
            if not valid_name(version):
                raise CheckpointError(f"{path}: does not name a version")
            return version
        return None

    def current(self, task: str) -> CheckpointInfo | None:
        """The checkpoint in use, or None; raises CheckpointError if it cannot be read."""
        version = self.current_version(task)
        return None if version is None else self.get(task, version)

    def get(self, task: str, version: str) -> CheckpointInfo:
        """One version; raises CheckpointError if it is not there (UnknownVersionError) or cannot be read."""
        _require_name(task)
        _require_name(version)
        for root in self.roots:
            path = root / task / version
            try:
                if path.is_dir():
                    _require_inside(root, path)
                    for file in path.iterdir():
                        _require_inside(root, file)
                    return read_checkpoint(path)
            except FileNotFoundError:  # pruned just now
                continue
            except OSError as error:
                raise RegistryAwayError(f"{path}: cannot be read: {error.strerror}") from None
        raise UnknownVersionError(f"no version {version!r} of task {task!r} in the registry")

    def glance(self, task: str, version: str) -> CheckpointInfo | None:
        """One version, as `get` reads it; None where it would have to be copied to this machine first."""
        return self.get(task, version)

    def place(self, task: str, version: str) -> Path:
        """Where a new version is to be written; raises CheckpointError for a name that cannot be one."""
        _require_name(task)
        _require_name(version)
        path = self.writable / task / version
        _require_inside(self.writable, path)
        return path

    def share(self, task: str, version: str) -> None:
        """Show a version that was just written under `place` to everybody; on a disk it is there for all."""

    def use(self, task: str, version: str) -> CheckpointInfo:
        """Make a version the current one, in one move.

        Raises:
            CheckpointError: it cannot be read, is for another kind of puzzle than the current one, or CURRENT cannot be
                written.
        """
        info = self.get(task, version)
        past = self._past(task)
        present = self._current_or_none(task)
        if (replaced := self._readable(task, present)) is not None:
            info.require_task_of(replaced)
        for name in (present, version):
            if name is not None and past[-1:] != [name]:
                past.append(name)
        self._move(task, past)
        return info

    def previous_version(self, task: str) -> str | None:
        """The version that `rollback` would go back to, or None."""
        past = self._before(task)
        return past[-1] if past else None

    def rollback(self, task: str) -> CheckpointInfo:
        """Make the version that was in use before the current one the current one again.

        A second call goes back further.

        Raises:
            NoEarlierVersionError: none is known that is still there.
            CheckpointError: that one cannot be read.
        """
        past = self._before(task)
        if not past:
            raise NoEarlierVersionError(f"task {task!r} has no earlier version to go back to")
        info = self.get(task, past[-1])
        self._move(task, past)
        return info

    def prune(self, task: str, keep: int, in_use: Collection[str] = ()) -> list[str]:
        """Remove all but the `keep` newest versions from the writable root.

        The current version, the one before it (for a rollback) and those `in_use` always stay.

        Returns:
            The versions that were removed.
        """
        stay = {self.current_version(task), self.previous_version(task), *in_use}
        versions = self._own(task)
        removed = [version for version in versions[: max(0, len(versions) - keep)] if version not in stay]
        for version in removed:
            self._remove(task, version)
        return removed

    def next_version(self, task: str, today: date) -> str:
        """A version name that is not taken: the date and a running number."""
        stem = today.strftime("%Y.%m.%d")
        taken = set(self.versions(task))
        return next(name for n in range(1, len(taken) + 2) if (name := f"{stem}-{n}") not in taken)

    def _before(self, task: str) -> list[str]:
        """The versions that were in use before the current one and are still there, the last one last."""
        current, past = self.current_version(task), self._past(task)
        if current in past:
            past = past[: len(past) - 1 - past[::-1].index(current)]
        there = set(self.versions(task)) - {current}
        while past and past[-1] not in there:
            past.pop()
        return past

    def _readable(self, task: str, version: str | None) -> CheckpointInfo | None:
        with suppress(CheckpointError):
            return None if version is None else self.get(task, version)
        return None

    def _current_or_none(self, task: str) -> str | None:
        try:
            return self.current_version(task)
        except CheckpointError:  # a CURRENT that names nothing is what `use` mends
            return None

    def _past(self, task: str) -> list[str]:
        """HISTORY, without what cannot be a version."""
        path = self.writable / task / HISTORY_FILE
        try:
            _require_inside(self.writable, path)
            return [line for line in path.read_text(errors="replace").split() if valid_name(line)]
        except OSError:
            return []

    def _move(self, task: str, past: Sequence[str]) -> None:
        """Write HISTORY, and CURRENT, which is its last line."""
        self._write(task, HISTORY_FILE, "\n".join(past[-_HISTORY_KEPT:]) + "\n")
        self._write(task, CURRENT_FILE, past[-1] + "\n")

    def _write(self, task: str, name: str, text: str) -> None:
        """Replace a small file of a task, in one move."""
        directory = self.writable / task
        _require_inside(self.writable, directory)
        partial = directory / f".{name}.{uuid.uuid4().hex}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            partial.write_text(text)
            os.replace(partial, directory / name)  # noqa: PTH105 (the atomic call is meant)
        except OSError as error:
            raise RegistryAwayError(f"{directory}: cannot be written: {error.strerror}") from None
        finally:
            with suppress(OSError):
                partial.unlink()

    def _own(self, task: str) -> list[str]:
        """The versions that lie in the writable root and not elsewhere behind a link, oldest first."""
        _require_name(task)
        directory = self.writable / task
        return sort_versions(name for name in _versions_in(directory) if not (directory / name).is_symlink())

    def _remove(self, task: str, version: str) -> None:
        """Take a version away in one move, and then off the disk."""
        path = self.writable / task / version
        _require_inside(self.writable, path)
        gone = path.with_name(f".{version}.{uuid.uuid4().hex}.removed")
        try:
            path.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise RegistryAwayError(f"{path}: cannot be removed: {error.strerror}") from None


def _versions_in(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*") if valid_name(path.name) and path.is_dir()}


def _require_name(name: str) -> None:
    if not valid_name(name):
        raise CheckpointError(f"{name!r} is not a possible name in the registry")


def _require_inside(root: Path, path: Path) -> None:
    if root not in path.resolve().parents:
        raise CheckpointError(f"{path}: a link that leads out of the registry")
