"""`hrm-train data`: build, generate, check and compare datasets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.data import commands
from training.data.hub import HUB
from training.numbers import count


def add_parser(subparsers: Any) -> None:
    """Add `data` and its commands to the parser of `hrm-train`; they raise DataError for whatever is wrong."""
    data = subparsers.add_parser("data", help="build, generate, check and compare datasets")
    commands_ = data.add_subparsers(required=True, metavar="COMMAND")
    _add_build(commands_.add_parser("build", help="write a dataset folder (upstream's format)"))
    _add_generate(commands_.add_parser("generate", help="write generated puzzles as a CSV file"))

    check = commands_.add_parser("check", help="read a CSV file and check every row")
    check.add_argument("file", type=Path)
    _add_task(check)
    check.set_defaults(run=commands.check)

    leakage = commands_.add_parser(
        "leakage", help="look for test puzzles that were trained on (Sudoku: up to symmetry)"
    )
    leakage.add_argument("train", type=Path, help="a CSV file or a dataset folder")
    leakage.add_argument("test", type=Path, help="a CSV file or a dataset folder; it may be the same one")
    _add_task(leakage)
    leakage.set_defaults(run=commands.leakage)

    show = commands_.add_parser("show", help="say what a dataset folder holds and where it came from")
    show.add_argument("folder", type=Path)
    show.set_defaults(run=commands.show)


def _add_build(build: argparse.ArgumentParser) -> None:
    tasks = build.add_subparsers(required=True, metavar="TASK")
    for name in ("sudoku", "maze", "grid"):
        parser = tasks.add_parser(name, help=f"a {name} dataset")
        _add_common(parser)
        _add_table_options(parser, name)
        parser.set_defaults(run=commands.build_table, task=name)

    arc = tasks.add_parser("arc", help="an ARC dataset from task files")
    _add_common(arc)
    arc.add_argument("--from", dest="sources", type=Path, nargs="+", required=True, help="folders of ARC tasks")
    arc.add_argument(
        "--split",
        choices=("upstream", "clean"),
        default="upstream",
        help="upstream trains on the demonstrations of evaluation tasks, which published numbers mean; "
        "clean trains on no pair of an evaluation task",
    )
    arc.add_argument("--augmentations", type=count, default=1000, help="images of each task (default 1000)")
    arc.set_defaults(run=commands.build_arc)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the folder to write; it must not exist yet")
    parser.add_argument("--seed", type=count, default=0, help="the same seed builds the same dataset (default 0)")
    parser.add_argument("--licence", help="licence of the data, for the cards of checkpoints trained on it")


def _add_table_options(parser: argparse.ArgumentParser, task: str) -> None:
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        "--from", dest="source", help=f"a CSV file, a folder with train.csv and test.csv, or {HUB}OWNER/NAME"
    )
    if task != "grid":
        origin.add_argument("--generate", type=count, metavar="COUNT", help="generate so many puzzles instead")
        _add_generator_options(parser, task)
    parser.add_argument("--test", type=count, default=0, help="set so many puzzles aside, where there is no test set")
    parser.add_argument("--subsample", type=count, help="train on so many, drawn at random (the 1k sets: 1000)")
    parser.add_argument("--min-rating", type=float, help="leave out easier puzzles")
    parser.add_argument(
        "--augmentations", type=count, default=0, help="stored images of each puzzle; only upstream's code needs them"
    )
    if task == "maze":
        _add_size(parser)
    if task == "grid":
        _add_description(parser, required=True)


def _add_generate(generate: argparse.ArgumentParser) -> None:
    tasks = generate.add_subparsers(required=True, metavar="TASK")
    for name in ("sudoku", "maze"):
        parser = tasks.add_parser(name, help=f"generated puzzles of the kind {name}")
        parser.add_argument("file", type=Path, help="the CSV file to write")
        parser.add_argument("generate", type=count, metavar="COUNT")
        parser.add_argument("--seed", type=count, default=0, help="the same seed gives the same puzzles (default 0)")
        _add_generator_options(parser, name)
        if name == "maze":
            _add_size(parser)
        parser.set_defaults(run=commands.generate, task=name)


def _add_generator_options(parser: argparse.ArgumentParser, task: str) -> None:
    if task == "sudoku":
        parser.add_argument("--clues", type=_range, default=(17, 35), metavar="LOW,HIGH", help="default 17,35")
        parser.add_argument(
            "--minimal-share", type=float, default=0.5, help="share in which no clue can be left out (default 0.5)"
        )
        parser.add_argument(
            "--guesses", type=_range, metavar="LOW,HIGH", help="only puzzles for which the solver guesses so often"
        )
    else:
        parser.add_argument("--min-path", type=count, help="fewest steps from S to G (the hard set: 111)")
        parser.add_argument("--unique", action="store_true", help="only mazes with a single shortest path")
        parser.add_argument(
            "--first", action="store_true", help="of several shortest paths, always the same one is the answer"
        )


def _add_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=("sudoku", "maze", "arc", "grid"), default="sudoku", help="default: sudoku")
    _add_size(parser)
    _add_description(parser, required=False)


def _add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", type=_size, default=(30, 30), metavar="ROWSxCOLUMNS", help="of a maze (default 30x30)"
    )


def _add_description(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--describe",
        type=Path,
        required=required,
        metavar="FILE.json",
        help='of a grid task: {"name": "futoshiki", "shape": [5, 5], "alphabet": ".12345", "blank": "."}',
    )


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition(",")
    return count(low), count(high)


def _size(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    return count(rows), count(columns or rows)
