"""One API process: its sockets, its signals, its end."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import FrameType

import uvicorn

from service.api.app import create_app
from service.api.context import Context
from service.api.metrics import render_own
from service.api.protocol import HttpProtocol
from service.broker.config import broker_config
from service.broker.front import RedisFrontBroker
from service.ids import new_id
from service.probes import Probes
from service.registry import registry_of
from service.settings import Settings, SettingsError, variable
from service.tracing import open_tracer

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
"""Longer than load balancers keep a connection idle, so that it is never us who close one that is just being used."""

_LAST_BYTES_S = 5
"""After the drain: how long slow readers may take to fetch what was answered."""

_PULSE_S = 5.0

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Run one API process until SIGTERM or SIGINT, and drain it then; a second signal turns away what it still holds.

    While it drains, it still listens: new work is refused with 503, and what is waited for is answered.

    Raises:
        SettingsError: There is no Redis to use, a port is taken, or an address is not this machine's.
    """
    app = create_app(settings, RedisFrontBroker(broker_config(settings), new_id()), registry_of(settings))
    if tracer := open_tracer(settings, "api"):
        from service.api.tracing import TracingMiddleware  # noqa: PLC0415 (only where something is traced)

        app.add_middleware(TracingMiddleware, tracer=tracer)
    listener = _listen(settings)
    context: Context = app.state.context
    if not context.catalogue.names():
        log.warning("no checkpoints in %s yet; every task is unknown until one is published", settings.checkpoints)
    server = _Server(
        uvicorn.Config(
            app,
            http=HttpProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_BYTES_S,
        ),
        context,
    )
    probes = _probes(settings, server)
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    try:
        server.run(sockets=[listener])
    finally:
        if probes:
            probes.close()


class _Server(uvicorn.Server):
    """uvicorn's server, which on a signal drains first and closes its socket last."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self.context = context
        self.loop: asyncio.AbstractEventLoop | None = None
        self._signals = 0
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks for an end, the second one for a quick one; `on_tick` sees to it."""
        self._signals += 1

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Note the loop, for the probes' thread."""
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; True ends the server."""
        if self._signals and self._draining is None:
            log.info("shutting down: answering what is waited for")
            timeout_s = self.context.settings.drain_timeout_s
            self._draining = asyncio.create_task(self.context.desk.drain(timeout_s))
        if self._signals > 1:
            self.context.desk.abandon()
        drained = self._draining is not None and self._draining.done()
        return await super().on_tick(counter) or drained


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address, shared = (settings.host, settings.port), settings.api_processes > 1
    try:
        return socket.create_server(address, family=family, backlog=_BACKLOG, reuse_port=shared)
    except OSError as error:
        raise _cannot_listen("port", settings.port, settings.host, error) from None


def _probes(settings: Settings, server: _Server) -> Probes | None:
    """The second port, in a thread; what it says comes from the loop that answers requests."""
    port, context = settings.metrics_port, server.context
    if port is None:
        return None

    async def pulse() -> None:
        """Nothing; the loop turned."""

    def live() -> str | None:
        if server.loop is None:
            return "starting"
        try:
            asyncio.run_coroutine_threadsafe(pulse(), server.loop).result(_PULSE_S)
        except TimeoutError:
            return f"the event loop did not turn for {_PULSE_S:g} s"
        return None

    def metrics() -> bytes:
        if server.loop is None:
            return b""
        return asyncio.run_coroutine_threadsafe(render_own(context), server.loop).result(_PULSE_S)

    try:
        return Probes(settings.host, port, live=live, ready=context.unready, metrics=metrics)
    except OSError as error:
        raise _cannot_listen("metrics_port", port, settings.host, error) from None


def _cannot_listen(setting: str, port: int, host: str, error: OSError) -> SettingsError:
    return SettingsError(f"{variable(setting)}: cannot listen on port {port} of {host}: {error.strerror or error}")
