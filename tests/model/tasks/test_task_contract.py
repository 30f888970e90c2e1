"""What every task promises, whatever the puzzle."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks import PuzzleError, Task, Verdict, get_task, task_from, task_names

DESCRIPTIONS = [
    {"kind": "sudoku", "shape": [9, 9]},
    {"kind": "maze", "shape": [6, 6]},
    {"kind": "maze", "shape": [5, 8]},
    {"kind": "arc", "shape": [30, 30]},
    {
        "kind": "grid",
        "name": "latin-square",
        "shape": [4, 4],
        "alphabet": ".1234",
        "blank": ".",
        "symmetries": ["dihedral", "symbols"],
    },
]
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(
    params=DESCRIPTIONS, ids=lambda d: f"{d.get('name', d['kind'])}-{d['shape'][0]}x{d['shape'][1]}", scope="module"
)
def task(request: pytest.FixtureRequest) -> Task:
    return task_from(request.param)


def test_a_description_survives_json(task):
    stored = json.loads(json.dumps(task.describe()))
    again = task_from(stored)
    assert again.describe() == stored
    assert (again.name, again.seq_len, again.vocab_size) == (task.name, task.seq_len, task.vocab_size)


def test_the_examples_are_right_and_come_back_as_they_were_written(task):
    for puzzle, answer in task.examples():
        read, solved = task.parse(puzzle), task.parse_answer(answer)
        assert read.shape == solved.shape == (task.seq_len,)
        assert read.dtype == solved.dtype == np.uint8
        assert max(read.max(), solved.max()) < task.vocab_size
        assert task.format(read, like=puzzle) == puzzle
        assert task.format(solved, like=answer) == answer
        assert task.check(read, solved).valid is (True if task.has_checker else None)
        assert task.check_many(read[None], solved[None]).tolist() == [task.has_checker]


@given(seed=seeds)
def test_a_symmetry_keeps_examples_right_and_its_inverse_undoes_it(task, seed):
    symmetry = task.random_symmetry(np.random.default_rng(seed))
    for puzzle, answer in task.examples():
        read, solved = task.parse(puzzle), task.parse_answer(answer)
        changed, changed_answer = symmetry.apply(np.stack([read, solved]))
        assert task.check(changed, changed_answer) == task.check(read, solved)
        task.parse(task.format(changed, like=puzzle))
        assert (symmetry.inverse().apply(changed) == read).all()
        assert (symmetry.inverse().apply(changed_answer) == solved).all()


@given(seed=seeds)
def test_any_tokens_can_be_written_drawn_and_checked(task, seed):
    """An untrained network may say anything."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, task.vocab_size, task.seq_len).astype(np.uint8)
    assert isinstance(task.format(tokens, like="text"), str)
    assert isinstance(task.format(tokens, like=[[0]]), list)
    assert isinstance(task.draw(tokens), str)
    for puzzle, _ in task.examples():
        assert isinstance(task.check(task.parse(puzzle), tokens), Verdict)


def test_the_identity_changes_nothing(task):
    for puzzle, _ in task.examples():
        tokens = task.parse(puzzle)
        assert (task.identity().apply(tokens) == tokens).all()


def test_no_puzzles_are_checked_without_complaint(task):
    none = np.zeros((0, task.seq_len), dtype=np.uint8)
    assert task.check_many(none, none).shape == (0,)
    assert task.random_symmetry(np.random.default_rng(0)).apply(none).shape == none.shape


@pytest.mark.parametrize("nonsense", ["", "x" * 100_000, [], [[]], [1], [[True]], [["1"]], {"0": 1}, None, 7])
def test_nonsense_is_a_puzzle_error(task, nonsense):
    with pytest.raises(PuzzleError):
        task.parse(nonsense)


def test_tasks_are_found_by_name():
    assert task_names() == ["arc", "maze", "sudoku"]
    assert [get_task(name).name for name in task_names()] == task_names()
    with pytest.raises(KeyError, match="unknown task 'sodoku'; known: arc, maze, sudoku"):
        get_task("sodoku")


@pytest.mark.parametrize(
    ("description", "complaint"),
    [
        ({}, "kind is None; expected one of arc, grid, maze, sudoku"),
        ({"kind": ["maze"]}, "kind is ['maze']"),
        ({"kind": "sudoku", "shape": [16, 16]}, "shape is [16, 16]; this task has only [9, 9]"),
        ({"kind": "arc"}, "shape is None; this task has only [30, 30]"),
        ({"kind": "maze"}, "shape is None; expected [rows, columns]"),
        ({"kind": "maze", "shape": [5, True]}, "expected [rows, columns]"),
        ({"kind": "maze", "shape": [-3, -5]}, "shape -3 x -5; expected 2 to 4096 cells"),
        ({"kind": "maze", "shape": [1, 1]}, "expected 2 to 4096 cells"),
        ({"kind": "maze", "shape": [10**9, 10**9]}, "expected 2 to 4096 cells"),
        ({"kind": "maze", "shape": [5, 5], "code": "import os"}, "unknown field 'code'; known: shape"),
    ],
)
def test_a_description_is_not_trusted(description, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        task_from(description)


def test_tasks_need_nothing_but_numpy():
    """The API process imports them, and it has to stay small."""
    code = (
        "import sys; before = set(sys.modules); import model.tasks, model.tasks.vote; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(out.stdout.split()) == {"model", "numpy"}
