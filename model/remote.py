"""A directory behind an fsspec URL, with the few things that a registry asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.checkpoint import CheckpointError
from model.registry import RegistryAwayError


class RemoteDirectory:
    """Paths are relative to the URL. Every method may raise RegistryAwayError."""

    def __init__(self, url: str) -> None:
        """Raises CheckpointError where fsspec, or its driver for this kind of URL, is not installed."""
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 (an extra)

            self._fs, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise CheckpointError(
                f"{url}: {_line(error)} (pip install 'hrm-serve[remote]' and fsspec's driver for this URL)"
            ) from None
        self._url = url.rstrip("/")

    def directories(self, path: str) -> list[str]:
        """Names of what lies in a directory; none where there is no such directory."""
        with self._asking(path):
            self._fs.invalidate_cache()
            try:
                entries = self._fs.ls(self._at(path), detail=True)
            except FileNotFoundError:
                return []
        return [entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"]

    def size(self, path: str) -> int | None:
        """Bytes of a file, or None where it is missing."""
        with self._asking(path):
            try:
                return int(self._fs.size(self._at(path)))
            except FileNotFoundError:
                return None

    def read_text(self, path: str, limit: int) -> str | None:
        """The first `limit` bytes of a file as text, or None where it is missing."""
        with self._asking(path):
            try:
                data: bytes = self._fs.cat_file(self._at(path), start=0, end=limit)
            except FileNotFoundError:
                return None
        return data.decode(errors="replace")

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file to this machine."""
        with self._asking(path):
            self._fs.get_file(self._at(path), str(target))

    def write_text(self, path: str, text: str) -> None:
        """Replace a small file."""
        with self._asking(path):
            self._fs.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(self._at(path), text.encode())

    def put(self, source: Path, path: str) -> None:
        """Copy a file of this machine there."""
        with self._asking(path):
            self._fs.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(source), self._at(path))

    def remove(self, path: str) -> None:
        """Remove a directory with all that is in it."""
        with self._asking(path):
            self._fs.rm(self._at(path), recursive=True)

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}".rstrip("/")

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every driver has exceptions of its own
            raise RegistryAwayError(f"{self._url}/{path}: {_line(error)}") from None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
