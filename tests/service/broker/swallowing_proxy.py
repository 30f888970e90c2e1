"""A proxy before Redis that loses replies: the command was run, its caller never hears of it."""

import contextlib
import socket
import threading
from pathlib import Path


class SwallowingProxy:
    """Listens on one unix socket and forwards to another; a context manager.

    `swallow(marker)` makes it drop the next reply to a request that contains the marker, with its connection.
    """

    def __init__(self, listen: Path, upstream: str) -> None:
        self.url = f"unix://{listen}"
        self.swallowed = 0
        self._upstream = upstream.removeprefix("unix://")
        self._marker: bytes | None = None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(listen))
        self._server.listen()
        self._sockets: list[socket.socket] = [self._server]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "SwallowingProxy":
        self._run(self._accept)
        return self

    def __exit__(self, *error: object) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join()

    def swallow(self, marker: bytes) -> None:
        self._marker = marker

    def _run(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._upstream)
            self._sockets += [client, server]
            doomed = threading.Event()
            self._run(self._pump, client, server, doomed, True)
            self._run(self._pump, server, client, doomed, False)

    def _pump(self, source: socket.socket, target: socket.socket, doomed: threading.Event, requests: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if requests and self._marker is not None and self._marker in data:
                    self._marker = None
                    doomed.set()
                elif not requests and doomed.is_set():
                    self.swallowed += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
