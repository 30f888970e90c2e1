"""Run one API process over the Redis of HRM_REDIS_URL. Start as many as you like, on as many machines."""

from __future__ import annotations

import argparse

from service.cli.flags import CommandError, add_fields
from service.cli.settings import settings_from
from service.lifeline import hold_lifeline
from service.logs import configure_logs
from service.settings import Settings, SettingsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings' flags."""
    add_fields(parser, Settings, "settings (each is an HRM_* variable, too)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from service.api.server import serve  # noqa: PLC0415 (the help must not wait for FastAPI)

    hold_lifeline()
    settings = settings_from(arguments)
    configure_logs(settings.log_level, settings.log_format)
    try:
        serve(settings)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    return 0
