"""The roles as on several machines: `hrm api` and `hrm worker` processes over one Valkey, which tests kill at will."""

import os
import re
from pathlib import Path

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families
from served import HRM, until

from service.broker.embedded import EmbeddedServer
from service.cli.ports import free_ports


class Node:
    """One process, with what it logged."""

    def __init__(self, name: str, role: str, environment: dict[str, str], log: Path) -> None:
        self.name, self._log, self._started = name, log, False
        with log.open("w") as file:
            self.process = psutil.Popen([*HRM, role], env=os.environ | environment, stderr=file)

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

    def metric(self, name: str) -> float:
        """The sum of a worker's samples of that name."""
        port = re.search(r"probes listen port=(\d+)", self.log)
        if port is None:
            return 0.0
        text = httpx.get(f"http://127.0.0.1:{port[1]}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == name)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Cluster:
    """Starts and ends all of it; the API processes share one port."""

    def __init__(self, root: Path, checkpoints: Path, **settings: object) -> None:
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
            "compile": "off",
            "precision": "fp32",
            **settings,
        }
        self.environment = {f"HRM_{name.upper()}": str(value) for name, value in given.items()}
        self.environment["OMP_NUM_THREADS"] = "1"
        self.nodes: list[Node] = []

    def start(self, role: str, **settings: object) -> Node:
        """Start `hrm api` or `hrm worker`."""
        name = f"{role}-{len(self.nodes)}"
        own = {f"HRM_{key.upper()}": str(value) for key, value in settings.items()}
        node = Node(name, role, self.environment | own, self._root / f"{name}.log")
        self.nodes.append(node)
        return node

    def ready(self, role: str) -> list[Node]:
        """Those of a role that live and have started."""
        return [node for node in self.nodes if node.name.startswith(role) and node.ready]

    def until_ready(self, **roles: int) -> None:
        """Wait for so many of each role."""
        until(lambda: all(len(self.ready(role)) >= count for role, count in roles.items()), 120)

    def kill_queue(self) -> None:
        """SIGKILL Valkey; `queue.start` brings it back with what its append-only file holds."""
        assert self.queue.pid
        psutil.Process(self.queue.pid).kill()
        until(lambda: self.queue.pid is None)

    def close(self) -> None:
        for node in self.nodes:
            if node.alive:
                node.kill()
        self.queue.stop()
