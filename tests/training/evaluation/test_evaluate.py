"""`hrm-train eval`, and what it says."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.tasks.maze import Maze
from tests.training.tiny_run import TINY
from training.data.arc_build import build_arc
from training.evaluation.evaluate import bins, doublings, evaluate
from training.evaluation.questions import graded
from training.evaluation.unroll import Trajectory

ARC_ROOT = Path(__file__).parents[2] / "data" / "arc"


def test_a_checkpoint_is_judged_by_source_difficulty_and_segments(run, tiny_registry, csv):
    checkpoint = tiny_registry / "sudoku" / "tiny"
    code, printed, _ = run("eval", checkpoint, csv, "--json", "--device", "cpu")
    said = json.loads(printed)
    assert code == 0
    assert (said["network"], said["puzzles"], said["max_segments"]) == ("sudoku/tiny", 20, 4)
    assert said["act"]["segments"]["mean"] == 4.0
    assert list(said["fixed_segments"]) == list(said["act_with_max_segments"]) == ["1", "2", "4", "8", "16"]
    assert said["act_with_max_segments"]["2"]["segments"]["mean"] == 2.0
    assert {name: source["exact"]["of"] for name, source in said["sources"].items()} == {"a": 10, "b": 10}
    assert said["difficulty"]["measure"] == "rating"
    assert [each["exact"]["of"] for each in said["difficulty"]["bins"].values()] == [4] * 5
    assert sum(each["count"] for each in said["q_halt_reliability"]["at_halt"]["bins"]) == 20
    assert sum(each["count"] for each in said["q_halt_reliability"]["at_every_segment"]["bins"]) == 80
    assert sum(each["count"] for each in said["confidence_reliability"]["served"]["bins"]) == 20
    assert said["confidence_reliability"]["uncalibrated"] is None, "this checkpoint brings no calibration"
    code, printed, _ = run("eval", checkpoint, csv, "--sample", 6, "--max-segments", 2, "--segments", 3)
    assert code == 0
    assert "6 puzzles, M_max 2" in printed
    assert "by rating" in printed


@pytest.mark.parametrize(
    ("network", "data", "message"),
    [
        ("absent", "puzzles.csv", "absent: no such checkpoint directory"),
        ("tiny", "absent.csv", "absent.csv: No such file or directory"),
    ],
)
def test_what_is_not_there_is_named(run, tiny_registry, csv, network, data, message):
    code, _, said = run("eval", tiny_registry / "sudoku" / network, csv.with_name(data))
    assert code == 2
    assert said.startswith("hrm-train: ")
    assert message in said
    assert said.count("\n") == 1


def test_arc_is_voted_on_from_a_run_and_from_what_it_publishes(run, tmp_path):
    build_arc(tmp_path / "arc", [ARC_ROOT], "upstream", augmentations=3, seed=0, facts={})
    recipe = tmp_path / "arc-tiny.toml"
    recipe.write_text(TINY.replace('"sudoku"', '"arc"').replace("generate = 300", f'dataset = ["{tmp_path / "arc"}"]'))
    overrides = ["train.steps=2", "data.heldout=6", "model.puzzle_emb_ndim=16", "model.mixer=attention"]
    overrides += ["train.batch_size=2", "model.halt_max_segments=2"]
    assert run("fit", recipe, *overrides, "--run", tmp_path / "run", "--device", "cpu")[0] == 0
    assert run("publish", tmp_path / "run", "--registry", tmp_path / "registry", "--device", "cpu")[0] == 0
    (published,) = (path for path in (tmp_path / "registry" / "arc").iterdir() if path.is_dir())
    names = json.loads((published / "identifiers.json").read_text())
    assert json.loads((published / "canary.jsonl").read_text().splitlines()[0])["puzzle_id"] in names
    results = []
    for network in (tmp_path / "run", published):
        code, printed, _ = run("eval", network, tmp_path / "arc", "--json", "--device", "cpu")
        assert code == 0
        results.append(json.loads(printed))
    assert results[0]["votes"] == results[1]["votes"]
    assert results[0]["votes"]["tasks"] == 2
    assert set(results[0]["votes"]["kaggle"]) == set(results[0]["votes"]["upstream"]) == {"pass@1", "pass@2"}
    assert list(results[0]["fixed_segments"]) == ["1", "2"], "ARC runs no further than M_max"
    code, printed, _ = run("eval", published, tmp_path / "arc", "--json", "--sample", 1, "--device", "cpu")
    assert json.loads(printed)["votes"]["tasks"] == 1
    (published / "identifiers.json").write_text(json.dumps({"another": 0}))
    code, _, said = run("eval", published, tmp_path / "arc")
    assert code == 2
    assert "was not trained on the puzzle" in said


def test_the_best_way_through_a_maze_is_told_from_any_way():
    """The known one, another that is as short, and one with a gap."""
    task = Maze(3, 4)
    puzzle = task.parse("S   \n ## \n   G")
    known, around, broken = map(task.parse_answer, ("Sooo\n ##o\n   G", "S   \no## \noooG", "S   \no## \n ooG"))
    said = np.stack([known, around, broken])
    puzzles, answers = np.stack([puzzle] * 3), np.stack([known] * 3)
    exact = np.array([[True], [False], [False]])
    valid = task.check_many(puzzles, said)[:, None]
    zeros = np.zeros((3, 1), dtype=np.float32)
    trajectory = Trajectory(exact, valid, zeros, zeros, zeros, exact, 1, said, said)
    evaluation = evaluate(task, graded(puzzles, answers, np.full(3, "mine")), trajectory)
    assert (evaluation.act.exact.count, evaluation.act.valid.count, evaluation.act.optimal.count) == (1, 2, 2)
    assert evaluation.measure == "cells to find"


def test_bins_hold_about_as_many_puzzles_each_and_name_their_range():
    difficulty = np.array([0.0] * 60 + list(range(1, 41)) + [np.nan] * 5)
    found = bins(difficulty)
    assert [name for name, _ in found] == ["0", "1 to 20", "21 to 40", "not rated"]
    assert sum(rows.sum() for _, rows in found) == 105
    assert found[-1][0] == "not rated"
    assert [name for name, _ in bins(np.full(3, 7.0))] == ["7"]


def test_doublings_end_with_the_most():
    assert doublings(64) == [1, 2, 4, 8, 16, 32, 64]
    assert doublings(24) == [1, 2, 4, 8, 16, 24]
    assert doublings(1) == [1]
