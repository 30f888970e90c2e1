"""`hrm worker --backend onnx` serves, says what it is, and takes a new checkpoint, as with torch."""

from pathlib import Path

import httpx
import pytest

from benchmarks.cluster import Cluster, until
from model.registry import Registry
from tests.conftest import PUZZLE, write_tiny

BODY = {"task": "sudoku", "puzzle": PUZZLE}


@pytest.mark.parametrize("backend", ["onnx", "auto"])
def test_a_worker_of_another_backend_serves_and_reloads(tmp_path: Path, backend: str) -> None:
    registry = Registry([tmp_path / "checkpoints"])
    for seed, version in enumerate(("one", "two")):
        write_tiny(registry.writable, version, seed)
    registry.use("sudoku", "one")
    with Cluster(tmp_path, registry.writable, slots=4, state_dir=tmp_path / "state") as cluster:
        cluster.api()
        worker = cluster.worker(backend=backend)
        cluster.until_ready(api=1, worker=1)
        solve = f"{cluster.url}/solve"
        assert httpx.post(solve, json=BODY).json()["checkpoint"] == "sudoku/one"
        (described,) = httpx.get(f"{cluster.url}/workers").json()
        runner = described["tasks"]["sudoku"]["runner"]
        assert runner["backend"] == backend or backend == "auto"
        assert described["backend"] == runner["backend"]
        assert worker.metric("hrm_runner_info", task="sudoku") == 1
        registry.use("sudoku", "two")
        until(lambda: httpx.post(solve, json=BODY).json()["checkpoint"] == "sudoku/two")


def test_a_backend_that_cannot_be_had_is_one_line(tmp_path: Path, tiny_registry: Path) -> None:
    with Cluster(tmp_path, tiny_registry) as cluster:
        worker = cluster.worker(backend="onnx", precision="bf16")
        until(lambda: not worker.alive)
        assert worker.process.wait() == 2
        last = worker.log.strip().splitlines()[-1]
        assert last == "hrm worker: HRM_BACKEND is onnx, which computes in fp32 on a CPU, or on CUDA"
