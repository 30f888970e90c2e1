"""Ports of this machine."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from service.cli.flags import CommandError
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the processes of `hrm serve` listen."""

    api: int
    probes: Sequence[int]
    """One for each worker."""
    metrics: Sequence[int]
    """One for each API process, where it shows its own metrics alone."""


def choose_ports(settings: Settings) -> Ports:
    """The ports that are set, and free ones for the rest; raises CommandError where one is taken."""
    workers = settings.worker_processes
    probes = [settings.probe_port or 0] + [0] * (workers - 1)
    metrics = [settings.metrics_port or 0] + [0] * (settings.api_processes - 1)
    api, *others = free_ports(settings.host, [settings.port, *probes, *metrics])
    return Ports(api, others[:workers], others[workers:])


def free_ports(host: str, ports: Sequence[int]) -> list[int]:
    """The given ports, each 0 replaced by a free one; raises CommandError where one cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        sockets = []
        for port in ports:
            try:
                sockets.append(stack.enter_context(socket.create_server((host, port), family=family)))
            except OSError as error:
                raise CommandError(f"cannot listen on port {port} of {host}: {error.strerror or error}") from None
        return [sock.getsockname()[1] for sock in sockets]


def reachable(host: str) -> str:
    """How this machine itself calls an address that it listens on, as part of a URL."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 (not bound here)
    return f"[{address}]" if ":" in address else address
