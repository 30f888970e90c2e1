"""Show every setting, its value, and where that comes from: a flag, an HRM_* variable, a secret's file, the default."""

from __future__ import annotations

import argparse
import json
import os
import re
from typing import Any

from pydantic import SecretStr
from rich.table import Table

from service.cli.console import console
from service.cli.flags import add_fields, flag, given
from service.cli.settings import settings_from
from service.settings import SECRETS, Settings, variable

_MASK = "********"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings' flags, to see what they would do."""
    parser.add_argument("--json", action="store_true", help="one JSON object, for machines")
    add_fields(parser, Settings, "settings")


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    settings = settings_from(arguments)
    flags = given(arguments, Settings)
    rows = {name: (_shown(getattr(settings, name)), _origin(name, flags)) for name in Settings.model_fields}
    if arguments.json:
        print(json.dumps({name: {"value": value, "from": origin} for name, (value, origin) in rows.items()}, indent=2))
        return 0
    table = Table("variable", "value", "from", box=None, pad_edge=False)
    for name, (value, origin) in rows.items():
        changed = origin != "default"
        table.add_row(variable(name), "-" if value is None else str(value), origin, style="bold" if changed else None)
    console().print(table)
    return 0


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return _without_password(value.get_secret_value())
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _without_password(secret: str) -> str:
    """Of a URL all but the password, which may be in its query, too; of anything else nothing."""
    if "://" not in secret:
        return _MASK
    return re.sub(r"(?<=://)[^/]*@|\?.*", lambda found: f"{_MASK}@" if found[0].endswith("@") else f"?{_MASK}", secret)


def _origin(name: str, flags: dict[str, Any]) -> str:
    if name in flags:
        return flag(name)
    if name in SECRETS and os.environ.get(f"{variable(name)}_FILE"):
        return f"{variable(name)}_FILE"
    return variable(name) if os.environ.get(variable(name)) else "default"
