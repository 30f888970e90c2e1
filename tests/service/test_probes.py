"""The probe server of a worker, over a real socket."""

from collections.abc import Iterator

import httpx
import pytest

from service.probes import Probes


class Worker:
    """Something that can be unwell."""

    stalled: str | None = None
    warming: str | None = "warming up"


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def url(worker: Worker) -> Iterator[str]:
    probes = Probes(
        "127.0.0.1", 0, live=lambda: worker.stalled, ready=lambda: worker.warming, metrics=lambda: b"hrm_slots 4.0\n"
    )
    yield f"http://127.0.0.1:{probes.port}"
    probes.close()


def test_checks_follow_the_worker(worker: Worker, url: str) -> None:
    assert httpx.get(f"{url}/livez").status_code == 200
    assert (httpx.get(f"{url}/readyz").status_code, httpx.get(f"{url}/readyz").text) == (503, "warming up\n")
    worker.warming, worker.stalled = None, "no step for 31 s with 4 live slots"
    assert httpx.get(f"{url}/readyz?verbose").status_code == 200
    assert (httpx.get(f"{url}/livez").status_code, httpx.get(f"{url}/livez").text) == (503, f"{worker.stalled}\n")


def test_metrics_are_plain_text_and_the_rest_is_404(url: str) -> None:
    response = httpx.get(f"{url}/metrics")
    assert response.text == "hrm_slots 4.0\n"
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert httpx.get(f"{url}/").status_code == 404


def test_a_taken_port_is_an_error(url: str) -> None:
    port = int(url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        Probes("127.0.0.1", port, live=lambda: None, ready=lambda: None, metrics=lambda: b"")
