"""HTTP/1 as uvicorn reads it, with what it leaves open: limits for heads, upgrades, hanging up."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.errors import PROBLEM_JSON
from service.problems import ProblemKind

HEAD_LIMIT = 65536
"""Bytes of a request's line and headers, each header counted as 32 more, as HTTP/2 does (RFC 9113, section 6.5.2)."""

HEAD_TIMEOUT_S = 30.0
"""From a request's first byte to the end of its headers."""

_LINGER_S = 2.0
"""How long a client that we have told our last may go on sending. Closed at once, it would be reset and not read it."""

_HEADER_COST = 32

log = logging.getLogger(__name__)


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    A request that comes before the one in front of it is answered (pipelining) is not read, and the connection ends
    with that answer, as RFC 9112 section 9.3 allows: nothing queues up here, and it is seen when the client hangs up.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._heard = False
        self._in_head = False
        self._deaf = False
        self._closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait, as long as between two requests."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, and tell who works on an answer."""
        self._unset_keepalive_if_required()
        self._stop_closing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse what cannot be parsed, or what is too long to be a head."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._heard = False
        try:
            self.parser.feed_data(data)
            if not self._heard:  # part of a header, a trailer or a chunk's extension, which the parser keeps for itself
                self._count(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._end_reading(error)
        if self._idle() and not self._closing:
            self._closing = self.loop.call_later(HEAD_TIMEOUT_S, self._time_out)

    def on_message_begin(self) -> None:
        """Count from here."""
        if not self._idle():
            raise httptools.HttpParserError("a request before the last one was answered")
        super().on_message_begin()
        self._head_bytes = 0
        self._heard = self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or, behind the last chunk of a body, a trailer."""
        super().on_header(name, value)
        self._count(len(name) + len(value) + _HEADER_COST)

    def on_headers_complete(self) -> None:
        """Start the request; where it asks for an upgrade, `data_received` reads the head again without that."""
        if self.parser.should_upgrade():
            return
        self._heard, self._in_head = True, False
        self._stop_closing()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of a body; the lines between its chunks are not counted together."""
        self._heard = True
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._heard = True
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless something came in front of it."""
        super().on_response_complete()
        if self._deaf and not self.transport.is_closing():
            self._hang_up()

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._heard = True
        self._head_bytes += size
        if self._head_bytes > HEAD_LIMIT:
            raise httptools.HttpParserError(f"more than {HEAD_LIMIT} bytes")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Go on in HTTP/1.1, as RFC 9110 section 7.8 allows: to h2c, for one, which some clients always offer.

        The parser takes all behind an upgrade for another protocol's, so another one reads the head again.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            self._refuse(ProblemKind.NOT_HTTP, "this is no proxy: CONNECT is not served")
            return
        head = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        head += [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join(head) + b"\r\n" + rest)

    def _end_reading(self, error: httptools.HttpParserError) -> None:
        """Refuse what cannot be parsed; if it is behind a whole request, answer that one and hang up."""
        if not self._idle() and not self.cycle.more_body:
            self._deaf = True
        elif self._head_bytes > HEAD_LIMIT:
            self._refuse(ProblemKind.HEAD_TOO_LARGE, f"the headers may have at most {HEAD_LIMIT} bytes")
        else:
            cause = error.__context__
            self._refuse(ProblemKind.NOT_HTTP, str(cause if isinstance(cause, httptools.HttpParserError) else error))

    def _time_out(self) -> None:
        if self._in_head:
            self._refuse(ProblemKind.HEAD_TIMEOUT, f"the headers did not end within {HEAD_TIMEOUT_S:g} s")
        else:
            self.transport.close()

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        log.info("refused a request: %s: %s", kind.title, detail)
        self._deaf = True
        if not self._idle():
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
        body = kind.problem(detail).model_dump_json(exclude_none=True).encode()
        head = f"content-type: {PROBLEM_JSON}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[kind.status] + head.encode() + body)
        self._hang_up()

    def _hang_up(self) -> None:
        self._stop_closing()
        self._closing = self.loop.call_later(_LINGER_S, self.transport.close)
        self.transport.write_eof()

    def _stop_closing(self) -> None:
        if self._closing:
            self._closing.cancel()
            self._closing = None
