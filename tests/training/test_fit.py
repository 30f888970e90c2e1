"""`hrm-train fit`: what a run leaves behind, how it ends, and how it fails."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
import torch

from model.tasks import get_task
from tests.training.conftest import few_sudokus
from tests.training.tiny_run import HRM_TRAIN, files_up_to, write_tiny_recipe
from training import fit as fit_module
from training import memory
from training.cli import main
from training.data.csv_file import write_csv
from training.data.table import Table
from training.evaluation.unroll import Trajectory
from training.state import STATE_FILE, load_state


@pytest.fixture
def fit(tmp_path, capsys):
    """Runs `hrm-train fit` with the tiny recipe in this process; returns its exit code and what it wrote on stderr."""
    recipe = write_tiny_recipe(tmp_path)

    def run_fit(*overrides):
        code = main(["fit", recipe, *overrides, "--run", str(tmp_path / "run"), "--device", "cpu"])
        return code, capsys.readouterr().err

    return run_fit


def log(run_dir, event):
    entries = map(json.loads, (run_dir / "log.jsonl").read_text().splitlines())
    return [entry for entry in entries if entry["event"] == event]


def test_a_run_leaves_its_recipe_its_log_its_state_and_its_best_weights(fit, tmp_path):
    code, said = fit()
    assert code == 0
    assert "tiny: all steps are done" in said
    run = tmp_path / "run"
    assert json.loads((run / "recipe.json").read_text())["train"]["steps"] == 60
    assert [line["step"] for line in log(run, "steps")] == [50, 60]
    line = log(run, "steps")[0]
    assert line["samples_per_s"] == pytest.approx(8 * line["steps_per_s"], rel=0.01)
    assert line["peak_memory_bytes"] > 1e6
    assert [entry["step"] for entry in log(run, "heldout")] == [30, 60]
    assert "thread" in log(run, "start")[0]["hardware"]
    assert load_state(run).facts["step"] == 60
    assert load_state(run / "best").facts["step"] in (30, 60)
    stamp = (run / STATE_FILE).stat().st_mtime_ns
    assert fit()[0] == 0
    assert (run / STATE_FILE).stat().st_mtime_ns == stamp, "what is done is not done again"


def test_a_run_goes_on_further_but_not_as_another(fit, tmp_path):
    fit("steps=10")
    code, said = fit("steps=20", "batch_size=16")
    assert code == 2
    assert "was started with train.batch_size = 8, not 16; choose another --run" in said
    assert load_state(tmp_path / "run").facts["step"] == 10
    assert fit("steps=20")[0] == 0
    assert load_state(tmp_path / "run").facts["step"] == 20


def test_a_run_goes_on_with_further_data_but_holds_out_nothing_that_it_has_trained_on(fit, tmp_path):
    path, (puzzles, answers) = tmp_path / "more.csv", few_sudokus()
    task, zeros = get_task("sudoku"), np.zeros(len(puzzles))
    write_csv(path, task, Table(puzzles, answers, ["more"] * len(puzzles), zeros))
    fit("steps=10")
    for moved in ("data.heldout=60", "data.generate=200", "data.clues=[50,60]"):
        code, said = fit("steps=20", moved)
        assert code == 2
        assert "has trained on" in said
        assert said.endswith("choose another --run\n")
    assert fit("steps=20", f"data.csv={path}", "data.csv_weight=[2.0]")[0] == 0
    assert [card["count"] for card in load_state(tmp_path / "run").facts["data"]] == [280, 16]
    assert "has trained on 20 of the puzzles of generated that would now be held out" in fit("steps=30")[1]


@pytest.mark.parametrize("mistake", [["batch_size=6", "accumulate=4"], ["data.csv=absent.csv"]])
def test_a_start_that_fails_leaves_no_recipe_that_the_mended_one_would_have_to_fit(fit, tmp_path, mistake):
    assert fit("seed=7", *mistake)[0] == 2
    assert not (tmp_path / "run" / "recipe.json").exists()
    assert fit("steps=10")[0] == 0


def test_a_run_that_goes_on_in_vain_keeps_its_recipe(fit, tmp_path):
    fit("steps=10")
    recorded = (tmp_path / "run" / "recipe.json").read_text()
    assert fit("steps=20", "data.csv=absent.csv")[0] == 2
    assert (tmp_path / "run" / "recipe.json").read_text() == recorded


def test_a_run_that_is_done_keeps_the_recipe_and_the_log_of_what_was_done(fit, tmp_path):
    fit("steps=10")
    files = [tmp_path / "run" / name for name in ("recipe.json", "log.jsonl")]
    before = [file.read_bytes() for file in files]
    code, said = fit("steps=10", "lr=5e-4", "data.heldout=20")
    assert (code, "all steps are done" in said) == (0, True)
    assert [file.read_bytes() for file in files] == before


def test_a_run_that_was_killed_before_it_saved_anything_may_start_as_another(fit, tmp_path):
    fit("steps=10", "batch_size=16")
    for state in (tmp_path / "run").rglob(STATE_FILE):
        state.unlink()
    assert fit("steps=10")[0] == 0
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["train"]["batch_size"] == 8


def test_a_run_begins_with_the_weights_of_another(fit, tmp_path, capsys):
    fit("steps=10", "eval_every=10")
    begun = [write_tiny_recipe(tmp_path), f"init_from={tmp_path / 'run'}"]
    assert main(["fit", *begun, "steps=1", "lr=0", "--device", "cpu", "--run", str(tmp_path / "other")]) == 0
    before, after = (load_state(tmp_path / name / "best").tensors for name in ("run", "other"))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    capsys.readouterr()
    assert main(["fit", begun[0], "steps=2", "--run", str(tmp_path / "other")]) == 2
    assert "other was started with train.init_from = " in capsys.readouterr().err
    assert main(["fit", *begun, "model.halt_max_segments=2", "model.H_layers=2", "--run", str(tmp_path / "third")]) == 2
    assert "run has H_layers = 1, the recipe 2: it cannot begin with that" in capsys.readouterr().err


def test_weights_that_are_no_longer_numbers_end_the_run_and_spare_its_state(fit, tmp_path):
    fit("steps=10")
    before = (tmp_path / "run" / STATE_FILE).read_bytes()
    code, said = fit("steps=40", "lr=1e38")
    assert code == 2
    assert "the weights are no longer numbers; the state of step 10" in said
    assert "lower train.lr (now 1e+38)" in said
    assert (tmp_path / "run" / STATE_FILE).read_bytes() == before


def test_a_damaged_state_is_one_line_and_left_alone(fit, tmp_path):
    fit("steps=10")
    path = tmp_path / "run" / STATE_FILE
    path.write_bytes(path.read_bytes()[:-100])
    damaged = path.read_bytes()
    code, said = fit("steps=20")
    assert code == 2
    assert said.startswith(f"hrm-train: {path}: the saved state is damaged")
    assert said.count("\n") == 1
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("overrides", "advice"),
    [
        (["batch_size=200000"], r"set train\.accumulate=\d+"),
        (["batch_size=200000000"], r"lower train\.batch_size"),
        (["model.hidden_size=8192", "model.H_layers=64", "model.expansion=64.0"], "take a smaller model"),
    ],
)
def test_a_run_that_memory_cannot_hold_is_refused_before_it_is_taken(fit, monkeypatch, overrides, advice):
    monkeypatch.setattr(memory, "free_memory", lambda device: 16 << 30)
    code, said = fit(*overrides)
    assert code == 2
    assert re.fullmatch(rf"hrm-train: the run needs about \S+ GiB of memory, 16\.0 GiB are free: {advice}\n", said)


def test_a_full_disk_spares_the_last_state(fit, tmp_path):
    fit("steps=10")
    run = tmp_path / "run"
    before = (run / STATE_FILE).read_bytes()
    with files_up_to(len(before) // 2):
        code, said = fit("steps=20")
    assert code == 2
    failed = "the state cannot be written; the one before is untouched: "
    assert said.splitlines()[-1].startswith(f"hrm-train: {run / STATE_FILE}: {failed}")
    assert (run / STATE_FILE).read_bytes() == before
    assert not list(run.rglob("*.partial"))


def test_a_signal_stops_it_at_a_step_and_the_same_command_goes_on(fit, tmp_path):
    path = tmp_path / "run" / STATE_FILE

    def interrupt():
        while not path.exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code, said = fit("steps=100000")
    thread.join()
    assert (code, "stopped and saved; the same command goes on" in said) == (130, True)
    step = load_state(tmp_path / "run").facts["step"]
    assert fit(f"steps={step + 1}")[0] == 0
    assert load_state(tmp_path / "run").facts["step"] == step + 1


def test_a_run_is_for_one_fit_at_a_time_and_a_killed_one_lets_go(fit, tmp_path):
    run = tmp_path / "run"
    other = subprocess.Popen([*HRM_TRAIN, "fit", write_tiny_recipe(tmp_path), "steps=100000", "--run", str(run)])
    try:
        while not (run / STATE_FILE).exists():
            assert other.poll() is None
            time.sleep(0.01)
        code, said = fit("steps=10")
        assert (code, said) == (2, f"hrm-train: {run} is in use by another fit\n")
    finally:
        other.kill()
        other.wait()
    assert fit("steps=10")[0] == 0


def test_it_ends_early_when_the_held_out_accuracy_no_longer_rises(fit, tmp_path, monkeypatch):
    shares = iter([0.0, 0.0, 0.0, 0.5, 0.5, 0.25, 1.0])

    def unroll(model, task, puzzles, *rest, **options):
        exact = np.linspace(0, 1, len(puzzles), endpoint=False)[:, None] < next(shares)
        zeros = np.zeros(exact.shape, dtype=np.float32)
        return Trajectory(exact, None, zeros, zeros, zeros, exact, 1, puzzles, puzzles)

    monkeypatch.setattr(fit_module, "unroll", unroll)
    code, said = fit("eval_every=5", "patience=2")
    assert (code, "its held-out accuracy no longer rises" in said) == (0, True)
    assert load_state(tmp_path / "run").facts["step"] == 30, "two evaluations after the best of those that solved any"
    best = load_state(tmp_path / "run" / "best").facts
    assert (best["step"], best["exact"]) == (25, 0.5)
    assert fit("eval_every=5", "patience=2")[0] == 0, "it stays ended"
