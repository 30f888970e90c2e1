"""The roles as on several machines: API and worker processes over one Valkey, to be measured, or killed by tests."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from service.broker.embedded import EmbeddedServer
from service.cli.ports import free_ports
from service.lifeline import lifeline
from service.settings import variable

HRM = [str(Path(sys.executable).with_name("hrm"))]
STUB_WORKER = [sys.executable, "-m", "benchmarks.stub_worker"]

_START_S = 300.0
"""The longest that processes may take to start: a worker compiles its network first."""


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait for a condition."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.05)


class Node:
    """One process, with what it logged."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.name, self._log, self._started = name, log, False
        with log.open("w") as file:
            # In a session of its own, as `hrm serve` starts its children: Linux shares the processor between sessions.
            self.process = psutil.Popen(command, env=os.environ | environment, stderr=file, start_new_session=True)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def ready(self) -> bool:
        self._started = self._started or "worker is ready" in self.log or "listening on" in self.log
        return self._started and self.alive

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a worker's samples of that name that have these labels; 0 before its probes listen."""
        return sum(value for found, value in self.samples(name) if labels.items() <= found.items())

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """A worker's samples of that name with their labels; none before its probes listen."""
        port = re.search(r"probes listen port=(\d+)", self.log)
        return samples(f"http://127.0.0.1:{port[1]}", name) if port else []

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def total(url: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(value for found, value in samples(url, name) if labels.items() <= found.items())


def samples(url: str, name: str) -> list[tuple[dict[str, str], float]]:
    """A metric's samples with their labels."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    return [(sample.labels, sample.value) for family in families for sample in family.samples if sample.name == name]


class Cluster:
    """Starts and ends all of it; the API processes share one port. `settings` go to every process.

    A worker computes with `threads` threads.
    """

    def __init__(self, root: Path, checkpoints: Path, *, threads: int = 1, **settings: object) -> None:
        self._root = root
        self.queue = EmbeddedServer(root / "queue")
        self.queue.start()
        (port,) = free_ports("127.0.0.1", [0])
        self.url = f"http://127.0.0.1:{port}"
        given = {
            "redis_url": self.queue.url,
            "checkpoints": checkpoints,
            "port": port,
            "api_processes": 2,  # shares the port
            "probe_port": 0,
            "device": "cpu",
            "backend": "torch",
            "compile": "off",
            "precision": "fp32",
            **settings,
        }
        self.environment = _variables(given) | {"OMP_NUM_THREADS": str(threads)} | lifeline()
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def api(self, **settings: object) -> Node:
        """Start an API process."""
        return self._start("api", [*HRM, "api"], settings)

    def worker(self, **settings: object) -> Node:
        """Start a worker."""
        return self._start("worker", [*HRM, "worker"], settings)

    def stub_worker(self, *flags: str, **settings: object) -> Node:
        """Start a worker with a stub in the network's place."""
        return self._start("worker", [*STUB_WORKER, *flags], settings)

    def ready(self, role: str) -> list[Node]:
        """Those of a role, `api` or `worker`, that live and have started."""
        return [node for node in self.nodes if node.name.startswith(role) and node.ready]

    def until_ready(self, **roles: int) -> None:
        """Wait for so many of each role."""
        until(lambda: all(len(self.ready(role)) >= count for role, count in roles.items()), _START_S)
        if "api" in roles and "worker" in roles:
            until(lambda: httpx.get(f"{self.url}/readyz").status_code == 200)

    def kill_queue(self) -> None:
        """SIGKILL Valkey; `queue.start` brings it back with what its append-only file holds."""
        psutil.Process(self.queue.pid).kill()
        until(lambda: self.queue.pid is None)

    def close(self) -> None:
        for node in self.nodes:
            if node.alive:
                node.kill()
        self.queue.stop()

    def _start(self, role: str, command: Sequence[str], settings: dict[str, object]) -> Node:
        name = f"{role}-{len(self.nodes)}"
        node = Node(name, command, self.environment | _variables(settings), self._root / f"{name}.log")
        self.nodes.append(node)
        return node


def _variables(settings: dict[str, object]) -> dict[str, str]:
    return {variable(name): str(value) for name, value in settings.items()}
