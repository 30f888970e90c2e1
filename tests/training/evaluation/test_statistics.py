import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.statistics import Reliability, Share


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662), (263, 263, 0.9856, 1.0)],
)
def test_wilsons_interval_has_the_values_of_the_literature(count, total, low, high):
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3, for 81 of 263."""
    assert Share(count, total).interval == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_an_interval_holds_its_share_and_lies_between_0_and_1(numbers):
    share = Share(*numbers)
    low, high = share.interval
    assert 0 <= low <= high <= 1
    assert low - 1e-9 <= share.value <= high + 1e-9 or not share.total


def test_calibration_error_is_zero_for_honest_probabilities_and_large_for_bold_ones():
    rng = np.random.default_rng(0)
    probabilities = rng.random(200_000)
    outcomes = rng.random(200_000) < probabilities
    assert Reliability.of(probabilities, outcomes).error < 0.01
    bold = Reliability.of(np.full(1000, 0.95), np.arange(1000) < 500)
    assert bold.error == pytest.approx(0.45)
    assert (bold.counts[9], bold.observed[9]) == (1000, 0.5)


def test_a_probability_of_one_belongs_to_the_last_bin():
    assert Reliability.of(np.array([1.0, 0.0]), np.array([True, False])).counts == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
