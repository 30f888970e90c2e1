"""Around every request: its label, its metrics, its line in the log, and an answer where a route has a bug.

Pure ASGI, so that a hang-up stays visible.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.errors import bug_response
from service.ids import new_id
from service.logs import REQUEST_ID
from service.metrics import ApiMetrics

JOB_ID = "hrm.job_id"
"""Where in the scope a route leaves the id of the job that it made or found, for the log."""

_LABEL = re.compile(rb"[\x21-\x7e]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked every few seconds: their requests are logged at debug only."""

log = logging.getLogger(__name__)


class RequestsMiddleware:
    """Labels, measures and logs each HTTP request."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id = _label(scope) or new_id()
        token = REQUEST_ID.set(request_id)

        async def send_labelled(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_labelled)
        except Exception:
            # Here and not in Starlette's own handler around all middleware, where the request has no label any more.
            log.exception("a request failed")
            if status:
                raise  # the rest of a response that has begun
            await bug_response()(scope, receive, send_labelled)
        finally:
            self._record(scope, status or 500, time.perf_counter() - started)
            REQUEST_ID.reset(token)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.http_requests.labels(route, method, str(status)).inc()
        self._metrics.http_request_duration.labels(route).observe(seconds)
        level = logging.DEBUG if route in QUIET else logging.INFO
        if log.isEnabledFor(level):
            fields: dict[str, Any] = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
            if job_id := scope.get(JOB_ID):
                fields["job_id"] = job_id
            log.log(level, "request", extra=fields)


def _label(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode() if _LABEL.fullmatch(value) else None
    return None
