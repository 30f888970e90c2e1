"""Check, before a start, that it will work here: settings, queue, registry, ports, device.

Exit code 0: nothing stands in the way. 1: something does; a line that begins with WRONG says what.
"""

from __future__ import annotations

import argparse

from service.cli.flags import add_fields
from service.cli.settings import settings_from
from service.doctor import CHECKS, Doubt, Trouble
from service.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The role, and the settings' flags."""
    parser.usage = "%(prog)s [serve|api|worker] [flags]"
    parser.add_argument("role", nargs="?", choices=tuple(CHECKS), default="serve", help="what is to be started")
    add_fields(parser, Settings, "settings (each is an HRM_* variable, too)")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each check."""
    settings = settings_from(arguments)
    wrong = 0
    for name, check in CHECKS[arguments.role].items():
        try:
            verdict, found = "ok", check(settings)
        except Doubt as doubt:
            verdict, found = "doubt", str(doubt)
        except Trouble as trouble:
            verdict, found = "WRONG", str(trouble)
            wrong += 1
        print(f"{verdict:6} {name:13} {found}", flush=True)
    return 1 if wrong else 0
