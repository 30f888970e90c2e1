"""The CSV format that puzzles are published in: source, question, answer, rating."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from model.tasks import PuzzleError, Task, Tokens
from model.tasks.sudoku import BLANK, Sudoku
from training.data.check import first_wrong
from training.data.errors import DataError
from training.data.table import Table
from training.one_move import in_one_move

COLUMNS = ("source", "question", "answer", "rating")
_BLOCK = 10_000
"""Rows that are held as text at a time."""

_SUDOKU_TOKENS = np.zeros(256, dtype=np.uint8)
_SUDOKU_TOKENS[list(b".0_")] = BLANK
_SUDOKU_TOKENS[list(b"123456789")] = np.arange(1, 10) + BLANK


def read_csv(path: Path, task: Task) -> Table:
    """Read a CSV file; the columns source and rating may be missing.

    Every question must be readable by the task's codec, and its answer must be right (see `check.first_wrong`).

    Raises:
        DataError: Names the file and the row, counted as a spreadsheet does: the header is row 1.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin the file with a byte order mark
            tables = [_read_block(path, task, first, rows) for first, rows in _blocks(path, file)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8 text") from None
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    if not tables:
        raise DataError(f"{path}: there are no puzzles in it")
    return Table.concatenate(tables)


def write_csv(path: Path, task: Task, table: Table) -> None:
    """Write a table as text that `read_csv` reads back, all at once; raises DataError where the disk refuses."""
    columns = (table.puzzles, table.answers, table.sources, table.ratings)
    try:
        with in_one_move(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for puzzle, answer, source, rating in zip(*columns, strict=True):
                shown = "" if np.isnan(rating) else f"{rating:g}"
                writer.writerow([source, task.format(puzzle, ""), task.format(answer, ""), shown])
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def _blocks(path: Path, file: TextIO) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """The number of each block's first row, and its rows."""
    reader = csv.reader(file)
    header = next(reader, [])
    _refuse_header(path, header)
    number = 2
    while block := list(islice(reader, _BLOCK)):
        for row, fields in enumerate(block, number):
            if len(fields) != len(header):
                raise DataError(f"{path}, row {row}: {len(fields)} fields, expected {len(header)}")
        yield number, [dict(zip(header, fields, strict=True)) for fields in block]
        number += len(block)


def _refuse_header(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, n=1, cutoff=0.0)[0]
            raise DataError(f"{path}, row 1: unknown column {name!r}; expected {', '.join(COLUMNS)}; nearest: {near!r}")
    for name in ("question", "answer"):
        if header.count(name) != 1:
            raise DataError(f"{path}, row 1: expected one column {name!r}, found {header.count(name)}")


def _read_block(path: Path, task: Task, first: int, rows: list[dict[str, str]]) -> Table:
    puzzles = np.empty((len(rows), task.seq_len), dtype=np.uint8)
    answers = np.empty_like(puzzles)
    plain = np.zeros(len(rows), dtype=np.bool_)
    for i, row in enumerate(rows):
        plain[i] = isinstance(task, Sudoku) and _read_plain_sudoku(row, puzzles[i], answers[i])
        if not plain[i]:
            puzzles[i], answers[i] = _read_row(path, task, first + i, row)
    if wrong := first_wrong(task, puzzles, answers):
        i, reason = wrong
        if plain[i]:  # the codec's word, where it has one, is more exact
            _read_row(path, task, first + i, rows[i])
        raise DataError(f"{path}, row {first + i}: {reason}")
    ratings = [_read_rating(path, number, row.get("rating", "")) for number, row in enumerate(rows, first)]
    return Table(puzzles, answers, [row.get("source", path.stem) for row in rows], np.array(ratings))


def _read_row(path: Path, task: Task, number: int, row: dict[str, str]) -> tuple[Tokens, Tokens]:
    column = "question"
    try:
        puzzle = task.parse(row["question"])
        column = "answer"
        return puzzle, task.parse_answer(row["answer"])
    except PuzzleError as error:
        raise DataError(f"{path}, row {number}, {column}: {error.detail}") from None


def _read_plain_sudoku(row: dict[str, str], puzzle: Tokens, answer: Tokens) -> bool:
    """Read 81 plain characters, as nearly every row has them, twenty times faster than the codec; False: it must."""
    for text, tokens in ((row["question"], puzzle), (row["answer"], answer)):
        if len(text) != 81 or not text.isascii():
            return False
        tokens[:] = _SUDOKU_TOKENS[np.frombuffer(text.encode(), dtype=np.uint8)]
        if not tokens.all():
            return False
    return True


def _read_rating(path: Path, number: int, text: str) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError:
        raise DataError(f"{path}, row {number}: the rating {text!r} is not a number") from None
