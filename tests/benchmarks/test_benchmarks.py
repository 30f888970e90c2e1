"""Every benchmark runs, on a tiny network: what it measures is not judged here."""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.flops import segment_flops
from benchmarks.results import page
from benchmarks.serve import simulate
from model.config import HRMConfig
from tests.conftest import ANSWER, PUZZLE


@pytest.fixture
def bench(tiny_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a benchmark in this process; gives what it writes as JSON."""
    for name, value in {"COMPILE": "off", "PRECISION": "fp32", "DEVICE": "cpu", "STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"HRM_{name}", value)

    def run(name: str, *flags: object, registry: bool = True) -> dict:
        output = tmp_path / f"{name}.json"
        words = [*(["--checkpoints", tiny_registry] if registry else []), "--json", output, *flags]
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        import_module(f"benchmarks.{name}").main()
        return json.loads(output.read_text())

    return run


def test_engine(bench) -> None:
    found = bench("engine", "--slots", 4, "--puzzles", 24, "--rounds", 1)
    assert [row["way"] for row in found["rows"]] == ["engine", "static M_max", "static last"]
    assert found["figures"]["occupancy under saturation"] == 1.0
    assert found["figures"]["mean segments"] == 4.0
    assert found["figures"]["reached of the bound"] > 0
    assert found["command"] == "python -m benchmarks.engine --slots 4 --puzzles 24 --rounds 1"


def test_profile_accounts_for_all_of_the_time(bench) -> None:
    found = bench("profile", "--slots", 4, "--puzzles", 24)
    assert sum(row["% of the time"] for row in found["rows"]) == pytest.approx(100)


def test_ops_are_mostly_products(bench) -> None:
    found = bench("ops", "--rows", 4, "--device", "cpu", "--segments", 2)
    shares = {row["operation"]: row["% of the time"] for row in found["rows"]}
    assert "aten::mm" in shares or "aten::addmm" in shares
    assert sum(shares.values()) <= 100.1


def test_peers_give_the_same_answers(bench) -> None:
    found = bench("peers", "--slots", 4, "--puzzles", 16, "--http-puzzles", 1, "--rounds", 1, "--no-http")
    assert len(found["rows"]) == 5
    assert {row["answers that differ"] for row in found["rows"]} == {0}


def test_backends(bench) -> None:
    found = bench("backends", "--slots", 4, "--rounds", 1, "--device", "cpu", "--no-compile")
    assert {"torch eager fp32", "onnx fp32"} <= {row["runs with"] for row in found["rows"]}
    assert found["figures"]["auto takes"].startswith(("torch", "onnx"))


def test_act_reads_puzzles_with_answers(bench, tmp_path: Path) -> None:
    file = tmp_path / "puzzles.csv"
    file.write_text(f"source,question,answer,rating\nx,{PUZZLE},{ANSWER},0\ny,{PUZZLE},{ANSWER},0\n")
    found = bench("act", "--file", file, "--source", "x", "--most", 6, "--slots", 4)
    assert [row["M_max"] for row in found["rows"]] == [1, 2, 4, 6]
    assert found["figures"]["puzzles"] == 1
    assert found["rows"][0]["ACT: mean segments"] == 1.0


def test_a_source_without_a_file_is_refused(bench) -> None:
    with pytest.raises(SystemExit, match="--source is of a --file"):
        bench("act", "--source", "x")


def test_what_a_check_of_every_answer_costs(bench) -> None:
    found = bench("checker", "--slots", 4, "--segments", 5)
    assert [row["mode"] for row in found["rows"]] == ["fixed", "verified"]


def test_fairness_measures_probes_beside_each_background(bench) -> None:
    found = bench("fairness", "--slots", 4, "--probes", 10, "--max-segments", 4)
    assert [row["background"] for row in found["rows"]] == ["4 x plain", "4 x flood", "4 x plain", "2 x flood"]


def test_scale_over_tasks_shares_the_device(bench) -> None:
    found = bench("scale", "tasks", "--slots", 2, "--ticks", 60)
    low, high = map(float, found["rows"][2]["smallest and largest share %"].split(", "))
    assert 0 < low <= high, "every task had its part; how fair, test_loop says"


def test_gpu_check_without_a_gpu(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "ROUNDS", 2)
    found = bench("gpu_check", "--device", "cpu", "--small", "--slots", 4, "--no-compile", registry=False)
    told = {row["what"]: row["found"] for row in found["rows"]}
    for proof in (
        "after the swap it says what a fresh runner says", "and something else than before",
        "back again, what it said first", "shuffled: bitwise the same", "solo in a fixed batch: bitwise the same",
        "ONNX within 1e-4",
    ):  # fmt: skip
        assert told[proof] == "yes", proof
    for figure in ("segments/s", "model TFLOP/s", "share of it", "p50 against the kernels", "hot swap, ms"):
        assert told[figure] > 0, figure


def test_gpu_check_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    monkeypatch.setattr(gpu_check.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device here"):
        gpu_check.main()


def test_flops_are_the_papers() -> None:
    assert round(segment_flops(HRMConfig(vocab_size=11, seq_len=81, puzzle_emb_ndim=512)) / 1e9, 1) == 13.7
    assert round(segment_flops(HRMConfig(vocab_size=12, seq_len=900, puzzle_emb_ndim=512)) / 1e9) == 187


def test_the_simulation_seats_at_boundaries_first_come_first_served() -> None:
    def one_second_and_a_tenth_a_row(n: int) -> float:
        return 1.0 + 0.1 * n

    waits = simulate([0.0, 0.5, 0.6], [2, 1, 1], one_second_and_a_tenth_a_row, slots=2)
    # Alone until 1.1, with the second until 2.3; the third finds no slot before that.
    np.testing.assert_allclose(waits, [2.3, 1.8, 2.3 + 1.1 - 0.6])


def test_results_are_a_page() -> None:
    machine = dict.fromkeys(("date", "cpu", "threads", "device", "torch", "onnxruntime", "python"), "x")
    result = {
        "title": "some", "command": "python -m benchmarks.some", "machine": machine,
        "rows": [{"way": "a", "s": 0.123456}], "figures": {"mean": 4.0},
    }  # fmt: skip
    text = page({"some": result, "engine": result | {"title": "engine"}})
    assert text.index("## Engine") < text.index("## Some")
    assert "| a | 0.1235 |\n" in text
    assert "- mean: 4\n" in text
