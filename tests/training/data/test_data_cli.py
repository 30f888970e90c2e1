import json
import sys

import pytest

from training.cli import main
from training.data.folder import read_split


@pytest.fixture
def run(capsys):
    """Runs hrm-train data; returns its exit code and what it wrote on stdout and stderr."""

    def run_data(*arguments):
        code = main(["data", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run_data


def read_metadata(out, split="train"):
    return json.loads((out / split / "dataset.json").read_text())


def test_a_generated_sudoku_set_says_how_it_was_made(run, tmp_path, sudoku):
    out = tmp_path / "out"
    code, printed, _ = run("build", "sudoku", out, "--generate", 60, "--test", 20, "--guesses", "1,9", "--seed", 4)
    assert code == 0
    assert "leakage: 0 of 20 test puzzles are among the 40 of the training set (under any symmetry)" in printed
    metadata = read_metadata(out)
    assert (metadata["seed"], metadata["examples"]) == (4, 40)
    assert metadata["sources"][0]["generator"] == "sudoku"
    assert metadata["sources"][0]["guesses"] == [1, 9]
    assert len(read_split(out, "test", sudoku).inputs) == 20


def test_published_files_are_recorded_with_their_sha256(run, sudoku_csv, tmp_path):
    sudoku_csv.rename(tmp_path / "train.csv")
    (tmp_path / "test.csv").write_text((tmp_path / "train.csv").read_text())
    code, printed, _ = run(
        "build", "sudoku", tmp_path / "out", "--from", tmp_path, "--subsample", 1, "--min-rating", 5,
        "--augmentations", 3, "--licence", "CC0-1.0",
    )  # fmt: skip
    assert code == 0
    assert "leakage: 1 of 2 test puzzles are among the 1 of the training set" in printed
    metadata = read_metadata(tmp_path / "out")
    assert (metadata["examples"], metadata["total_groups"], metadata["licence"]) == (4, 1, "CC0-1.0")
    assert [(source["file"], len(source["sha256"])) for source in metadata["sources"]] == [
        ("train.csv", 64), ("test.csv", 64),
    ]  # fmt: skip


def test_a_seed_builds_the_same_set(run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("build", "maze", tmp_path / name, "--generate", 30, "--size", "8x9", "--unique", "--seed", seed)
    a, b, c = (read_metadata(tmp_path / name) for name in "abc")
    assert a == b
    assert a["sha256"] != c["sha256"]
    assert a["task"] == {"kind": "maze", "shape": [8, 9]}


def test_generated_mazes_pass_the_check_and_build_again(run, tmp_path):
    csv = tmp_path / "mazes.csv"
    assert run("generate", "maze", csv, 12, "--size", 6, "--min-path", 7)[0] == 0
    assert "12 puzzles, every one readable and its answer right" in run("check", csv, "--task", "maze", "--size", 6)[1]
    assert run("build", "maze", tmp_path / "out", "--from", csv, "--size", 6)[0] == 0
    assert not (tmp_path / "out" / "test").exists()


def test_a_grid_task_is_built_from_its_description(run, write_csv_text, tmp_path):
    description = tmp_path / "latin.json"
    description.write_text('{"name": "latin", "shape": [2, 2], "alphabet": ".12", "blank": "."}')
    csv = write_csv_text("question,answer", "1...,1221", ".1..,2112")
    checked = run("check", csv, "--task", "grid", "--describe", description)[1]
    assert "every one readable; the task has no checker, so that answers cannot be judged" in checked
    assert run("build", "grid", tmp_path / "out", "--from", csv, "--describe", description)[0] == 0
    assert read_metadata(tmp_path / "out")["task"]["name"] == "latin"


def test_the_arc_report_says_which_split_was_used(run, arc_root, tmp_path):
    clean = run("build", "arc", tmp_path / "c", "--from", arc_root, "--augmentations", 2, "--split", "clean")
    assert "split: clean; no pair of an evaluation task is trained on, and 1 training tasks" in clean[1]
    assert "aa000004" in clean[1]
    upstream = run("build", "arc", tmp_path / "u", "--from", arc_root, "--augmentations", 2)
    assert "split: upstream; the demonstrations of the evaluation tasks are trained on" in upstream[1]
    assert '"split": "upstream"' in run("show", tmp_path / "u")[1]


def test_leakage_between_two_files_is_reported(run, sudoku_csv):
    assert "2 of 2 test puzzles are among the 2" in run("leakage", sudoku_csv, sudoku_csv)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "{csv}", "--task", "maze"], "puzzles.csv, row 2, question: expected 30 lines of 30"),
        (["check", "{csv}", "--task", "grid"], "a grid task needs --describe FILE.json"),
        (["check", "{csv}", "--task", "maze", "--size", "1x1"], "task description: shape 1 x 1"),
        (["build", "sudoku", "{tmp}", "--from", "{csv}"], "exists already"),
        (["build", "sudoku", "{tmp}/o", "--from", "{tmp}"], "neither a CSV file nor a folder with train.csv in it"),
        (
            ["build", "sudoku", "{tmp}/o", "--from", "{csv}", "--test", "2"],
            "2 puzzles to test on cannot be set aside from 2",
        ),
        (["build", "sudoku", "{tmp}/o", "--from", "{csv}", "--subsample", "3"], "3 puzzles cannot be drawn from 2"),
        (["build", "sudoku", "{tmp}/o", "--from", "{csv}", "--min-rating", "9"], "no puzzle is rated 9 or more"),
        (["build", "sudoku", "{tmp}/o", "--generate", "0"], "0 puzzles make no dataset"),
        (["build", "arc", "{tmp}/o", "--from", "{tmp}"], "no ARC tasks"),
        (["generate", "sudoku", "{csv}", "5"], "puzzles.csv: exists already"),
        (["generate", "sudoku", "{tmp}/" + 250 * "x", "1"], "xxx: File name too long"),
        (["show", "{tmp}"], "no dataset folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, sudoku_csv, tmp_path, arguments, message):
    code, printed, error = run(*(text.format(csv=sudoku_csv, tmp=tmp_path) for text in arguments))
    assert (code, printed) == (2, "")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["puzzles.csv"], "nothing was written"


def test_without_the_hub_s_library_the_way_around_it_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, _, error = run("build", "sudoku", tmp_path / "out", "--from", "hub:sapientinc/sudoku-extreme")
    assert code == 2
    assert "pip install huggingface_hub" in error


def test_what_the_hub_gives_is_built_and_what_it_refuses_is_named(run, sudoku_csv, tmp_path, monkeypatch):
    class Hub:
        @staticmethod
        def hf_hub_download(repository, name, repo_type):
            if repository != "owner/puzzles":
                raise OSError("404 Client Error.\nRepository Not Found")
            assert repo_type == "dataset"
            return str(sudoku_csv)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    assert run("build", "sudoku", tmp_path / "out", "--from", "hub:owner/puzzles")[0] == 0
    code, _, error = run("build", "sudoku", tmp_path / "no", "--from", "hub:owner/absent")
    assert code == 2
    assert "hub:owner/absent: train.csv cannot be fetched: 404 Client Error." in error
