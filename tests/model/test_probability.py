import torch
from hypothesis import given
from hypothesis import strategies as st

from model.probability import log_probabilities

LOGITS = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=12)


@given(LOGITS)
def test_stablemax_is_a_distribution_and_keeps_the_order(values):
    logits = torch.tensor(values)
    probabilities = log_probabilities(logits, "stablemax").exp()
    assert abs(float(probabilities.sum()) - 1) < 1e-9
    order = torch.argsort(logits, stable=True)
    assert (probabilities[order].diff() >= 0).all()


def test_stablemax_by_hand():
    probabilities = log_probabilities(torch.tensor([1.0, 0.0, -1.0]), "stablemax").exp()  # s = 2, 1, 1/2
    torch.testing.assert_close(probabilities, torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64) / 3.5)


def test_softmax_is_torchs():
    logits = torch.randn(5)
    torch.testing.assert_close(log_probabilities(logits, "softmax").float(), torch.log_softmax(logits, -1))
