"""A calibration is fitted on held-out answers, and then tells how likely others are exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.calibration import Calibration, sigmoid
from training.evaluation.calibrate import fit_calibration
from training.evaluation.statistics import Reliability


def answers(count, seed, truth):
    """Confidence and q_halt of answers that are as often exact as `truth` says."""
    rng = np.random.default_rng(seed)
    q_halt = rng.normal(1, 3, count)
    confidence = sigmoid(rng.normal(3, 1, count) + 0.5 * q_halt)
    return confidence, q_halt, rng.random(count) < truth.probability(confidence, q_halt)


def test_what_decides_is_found_again_and_the_probabilities_can_be_believed():
    truth = Calibration(offset=-2.0, by_confidence=0.8, by_q_halt=0.4)
    found = fit_calibration(*answers(20_000, 0, truth))
    np.testing.assert_allclose(list(found.to_dict().values()), list(truth.to_dict().values()), atol=0.12)
    confidence, q_halt, exact = answers(20_000, 1, truth)
    assert Reliability.of(found.probability(confidence, q_halt), exact).error < 0.01
    assert Reliability.of(confidence, exact).error > 0.1


def test_what_speaks_against_its_own_meaning_is_left_out():
    rng = np.random.default_rng(2)
    q_halt = rng.normal(0, 2, 2000)
    found = fit_calibration(rng.random(2000), q_halt, rng.random(2000) < sigmoid(-q_halt))
    assert found.by_q_halt == 0


def test_a_hundred_right_of_a_hundred_do_not_promise_the_next():
    rng = np.random.default_rng(3)
    confidence, q_halt = rng.uniform(0.9, 1, 100), rng.normal(5, 1, 100)
    probability = fit_calibration(confidence, q_halt, np.ones(100, dtype=bool)).probability(confidence, q_halt)
    assert 0.97 < probability.mean() < 1
    assert fit_calibration(confidence, q_halt, np.zeros(100, dtype=bool)).probability(0.99, 5.0) < 0.03


@pytest.mark.parametrize("seed", range(5))
def test_a_network_that_is_nearly_always_right_and_sure_of_it_is_calibrated_too(seed):
    """Nearly all answers crowd at one end, the wrong ones lie far off: whole Newton steps lead astray there."""
    rng = np.random.default_rng(seed)
    exact = rng.random(500) < 0.93
    confidence = np.where(exact, 1 - 1e-6 * rng.random(500), rng.uniform(0.6, 1, 500))
    q_halt = np.where(exact, rng.normal(9, 1, 500), rng.normal(-2, 3, 500))
    found = fit_calibration(confidence, q_halt, exact)
    assert abs(found.offset) < 1000
    assert Reliability.of(found.probability(confidence, q_halt), exact).error < 0.02


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(-30, 30, width=32), st.booleans()), min_size=1, max_size=30)
)
def test_any_answers_give_a_calibration(drawn):
    confidence, q_halt, exact = (np.array(column) for column in zip(*drawn, strict=True))
    probabilities = fit_calibration(confidence, q_halt, exact).probability(confidence, q_halt)
    assert ((probabilities > 0) & (probabilities < 1)).all()
