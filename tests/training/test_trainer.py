"""The loop: deep supervision, one update after every segment, and states that continue exactly."""

import itertools

import pytest
import torch

from training.state import STATE_FILE, StateError, load_state, save_state
from training.trainer import Trainer


def parameters(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_parameters_are_updated_after_every_segment(recipe, pool):
    trainer = Trainer(recipe, pool, "cpu")
    seen = [parameters(trainer)]
    for _ in range(4):
        trainer.advance()
        seen.append(parameters(trainer))
    assert all(not torch.equal(before, after) for before, after in itertools.pairwise(seen))
    assert trainer.batch.segments.max() == 4, "the same puzzles went on through these updates"


def test_rows_are_replaced_when_they_halt(recipe, pool):
    recipe.train.lr, recipe.train.exploration = 0.0, 0.0
    trainer = Trainer(recipe, pool, "cpu")
    results = [trainer.advance() for _ in range(5)]
    assert [r.halted for r in results[:3]] == [0, 0, 0]  # the q-head of a fresh network is unwilling
    assert results[3].halted == 8
    assert results[3].segments == 4.0
    assert trainer.batch.segments.tolist() == [1] * 8


def test_learns_to_copy_givens(recipe, pool):
    recipe.train.steps, recipe.train.lr = 150, 1e-2
    recipe.train.weight_decay = 0.0
    trainer = Trainer(recipe, pool, "cpu")
    losses = [trainer.advance().token_loss for _ in range(150)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_ema_follows_the_weights(recipe, pool):
    recipe.train.ema = 0.5
    trainer = Trainer(recipe, pool, "cpu")
    before = [p.clone() for p in trainer.ema.model.parameters()]
    trainer.advance()
    for old, average, now in zip(before, trainer.ema.model.parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(average, (old + now) / 2)


@pytest.mark.parametrize("optimiser", ["adam_atan2", "muon"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(recipe, pool, tmp_path, optimiser):
    recipe.train.optimiser = optimiser
    through = Trainer(recipe, pool, "cpu")
    for _ in range(13):
        through.advance()
    first = Trainer(recipe, pool, "cpu")
    for _ in range(6):
        first.advance()
    save_state(tmp_path, first.tensors(), {"step": first.step})
    saved = load_state(tmp_path)
    second = Trainer(recipe, pool, "cpu")
    second.load(saved.tensors, saved.facts["step"])
    for _ in range(7):
        second.advance()
    resumed = second.tensors()
    assert all(torch.equal(value, resumed[name]) for name, value in through.tensors().items())


def test_a_share_of_rows_trains_q_continue_in_turn(recipe, pool):
    recipe.train.target_share = 0.25
    trainer = Trainer(recipe, pool, "cpu")
    windows = []
    for _ in range(4):
        windows.append(trainer._target_rows().tolist())
        trainer.advance()
    assert sorted(itertools.chain(*windows)) == list(range(8))


def test_the_learning_rate_warms_up_and_may_fall_at_the_end(recipe, pool):
    recipe.train.steps, recipe.train.warmup_steps, recipe.train.final_lr_share = 100, 10, 0.1
    trainer = Trainer(recipe, pool, "cpu")
    rates = {}
    for step in (0, 9, 50, 80, 90, 99):
        trainer.step = step
        rates[step] = trainer.learning_rate() / recipe.train.lr
    assert rates == pytest.approx({0: 0.1, 9: 1.0, 50: 1.0, 80: 1.0, 90: 0.55, 99: 0.145})


def test_a_damaged_state_is_named_and_left_alone(tmp_path, recipe, pool):
    save_state(tmp_path, Trainer(recipe, pool, "cpu").tensors(), {"step": 0})
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StateError, match=r"state\.safetensors: the saved state is damaged"):
        load_state(tmp_path)
    assert path.stat().st_size == 1000


def test_no_state_is_no_error(tmp_path):
    assert load_state(tmp_path) is None
