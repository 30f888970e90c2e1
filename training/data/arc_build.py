"""Builds ARC datasets: every task under many symmetries, each with a puzzle identifier of its own.

Two splits. "upstream" trains on the demonstrations of the evaluation tasks, too: the model sees an input and an
identifier, so it can only answer what its identifier was trained on, and published numbers mean this split. "clean"
trains on no pair of an evaluation task, nor on a training task that holds such a pair under another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from model.tasks import Tokens
from model.tasks.arc import SIDE, Arc, ColourSymmetry, encode
from training.data.arc import ArcTask, Pair, merge_tasks, read_tasks, task_files
from training.data.folder import sha256_of
from training.data.folder_writer import SplitWriter, new_folder, write_identifiers

ArcSplit: TypeAlias = Literal["upstream", "clean"]

_TRIES = 5
"""Symmetries drawn for each one wanted: a task that is symmetric itself has fewer different images."""
_IDENTITY = Arc().identity()


@dataclass(frozen=True, slots=True)
class ArcReport:
    """What was built: which split, how many tasks, and the training tasks that "clean" left out."""

    split: ArcSplit
    train: dict[str, Any]
    test: dict[str, Any]
    left_out: list[str]


def build_arc(
    out: Path,
    roots: list[Path],
    split: ArcSplit,
    augmentations: int,
    seed: int,
    facts: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> ArcReport:
    """Build the dataset `out` from folders of ARC tasks.

    Args:
        out: Must not exist yet.
        roots: Each with training/*.json and evaluation/*.json.
        split: See the module.
        augmentations: Images of each task beside itself, all different; fewer where a task is symmetric itself.
        seed: Decides the symmetries, where grids lie on the canvas, and the order of the tasks.
        facts: More for dataset.json.
        progress: Called with the tasks done and their number.

    Raises:
        DataError: A task cannot be read, or `out` cannot be written.
    """
    tasks = merge_tasks(task for root in roots for task in read_tasks(root))
    kept, left_out = (tasks, []) if split == "upstream" else _leave_out_copies(tasks)
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(kept))
    sources = [{"path": str(root), "sha256": sha256_of(path for _, path in task_files(root))} for root in roots]
    facts = {"seed": seed, "sources": sources, "split": split, "augmentations": augmentations, **facts}
    names: list[str] = []
    with (
        new_folder(out) as folder,
        SplitWriter(folder / "train", Arc()) as train,
        SplitWriter(folder / "test", Arc()) as test,
    ):
        for done, index in enumerate(order, 1):
            task = kept[index]
            rng = _rng(seed, task)
            for symmetry in _images(task, augmentations, rng):
                names.append(task.name if symmetry is _IDENTITY else f"{task.name}_{symmetry.name}")
                trained, tested = _divide(task, split)
                if trained:
                    train.add_puzzle(*_place(trained, symmetry, rng), identifier=len(names))
                if tested:
                    test.add_puzzle(*_place(tested, symmetry, None), identifier=len(names))
            train.end_group()
            test.end_group()
            if progress:
                progress(done, len(kept))
        write_identifiers(folder, names)
        facts_of = [writer.finish(len(names) + 1, facts) for writer in (train, test)]
    return ArcReport(split, facts_of[0], facts_of[1], left_out)


def _divide(task: ArcTask, split: ArcSplit) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """The pairs to train on and those to test on."""
    if task.role == "training":
        return task.pairs, ()
    return task.demonstrations if split == "upstream" else (), task.tests


def _leave_out_copies(tasks: list[ArcTask]) -> tuple[list[ArcTask], list[str]]:
    """Without the training tasks that hold a pair of an evaluation task, up to symmetry, and their names."""
    held = {pair.canonical() for task in tasks if task.role == "evaluation" for pair in task.pairs}
    copies = {
        task.name for task in tasks if task.role == "training" and any(pair.canonical() in held for pair in task.pairs)
    }
    return [task for task in tasks if task.name not in copies], sorted(copies)


def _rng(seed: int, task: ArcTask) -> np.random.Generator:
    """One for each task, whatever other tasks there are."""
    number = int.from_bytes(hashlib.sha256(task.name.encode()).digest()[:8])
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 1, number]))


def _images(task: ArcTask, augmentations: int, rng: np.random.Generator) -> Iterator[ColourSymmetry]:
    """The identity, then symmetries under which the task looks different each time."""
    yield _IDENTITY
    seen = {_content(task, _IDENTITY)}
    for _ in range(_TRIES * augmentations):
        if len(seen) > augmentations:
            return
        symmetry = Arc().random_symmetry(rng)
        content = _content(task, symmetry)
        if content not in seen:
            seen.add(content)
            yield symmetry


def _content(task: ArcTask, symmetry: ColourSymmetry) -> bytes:
    images = (Pair(symmetry.change(pair.input), symmetry.change(pair.output)) for pair in task.pairs)
    return hashlib.sha256(b"".join(sorted(pair.to_bytes() for pair in images))).digest()


def _place(pairs: tuple[Pair, ...], symmetry: ColourSymmetry, rng: np.random.Generator | None) -> tuple[Tokens, Tokens]:
    """Inputs and outputs on the canvas, each [k, 900]: at a random offset, but for one pair, where `rng` is given.

    A test is always shown at the canvas's first cell, so one training pair of each puzzle is, too.
    """
    unmoved = int(rng.integers(len(pairs))) if rng else 0
    inputs, outputs = [], []
    for number, pair in enumerate(pairs):
        grids = symmetry.change(pair.input), symmetry.change(pair.output)
        offset = (0, 0)
        if rng and number != unmoved:
            rows, columns = (max(sides) for sides in zip(*(grid.shape for grid in grids), strict=True))
            offset = int(rng.integers(SIDE - rows + 1)), int(rng.integers(SIDE - columns + 1))
        inputs.append(encode(grids[0], offset))
        outputs.append(encode(grids[1], offset))
    return np.stack(inputs), np.stack(outputs)
