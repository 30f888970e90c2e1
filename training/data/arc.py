"""ARC tasks as they are published: a JSON file each, in the folders training and evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from model.tasks import PuzzleError
from model.tasks.arc import Arc, Colours, decode
from model.tasks.symmetry import dihedral
from training.data.errors import DataError

Role: TypeAlias = Literal["training", "evaluation"]

_CODEC = Arc()


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """An input grid and its output grid."""

    input: Colours
    output: Colours

    def to_bytes(self) -> bytes:
        """The same for equal pairs alone."""
        return b"".join(bytes(grid.shape) + grid.tobytes() for grid in (self.input, self.output))

    def canonical(self) -> bytes:
        """The same for all pairs that are equal up to rotation, reflection and a permutation of the colours 1 to 9."""
        turned = (Pair(dihedral(self.input, turn), dihedral(self.output, turn)) for turn in range(8))
        return min(_recoloured(pair).to_bytes() for pair in turned)


@dataclass(frozen=True, eq=False, slots=True)
class ArcTask:
    """A task's demonstrations and tests; `role` is the folder it was found in."""

    name: str
    role: Role
    demonstrations: tuple[Pair, ...]
    tests: tuple[Pair, ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All of them."""
        return self.demonstrations + self.tests


def task_files(root: Path) -> list[tuple[Role, Path]]:
    """The task files below `root` or `root`/data, sorted; raises DataError where there are none."""
    folder = root / "data" if (root / "data").is_dir() else root
    files = [(role, path) for role in get_args(Role) for path in sorted((folder / role).glob("*.json"))]
    if not files:
        raise DataError(f"{root}: no ARC tasks; expected training/*.json and evaluation/*.json")
    return files


def read_tasks(root: Path) -> list[ArcTask]:
    """Read every task below `root`. A test whose output is not published is left out.

    Raises:
        DataError: Names the file, the pair and the cell.
    """
    return [read_task(path, role) for role, path in task_files(root)]


def read_task(path: Path, role: Role) -> ArcTask:
    """Read one task; raises DataError as `read_tasks` does."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    demonstrations, tests = (_read_pairs(path, content, key) for key in ("train", "test"))
    if not demonstrations:
        raise DataError(f"{path}: no pair to train on")
    return ArcTask(path.stem, role, demonstrations, tests)


def merge_tasks(tasks: Iterable[ArcTask]) -> list[ArcTask]:
    """Each name once, in order: the data sets repeat tasks of one another. A task for evaluation stays one."""
    merged: dict[str, ArcTask] = {}
    for task in tasks:
        if task.name not in merged or task.role == "evaluation":
            merged[task.name] = task
    return list(merged.values())


def _read_pairs(path: Path, content: Any, key: str) -> tuple[Pair, ...]:
    pairs = content.get(key) if isinstance(content, dict) else None
    if not isinstance(pairs, list):
        raise DataError(f"{path}: {key!r} is missing or not a list of pairs")
    read = []
    for number, pair in enumerate(pairs, 1):
        place = f"{path}: {key} pair {number}"
        if not isinstance(pair, dict) or "input" not in pair:
            raise DataError(f"{place}: expected an object with input and output")
        if "output" not in pair and key == "test":
            continue
        read.append(Pair(*(_read_grid(place, pair, side) for side in ("input", "output"))))
    return tuple(read)


def _read_grid(place: str, pair: dict[str, Any], side: str) -> Colours:
    try:
        return decode(_CODEC.parse(pair.get(side, [])))
    except PuzzleError as error:
        raise DataError(f"{place}, {side}: {error.detail}") from None


def _recoloured(pair: Pair) -> Pair:
    """Colours 1 to 9 renamed by where they first appear."""
    colours, first = np.unique(np.concatenate([pair.input.ravel(), pair.output.ravel()]), return_index=True)
    appearing = colours[np.argsort(first)]
    names = np.zeros(10, dtype=np.uint8)
    names[appearing[appearing > 0]] = np.arange(1, (appearing > 0).sum() + 1)
    return Pair(names[pair.input], names[pair.output])
