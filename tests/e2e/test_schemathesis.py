"""Whatever the OpenAPI document allows or forbids: no request makes a 500, and every answer is what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cluster import Cluster
from model.registry import Registry
from tests.conftest import write_tiny

SEED, EXAMPLES = 20261124, 25
NOT_ASKED = {
    "positive_data_acceptance": "that a puzzle is one no schema can say",
    "negative_data_rejection": "a bad puzzle of a batch spoils its own line only",
    "missing_required_header": "without an admin key one is a stranger: 403",
    "use_after_free": "DELETE cancels a job, whose record stays to be read",
}


@pytest.mark.slow
def test_no_request_makes_a_500(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    for seed, version in enumerate(("one", "two")):
        write_tiny(registry, version, seed)
    Registry([registry]).use("sudoku", "one")
    settings = {"admin_key": "admin", "max_segments_cap": 32, "timeout_default_s": 5, "timeout_max_s": 10}
    with Cluster(tmp_path, registry, slots=8, **settings) as cluster:
        cluster.api()
        cluster.worker()
        cluster.until_ready(api=1, worker=1)
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            *("run", f"{cluster.url}/openapi.json", "--no-color", "--header", "Authorization: Bearer admin"),
            *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--exclude-checks", ",".join(NOT_ASKED)),
            *("--generation-database", "none", "--report-dir", str(tmp_path)),
        ]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
        assert ran.returncode == 0, ran.stdout
        tested = re.search(r"(\d+) generated", ran.stdout)
        assert tested
        assert int(tested[1]) > 500
        for node in cluster.nodes:
            assert "Traceback" not in node.log
