import os
import time
from pathlib import Path

import numpy as np
import pytest

from model.tasks import get_task
from model.tasks.arc import SIDE, ColourSymmetry, decode
from training.data.arc import Pair, read_tasks
from training.data.arc_build import build_arc
from training.data.errors import DataError
from training.data.folder import read_identifiers, read_split

ARC = get_task("arc")


def trained_pairs(out, split="train"):
    """Every example of a split as (identifier's name, pair), wherever it lies on the canvas."""
    read, names = read_split(out, split, ARC), read_identifiers(out)
    return [
        (names[identifier], Pair(*(decode(to_corner(tokens)) for tokens in tokens_of_pair)))
        for identifier, *tokens_of_pair in zip(read.example_identifiers, read.inputs, read.labels, strict=True)
    ]


def to_corner(tokens):
    """The canvas with its grid moved to the first cell."""
    canvas = tokens.reshape(SIDE, SIDE)
    rows, columns = (np.flatnonzero((canvas > 1).any(axis=axis)) for axis in (1, 0))
    moved = np.zeros_like(canvas)
    held = canvas[rows[0] :, columns[0] :]
    moved[: held.shape[0], : held.shape[1]] = held
    return moved.ravel()


def undo(name, pair):
    """The task's own name, and the pair as it was before the symmetry that its identifier names."""
    task, _, symmetry = name.partition("_")
    if not symmetry:
        return task, pair.to_bytes()
    back = ColourSymmetry.from_name(symmetry).inverse()
    return task, Pair(back.change(pair.input), back.change(pair.output)).to_bytes()


def own_pairs(tasks, role, *parts):
    return {
        (task.name, pair.to_bytes())
        for task in tasks
        if task.role == role
        for part in parts
        for pair in getattr(task, part)
    }


@pytest.fixture(scope="module")
def upstream(arc_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("arc") / "upstream"
    return out, build_arc(out, [arc_root], "upstream", augmentations=8, seed=1, facts={"licence": None})


@pytest.fixture(scope="module")
def clean(arc_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("arc") / "clean"
    return out, build_arc(out, [arc_root], "clean", augmentations=8, seed=1, facts={})


def test_upstream_s_split_trains_on_everything_but_the_tests_of_evaluation_tasks(arc_root, upstream):
    out, report = upstream
    tasks = read_tasks(arc_root)
    expected = own_pairs(tasks, "training", "pairs") | own_pairs(tasks, "evaluation", "demonstrations")
    assert {undo(*example) for example in trained_pairs(out)} == expected
    assert {undo(*example) for example in trained_pairs(out, "test")} == own_pairs(tasks, "evaluation", "tests")
    assert (report.split, report.left_out) == ("upstream", [])


def test_the_clean_split_trains_on_no_pair_of_an_evaluation_task_in_any_guise(arc_root, clean):
    out, report = clean
    held = {pair.canonical() for task in read_tasks(arc_root) if task.role == "evaluation" for pair in task.pairs}
    trained = [pair.canonical() for _, pair in trained_pairs(out)]
    assert trained
    assert not held & set(trained)
    assert report.left_out == ["aa000004"], "it holds a pair of ee000001, turned and recoloured"
    assert report.train["split"] == "clean"


def test_the_check_above_would_see_such_a_pair(arc_root, upstream):
    held = {pair.canonical() for task in read_tasks(arc_root) if task.role == "evaluation" for pair in task.pairs}
    names = {name.partition("_")[0] for name, pair in trained_pairs(upstream[0]) if pair.canonical() in held}
    assert names == {"ee000001", "ee000002", "aa000004"}


def test_every_task_comes_in_nine_different_guises_that_share_one_identifier_each(upstream):
    out, report = upstream
    names = read_identifiers(out)
    assert names[0] == "<blank>"
    assert len(names) == len(set(names)) == 1 + 6 * 9 == report.train["num_puzzle_identifiers"]
    test = {name for name, _ in trained_pairs(out, "test")}
    assert test == {name for name, _ in trained_pairs(out) if name.startswith("ee")}, (
        "a test has its demonstrations' id"
    )
    guises = {}
    for name, pair in trained_pairs(out):
        guises.setdefault(name, []).append(pair.to_bytes())
    assert len({tuple(sorted(pairs)) for pairs in guises.values()}) == len(guises)


def test_training_grids_are_moved_over_the_canvas_and_tests_are_not(upstream):
    train, test = (read_split(upstream[0], split, ARC) for split in ("train", "test"))
    assert (test.inputs[:, 0] > 1).all()
    at_corner = train.inputs[:, 0] > 1
    assert 0 < at_corner.mean() < 0.5
    for start, end in zip(train.puzzle_indices, train.puzzle_indices[1:], strict=False):
        assert at_corner[start:end].any(), "one pair of every puzzle stays where the tests are"


def test_a_seed_builds_the_same_dataset(arc_root, upstream, tmp_path):
    again = build_arc(tmp_path / "again", [arc_root], "upstream", augmentations=8, seed=1, facts={"licence": None})
    other = build_arc(tmp_path / "other", [arc_root], "upstream", augmentations=8, seed=2, facts={})
    assert again == upstream[1]
    assert other.train["sha256"] != again.train["sha256"]
    assert again.train["sources"][0]["path"] == str(arc_root)


def test_a_bad_task_builds_nothing(tmp_path):
    (tmp_path / "arc" / "training").mkdir(parents=True)
    (tmp_path / "arc" / "training" / "bad.json").write_text("no JSON")
    with pytest.raises(DataError, match=r"bad\.json: not JSON"):
        build_arc(tmp_path / "out", [tmp_path / "arc"], "upstream", augmentations=1, seed=0, facts={})
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif("HRM_ARC_DIR" not in os.environ, reason="needs the public ARC tasks in HRM_ARC_DIR")
def test_the_public_tasks_with_8_augmentations_take_less_than_two_minutes(tmp_path):
    root, started = Path(os.environ["HRM_ARC_DIR"]) / "arc-agi-1", time.monotonic()
    report = build_arc(tmp_path / "out", [root], "upstream", augmentations=8, seed=0, facts={})
    assert time.monotonic() - started < 120
    assert report.train["total_groups"] == 800
    clean = build_arc(tmp_path / "clean", [root], "clean", augmentations=0, seed=0, facts={})
    assert clean.left_out == ["40853293", "caa06a1f"], "two training tasks that the evaluation set repeats in disguise"
    held = {pair.canonical() for task in read_tasks(root) if task.role == "evaluation" for pair in task.pairs}
    assert not held & {pair.canonical() for _, pair in trained_pairs(tmp_path / "clean")}
