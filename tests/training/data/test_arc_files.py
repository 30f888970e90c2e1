import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks import get_task
from training.data.arc import Pair, merge_tasks, read_task, read_tasks
from training.data.errors import DataError

GRID = [[1, 0], [0, 2]]


def test_tasks_are_read_with_their_role(arc_root):
    tasks = {task.name: task for task in read_tasks(arc_root)}
    assert sorted(tasks) == ["aa000001", "aa000002", "aa000003", "aa000004", "ee000001", "ee000002"]
    assert tasks["ee000002"].role == "evaluation"
    mirror = tasks["aa000001"]
    assert (len(mirror.demonstrations), len(mirror.tests)) == (3, 1)
    for pair in mirror.pairs:
        assert (pair.output == np.fliplr(pair.input)).all()


def test_a_test_without_a_published_output_is_left_out(tmp_path):
    (tmp_path / "t.json").write_text(
        json.dumps({"train": [{"input": GRID, "output": GRID}], "test": [{"input": GRID}]})
    )
    task = read_task(tmp_path / "t.json", "evaluation")
    assert (len(task.demonstrations), len(task.tests)) == (1, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{train: 1}", "not JSON: "),
        ("[]", "'train' is missing or not a list of pairs"),
        ('{"train": [], "test": []}', "no pair to train on"),
        ('{"train": [{"input": [[1]]}], "test": []}', "train pair 1, output: "),
        ('{"train": [{"output": [[1]]}], "test": []}', "train pair 1: expected an object with input and output"),
        (
            '{"train": [{"input": [[1]], "output": [[1], [1, 2]]}], "test": []}',
            "train pair 1, output: row 2 has 2 cells",
        ),
        ('{"train": [{"input": [[1]], "output": [[10]]}], "test": []}', "train pair 1, output: row 1, column 1: .*10"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_pair(tmp_path, text, message):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(DataError, match=rf"t\.json: {message}") as raised:
        read_task(tmp_path / "t.json", "training")
    assert "\n" not in str(raised.value)


def test_a_folder_without_tasks_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}: no ARC tasks"):
        read_tasks(tmp_path)


def test_a_task_found_twice_is_kept_once_and_stays_for_evaluation(arc_root, tmp_path):
    (tmp_path / "training").mkdir()
    source = arc_root / "evaluation" / "ee000001.json"
    (tmp_path / "training" / "ee000001.json").write_text(source.read_text())
    for order in ([arc_root, tmp_path], [tmp_path, arc_root]):
        tasks = merge_tasks(task for root in order for task in read_tasks(root))
        assert [task.role for task in tasks if task.name == "ee000001"] == ["evaluation"]


@given(st.integers(0, 2**32))
def test_the_canonical_form_of_a_pair_sees_through_every_symmetry(seed):
    rng = np.random.default_rng(seed)
    pair = Pair(*(rng.integers(0, 10, rng.integers(1, 6, 2)).astype(np.uint8) for _ in range(2)))
    symmetry = get_task("arc").random_symmetry(rng)
    assert Pair(symmetry.change(pair.input), symmetry.change(pair.output)).canonical() == pair.canonical()
    other = pair.output.copy()
    other[0, 0] = (other[0, 0] == 0) * 5  # a colour becomes black or black a colour, which no symmetry does
    assert Pair(pair.input, other).canonical() != pair.canonical()


@pytest.mark.skipif("HRM_ARC_DIR" not in os.environ, reason="needs the public ARC tasks in HRM_ARC_DIR")
def test_the_public_tasks_are_read():
    assert len(read_tasks(Path(os.environ["HRM_ARC_DIR"]) / "arc-agi-1")) == 800
