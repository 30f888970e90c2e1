"""One line an event, with its fields and the request at hand."""

import json
import logging

from service.ids import new_id
from service.logs import REQUEST_ID, ConsoleFormatter, JsonFormatter


def record(message: str = "request", **fields: object) -> logging.LogRecord:
    made = logging.getLogger("service.test").makeRecord(
        "service.test", logging.INFO, __file__, 1, message, (), None, extra=fields
    )
    made.created = 0.0
    return made


def test_json_holds_the_fields_and_the_request() -> None:
    token = REQUEST_ID.set("mine")
    line = JsonFormatter().format(record(status=200, path="ü\n"))
    REQUEST_ID.reset(token)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "service.test",
        "message": "request",
        "request_id": "mine",
        "status": 200,
        "path": "ü\n",
    }


def test_the_console_shows_the_same() -> None:
    assert ConsoleFormatter().format(record(status=200)) == "00:00:00 info    request status=200"


def test_what_was_raised_is_shown() -> None:
    failed = record()
    try:
        raise ValueError("wrong")
    except ValueError as error:
        failed.exc_info = (ValueError, error, error.__traceback__)
    assert "ValueError: wrong" in json.loads(JsonFormatter().format(failed))["exception"]


def test_ids_sort_by_time_and_say_their_version() -> None:
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert {(made[14], made[19] in "89ab") for made in ids} == {("7", True)}
    assert [made[:13] for made in ids] == sorted(made[:13] for made in ids)
