"""The real thing: `hrm serve` with its children, on a port of its own, with a small checkpoint."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import Service

from benchmarks.cluster import until


@pytest.fixture(scope="module")
def start(tiny_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Start services that end with the module, however it ends."""
    services: list[Service] = []

    def start(*flags: str, registry: Path = tiny_registry) -> Service:
        services.append(Service(tmp_path_factory.mktemp("serve"), registry, *flags))
        return services[-1]

    yield start
    for service in services:
        if service.process.is_running():
            service.process.kill()
            service.process.wait()


@pytest.fixture(scope="module")
def service(start: Callable[..., Service]) -> Service:
    """A ready service with two API processes."""
    service = start("--api-processes", "2")
    until(service.ready)
    return service
