import math

import pytest
import torch

from model.config import HRMConfig
from model.hrm import HRM
from tests.training.conftest import TINY_MODEL
from training.optimiser import AdamATan2, Muon, orthogonalise


def test_first_step_is_lr_times_the_arctangent_of_the_sign():
    """With bias correction m = g and sqrt(v) = |g| at the first step: atan2(g, |g|) is 45 degrees, signed."""
    p = torch.nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    p.grad = torch.tensor([1e-12, -3.0, 0.0])
    AdamATan2([p], lr=0.1, weight_decay=0.0).step()
    torch.testing.assert_close(p.data, torch.tensor([1 - 0.1 * math.pi / 4, 1 + 0.1 * math.pi / 4, 1.0]))


def test_second_step_by_hand():
    p = torch.nn.Parameter(torch.tensor([0.0]))
    optimiser = AdamATan2([p], lr=1.0, betas=(0.9, 0.95), weight_decay=0.0)
    m = v = where = 0.0
    for step, gradient in enumerate((2.0, -1.0), start=1):
        p.grad = torch.tensor([gradient])
        optimiser.step()
        m = 0.9 * m + 0.1 * gradient
        v = 0.95 * v + 0.05 * gradient**2
        where -= math.atan2(m / (1 - 0.9**step), math.sqrt(v / (1 - 0.95**step)))
        assert math.isclose(p.item(), where, rel_tol=1e-5)


def test_weight_decay_is_decoupled_from_the_gradient():
    p = torch.nn.Parameter(torch.tensor([2.0]))
    p.grad = torch.tensor([0.0])
    AdamATan2([p], lr=0.1, weight_decay=0.5).step()
    assert math.isclose(p.item(), 2.0 * (1 - 0.1 * 0.5), rel_tol=1e-6)


def test_parameters_without_gradient_stay():
    p = torch.nn.Parameter(torch.tensor([2.0]))
    AdamATan2([p]).step()
    assert p.item() == 2.0


@pytest.mark.parametrize("shape", [(8, 8), (20, 6), (6, 20)])
def test_orthogonalise_makes_singular_values_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = torch.linalg.svdvals(matrix), torch.linalg.svdvals(orthogonalise(matrix))
    assert before.max() / before.min() > 1.5
    assert 0.6 < after.min() <= after.max() < 1.3  # the quintic trades exactness for speed


def test_muon_moves_matrices_by_its_own_rule_and_the_rest_by_arctangents():
    model = HRM(HRMConfig(vocab_size=11, seq_len=81, **TINY_MODEL))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    Muon(model, lr=0.01, weight_decay=0.0).step()
    for name, p in model.named_parameters():
        step = (p.detach() - before[name]) / 0.01
        if "_level." in name:
            assert 0.1 < step.square().mean().sqrt() < 0.3, name
        else:
            torch.testing.assert_close(step.abs(), torch.full_like(step, math.pi / 4), rtol=1e-3, atol=0)
