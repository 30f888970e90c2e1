"""Several processes, each with its share of the rows, equal one that holds them all (gloo, fp32, lr 1e-3)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.one_process import RESUMED_STEPS, STEPS, make_trainer, train
from training.errors import RunError
from training.state import load_state, save_state
from training.world import World

ROOT = Path(__file__).parent.parent.parent
ONE_STEPS = 7


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """What two processes came to, by name (see `one_process`)."""
    folder = tmp_path_factory.mktemp("processes")
    save_state(folder / "one", train(make_trainer(World()), ONE_STEPS).tensors(), {"step": ONE_STEPS})
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, "-m", "tests.training.one_process", str(folder)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True, timeout=150,
    )  # fmt: skip
    return {name: load_state(folder / name).tensors for name in ("together", "apart", "resumed")}


def distance(one, other):
    """The largest difference of any weight."""
    names = [name for name in one if name.startswith(("model.", "ema."))]
    assert names
    return max((one[name] - other[name]).abs().max().item() for name in names)


def test_two_processes_equal_one_and_do_not_without_their_exchange(of_two):
    alone, together = train(make_trainer(World()), STEPS).tensors(), of_two["together"]
    assert torch.equal(alone["batch.0.tokens"], together["batch.0.tokens"]), "the same puzzles in the same rows"
    assert torch.equal(alone["model.puzzle_emb.weights"], together["model.puzzle_emb.weights"])
    assert distance(alone, together) < 1e-5
    assert distance(alone, of_two["apart"]) > 1e-3


def test_a_run_goes_on_in_another_number_of_processes(of_two):
    """One process, then two, then one."""
    last = make_trainer(World())
    last.load(of_two["resumed"], ONE_STEPS + RESUMED_STEPS)
    through = train(make_trainer(World()), STEPS).tensors()
    assert distance(through, train(last, STEPS - ONE_STEPS - RESUMED_STEPS).tensors()) < 1e-5


def test_rows_that_cannot_be_shared_out_are_refused():
    assert [World(rank, 4).share(8) for rank in (0, 3)] == [slice(0, 2), slice(6, 8)]
    with pytest.raises(RunError, match=r"train\.batch_size=8 cannot be shared out among 3 processes"):
        World(0, 3).share(8)
