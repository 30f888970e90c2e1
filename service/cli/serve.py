"""Run the whole service on this machine: API processes, workers and, without HRM_REDIS_URL, an embedded Valkey.

What dies is started again; SIGTERM or Ctrl-C ends everything in order.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import ExitStack

from service.broker.embedded import EmbeddedServer, EmbeddedServerError
from service.cli.flags import CommandError, add_fields, given
from service.cli.household import household
from service.cli.ports import choose_ports
from service.cli.settings import settings_from
from service.logs import configure_logs
from service.settings import Settings, SettingsError
from service.supervisor import ChildFailedError, supervise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings' flags."""
    add_fields(parser, Settings, "settings (each is an HRM_* variable, too)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = settings_from(arguments)
    configure_logs(settings.log_level, settings.log_format)
    ports = choose_ports(settings)
    with ExitStack() as stack:
        try:
            queue = None if settings.redis_url else stack.enter_context(EmbeddedServer(settings.state_dir))
            asyncio.run(supervise(household(given(arguments, Settings), ports, queue)))
        except (EmbeddedServerError, SettingsError) as error:
            raise CommandError(str(error)) from None
        except ChildFailedError as error:
            raise CommandError(str(error), error.exit_code) from None
    return 0
