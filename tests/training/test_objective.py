"""What one training step measures the network against."""

import torch

from model.config import HRMConfig
from model.hrm import HRM
from tests.training.conftest import TINY_MODEL
from training.objective import Objective


def test_q_continue_counts_on_going_further_before_m_max_and_on_halting_at_it():
    model = HRM(HRMConfig(vocab_size=11, seq_len=81, **TINY_MODEL))  # M_max 4
    with torch.no_grad():
        model.q_head.bias.copy_(torch.tensor([-1.0, 2.0]))  # q_halt and q_continue of every segment
    tokens, run = torch.ones(3, 81, dtype=torch.int64), torch.tensor([2, 3, 4])
    objective = Objective(model, "last_step", compiled=False)
    target = objective.continue_target(model.initial_carry(3), tokens, model.puzzle_vectors(run), run)
    torch.testing.assert_close(target, torch.sigmoid(torch.tensor([2.0, 2.0, -1.0])))
