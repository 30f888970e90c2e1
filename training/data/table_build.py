"""Builds dataset folders from tables: puzzles that stand alone, without identifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.tasks import Task
from training.data.errors import DataError
from training.data.folder_writer import SplitWriter, new_folder, write_identifiers
from training.data.leakage import Leakage, find_leakage
from training.data.table import Table

LEAKAGE_LIMIT = 100_000
"""Puzzles up to which a build looks for leakage itself: beyond, it would take minutes."""


@dataclass(frozen=True, slots=True)
class TableReport:
    """What dataset.json says of both splits (no test: None), and the leakage where it was looked for."""

    train: dict[str, Any]
    test: dict[str, Any] | None
    leakage: Leakage | None


def build_tables(
    out: Path,
    task: Task,
    train: Table,
    test: Table | None,
    augmentations: int,
    seed: int,
    facts: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> TableReport:
    """Build the dataset `out`, which must not exist yet.

    Args:
        out: The folder.
        task: What the puzzles are.
        train: To train on.
        test: To test on; None: there will be no such split.
        augmentations: Random images of every training puzzle beside itself. Training draws its own afresh each time;
            they are of use to upstream's code alone.
        seed: Decides the images.
        facts: More for dataset.json.
        progress: Called with the training puzzles done and their number.

    Raises:
        DataError: `out` exists or cannot be written.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    facts = {"seed": seed, "augmentations": augmentations, **facts}
    with new_folder(out) as folder:
        with SplitWriter(folder / "train", task) as writer:
            for i in range(len(train)):
                for symmetry in [task.identity(), *(task.random_symmetry(rng) for _ in range(augmentations))]:
                    writer.add_puzzle(
                        symmetry.apply(train.puzzles[i : i + 1]), symmetry.apply(train.answers[i : i + 1])
                    )
                writer.end_group()
                if progress:
                    progress(i + 1, len(train))
            trained = writer.finish(1, facts)
        tested = _write_test(folder, task, test, facts) if test else None
        write_identifiers(folder, [])
    return TableReport(trained, tested, _leakage(task, train, test))


def set_aside(table: Table, count: int, seed: int) -> tuple[Table, Table]:
    """The table without `count` of its rows, drawn at random, and those; raises DataError where it has no more."""
    if not 0 < count < len(table):
        raise DataError(f"{count} puzzles to test on cannot be set aside from {len(table)}")
    order = _order(table, seed)
    return table.rows(np.sort(order[count:])), table.rows(order[:count])


def subsample(table: Table, count: int, seed: int) -> Table:
    """`count` rows drawn at random; raises DataError where there are fewer."""
    if not 0 < count <= len(table):
        raise DataError(f"{count} puzzles cannot be drawn from {len(table)}")
    return table.rows(_order(table, seed)[:count])


def _order(table: Table, seed: int) -> NDArray[np.intp]:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 1, 0])).permutation(len(table))


def _write_test(folder: Path, task: Task, test: Table, facts: dict[str, Any]) -> dict[str, Any]:
    with SplitWriter(folder / "test", task) as writer:
        for i in range(len(test)):
            writer.add_puzzle(test.puzzles[i : i + 1], test.answers[i : i + 1])
            writer.end_group()
        return writer.finish(1, facts)


def _leakage(task: Task, train: Table, test: Table | None) -> Leakage | None:
    if test is None or len(train) + len(test) > LEAKAGE_LIMIT:
        return None
    return find_leakage(task, (train.puzzles, train.answers), (test.puzzles, test.answers))
