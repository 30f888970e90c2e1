"""What `hrm-train data` does, command by command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from model.tasks import Task, Tokens, get_task, task_from
from training.data import arc_build, generators, sudoku
from training.data.csv_file import read_csv, write_csv
from training.data.errors import DataError
from training.data.folder import is_dataset, read_metadata, read_split, sha256_of
from training.data.folder_writer import refuse_existing
from training.data.generators import GENERATOR_VERSION, OWN_LICENCE, Wanted
from training.data.hub import locate
from training.data.leakage import find_leakage
from training.data.progress import progress_line
from training.data.table import Table
from training.data.table_build import LEAKAGE_LIMIT, build_tables, set_aside, subsample

_out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def build_table(parsed: argparse.Namespace) -> int:
    """`hrm-train data build sudoku|maze|grid`."""
    refuse_existing(parsed.out)
    task = _task(parsed)
    if parsed.source:
        train, test, facts = _read_published(parsed, task)
    else:
        train, facts = _generate(parsed, task)
        test = None
    if parsed.test:
        if test is not None:
            raise DataError(f"{parsed.source}: has a test set already; leave --test out")
        train, test = set_aside(train, parsed.test, parsed.seed)
    if parsed.subsample:
        train = subsample(train, parsed.subsample, parsed.seed)
    with progress_line(f"writing {task.name}") as show:
        report = build_tables(parsed.out, task, train, test, parsed.augmentations, parsed.seed, facts, show)
    _print_split(parsed.out, "train", report.train)
    if report.test:
        _print_split(parsed.out, "test", report.test)
    if report.leakage:
        _out.print(f"leakage: {report.leakage}")
    elif report.test:
        _out.print(f"leakage: not looked for beyond {LEAKAGE_LIMIT} puzzles; `hrm-train data leakage` does")
    return 0


def build_arc(parsed: argparse.Namespace) -> int:
    """`hrm-train data build arc`."""
    refuse_existing(parsed.out)
    with progress_line("writing arc") as show:
        report = arc_build.build_arc(
            parsed.out,
            parsed.sources,
            parsed.split,
            parsed.augmentations,
            parsed.seed,
            {"licence": parsed.licence},
            show,
        )
    _print_split(parsed.out, "train", report.train)
    _print_split(parsed.out, "test", report.test)
    if report.split == "upstream":
        _out.print("split: upstream; the demonstrations of the evaluation tasks are trained on")
    else:
        names = f" ({', '.join(report.left_out)})" if report.left_out else ""
        _out.print(
            "split: clean; no pair of an evaluation task is trained on, and "
            f"{len(report.left_out)} training tasks that hold one are left out{names}"
        )
    return 0


def generate(parsed: argparse.Namespace) -> int:
    """`hrm-train data generate`."""
    refuse_existing(parsed.file)
    task = _task(parsed)
    table, _ = _generate(parsed, task)
    write_csv(parsed.file, task, table)
    _out.print(f"{parsed.file}: {len(table)} puzzles")
    return 0


def check(parsed: argparse.Namespace) -> int:
    """`hrm-train data check`."""
    task = _task(parsed)
    table = read_csv(parsed.file, task)
    answers = " and its answer right"
    if not task.has_checker:
        answers = "; the task has no checker, so that answers cannot be judged"
    _out.print(f"{parsed.file}: {len(table)} puzzles, every one readable{answers}")
    return 0


def leakage(parsed: argparse.Namespace) -> int:
    """`hrm-train data leakage`."""
    task = _task(parsed)
    train, test = _read_puzzles(parsed.train, "train", task), _read_puzzles(parsed.test, "test", task)
    _out.print(str(find_leakage(task, train, test)))
    return 0


def show(parsed: argparse.Namespace) -> int:
    """`hrm-train data show`."""
    if not is_dataset(parsed.folder):
        raise DataError(f"{parsed.folder}: no dataset folder")
    for split in ("train", "test"):
        if (parsed.folder / split).is_dir():
            metadata = read_metadata(parsed.folder / split)
            _print_split(parsed.folder, split, metadata)
            _out.print(json.dumps(metadata, indent=2))
    return 0


def _task(parsed: argparse.Namespace) -> Task:
    """The task that the options describe."""
    if parsed.task == "maze":
        return _described({"kind": "maze", "shape": list(parsed.size)})
    if parsed.task != "grid":
        return get_task(parsed.task)
    if parsed.describe is None:
        raise DataError("a grid task needs --describe FILE.json")
    try:
        description = json.loads(parsed.describe.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{parsed.describe}: {error}") from None
    if not isinstance(description, dict):
        raise DataError(f"{parsed.describe}: expected an object")
    return _described({"kind": "grid", **description})


def _described(description: dict[str, Any]) -> Task:
    try:
        return task_from(description)
    except ValueError as error:
        raise DataError(str(error)) from None


def _read_published(parsed: argparse.Namespace, task: Task) -> tuple[Table, Table | None, dict[str, Any]]:
    published = locate(parsed.source)
    paths = [path for path in (published.train, published.test) if path]
    tables = [_harder(read_csv(path, task), parsed.min_rating, path) for path in paths]
    sources = [{"path": parsed.source, "file": path.name, "sha256": sha256_of([path])} for path in paths]
    facts = {"sources": sources, "min_rating": parsed.min_rating, "licence": parsed.licence}
    return tables[0], tables[1] if len(tables) > 1 else None, facts


def _harder(table: Table, min_rating: float | None, path: Path) -> Table:
    if min_rating is None:
        return table
    rows = np.flatnonzero(table.ratings >= min_rating)
    if not len(rows):
        raise DataError(f"{path}: no puzzle is rated {min_rating:g} or more")
    return table.rows(rows)


def _generate(parsed: argparse.Namespace, task: Task) -> tuple[Table, dict[str, Any]]:
    common = {"count": parsed.generate, "seed": parsed.seed}
    if not parsed.generate:
        raise DataError("0 puzzles make no dataset")
    if parsed.task == "sudoku":
        guesses = parsed.guesses or sudoku.ANY_DIFFICULTY
        wanted = Wanted(**common, clues=parsed.clues, minimal_share=parsed.minimal_share, guesses=guesses)
    else:
        wanted = Wanted(**common, min_path=parsed.min_path or 0, unique_path=parsed.unique, first_path=parsed.first)
    with progress_line(f"generating {task.name}") as show:
        table = generators.generate(task, wanted, lambda done: show(done, wanted.count))
    generator = {"generator": task.name, "version": GENERATOR_VERSION, **wanted.parameters(task)}
    return table, {"sources": [generator], "licence": OWN_LICENCE}


def _read_puzzles(path: Path, split: str, task: Task) -> tuple[Tokens, Tokens]:
    if is_dataset(path):
        read = read_split(path, split, task)
        return read.inputs, read.labels
    table = read_csv(path, task)
    return table.puzzles, table.answers


def _print_split(folder: Path, split: str, metadata: dict[str, Any]) -> None:
    examples = metadata.get("examples", "?")
    _out.print(
        f"{folder / split}: {examples} examples, {metadata['total_groups']} groups, "
        f"{metadata['num_puzzle_identifiers'] - 1} identifiers, sha256 {str(metadata.get('sha256'))[:16]}"
    )
