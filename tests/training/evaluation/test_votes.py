"""ARC: images of a task vote on its tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks.arc import Arc, encode
from training.evaluation.votes import count_votes, image_of

COLOURS = st.integers(0, 9)
GRIDS = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1)).map(
    lambda drawn: np.random.default_rng(drawn[2]).integers(0, 10, drawn[:2]).astype(np.uint8)
)


def grid(*rows):
    return encode(np.array(rows, dtype=np.uint8))


def vote(ballots, q_halt=None):
    """Each ballot: identifier, test, what was said, what is right."""
    names, tests, said, known = zip(*ballots, strict=True)
    values = np.array(q_halt or [0.0] * len(ballots), dtype=np.float32)
    return count_votes(np.array(names), np.array(tests), np.stack(said), np.stack(known), values)


@given(GRIDS, st.integers(0, 2**32 - 1), st.sampled_from(["_", "|||"]))
def test_perfect_answers_under_any_symmetry_win_every_vote(answer, seed, separator):
    rng = np.random.default_rng(seed)
    ballots = []
    for symmetry in [Arc().identity(), *(Arc().random_symmetry(rng) for _ in range(6))]:
        image = encode(symmetry.change(answer))
        ballots.append((separator.join(["task", *symmetry.name.split("_")]), 0, image, image))
    votes = vote(ballots)
    assert (votes.tasks, votes.tests) == (1, 1)
    assert votes.outputs[1].value == votes.task_means[1] == 1.0


def test_most_votes_win_and_the_mean_confidence_breaks_ties():
    right, wrong, other = grid([1, 2]), grid([2, 1]), grid([3, 3])
    assert vote([("t", 0, said, right) for said in (right, right, wrong)]).outputs[1].value == 1
    two = vote([("t", 0, said, right) for said in (wrong, wrong, right)])
    assert [two.outputs[k].value for k in (1, 2)] == [0, 1]
    assert vote([("t", 0, said, right) for said in (wrong, right)], [0.0, 1.0]).outputs[1].value == 1
    assert vote([("t", 0, said, right) for said in (wrong, right)], [1.0, 0.0]).outputs[1].value == 0
    three = vote([("t", 0, said, right) for said in (wrong, other, right)], [1.0, 0.5, 0.0])
    assert three.outputs[2].value == 0, "there are two attempts"


def test_the_two_metrics_differ_where_tasks_have_different_numbers_of_tests():
    right, wrong = grid([1]), grid([2])
    ballots = [("one", 0, right, right), *(("three", test, wrong, right) for test in range(3))]
    votes = vote(ballots)
    assert (votes.tasks, votes.tests) == (2, 4)
    assert votes.outputs[2].value == pytest.approx(1 / 4), "Kaggle: of the test outputs"
    assert votes.task_means[2] == pytest.approx(1 / 2), "upstream: of a task's tests, averaged over tasks"


@pytest.mark.parametrize("identifier", ["007bbfb7_t3_0192837465", "007bbfb7|||t3|||0192837465"])
def test_identifiers_are_read_as_hrm_and_tiny_recursive_models_write_them(identifier):
    task, symmetry = image_of(identifier)
    assert (task, symmetry.name) == ("007bbfb7", "t3_0192837465")


@pytest.mark.parametrize("plain", ["007bbfb7", "a_b_c", "task_t9_0123456789", "a|||b|||c"])
def test_other_identifiers_are_no_images(plain):
    assert image_of(plain)[0] == plain
    assert image_of(plain)[1].name == Arc().identity().name
