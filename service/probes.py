"""`/livez`, `/readyz` and `/metrics` of a process that is not a web server, from a thread of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, TypeAlias

from service.metrics import CONTENT_TYPE

Check: TypeAlias = Callable[[], str | None]
"""None while all is well, else what is wrong."""


class Probes:
    """Answers from the moment it is made until `close`.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one, which `port` then says.
        live: `/livez` is 503 with its text; where a loop has stopped stepping, it must say so from its own clock.
        ready: `/readyz` is 503 with its text.
        metrics: The body of `/metrics`.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, host: str, port: int, *, live: Check, ready: Check, metrics: Callable[[], bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5  # seconds a silent connection may hold its thread

            def do_GET(self) -> None:
                match self.path.partition("?")[0]:
                    case "/livez":
                        self._answer_check(live)
                    case "/readyz":
                        self._answer_check(ready)
                    case "/metrics":
                        self._answer(200, metrics(), CONTENT_TYPE)
                    case _:
                        self._answer(404, b"not found\n")

            def _answer_check(self, check: Check) -> None:
                wrong = check()
                self._answer(200 if wrong is None else 503, f"{wrong or 'ok'}\n".encode())

            def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes are asked every few seconds; nobody wants to read that."""

        self._server = _Server((host, port), Handler)
        self.port: int = self._server.server_address[1]
        Thread(target=self._server.serve_forever, args=(0.05,), name="probes", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A prober that hung up is no news; what a check or the metrics raise is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
