"""Voting: the most frequent answer wins, then the most confident one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks import get_task
from model.tasks.vote import vote

SUDOKU = get_task("sudoku")
ANSWER = SUDOKU.parse_answer(SUDOKU.examples()[0][1])
A, B, C = (np.where(np.arange(81) == 0, token, ANSWER).astype(np.uint8) for token in (2, 3, 4))


def ballot(*answers, q_halt):
    return vote(np.stack(answers), [SUDOKU.identity()] * len(answers), np.array(q_halt, dtype=np.float32))


def test_the_most_frequent_answers_come_first():
    first, second = ballot(A, B, C, B, C, B, q_halt=[9, 0, 0, 0, 0, 0])
    assert (first.votes, second.votes) == (3, 2)
    assert (first.answer == B).all()
    assert (second.answer == C).all()


def test_ties_are_ranked_by_mean_q_halt():
    first, second = ballot(A, A, B, B, q_halt=[5, -5, 1, 2])
    assert (first.answer == B).all()
    assert (first.q_halt, second.q_halt) == (1.5, 0.0)


def test_a_look_without_a_symmetry_is_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        vote(np.stack([A, B]), [SUDOKU.identity()], np.zeros(2))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_voting_is_right_on_perfect_predictions_under_every_symmetry(seed, number):
    rng = np.random.default_rng(seed)
    looks = [SUDOKU.random_symmetry(rng) for _ in range(number)]
    predictions = np.stack([look.apply(ANSWER) for look in looks])
    (winner,) = vote(predictions, looks, rng.normal(size=number))
    assert (winner.answer == ANSWER).all()
    assert winner.votes == number
