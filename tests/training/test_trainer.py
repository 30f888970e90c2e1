"""The loop: deep supervision, one update after every segment, and states that continue exactly."""

import itertools

import numpy as np
import pytest
import torch

from tests.training.conftest import few_pool, tiny_recipe
from training.errors import RunError, StateError
from training.state import STATE_FILE, load_state, save_state
from training.trainer import Trainer
from training.world import World


def parameters(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_parameters_are_updated_after_every_segment(recipe, pool):
    trainer = Trainer(recipe, pool, World())
    seen = [parameters(trainer)]
    for _ in range(4):
        trainer.advance()
        seen.append(parameters(trainer))
    assert all(not torch.equal(before, after) for before, after in itertools.pairwise(seen))
    assert trainer.batch.segments.max() == 4, "the same puzzles went on through these updates"


def test_rows_are_replaced_when_they_halt(recipe, pool):
    recipe.train.lr, recipe.train.exploration = 0.0, 0.0
    trainer = Trainer(recipe, pool, World())
    results = [trainer.advance() for _ in range(5)]
    # The q-head of a fresh network is unwilling: all run to M_max = 4, and two of each age began.
    assert [r.halted for r in results] == [2, 2, 2, 2, 2]
    assert {r.segments for r in results} == {4.0}
    assert trainer.batch.segments.tolist() == [1, 2, 3, 4, 1, 2, 3, 4]


def test_running_batches_take_turns_and_keep_their_puzzles_meanwhile(recipe, pool):
    recipe.train.rotation = 3
    trainer = Trainer(recipe, pool, World())
    for _ in range(3):
        trainer.advance()
    before = [batch.tokens.clone() for batch in trainer.batches]
    assert not torch.equal(before[0], before[1])
    trainer.advance()
    ages = [batch.segments.tolist() for batch in trainer.batches]
    assert ages == [[2, 3, 4, 1, 2, 3, 4, 1], [1, 2, 3, 4, 1, 2, 3, 4], [1, 2, 3, 4, 1, 2, 3, 4]]
    assert (trainer.batches[0].tokens == before[0]).all(dim=1).tolist() == [True, True, True, False] * 2
    assert all(torch.equal(trainer.batches[turn].tokens, before[turn]) for turn in (1, 2))


def test_learns_to_copy_givens(recipe, pool):
    recipe.train.steps, recipe.train.lr = 150, 1e-2
    recipe.train.weight_decay = 0.0
    trainer = Trainer(recipe, pool, World())
    losses = [trainer.advance().token_loss for _ in range(150)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_the_q_continue_of_half_the_rows_weighs_half_as_much_as_that_of_all(recipe, pool):
    def gradient(share, step):
        recipe.train.target_share, recipe.train.exploration = share, 0.0
        trainer, seen = Trainer(recipe, pool, World()), []
        trainer.batch.refill(pool, 0, 0.0)
        trainer.batch.halted[:] = False
        trainer.step = step
        torch.nn.init.normal_(trainer.model.q_head.weight, generator=torch.Generator().manual_seed(0))
        trainer.model.q_head.bias.register_hook(lambda g: seen.append(g[1].item()))
        trainer.advance()
        return sum(seen)

    of_all = gradient(1.0, 2)
    assert abs(of_all) > 1e-3
    assert of_all == pytest.approx(gradient(0.5, 2) + gradient(0.5, 3), rel=1e-4)


def test_ema_follows_the_weights(recipe, pool):
    recipe.train.ema = 0.5
    trainer = Trainer(recipe, pool, World())
    before = [p.clone() for p in trainer.ema.model.parameters()]
    trainer.advance()
    for old, average, now in zip(before, trainer.ema.model.parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(average, (old + now) / 2)


def test_fresh_rows_start_from_the_initial_states_of_the_weights_that_the_run_began_with(recipe, pool):
    other = Trainer(recipe, pool, World())
    recipe.train.seed = 1
    begun, resumed = Trainer(recipe, pool, World()), Trainer(recipe, pool, World())
    begun.begin_with(other.model, "other")
    resumed.load(begun.tensors(), 0)
    for trainer in (begun, resumed):
        trainer.batch.refill(pool, 0, exploration=0.0)
        assert torch.equal(trainer.batch.carry.z_H, other.model.initial_carry(8).z_H)
        assert torch.equal(trainer.batch.carry.z_L, other.model.initial_carry(8).z_L)


@pytest.mark.parametrize(("optimiser", "rotation"), [("adam_atan2", 1), ("muon", 1), ("adam_atan2", 4)])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(recipe, pool, tmp_path, optimiser, rotation):
    recipe.train.optimiser, recipe.train.rotation = optimiser, rotation
    through = Trainer(recipe, pool, World())
    for _ in range(13):
        through.advance()
    first = Trainer(recipe, pool, World())
    for _ in range(6):
        first.advance()
    save_state(tmp_path, first.tensors(), {"step": first.step})
    saved = load_state(tmp_path)
    second = Trainer(recipe, pool, World())
    second.load(saved.tensors, saved.facts["step"])
    for _ in range(7):
        second.advance()
    resumed = second.tensors()
    assert all(torch.equal(value, resumed[name]) for name, value in through.tensors().items())


def test_a_share_of_rows_trains_q_continue_in_turn(recipe, pool):
    recipe.train.target_share = 0.25
    trainer = Trainer(recipe, pool, World())
    turns = []
    for _ in range(4):
        turns.append(list(range(8))[trainer._target_rows(slice(0, 8))])
        trainer.advance()
    assert sorted(itertools.chain(*turns)) == list(range(8))
    assert {len(turn) for turn in turns} == {2}


@pytest.mark.parametrize("target_share", [1.0, 0.25])
def test_accumulating_gradients_over_parts_of_the_batch_changes_nothing(pool, target_share):
    trainers = []
    for parts in (1, 2):
        recipe = tiny_recipe(halt_rule="halt_over_zero")
        recipe.train.accumulate, recipe.train.target_share = parts, target_share
        trainers.append(Trainer(recipe, pool, World()))
        results = [trainers[-1].advance() for _ in range(10)]
    torch.testing.assert_close(*(parameters(trainer) for trainer in trainers), atol=1e-5, rtol=0)
    assert results[-1].halted == 2


def test_parts_must_be_equal_and_large_enough(recipe, pool):
    recipe.train.accumulate = 3
    with pytest.raises(RunError, match=r"8 rows a process cannot be split into train\.accumulate=3 equal parts"):
        Trainer(recipe, pool, World())
    recipe.train.accumulate, recipe.train.target_share = 4, 0.25
    with pytest.raises(RunError, match=r"lower train\.accumulate or raise train\.target_share"):
        Trainer(recipe, pool, World())


def test_the_learning_rate_warms_up_and_may_fall_at_the_end(recipe, pool):
    recipe.train.steps, recipe.train.warmup_steps, recipe.train.final_lr_share = 100, 10, 0.1
    trainer = Trainer(recipe, pool, World())
    rates = {}
    for step in (0, 9, 50, 80, 90, 99):
        trainer.step = step
        rates[step] = trainer.learning_rate() / recipe.train.lr
    assert rates == pytest.approx({0: 0.1, 9: 1.0, 50: 1.0, 80: 1.0, 90: 0.55, 99: 0.145})


def test_a_state_of_another_network_is_refused(recipe, pool):
    saved = Trainer(recipe, pool, World()).tensors()
    other = Trainer(tiny_recipe(hidden_size=24), pool, World())
    with pytest.raises(StateError, match="belongs to another network"):
        other.load(saved, 0)


def test_puzzle_embeddings_are_trained_row_by_row_saved_and_shared_with_the_average(tmp_path):
    ids = np.where(np.arange(32) % 2, 3, 5).astype(np.int32)
    trainer = Trainer(tiny_recipe(puzzle_emb_ndim=16), few_pool(ids), World())
    assert trainer.config.num_puzzles == 6
    for _ in range(6):
        trainer.advance()
    table = trainer.model.puzzle_emb.weights
    assert set(table.any(dim=1).nonzero().flatten().tolist()) == {3, 5}
    assert trainer.ema.model.puzzle_emb.weights is table
    save_state(tmp_path, trainer.tensors(), {})
    again = Trainer(tiny_recipe(puzzle_emb_ndim=16), few_pool(ids), World())
    again.load(load_state(tmp_path).tensors, 6)
    assert torch.equal(again.model.puzzle_emb.weights, table)
    for one in (trainer, again):
        one.advance()
    assert torch.equal(again.model.puzzle_emb.weights, table)
    assert torch.equal(again.batch.puzzle_ids, trainer.batch.puzzle_ids)


def test_a_damaged_state_is_named_and_left_alone(tmp_path, recipe, pool):
    save_state(tmp_path, Trainer(recipe, pool, World()).tensors(), {"step": 0})
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StateError, match=r"state\.safetensors: the saved state is damaged"):
        load_state(tmp_path)
    assert path.stat().st_size == 1000


def test_no_state_is_no_error(tmp_path):
    assert load_state(tmp_path) is None
