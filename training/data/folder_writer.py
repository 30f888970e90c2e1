"""Writes upstream's dataset folder, example by example: it may be larger than memory, and appears all at once."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.lib import format as npy

from model.tasks import PAD, Task, Tokens
from training.data.errors import DataError
from training.data.folder import BLANK_IDENTIFIER, FIELDS, IDENTIFIERS_FILE, METADATA_FILE, sha256_of

_SET = "all"


def refuse_existing(path: Path) -> None:
    """Raise DataError where something is already: nothing is ever overwritten."""
    if path.exists():
        raise DataError(f"{path}: exists already; remove it or choose another place")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `path` when the block ends well and vanishes when it does not.

    Raises:
        DataError: `path` exists already, or the disk refuses (it is full, it is read-only).
    """
    refuse_existing(path)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_identifiers(path: Path, names: Sequence[str]) -> None:
    """Write identifiers.json: `names` are those of the identifiers 1, 2, ..."""
    (path / IDENTIFIERS_FILE).write_text(json.dumps([BLANK_IDENTIFIER, *names]))


class SplitWriter:
    """Appends examples to one split, within a `with` block; `finish` writes what needs the whole."""

    def __init__(self, folder: Path, task: Task) -> None:
        folder.mkdir(parents=True)
        self.folder, self.task = folder, task
        self._inputs = _GrowingArray(self._path("inputs"), task.seq_len)
        self._labels = _GrowingArray(self._path("labels"), task.seq_len)
        self._identifiers: list[int] = []
        self._puzzle_indices = [0]
        self._group_indices = [0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inputs.close()
        self._labels.close()

    def add_puzzle(self, inputs: Tokens, labels: Tokens, identifier: int = 0) -> None:
        """Add a puzzle with its examples, both [k, L], to the group that is open."""
        self._inputs.append(inputs)
        self._labels.append(labels)
        self._identifiers.append(identifier)
        self._puzzle_indices.append(self._inputs.rows)

    def end_group(self) -> None:
        """The puzzles since the last call belong together; a group without puzzles is none."""
        if len(self._identifiers) > self._group_indices[-1]:
            self._group_indices.append(len(self._identifiers))

    def finish(self, num_identifiers: int, facts: dict[str, Any]) -> dict[str, Any]:
        """Write the index arrays and dataset.json, which also says `facts`; returns what it says."""
        self._inputs.finish()
        self._labels.finish()
        for name, values in (
            ("puzzle_identifiers", self._identifiers),
            ("puzzle_indices", self._puzzle_indices),
            ("group_indices", self._group_indices),
        ):
            np.save(self._path(name), np.array(values, dtype=np.int32))
        metadata = {
            "pad_id": PAD,
            "ignore_label_id": PAD,
            "blank_identifier_id": 0,
            "vocab_size": self.task.vocab_size,
            "seq_len": self.task.seq_len,
            "num_puzzle_identifiers": num_identifiers,
            "total_groups": len(self._group_indices) - 1,
            "mean_puzzle_examples": self._inputs.rows / max(1, len(self._identifiers)),
            "sets": [_SET],
            "task": self.task.describe(),
            "examples": self._inputs.rows,
            "sha256": sha256_of(self._path(name) for name in FIELDS),
            **facts,
        }
        (self.folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")
        return metadata

    def _path(self, name: str) -> Path:
        return self.folder / f"{_SET}__{name}.npy"


class _GrowingArray:
    """A .npy file of bytes [n, columns] whose header is written again when n is known: numpy leaves room for it."""

    def __init__(self, path: Path, columns: int) -> None:
        self.rows, self._columns = 0, columns
        self._file: BinaryIO = path.open("wb")
        self._write_header()

    def append(self, rows: Tokens) -> None:
        self._file.write(np.ascontiguousarray(rows, dtype=np.uint8).data)
        self.rows += len(rows)

    def finish(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def close(self) -> None:
        with suppress(OSError):  # what the disk refused before it refuses again; that error is on its way already
            self._file.close()

    def _write_header(self) -> None:
        npy.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": (self.rows, self._columns)}
        )
