"""A registry behind an fsspec URL, mirrored into a directory of this machine.

CURRENT is asked for at most once a second. A version is copied when it is first wanted, and believed only when its
weights have the sha256 that its config names. While the store cannot be reached, what was copied goes on being served.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from model.checkpoint import (
    CANARY_FILE,
    CONFIG_FILE,
    LIMITS,
    WEIGHTS_FILE,
    CheckpointError,
    CheckpointInfo,
    read_checkpoint,
)
from model.registry import (
    CURRENT_FILE,
    HISTORY_FILE,
    Registry,
    RegistryAwayError,
    UnknownVersionError,
    sort_versions,
    valid_name,
)
from model.remote import RemoteDirectory

_ASK_S = 1.0
_NOTE_BYTES = 1 << 16
_LOCK_FILE = ".lock"

log = logging.getLogger(__name__)


class MirroredRegistry(Registry):
    """What is written goes to the store, too: a version as a whole, CURRENT after it.

    The copies of one URL lie in one directory, which several processes may share.

    Args:
        url: the registry's root.
        cache: holds the copies, a directory for each URL.
        roots: read-only registries under it.
        only: the tasks that are served from here; all where it is empty.
    """

    def __init__(self, url: str, cache: Path, roots: Sequence[Path] = (), only: Collection[str] = ()) -> None:
        """Raises CheckpointError where this kind of URL cannot be used here."""
        self._url = url.rstrip("/")
        self._remote = RemoteDirectory(url)
        super().__init__([cache / hashlib.sha256(self._url.encode()).hexdigest()[:16], *roots], only)
        self._refused: dict[tuple[str, str], CheckpointError] = {}
        self._asked = float("-inf")
        self._asking = threading.Lock()
        self._complaint = ""

    def tasks(self) -> list[str]:
        """Tasks to be served; see Registry."""
        self._follow()
        return super().tasks()

    def all_tasks(self) -> list[str]:
        """Tasks with any version, in use or not."""
        return sorted({*super().all_tasks(), *self._listed("")})

    def versions(self, task: str) -> list[str]:
        """All versions of a task, here or there."""
        return sort_versions({*super().versions(task), *self._listed(task)})

    def current_version(self, task: str) -> str | None:
        """The version in use, or None; raises CheckpointError where CURRENT names nothing possible."""
        self._follow()
        return super().current_version(task)

    def get(self, task: str, version: str) -> CheckpointInfo:
        """One version, copied here first where it is not yet.

        One that was copied and found altered is not copied again before CURRENT has named another.
        """
        with suppress(UnknownVersionError):
            return super().get(task, version)
        self._fetch(task, version)
        return super().get(task, version)

    def glance(self, task: str, version: str) -> CheckpointInfo | None:
        """One version, or None where it is not copied yet."""
        try:
            return super().get(task, version)
        except UnknownVersionError:
            return None

    def share(self, task: str, version: str) -> None:
        """Copy a version that was written here to the store; its config comes last, so that no half is taken for it."""
        directory, target = self.place(task, version), f"{task}/{version}"
        if self._remote.size(f"{target}/{CONFIG_FILE}") is not None:
            return
        for file in sorted(directory.iterdir(), key=lambda file: file.name == CONFIG_FILE):
            self._remote.put(file, f"{target}/{file.name}")

    def _move(self, task: str, past: Sequence[str]) -> None:
        if (self.writable / task / past[-1]).is_dir():
            self.share(task, past[-1])
        super()._move(task, past)

    def _past(self, task: str) -> list[str]:
        return (self._remote.read_text(f"{task}/{HISTORY_FILE}", _NOTE_BYTES) or "").split()

    def _write(self, task: str, name: str, text: str) -> None:
        self._forget_refusals(task)
        self._remote.write_text(f"{task}/{name}", text)
        super()._write(task, name, text)

    def _own(self, task: str) -> list[str]:
        return sort_versions({*super()._own(task), *self._listed(task)})

    def _remove(self, task: str, version: str) -> None:
        if version in self._listed(task):
            self._remote.remove(f"{task}/{version}")
        if version in super()._own(task):
            super()._remove(task, version)

    def _listed(self, task: str) -> list[str]:
        return [name for name in self._remote.directories(task) if valid_name(name)]

    def _follow(self) -> None:
        """Bring the copies of CURRENT up to date; where the store is away or empty, they stay as they are."""
        with self._asking:
            if time.monotonic() - self._asked < _ASK_S:
                return
            complaint = ""
            try:
                listed = self._listed("")
                for task in listed:
                    self._follow_task(task)
                for task in set(super().tasks()) - set(listed) if listed else ():
                    (self.writable / task / CURRENT_FILE).unlink(missing_ok=True)
            except (RegistryAwayError, OSError) as error:
                complaint = str(error)
            if complaint and complaint != self._complaint:
                log.warning("the registry cannot be reached; what was copied is served: %s", complaint)
            self._complaint, self._asked = complaint, time.monotonic()

    def _follow_task(self, task: str) -> None:
        text = self._remote.read_text(f"{task}/{CURRENT_FILE}", _NOTE_BYTES)
        if text is None:
            (self.writable / task / CURRENT_FILE).unlink(missing_ok=True)
            return
        version = text.strip()
        if not version:  # it is just being written
            return
        self._forget_refusals(task, but=version)
        with suppress(CheckpointError):
            if version == super().current_version(task):
                return
        try:
            if valid_name(version) and version not in super().versions(task):
                self._fetch(task, version)
        except RegistryAwayError:
            raise
        except CheckpointError:  # `get` will say so
            pass
        super()._write(task, CURRENT_FILE, text)

    def _forget_refusals(self, task: str, but: str = "") -> None:
        self._refused = {key: why for key, why in self._refused.items() if key[0] != task or key[1] == but}

    def _fetch(self, task: str, version: str) -> None:
        """Copy a version here and verify it, once for all processes that share the cache."""
        if refusal := self._refused.get((task, version)):
            raise refusal
        final = self.place(task, version)
        partial = final.with_name(f".{version}.{uuid.uuid4().hex}.partial")
        try:
            with self._locked():
                if final.is_dir():
                    return
                partial.mkdir(parents=True)
                self._copy(f"{task}/{version}", partial)
                partial.rename(final)
        except OSError as error:
            raise RegistryAwayError(f"{final}: cannot be written: {error.strerror}") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _copy(self, source: str, target: Path) -> None:
        """Copy the config, and then what it speaks of.

        Sizes are compared before anything large is copied, so that a version which is just being uploaded, or does
        not fit on this disk, can be looked at again and again.
        """
        url = f"{self._url}/{source}"
        sizes = {name: self._remote.size(f"{source}/{name}") for name in (*LIMITS, WEIGHTS_FILE)}
        if sizes[CONFIG_FILE] is None:
            raise UnknownVersionError(f"{url}: {CONFIG_FILE} is missing: no checkpoint, or a half-copied one")
        for name, limit in LIMITS.items():
            if (sizes[name] or 0) > limit:
                raise CheckpointError(f"{url}/{name}: larger than {limit} bytes")
        self._remote.fetch(f"{source}/{CONFIG_FILE}", target / CONFIG_FILE)
        info = read_checkpoint(target, *source.split("/"))
        size, expected = sizes[WEIGHTS_FILE], int(info.config["weights"]["bytes"])
        if size != expected:
            raise CheckpointError(
                f"{url}/{WEIGHTS_FILE}: {size or 'no'} bytes where config.json says {expected}: half-copied?"
            )
        if sizes[CANARY_FILE] is None:
            raise CheckpointError(f"{url}/{CANARY_FILE}: missing: half-copied?")
        if expected > (free := shutil.disk_usage(target).free):
            raise CheckpointError(f"{url}/{WEIGHTS_FILE}: {expected} bytes; {free} are free in {self.writable}")
        for name in sizes.keys() - {CONFIG_FILE}:
            if sizes[name] is not None:
                self._remote.fetch(f"{source}/{name}", target / name)
        try:
            info.verify()
        except CheckpointError as error:
            self._refused[info.task, info.version] = error
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.writable.mkdir(parents=True, exist_ok=True)
        with (self.writable / _LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
