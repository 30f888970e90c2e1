"""`hrm-train eval --modes`: attempts until the checker accepts, and what accuracy costs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.hrm import Carry, Output
from model.tasks import get_task
from tests.conftest import ANSWER
from tests.model.test_checkpoint import write
from tests.training.conftest import tiny_recipe
from training.data.sudoku_solver import solve
from training.evaluation.attempts import Attempts, Budget, attempt
from training.evaluation.price import price_attempts

SUDOKU = get_task("sudoku")
NEVER = np.iinfo(np.int64).max


class Scripted:
    """Stands in for a network: the puzzle with i + 1 blanks is answered from segment script[k][i] of attempt k on."""

    def __init__(self, script):
        self.script, self.attempt, self.segments_run = script, -1, 0
        self.lm_head = SimpleNamespace(weight=torch.zeros(1))

    def puzzle_vectors(self, puzzle_ids):
        return None

    def embed(self, tokens, vectors):
        return tokens

    def initial_carry(self, batch_size, dtype):
        self.attempt += 1
        return Carry(torch.zeros(batch_size), torch.zeros(batch_size))

    def reason(self, carry, tokens):
        self.segments_run += len(tokens)
        segment = carry.z_H + 1
        which = (tokens == 1).sum(1) - 1
        answers = torch.from_numpy(solve(tokens.numpy().astype(np.uint8))[0].astype(np.int64))
        knows = segment >= torch.tensor(self.script[self.attempt])[which]
        said = torch.where(knows[:, None], answers, tokens)
        return Carry(segment, segment), Output(torch.nn.functional.one_hot(said, 11).float(), segment, segment)


def test_attempts_go_on_where_the_checker_did_not_accept_and_no_longer_than_some_budget_needs():
    answers = np.stack([SUDOKU.parse(ANSWER)] * 4)
    puzzles = answers.copy()
    for i in range(4):
        puzzles[i, : i + 1] = 1
    network = Scripted([[1, 3, 9, 9], [9, 2, 9, 9], [9, 9, 1, 9]])
    made = attempt(network, SUDOKU, puzzles, answers, Budget(attempts=3, segments=[2, 4]))
    assert np.where(made.accepted == NEVER, 0, made.accepted).tolist() == [[1, 0, 0], [3, 2, 0], [0, 0, 1], [0, 0, 0]]
    assert made.exact.tolist() == (made.accepted != NEVER).tolist()
    assert network.segments_run == (1 + 3 + 4 + 4) + (2 + 4 + 4) + (1 + 4), "the second puzzle was open for 2 alone"
    prices = price_attempts([1, 2, 3], [2, 4], made, np.array(["a", "a", "b", "b"]))
    found = {(price.limit, price.attempts): price.groups["all"] for price in prices}
    assert {budget: (result.exact.count, result.segments) for budget, result in found.items()} == {
        (2, 1): (1, (1 + 2 + 2 + 2) / 4),
        (2, 2): (2, (1 + 4 + 4 + 4) / 4),
        (2, 3): (3, (1 + 4 + 5 + 6) / 4),
        (4, 1): (2, (1 + 3 + 4 + 4) / 4),
        (4, 2): (2, (1 + 3 + 8 + 8) / 4),
        (4, 3): (3, (1 + 3 + 9 + 12) / 4),
    }
    assert prices[-1].groups["b"].exact.value == 0.5
    assert prices[-1].groups["b"].attempts == 3.0


@given(
    st.lists(st.lists(st.integers(1, 6) | st.just(NEVER), min_size=3, max_size=3), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(1, 5),
)
def test_a_budget_costs_what_trying_one_after_the_other_costs(accepted, number, limit):
    table = np.array(accepted)
    made = Attempts(np.full(len(table), table.shape[1]), table, table != NEVER, None)
    [price] = price_attempts([number], [limit], made, np.full(len(table), "mine"))
    spent, solved = 0, 0
    for row in accepted:
        for segments in row[:number]:
            spent += min(segments, limit)
            if segments <= limit:
                solved += 1
                break
    assert price.groups["all"].segments == pytest.approx(spent / len(table))
    assert price.groups["all"].valid.count == solved


def test_a_table_and_a_picture_come_from_the_command(run, tiny_registry, csv, tmp_path):
    checkpoint, picture = tiny_registry / "sudoku" / "tiny", tmp_path / "new" / "price.svg"
    options = ["--modes", "act,fixed,verified", "--attempts", "1,2", "--segments", "2,3", "--device", "cpu"]
    code, printed, _ = run("eval", checkpoint, csv, *options, "--picture", picture, "--json")
    assert code == 0
    prices = json.loads(printed)["prices"]
    assert [(price["mode"], price["attempts"], price["max_segments"]) for price in prices] == [
        ("act", 1, 2), ("act", 1, 3), ("fixed", 1, 2), ("fixed", 1, 3),
        ("verified", 1, 2), ("verified", 2, 2), ("verified", 1, 3), ("verified", 2, 3),
    ]  # fmt: skip
    assert prices[-1]["groups"]["all"]["segments"] == 6.0, "random weights solve nothing: two attempts of three"
    assert set(prices[-1]["groups"]) == {"all", "a", "b"}
    assert "<svg" in picture.read_text()
    code, printed, _ = run("eval", checkpoint, csv, *options)
    assert code == 0
    assert "a: 10 puzzles" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attempts", "2"], "--attempts: there is more than one attempt in --modes verified alone"),
        (["--modes", "act", "--max-segments", "3"], "--max-segments: with --modes, --segments says"),
        (["--picture", "a.svg"], "--picture: there is nothing to draw without --modes"),
        (["--modes", "act", "--picture", "a.bmp"], "--picture: a.bmp must end in .svg or .png"),
    ],
)
def test_options_without_effect_are_refused(run, tiny_registry, csv, options, message):
    code, _, said = run("eval", tiny_registry / "sudoku" / "tiny", csv, *options)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said


def test_a_task_without_a_checker_cannot_be_verified(run, tmp_path):
    task = {"kind": "grid", "name": "pairs", "shape": [1, 2], "alphabet": "ab"}
    recipe = tiny_recipe()
    recipe.task = task
    from model.hrm import HRM

    path = write(tmp_path / "pairs" / "1", HRM(recipe.architecture(1)), task=task)
    (tmp_path / "pairs.csv").write_text("question,answer\nab,ba\n")
    code, _, said = run("eval", path.path, tmp_path / "pairs.csv", "--modes", "verified")
    assert code == 2
    assert "--modes verified: the task pairs has no checker" in said
