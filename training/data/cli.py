"""`hrm-train data`: build, check and compare datasets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from model.tasks import get_task
from training.data.csv_file import read_csv


def add_parser(subparsers: Any) -> None:
    """Add `data` and its commands to the parser of `hrm-train`."""
    data = subparsers.add_parser("data", help="build, check and compare datasets")
    commands = data.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="read a CSV file and check every row")
    check.add_argument("file", type=Path)
    check.add_argument("--task", default="sudoku")
    check.set_defaults(run=_check)


def _check(parsed: argparse.Namespace) -> int:
    table = read_csv(parsed.file, get_task(parsed.task))
    Console().print(f"{parsed.file}: {len(table)} puzzles, all right")
    return 0
