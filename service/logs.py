"""Logs: one line an event, for people (`console`) or for machines (`json`).

What an event is about goes into `extra` (`job_id`, `task`, `status`, ...); the request at hand and its trace are added
by themselves.
A puzzle's contents are logged at debug only.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from service.tracing import TRACEPARENT, trace_id

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The X-Request-Id of the request that this task answers."""

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def configure_logs(level: str, style: str) -> None:
    """Send all logs of this process, its libraries' included, to stderr.

    Args:
        level: debug, info, warning or error.
        style: console or json.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging._srcfile = None  # the manual's way to look up no file and line: no line of ours has them
    for chatty in ("uvicorn", "httpx", "httpcore", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields, the request, and what was raised."""
        entry = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """Time, level, message, then the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """As JsonFormatter, for the eye."""
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        line = f"{_time(record):%H:%M:%S} {record.levelname.lower():7} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    at_hand = {"request_id": REQUEST_ID.get(), "trace_id": trace_id(TRACEPARENT.get())}
    fields = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS}
    return {name: value for name, value in at_hand.items() if value} | fields
