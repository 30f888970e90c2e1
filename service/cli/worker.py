"""Run one worker over the Redis of HRM_REDIS_URL. Start one a device, on as many machines as you like."""

from __future__ import annotations

import argparse

from model.checkpoint import CheckpointError
from service.broker.config import broker_config
from service.cli.flags import CommandError, add_fields, worker_extra
from service.cli.settings import settings_from
from service.lifeline import hold_lifeline
from service.logs import configure_logs
from service.packages import require_one_onnxruntime
from service.settings import Settings, SettingsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings' flags."""
    add_fields(parser, Settings, "settings (each is an HRM_* variable, too)")


def run(arguments: argparse.Namespace) -> int:
    """Work until SIGTERM or SIGINT."""
    hold_lifeline()
    settings = settings_from(arguments)
    configure_logs(settings.log_level, settings.log_format)
    try:
        broker_config(settings)  # wrong ones are told before torch is loaded
        require_one_onnxruntime()
    except SettingsError as error:
        raise CommandError(str(error)) from None
    with worker_extra():
        from model.device import DeviceError  # noqa: PLC0415 (torch, not before it is needed)
        from service.engine.load import Loader  # noqa: PLC0415
        from service.worker.main import run_worker  # noqa: PLC0415

    try:
        return run_worker(settings, Loader(settings))
    except (SettingsError, CheckpointError, DeviceError) as error:
        raise CommandError(str(error)) from None
