"""What every runner promises; promise 4 above all: a puzzle's answer does not depend on its neighbours."""

import dataclasses

import numpy as np
import pytest
import torch
from runner_lab import SIZE, admission, compiled_runner, network, onnx_runner, run, torch_runner

from model.checkpoint import Canary, write_checkpoint
from model.tasks import get_task
from model.weights import serialise

BACKENDS = [
    pytest.param(torch_runner, id="eager"),
    pytest.param(onnx_runner, id="onnx"),
    pytest.param(compiled_runner, id="compiled", marks=pytest.mark.slow),
]


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Makes a runner of a network."""
    return request.param


def history(runner, slot, puzzle, neighbours, segments=4):
    """Everything one puzzle shows over some segments, beside the given neighbours."""
    slots = [s for s in range(SIZE) if s != slot]
    runner.admit(admission([slot, *slots], [puzzle, *neighbours]))
    shown = []
    for _ in range(segments):
        r = run(runner, range(SIZE))
        shown.append((r.tokens[slot].tobytes(), r.q_halt[slot], r.q_continue[slot], r.confidence[slot]))
    return shown


@pytest.mark.parametrize("sizes", [{}, {"mixer_norm": "positions"}, {"mixer": "attention"}], ids=str)
def test_neighbours_and_place_change_no_bit(backend, sizes):
    runner = backend(network(**sizes))
    alone = history(runner, 0, 5, [9] * 7)
    assert history(runner, 0, 5, range(20, 27)) == alone
    assert history(runner, 6, 5, range(30, 37)) == alone


def test_admission_resets_the_whole_state_prefix_included(backend):
    runner = backend(network(prefix=40))
    runner.admit(admission(range(SIZE), range(SIZE)))
    fresh = run(runner, range(SIZE))
    for _ in range(3):
        run(runner, range(SIZE))
    runner.admit(admission(range(SIZE), range(SIZE)))
    again = run(runner, range(SIZE))
    assert np.array_equal(fresh.q_halt, again.q_halt)
    assert np.array_equal(fresh.residual_H, again.residual_H)


@pytest.mark.parametrize("fixed", [False, True])
def test_idle_slots_keep_still_and_a_fixed_batch_runs_them_without_harm(backend, fixed):
    runner = backend(network(), fixed_batch=fixed)
    runner.admit(admission([1, 4], [1, 4]))
    few = [run(runner, [1, 4]) for _ in range(3)]
    assert all(len(r.q_halt) == 2 for r in few)
    assert all(r.shape == (SIZE if fixed else 2) for r in few)
    assert all(np.isfinite(r.q_halt).all() for r in few)


def test_fixed_batch_gives_the_same_bits_at_any_load(backend):
    runner = backend(network(), fixed_batch=True)
    runner.admit(admission([2], [7]))
    alone = [run(runner, [2]).q_halt[0] for _ in range(3)]
    runner.admit(admission(range(SIZE), [7] * SIZE))
    crowded = [run(runner, range(SIZE)).q_halt[2] for _ in range(3)]
    assert alone == crowded


def test_each_slot_halts_by_head_minimum_and_limit(backend):
    runner = backend(network())
    runner.admit(admission(range(SIZE), range(SIZE), low=2, high=3))
    first, second, third = (run(runner, range(SIZE)) for _ in range(3))
    assert not first.halted.any()
    assert np.array_equal(first.willing, first.q_halt > first.q_continue)
    assert np.array_equal(second.halted, second.q_halt > second.q_continue)
    assert len(set(second.halted)) == 2, "some go on while others halt"
    assert third.halted.all()


def test_puzzle_ids_choose_the_embedding(backend):
    model = network(prefix=32)
    torch.nn.init.normal_(model.puzzle_emb.weights)
    runner = backend(model)
    ids = np.array([0, 1, 2, 0, 1, 2, 0, 0])
    runner.admit(dataclasses.replace(admission(range(SIZE), [5] * SIZE), puzzle_ids=ids))
    q = run(runner, range(SIZE)).residual_H
    assert q[0] == q[3]
    assert q[1] == q[4]
    assert len({float(q[0]), float(q[1]), float(q[2])}) == 3


@pytest.mark.parametrize("backend", BACKENDS[:2], indirect=True)  # compiled code ends the process, as it should
def test_an_error_on_the_device_reaches_the_engine(backend):
    runner = backend(network())
    runner.admit(dataclasses.replace(admission([0], [0]), tokens=np.full((1, 81), 200, np.uint8)))
    with pytest.raises((IndexError, RuntimeError)):
        run(runner, [0])


def test_weights_are_exchanged_in_place_initial_state_included(backend, tmp_path):
    old, new = network(seed=3), network(seed=4)
    task = get_task("sudoku")
    info = write_checkpoint(
        tmp_path / "sudoku" / "new", task=task.describe(), architecture=new.config, weights=serialise(new),
        canaries=[Canary(*task.examples()[0])], canary_accuracy=0.0, training={},
    )  # fmt: skip
    used, unused = backend(old), backend(new)
    used.admit(admission(range(SIZE), range(SIZE)))
    run(used, range(SIZE))
    used.load(info)
    assert history(used, 0, 5, range(20, 27)) == history(unused, 0, 5, range(20, 27))


def test_every_backend_agrees_with_eager_torch_at_any_number_of_rows(backend):
    model = network("attention", prefix=40)
    eager, other = torch_runner(model), backend(model)
    for rows in ([3], [1, 5], range(SIZE), [0]):
        for runner in (eager, other):
            runner.admit(admission(list(rows), list(rows)))
        for _ in range(3):
            said, repeated = run(eager, rows), run(other, rows)
            for name in ("q_halt", "q_continue", "confidence", "residual_H", "residual_L"):
                np.testing.assert_allclose(getattr(said, name), getattr(repeated, name), rtol=1e-4, atol=1e-4)
            assert (said.tokens == repeated.tokens).mean() > 0.99
            assert len(said.tokens) == len(repeated.tokens) == len(rows)


@pytest.mark.slow
def test_a_graph_compiled_for_one_bank_serves_the_other():
    first, second = network(), network()
    torch.nn.init.normal_(second.lm_head.weight)
    runners = [compiled_runner(model) for model in (first, second)]
    shown = []
    for runner in runners:
        runner.admit(admission(range(SIZE), range(SIZE)))
        with torch.compiler.set_stance("default" if runner is runners[0] else "fail_on_recompile"):
            shown.append(run(runner, range(SIZE)))
    assert not np.array_equal(shown[0].tokens, shown[1].tokens)
