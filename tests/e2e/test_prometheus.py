"""Debian's Prometheus scrapes `hrm serve` with the rules of deploy/, and comes to what the answers add up to."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from served import Service

from benchmarks.cluster import until
from service.client import Client
from service.schemas import Answer, SolveRequest
from tests.conftest import PUZZLE

RULES = Path(__file__).parents[2] / "deploy/prometheus"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus (Debian's package)"),
]


class Prometheus:
    """A server of its own, that scrapes one target every second."""

    def __init__(self, directory: Path, target: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        config = directory / "prometheus.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(RULES / "recording.yaml"), str(RULES / "alerts.yaml")],
                    "scrape_configs": [{"job_name": "hrm", "static_configs": [{"targets": [target]}]}],
                }
            )
        )
        self._url = f"http://{address}"
        where = [f"--config.file={config}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address={address}"]
        self.process = subprocess.Popen(["prometheus", "--log.level=error", *where])

    def value(self, query: str) -> float | None:
        """A query's only value, or None where there is none."""
        try:
            response = httpx.get(f"{self._url}/api/v1/query", params={"query": query})
        except httpx.TransportError:
            return None
        result = json.loads(response.text)["data"]["result"] if response.status_code == 200 else []
        return float(result[0]["value"][1]) if result else None


@pytest.fixture
def scraped(start: Callable[..., Service], tmp_path: Path) -> Iterator[tuple[Service, Prometheus]]:
    """A ready service and a Prometheus that has seen it before its first answer."""
    service = start()
    until(service.ready)
    prometheus = Prometheus(tmp_path, service.url.removeprefix("http://"))
    until(lambda: prometheus.value("sum(hrm_segments_used_count)") == 0)
    yield service, prometheus
    prometheus.process.terminate()
    prometheus.process.wait()


def test_the_average_segments_are_those_of_the_answers(scraped: tuple[Service, Prometheus]) -> None:
    service, prometheus = scraped
    requests = [  # the long ones last, so that no part of them has the average of the whole
        SolveRequest(task="sudoku", puzzle=PUZZLE, mode="fixed", max_segments=1 + number // 40)
        for number in range(1000)
    ]
    with Client(service.url) as client:
        answers = list(client.solve_many(requests, concurrency=8))
    assert all(isinstance(answer, Answer) for answer in answers)
    mean = sum(answer.segments for answer in answers) / len(answers)
    until(lambda: prometheus.value("sum(hrm_segments_used_count)") == len(answers))

    def recorded() -> float:
        return prometheus.value('task:hrm_segments_used:mean5m{task="sudoku"}') or 0.0

    until(lambda: abs(recorded() / mean - 1) < 0.01)
    assert prometheus.value('sum(task:hrm_answers_valid:ratio5m{task="sudoku"})') == 0
    assert prometheus.value('sum(ALERTS{alertstate="firing"})') is None
    assert prometheus.value('hrm_device_memory_bytes{kind="used"}') > 50e6


def test_the_exposition_is_as_prometheus_wants_it(scraped: tuple[Service, Prometheus]) -> None:
    service, _ = scraped
    exposition = httpx.get(f"{service.url}/metrics").text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
