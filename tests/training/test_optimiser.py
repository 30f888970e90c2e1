import math

import torch

from training.optimiser import AdamATan2


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
