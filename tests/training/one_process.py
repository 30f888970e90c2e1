"""One of the processes that a test starts by torchrun, in a folder where `one` is the state of a run of one process.

The first process saves there what came out: `together` (a whole run), `apart` (one without the exchange of gradients),
and `resumed` (a run that goes on from `one`).
"""

import sys
from pathlib import Path

import numpy as np
import torch

from tests.training.conftest import few_pool, tiny_recipe
from training.state import load_state, save_state
from training.trainer import Trainer
from training.world import World, join_world

STEPS = 20
RESUMED_STEPS = 4


def make_trainer(world: World) -> Trainer:
    """Halting is fixed: under this rule nothing halts before M_max in the few steps of a test."""
    recipe = tiny_recipe(halt_rule="halt_over_zero", puzzle_emb_ndim=16)
    recipe.train.exploration = 0.0
    return Trainer(recipe, few_pool(np.arange(32, dtype=np.int32) // 4), world)


def train(trainer: Trainer, steps: int) -> Trainer:
    """So many steps further."""
    for _ in range(steps):
        trainer.advance()
    return trainer


def main(folder: Path) -> None:
    """Everything in one start: processes take long to import torch."""
    torch.set_num_threads(1)
    with join_world("cpu") as world:
        assert world.size == 2

        def save(name: str, trainer: Trainer) -> None:
            tensors = trainer.tensors()
            if world.is_first:
                save_state(folder / name, tensors, {"step": trainer.step})

        save("together", train(make_trainer(world), STEPS))
        resumed = make_trainer(world)
        saved = load_state(folder / "one")
        resumed.load(saved.tensors, saved.facts["step"])
        save("resumed", train(resumed, RESUMED_STEPS))
        World.add_gradients = lambda self, parameters: None
        save("apart", train(make_trainer(world), STEPS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
