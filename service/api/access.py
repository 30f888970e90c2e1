"""Who asks: API keys, compared in constant time, and the admin key."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from fastapi import Request

from service.api.errors import ApiError
from service.problems import ProblemKind
from service.settings import Settings

SECURITY_SCHEMES: dict[str, Any] = {
    "ApiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of HRM_API_KEYS, where the server asks for one.",
    },
    "AdminKey": {"type": "http", "scheme": "bearer", "description": "HRM_ADMIN_KEY."},
}


class Keyring:
    """The keys of this server, as digests."""

    def __init__(self, settings: Settings) -> None:
        self._callers = [(name, _digest(key)) for name, key in settings.keys.items()]
        self._admin = _digest(settings.admin_key.get_secret_value()) if settings.admin_key else None

    @property
    def operation(self) -> dict[str, Any]:
        """What the OpenAPI document says of a route that asks for the caller."""
        return {"security": [{"ApiKey": []}]} if self._callers else {}

    @property
    def admin_operation(self) -> dict[str, Any]:
        """What the OpenAPI document says of a route for administrators."""
        return {"security": [{"AdminKey": []}]}

    def caller(self, request: Request) -> str:
        """The name of the caller's key, empty where no keys are asked for; raises ApiError."""
        if not self._callers:
            return ""
        shown, caller = _shown(request), None
        for name, digest in self._callers:  # all of them: the time must not tell which one was close
            if hmac.compare_digest(digest, shown):
                caller = name
        if caller is None:
            raise ApiError(
                ProblemKind.BAD_KEY,
                "send a key of this server as `Authorization: Bearer KEY`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return caller

    def admin(self, request: Request) -> None:
        """Pass whoever shows the admin key; raises ApiError."""
        if self._admin is None:
            raise ApiError(ProblemKind.FORBIDDEN, "this server has no admin key; HRM_ADMIN_KEY sets one")
        if not hmac.compare_digest(self._admin, _shown(request)):
            raise ApiError(ProblemKind.FORBIDDEN, "this needs the admin key as `Authorization: Bearer KEY`")


def _shown(request: Request) -> bytes:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return _digest(key.strip() if scheme.lower() == "bearer" else "")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
