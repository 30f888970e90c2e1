"""The settings of a command: its flags over the environment."""

from __future__ import annotations

import argparse

from service.cli.flags import CommandError, given
from service.settings import Settings, SettingsError, load_settings


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Raises CommandError that names the flag or the variable."""
    try:
        return load_settings(**given(arguments, Settings))
    except SettingsError as error:
        raise CommandError(str(error)) from None
