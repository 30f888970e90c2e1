import torch

from model.act import continue_target, halts

LOW, HIGH = torch.tensor([1, 1, 3, 1]), torch.tensor([16, 16, 16, 2])


def test_halts_by_the_head_within_its_limits():
    q_halt, q_continue = torch.tensor([2.0, -1.0, 2.0, -1.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])
    done = halts(q_halt, q_continue, torch.tensor([2, 2, 2, 2]), LOW, HIGH, "halt_over_continue")
    assert done.tolist() == [True, False, False, True]  # willing; unwilling; before M_min; at M_max


def test_trm_rule_compares_with_zero():
    q_halt, q_continue = torch.tensor([0.5, -0.5]), torch.tensor([1.0, -1.0])
    limits = torch.tensor([1, 1]), torch.tensor([16, 16])
    assert halts(q_halt, q_continue, torch.tensor([1, 1]), *limits, "halt_over_zero").tolist() == [True, False]


def test_continue_target_takes_the_better_action_but_can_only_halt_at_the_end():
    q_halt, q_continue = torch.tensor([-1.0, -1.0]), torch.tensor([2.0, 2.0])
    target = continue_target(q_halt, q_continue, torch.tensor([False, True]), "halt_over_continue")
    assert torch.equal(target, torch.sigmoid(torch.tensor([2.0, -1.0])))
