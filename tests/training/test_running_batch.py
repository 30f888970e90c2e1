import torch

from model.config import HRMConfig
from model.hrm import HRM
from tests.training.conftest import TINY_MODEL
from training.running_batch import RunningBatch


def batch(rows=6, first_row=0):
    model = HRM(HRMConfig(vocab_size=11, seq_len=81, **TINY_MODEL))
    return RunningBatch(model, rows, first_row, torch.float32, torch.device("cpu"))


def test_only_halted_rows_are_replaced(pool):
    b = batch()
    assert b.refill(pool, 0, exploration=0.0) == 6
    b.carry.z_H.fill_(7.0)
    b.segments += 2
    tokens = b.tokens.clone()
    b.halted = torch.tensor([False, True, False, False, True, False])
    assert b.refill(pool, 1, exploration=0.0) == 2
    kept = ~b.halted
    assert torch.equal(b.tokens[kept], tokens[kept])
    assert (b.carry.z_H[kept] == 7.0).all()
    assert (b.segments[kept] == 2).all()
    assert torch.equal(b.carry.z_H[b.halted], b.model.initial_carry(2).z_H)
    assert (b.segments[b.halted] == 0).all()
    assert not torch.equal(b.tokens[b.halted], tokens[b.halted])


def test_answers_belong_to_their_puzzles(pool):
    b = batch()
    b.refill(pool, 0, exploration=0.0)
    assert pool.task.check_many(b.tokens.numpy().astype("u1"), b.labels.numpy().astype("u1")).all()


def test_a_sample_depends_on_seed_step_and_global_row_alone(pool):
    """So a run on two processes sees what a run on one does."""
    whole, half = batch(6), batch(3, first_row=3)
    for b in (whole, half):
        b.refill(pool, 11, exploration=0.5)
    assert torch.equal(whole.tokens[3:], half.tokens)
    assert torch.equal(whole.min_segments[3:], half.min_segments)
    other = batch(6)
    other.refill(pool, 12, exploration=0.5)
    assert not torch.equal(whole.tokens, other.tokens)


def test_exploration_draws_a_minimum_for_some_rows(pool):
    b = batch(300)
    b.refill(pool, 0, exploration=0.1)
    explored = b.min_segments[b.min_segments > 1]
    assert 10 <= len(explored) <= 60
    assert set(explored.tolist()) == {2, 3, 4}
