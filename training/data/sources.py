"""The puzzles that a recipe asks for: generated ones, CSV files and dataset folders."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.tasks import Task, Tokens
from training.data.csv_file import read_csv
from training.data.errors import DataError
from training.data.folder import is_dataset, read_split, sha256_of
from training.data.generators import GENERATED, GENERATOR_VERSION, OWN_LICENCE, Wanted, generate
from training.data.pool import Source
from training.data.progress import progress_line
from training.one_move import in_one_move
from training.recipe import Recipe

_SHUFFLE_SEED = 0


def load_sources(recipe: Recipe, task: Task, cache_dir: Path) -> list[Source]:
    """Everything that the recipe's data section names, in a fixed order; generated puzzles are kept in `cache_dir`.

    Raises:
        DataError: The recipe names no data, or some of it cannot be read.
    """
    data = recipe.data
    sources = [_generated(recipe, task, cache_dir)] if data.generate else []
    weights = data.csv_weight if len(data.csv_weight) > 1 else data.csv_weight * len(data.csv)
    sources += [_from_csv(Path(path), task, weight) for path, weight in zip(data.csv, weights, strict=True)]
    sources += [_from_folder(Path(path), task, recipe) for path in data.dataset]
    if not sources:
        raise DataError(f"{recipe.name}: there is no data; set data.generate, data.csv or data.dataset")
    if sum(source.puzzle_ids is not None for source in sources) > 1:
        raise DataError(f"{recipe.name}: two datasets with identifiers of their own; build one from both")
    return sources


def _generated(recipe: Recipe, task: Task, cache_dir: Path) -> Source:
    data = recipe.data
    if len(data.clues) != 2:
        raise DataError(f"{recipe.name}: data.clues reads [fewest, most], not {data.clues}")
    wanted = Wanted(
        count=data.generate,
        seed=recipe.train.seed,
        clues=(data.clues[0], data.clues[1]),
        minimal_share=data.minimal_share,
        min_path=data.min_path,
        unique_path=data.unique_path,
        first_path=data.first_path,
    )
    facts = [GENERATOR_VERSION, task.describe(), wanted.parameters(task)]
    path = cache_dir / f"{GENERATED}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.npz"
    arrays = _read_cached(path)
    if arrays is None:
        with progress_line(f"generating {task.name}") as show:
            table = generate(task, wanted, lambda done: show(done, wanted.count))
        arrays = table.puzzles, table.answers
        _write_cached(path, *arrays)
    digest = hashlib.sha256(arrays[0].tobytes() + arrays[1].tobytes()).hexdigest()
    return Source(GENERATED, *arrays, data.generate_weight, digest, OWN_LICENCE)


def _read_cached(path: Path) -> tuple[Tokens, Tokens] | None:
    """What an earlier run kept; None where there is nothing, or nothing that can be read."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return arrays["puzzles"], arrays["answers"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write_cached(path: Path, puzzles: Tokens, answers: Tokens) -> None:
    try:
        with in_one_move(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, puzzles=puzzles, answers=answers)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _from_csv(path: Path, task: Task, weight: float) -> Source:
    table = read_csv(path, task)
    order = np.random.Generator(np.random.Philox(_SHUFFLE_SEED)).permutation(len(table))
    return Source(path.name, table.puzzles[order], table.answers[order], weight, sha256_of([path]))


def _from_folder(path: Path, task: Task, recipe: Recipe) -> Source:
    """The training split. Puzzles with ids are judged by the test split: their ids mean nothing elsewhere.

    Raises:
        DataError: It cannot be read, or there is nothing to train on or to judge by.
    """
    if not is_dataset(path) and recipe.prepare:
        raise DataError(f"{path}: no dataset there; make it with: {recipe.prepare}")
    source = read_folder(path, "train", task, recipe.data.dataset_weight)
    if recipe.data.judge_on_test or (source.puzzle_ids is not None and (path / "test").is_dir()):
        tests = read_folder(path, "test", task)
        for split, puzzles, use in (("train", source, "train on"), ("test", tests, "judge by")):
            if not len(puzzles):
                raise DataError(f"{path}: the {split} split is empty: nothing to {use}")
        return replace(source, heldout=tests)
    return source


def read_folder(path: Path, split: str, task: Task, weight: float = 1.0) -> Source:
    """One split, "train" or "test", of a dataset folder; raises DataError."""
    read = read_split(path, split, task)
    return Source(
        name=path.name,
        puzzles=read.inputs,
        answers=read.labels,
        weight=weight,
        sha256=read.sha256,
        licence=read.metadata.get("licence"),
        starts=read.group_starts,
        puzzle_ids=read.example_identifiers if read.metadata["num_puzzle_identifiers"] > 1 else None,
        num_puzzles=read.metadata["num_puzzle_identifiers"],
    )
