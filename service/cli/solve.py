"""Solve one puzzle, a file of puzzles, or those on standard input: in this process, or on a server with --url.

A file is CSV (source,question,answer,rating), NDJSON, or text with one puzzle a line.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from service.cli.backends import Backend, local, remote
from service.cli.console import console
from service.cli.flags import CommandError, add_fields, flag, given
from service.cli.progress import progress
from service.cli.results import Result, result_of, to_json, to_text
from service.cli.rows import Row, check_options, read_rows
from service.cli.settings import settings_from
from service.cli.summary import Summary
from service.logs import configure_logs
from service.schemas import SolveRequest
from service.settings import CLIENT_KEY, Settings

_ENGINE = ("checkpoints", "default_task", "slots", "device", "precision", "backend", "compile", "log_level")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The puzzles, what to ask for, where, and where to put the answers."""
    parser.usage = "%(prog)s [PUZZLE | --file FILE] [flags]"
    parser.add_argument("puzzle", nargs="?", metavar="PUZZLE", help="a puzzle; left out or '-': read standard input")
    parser.add_argument("--file", type=Path, help="read the puzzles from this file")
    parser.add_argument(
        "--output", type=Path, help="write one JSON line a puzzle to this file, in the order of the input"
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of drawings")
    parser.add_argument("--url", help="ask the server there; left out: solve in this process")
    parser.add_argument(
        "--api-key", default=os.environ.get(CLIENT_KEY), help=f"key for the server [the variable {CLIENT_KEY}]"
    )
    add_fields(parser, SolveRequest, "every puzzle", [name for name in SolveRequest.model_fields if name != "puzzle"])
    add_fields(parser, Settings, "in this process", _ENGINE)


def run(arguments: argparse.Namespace) -> int:
    """0 when every row could be read and was answered, valid or not; else 1."""
    settings = settings_from(arguments)
    configure_logs(settings.log_level if "log_level" in settings.model_fields_set else "warning", settings.log_format)
    options = {name: value for name, value in given(arguments, SolveRequest).items() if name != "puzzle"}
    check_options(options)
    rows = _read(arguments, options)
    if not rows:
        raise CommandError("there is no puzzle in the input")
    task = options.get("task")
    backend = remote(arguments.url, arguments.api_key, task) if arguments.url else local(settings, task)
    summary, started = Summary(), time.monotonic()
    asked = sum(row.request is not None for row in rows)
    with _writer(arguments, backend) as write, progress(asked, show=_shows_progress(arguments, rows)) as advance:
        for result in _results(rows, backend, advance):
            write(result)
            summary.add(result)
    if len(rows) > 1:
        console(stderr=arguments.output is None).print(summary.table(time.monotonic() - started))
    return 1 if summary.total.errors else 0


def _read(arguments: argparse.Namespace, options: dict[str, Any]) -> list[Row]:
    if arguments.puzzle not in (None, "-"):
        if arguments.file:
            raise CommandError("give a puzzle or --file, not both")
        request = SolveRequest.model_validate({"puzzle": arguments.puzzle} | options)
        return [Row(1, request)]
    if arguments.file is None:
        return _read_standard_input(options)
    if arguments.output and arguments.output.exists() and arguments.output.samefile(arguments.file):
        raise CommandError(f"{flag('output')}: {arguments.output} is what {flag('file')} reads")
    try:
        with arguments.file.open(encoding="utf-8", newline="") as lines:
            return read_rows(lines, options, is_csv=arguments.file.suffix.lower() == ".csv")
    except OSError as error:
        raise CommandError(f"{flag('file')}: cannot read {arguments.file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{flag('file')}: {arguments.file} is not text in UTF-8") from None


def _read_standard_input(options: dict[str, Any]) -> list[Row]:
    if sys.stdin.isatty():
        raise CommandError("give a puzzle, --file, or puzzles on standard input")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")  # whatever the locale makes of it
    try:
        return read_rows(sys.stdin, options, is_csv=False)
    except UnicodeDecodeError:
        raise CommandError("standard input is not text in UTF-8") from None


def _results(rows: Sequence[Row], backend: Backend, advance: Callable[[], None]) -> Iterator[Result]:
    """One result a row, in the order of the rows, as soon as those before it are there."""
    asked = [number for number, row in enumerate(rows) if row.request is not None]
    ready = {n: Result(row, None, row.error) for n, row in enumerate(rows) if row.request is None}
    following = 0
    replies = backend.solve([row.request for row in rows if row.request is not None])
    while following < len(rows):
        while following not in ready:
            index, reply = next(replies)
            ready[asked[index]] = result_of(rows[asked[index]], reply, backend.codecs)
            advance()
        yield ready.pop(following)
        following += 1


@contextmanager
def _writer(arguments: argparse.Namespace, backend: Backend) -> Iterator[Callable[[Result], None]]:
    """Gives what writes one result; every line is there as soon as it is written."""

    def write_to(file: TextIO) -> Callable[[Result], None]:
        if arguments.json or arguments.output:
            return lambda result: print(_utf8(json.dumps(to_json(result), ensure_ascii=False)), file=file, flush=True)
        return lambda result: print(_utf8(to_text(result, backend.codecs)), end="\n\n", file=file, flush=True)

    if arguments.output is None:
        yield write_to(sys.stdout)
        return
    try:
        with arguments.output.open("w", encoding="utf-8") as file:
            yield write_to(file)
    except OSError as error:
        raise CommandError(f"{flag('output')}: cannot write {arguments.output}: {error.strerror}") from None


def _utf8(text: str) -> str:
    """The text, with half characters (a puzzle may hold anything) as JSON escapes them."""
    return text.encode(errors="backslashreplace").decode()


def _shows_progress(arguments: argparse.Namespace, rows: Sequence[Row]) -> bool:
    """Not where it would run into what is printed."""
    return len(rows) > 1 and (arguments.output is not None or not sys.stdout.isatty())
