"""What the routes of one API process share."""

from __future__ import annotations

from dataclasses import dataclass

from model.registry import Registry
from service.api.access import Keyring
from service.api.body import BodyReader
from service.api.catalogue import Catalogue
from service.api.desk import Desk
from service.api.intake import Intake
from service.metrics import ApiMetrics
from service.settings import Settings


@dataclass(slots=True)
class Context:
    """Made once by `create_app`, found in `app.state.context`."""

    settings: Settings
    metrics: ApiMetrics
    catalogue: Catalogue
    keyring: Keyring
    bodies: BodyReader
    intake: Intake
    desk: Desk
    registry: Registry
    started: bool = False
    """Whether Redis has answered once since the start."""

    def unready(self) -> str | None:
        """Why this process takes no requests; None while it does."""
        if not self.started:
            return "Redis has not answered yet"
        return "the server is shutting down" if self.desk.draining else None
