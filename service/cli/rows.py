"""Reading puzzles: CSV, NDJSON, or text with one puzzle a line. A row that cannot be read is an error of its own."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, StrictStr, ValidationError

from service.cli.flags import CommandError, flag
from service.schemas import Puzzle, SolveRequest

_COLUMNS = {"question": "puzzle", "puzzle": "puzzle", "answer": "answer", "source": "source", "puzzle_id": "puzzle_id"}
"""What the columns of a CSV file are to us; others (a rating) are left alone."""

_LONGEST_HEADER = 1000


class _Beside(BaseModel):
    """What a row may say beside its request."""

    source: StrictStr | None = None
    answer: Puzzle | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One puzzle of the input, counted by line from 1; either `request` or `error` is there."""

    line: int
    request: SolveRequest | None = None
    error: str | None = None
    source: str | None = None
    answer: Puzzle | None = None


def read_rows(lines: Iterable[str], options: Mapping[str, Any], *, is_csv: bool) -> list[Row]:
    """All rows, in order; blank lines count but hold nothing.

    Args:
        lines: The input.
        options: Fields of SolveRequest that every row gets.
        is_csv: Whether a CSV header is required; without it, the first line decides.

    Raises:
        CommandError: The CSV header has no column of puzzles.
    """
    text = iter(lines)
    first = next(text, "").removeprefix("\ufeff")
    header = [name.strip().lower() for name in next(csv.reader([first[:_LONGEST_HEADER]]), [])]
    if "question" in header or "puzzle" in header:
        return list(_csv_rows(header, text, options))
    if is_csv:
        raise CommandError("the first line of a CSV file must name its columns, and one of them 'question'")
    return list(_line_rows([first, *text], options))


def check_options(options: Mapping[str, Any]) -> None:
    """Raise CommandError where no request could have these fields."""
    try:
        SolveRequest.model_validate({"puzzle": ""} | dict(options))
    except ValidationError as error:
        raise CommandError(f"{flag(str(error.errors()[0]['loc'][0]))}: {_first_fault(error)}") from None


def _csv_rows(header: list[str], lines: Iterator[str], options: Mapping[str, Any]) -> Iterator[Row]:
    names = [_COLUMNS.get(column) for column in header]
    reader = csv.reader(lines)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Row(reader.line_num + 1, error=str(error))
            continue
        if cells is None:
            return
        line = reader.line_num + 1
        if len(cells) == len(names):
            yield _row(line, {name: cell for name, cell in zip(names, cells, strict=True) if name and cell}, options)
        elif cells:
            yield Row(line, error=f"{len(cells)} columns where the first line has {len(names)}")


def _line_rows(lines: Iterable[str], options: Mapping[str, Any]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        if text[0] not in "{[":
            yield _row(number, {"puzzle": text}, options)
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:  # also of digits or brackets without end
            yield Row(number, error=f"not JSON: {error}")
            continue
        yield _row(number, value if isinstance(value, dict) else {"puzzle": value}, options)


def _row(line: int, fields: dict[str, Any], options: Mapping[str, Any]) -> Row:
    said = {name: fields.pop(name) for name in _Beside.model_fields if name in fields}
    if "question" in fields:
        fields["puzzle"] = fields.pop("question")
    try:
        beside = _Beside.model_validate(said)
        request = SolveRequest.model_validate({**options, **fields})
    except ValidationError as error:
        where = error.errors()[0]["loc"][0]
        return Row(line, error=f"{where}: {_first_fault(error)}")
    return Row(line, request, source=beside.source, answer=beside.answer)


def _first_fault(error: ValidationError) -> str:
    message = re.sub(r"<[\w.]+: ('[^']*')>", r"\1", error.errors()[0]["msg"])  # an enum's member, as it is written
    return message[0].lower() + message[1:]
