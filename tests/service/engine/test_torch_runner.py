"""Promise 4: a puzzle's answer and its number of segments do not depend on its neighbours."""

import dataclasses

import numpy as np
import pytest
import torch

from model.config import HRMConfig
from model.hrm import HRM
from service.engine.runner import Admission
from service.engine.torch_runner import TorchRunner

SIZE = 8


def network(mixer="mlp", prefix=0):
    torch.manual_seed(3)
    model = HRM(
        HRMConfig(
            vocab_size=11, seq_len=81, hidden_size=32, num_heads=2, H_layers=1, L_layers=1, expansion=2.0,
            inner_multiple=8, mixer=mixer, puzzle_emb_ndim=prefix, num_puzzles=3,
        )
    )  # fmt: skip
    torch.nn.init.normal_(model.q_head.weight, std=0.5)
    torch.nn.init.zeros_(model.q_head.bias)
    return model.requires_grad_(False).eval()


PUZZLES = np.random.default_rng(0).integers(1, 11, (64, 81)).astype(np.uint8)


def admission(slots, puzzles, low=1, high=6):
    k = len(slots)
    return Admission(
        np.array(slots), PUZZLES[puzzles], np.ones((k, 81), bool), np.zeros(k, np.int64), np.full(k, low),
        np.full(k, high),
    )  # fmt: skip


def run(runner, slots):
    runner.launch(np.array(slots))
    return runner.collect()


def history(runner, slot, puzzle, neighbours, segments=4):
    """Everything one puzzle shows over some segments, beside the given neighbours."""
    slots = [s for s in range(SIZE) if s != slot]
    runner.admit(admission([slot, *slots], [puzzle, *neighbours]))
    shown = []
    for _ in range(segments):
        r = run(runner, range(SIZE))
        shown.append((r.tokens[slot].tobytes(), r.q_halt[slot], r.q_continue[slot], r.confidence[slot]))
    return shown


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mixer", ["mlp", "attention"])
def test_neighbours_and_place_change_no_bit(mixer, compiled):
    runner = TorchRunner(network(mixer), SIZE, torch.float32, compiled=compiled)
    alone = history(runner, 0, 5, [9] * 7)
    assert history(runner, 0, 5, range(20, 27)) == alone
    assert history(runner, 6, 5, range(30, 37)) == alone
    runner.close()


def test_admission_resets_the_whole_state_prefix_included():
    runner = TorchRunner(network(prefix=40), SIZE, torch.float32)
    runner.admit(admission(range(SIZE), range(SIZE)))
    fresh = run(runner, range(SIZE))
    for _ in range(3):
        run(runner, range(SIZE))
    runner.admit(admission(range(SIZE), range(SIZE)))
    again = run(runner, range(SIZE))
    assert np.array_equal(fresh.q_halt, again.q_halt)
    assert np.array_equal(fresh.residual_H, again.residual_H)
    runner.close()


def test_idle_slots_keep_still_and_a_fixed_batch_runs_them_without_harm():
    for fixed in (False, True):
        runner = TorchRunner(network(), SIZE, torch.float32, fixed_batch=fixed)
        runner.admit(admission([1, 4], [1, 4]))
        few = [run(runner, [1, 4]) for _ in range(3)]
        assert all(len(r.q_halt) == 2 for r in few)
        assert all(r.shape == (SIZE if fixed else 2) for r in few)
        assert all(np.isfinite(r.q_halt).all() for r in few)
        runner.close()


def test_fixed_batch_gives_the_same_bits_at_any_load():
    runner = TorchRunner(network(), SIZE, torch.float32, fixed_batch=True)
    runner.admit(admission([2], [7]))
    alone = [run(runner, [2]).q_halt[0] for _ in range(3)]
    runner.admit(admission(range(SIZE), [7] * SIZE))
    crowded = [run(runner, range(SIZE)).q_halt[2] for _ in range(3)]
    assert alone == crowded
    runner.close()


def test_halting_obeys_head_minimum_and_limit():
    runner = TorchRunner(network(), SIZE, torch.float32)
    runner.admit(admission(range(SIZE), range(SIZE), low=2, high=3))
    first, second, third = (run(runner, range(SIZE)) for _ in range(3))
    assert not first.halted.any()
    assert np.array_equal(first.willing, first.q_halt > first.q_continue)
    assert np.array_equal(second.halted, second.q_halt > second.q_continue)
    assert third.halted.all()
    runner.close()


def test_puzzle_ids_choose_the_embedding():
    model = network(prefix=32)
    torch.nn.init.normal_(model.puzzle_emb.weights)
    runner = TorchRunner(model, SIZE, torch.float32)
    ids = np.array([0, 1, 2, 0, 1, 2, 0, 0])
    runner.admit(dataclasses.replace(admission(range(SIZE), [5] * SIZE), puzzle_ids=ids))
    q = run(runner, range(SIZE)).residual_H
    assert q[0] == q[3]
    assert q[1] == q[4]
    assert len({float(q[0]), float(q[1]), float(q[2])}) == 3
    runner.close()


def test_an_error_on_the_device_reaches_the_engine():
    runner = TorchRunner(network(), SIZE, torch.float32)
    runner.admit(dataclasses.replace(admission([0], [0]), tokens=np.full((1, 81), 200, np.uint8)))
    with pytest.raises(IndexError):
        run(runner, [0])
    runner.close()


@pytest.mark.slow
def test_compiled_and_eager_agree_at_any_number_of_rows():
    model = network()
    eager, compiled = (TorchRunner(model, SIZE, torch.float32, compiled=mode) for mode in (False, True))
    for rows in ([3], [1, 5], range(SIZE), [0]):
        for runner in (eager, compiled):
            runner.admit(admission(list(rows), list(rows)))
        for _ in range(3):
            said, repeated = run(eager, rows), run(compiled, rows)
            np.testing.assert_allclose(said.q_halt, repeated.q_halt, atol=1e-4)
            assert (said.tokens == repeated.tokens).mean() > 0.99
            assert len(said.tokens) == len(repeated.tokens) == len(rows)
    for runner in (eager, compiled):
        runner.close()


@pytest.mark.slow
def test_a_graph_compiled_for_one_bank_serves_the_other():
    first, second = network(), network()
    torch.nn.init.normal_(second.lm_head.weight)
    runners = [TorchRunner(model, SIZE, torch.float32, compiled=True) for model in (first, second)]
    shown = []
    for runner in runners:
        runner.admit(admission(range(SIZE), range(SIZE)))
        with torch.compiler.set_stance("default" if runner is runners[0] else "fail_on_recompile"):
            shown.append(run(runner, range(SIZE)))
        runner.close()
    assert not np.array_equal(shown[0].tokens, shown[1].tokens)
