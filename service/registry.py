"""The registry that the settings name."""

from __future__ import annotations

from model.checkpoint import CheckpointError
from model.registry import Registry, open_registry
from service.settings import Settings, SettingsError, variable


def registry_of(settings: Settings) -> Registry:
    """The checkpoints of HRM_CHECKPOINTS over those that ship with the code; raises SettingsError where it is wrong."""
    try:
        return open_registry(settings.checkpoints, settings.state_dir / "checkpoints", settings.tasks)
    except CheckpointError as error:
        raise SettingsError(f"{variable('checkpoints')}: {error}") from None
