"""List the puzzles that were given up after they had crashed their workers, or queue them again.

Without HRM_REDIS_URL, those of the `hrm serve` that runs in the same state directory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from pydantic import SecretStr
from rich.table import Table

from service.broker.admin import QueueAdmin, Requeue
from service.broker.config import broker_config
from service.broker.embedded import EmbeddedServer
from service.broker.records import BrokerError, DeadLetter
from service.cli.console import console
from service.cli.flags import CommandError, add_fields
from service.cli.settings import settings_from
from service.settings import Settings, SettingsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, with which ones."""
    parser.usage = "%(prog)s {list,requeue} [ID ...] [flags]"
    parser.add_argument("action", choices=("list", "requeue"), help="show them, or give them another life")
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these jobs; left out: all of them")
    parser.add_argument("--task", help="only this task's")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for machines")
    add_fields(parser, Settings, "settings", ("redis_url", "state_dir", "namespace", "queue_limit"))


def run(arguments: argparse.Namespace) -> int:
    """0 when all that were asked for are there and could be queued again."""
    settings = settings_from(arguments)
    if settings.redis_url is None:
        settings = settings.model_copy(update={"redis_url": SecretStr(EmbeddedServer(settings.state_dir).url)})
    try:
        with closing(QueueAdmin(broker_config(settings))) as admin:
            letters = list(_letters(admin, arguments))
            missing = set(arguments.ids) - {letter.id for letter in letters}
            outcomes = _requeue(admin, letters) if arguments.action == "requeue" else [""] * len(letters)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    except BrokerError as error:
        raise CommandError(str(error), exit_code=1) from None
    _print(letters, outcomes, as_json=arguments.json)
    if missing:
        raise CommandError(f"no dead letter {', '.join(sorted(missing))}", exit_code=1)
    return 0 if set(outcomes) <= {"", Requeue.REQUEUED} else 1


def _letters(admin: QueueAdmin, arguments: argparse.Namespace) -> Iterator[DeadLetter]:
    for task in [arguments.task] if arguments.task else admin.tasks():
        for letter in admin.dead_letters(task):
            if not arguments.ids or letter.id in arguments.ids:
                yield letter


def _requeue(admin: QueueAdmin, letters: list[DeadLetter]) -> list[str]:
    return [admin.requeue(letter).value for letter in letters]


def _print(letters: list[DeadLetter], outcomes: list[str], *, as_json: bool) -> None:
    table = Table("job", "task", "died", "reason", "last worker", "now", box=None, pad_edge=False)
    for letter, outcome in zip(letters, outcomes, strict=True):
        died = datetime.fromtimestamp(letter.died_s, UTC).isoformat(timespec="seconds")
        fields = {"id": letter.id, "task": letter.task, "died": died, "reason": letter.reason, "owner": letter.owner}
        if as_json:
            print(json.dumps(fields | ({"outcome": outcome} if outcome else {})))
        table.add_row(*fields.values(), outcome)
    if not as_json:
        console().print(table if letters else "no dead letters")
