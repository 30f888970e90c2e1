"""Upstream's dataset folder: train|test/dataset.json beside <set>__*.npy, and identifiers.json above them.

Examples belong to puzzles (which share an identifier), puzzles to groups (augmentations of one original):
`puzzle_indices` [p + 1] are offsets into the examples, `group_indices` [g + 1] offsets into the puzzles. What we add to
dataset.json (task, seed, sources, sha256, licence) upstream's reader passes over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.tasks import PAD, Task, Tokens
from training.data.errors import DataError

FIELDS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
METADATA_FILE = "dataset.json"
IDENTIFIERS_FILE = "identifiers.json"
BLANK_IDENTIFIER = "<blank>"
"""The name of identifier 0, which puzzles have where the identifier says nothing."""


@dataclass(frozen=True, slots=True)
class Split:
    """One of a dataset's splits.

    Attributes:
        inputs, labels: [n, L] tokens; read from the disk as they are asked for.
        puzzle_identifiers: [p].
        puzzle_indices, group_indices: [p + 1] and [g + 1], see the module.
        metadata: what dataset.json says.
        sha256: of the arrays.
    """

    inputs: Tokens
    labels: Tokens
    puzzle_identifiers: NDArray[np.int32]
    puzzle_indices: NDArray[np.int32]
    group_indices: NDArray[np.int32]
    metadata: dict[str, Any]
    sha256: str

    @property
    def example_identifiers(self) -> NDArray[np.int32]:
        """The identifier of every example, [n]."""
        return np.repeat(self.puzzle_identifiers, np.diff(self.puzzle_indices))

    @property
    def group_starts(self) -> NDArray[np.int32]:
        """Where every group of examples starts, and where the last one ends, [g + 1]."""
        starts: NDArray[np.int32] = self.puzzle_indices[self.group_indices]
        return starts


def is_dataset(path: Path) -> bool:
    """Whether there is a dataset folder."""
    return any((path / split / METADATA_FILE).is_file() for split in ("train", "test"))


def read_split(path: Path, split: str, task: Task) -> Split:
    """Read the split "train" or "test" of the dataset at `path`.

    Raises:
        DataError: It is missing or damaged, or it was made for another task.
    """
    folder = path / split
    metadata = read_metadata(folder)
    for key, expected in (("seq_len", task.seq_len), ("vocab_size", task.vocab_size), ("pad_id", PAD)):
        if metadata[key] != expected:
            raise DataError(f"{folder / METADATA_FILE}: {key} is {metadata[key]}, the task {task.name} has {expected}")
    if metadata.get("ignore_label_id") not in (None, PAD):
        raise DataError(f"{folder / METADATA_FILE}: ignore_label_id is {metadata['ignore_label_id']}, expected {PAD}")
    if len(metadata["sets"]) != 1:
        raise DataError(f"{folder / METADATA_FILE}: {len(metadata['sets'])} sets, expected one")
    files = {name: folder / f"{metadata['sets'][0]}__{name}.npy" for name in FIELDS}
    arrays = {name: _load(file) for name, file in files.items()}
    _refuse_inconsistent(folder, arrays, metadata)
    return Split(
        inputs=_as_tokens(files["inputs"], arrays["inputs"], task.vocab_size),
        labels=_as_tokens(files["labels"], arrays["labels"], task.vocab_size),
        puzzle_identifiers=np.array(arrays["puzzle_identifiers"], dtype=np.int32),
        puzzle_indices=np.array(arrays["puzzle_indices"], dtype=np.int32),
        group_indices=np.array(arrays["group_indices"], dtype=np.int32),
        metadata=metadata,
        sha256=metadata.get("sha256") or sha256_of(files.values()),
    )


def read_metadata(folder: Path) -> dict[str, Any]:
    """What the dataset.json of a split's folder says; raises DataError where it lacks what must be known."""
    path = folder / METADATA_FILE
    try:
        metadata = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {_reason(error)}") from None
    numbers = ("seq_len", "vocab_size", "pad_id", "num_puzzle_identifiers", "total_groups")
    for key, kind in {**dict.fromkeys(numbers, int), "sets": list}.items():
        if not isinstance(metadata, dict) or not isinstance(metadata.get(key), kind):
            raise DataError(f"{path}: {key} is missing or of the wrong type")
    return dict(metadata)


def read_identifiers(path: Path) -> list[str]:
    """The names of the identifiers 0, 1, ... of the dataset at `path`; raises DataError."""
    try:
        names = json.loads((path / IDENTIFIERS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path / IDENTIFIERS_FILE}: {_reason(error)}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path / IDENTIFIERS_FILE}: expected a list of names")
    return names


def sha256_of(files: Iterable[Path]) -> str:
    """Of the contents of files, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _load(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: {_reason(error)}") from None
    return array


def _refuse_inconsistent(folder: Path, arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> None:
    examples, puzzles = len(arrays["inputs"]), len(arrays["puzzle_identifiers"])
    for name in ("inputs", "labels"):
        if arrays[name].shape != (examples, metadata["seq_len"]):
            raise DataError(
                f"{folder}: {name} has shape {arrays[name].shape}, expected {(examples, metadata['seq_len'])}"
            )
    for name, end in (("puzzle_indices", examples), ("group_indices", puzzles)):
        offsets = arrays[name]
        if (
            offsets.ndim != 1
            or not len(offsets)
            or offsets[0] != 0
            or offsets[-1] != end
            or (np.diff(offsets) < 1).any()
        ):
            raise DataError(f"{folder}: {name} are not offsets that rise from 0 to {end}")
    if len(arrays["puzzle_indices"]) != puzzles + 1:
        raise DataError(f"{folder}: {puzzles} puzzle_identifiers, {len(arrays['puzzle_indices']) - 1} puzzles")
    identifiers, limit = arrays["puzzle_identifiers"], metadata["num_puzzle_identifiers"]
    if puzzles and not 0 <= identifiers.min() <= identifiers.max() < limit:
        raise DataError(f"{folder}: puzzle_identifiers are not between 0 and {limit - 1}")


def _as_tokens(path: Path, array: NDArray[Any], vocab_size: int) -> Tokens:
    if array.size and not 0 <= array.min() <= array.max() < vocab_size:
        raise DataError(f"{path}: tokens are not between 0 and {vocab_size - 1}")
    return array if array.dtype == np.uint8 else array.astype(np.uint8)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
