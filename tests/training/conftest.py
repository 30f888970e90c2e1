import numpy as np
import pytest

from model.tasks import get_task
from training.data.pool import Pool, Source
from training.recipe import DataRecipe, Recipe, TrainRecipe

TINY_MODEL = {
    "hidden_size": 16, "num_heads": 2, "H_layers": 1, "L_layers": 1, "expansion": 2.0, "inner_multiple": 8,
    "mixer": "mlp", "halt_max_segments": 4,
}  # fmt: skip


def few_sudokus(count=32):
    """Solved Sudokus with some cells left blank, and the answers."""
    task = get_task("sudoku")
    answer = task.parse(task.examples()[0][1])
    rng = np.random.default_rng(0)
    answers = np.stack([task.random_symmetry(rng).apply(answer) for _ in range(count)])
    return np.where(rng.random(answers.shape) < 0.2, np.uint8(1), answers), answers


def few_pool(puzzle_ids=None):
    """A pool of them."""
    puzzles, answers = few_sudokus()
    source = Source("few", puzzles, answers, 1.0)
    if puzzle_ids is not None:
        source = Source("few", puzzles, answers, 1.0, puzzle_ids=puzzle_ids, num_puzzles=int(puzzle_ids.max()) + 1)
    return Pool(get_task("sudoku"), [source], seed=5)


def tiny_recipe(**model):
    """A run of seconds."""
    train = TrainRecipe(steps=20, batch_size=8, lr=1e-3, warmup_steps=0, compile=False, precision="fp32")
    task = get_task("sudoku").describe()
    return Recipe("tiny", task, dict(TINY_MODEL) | model, DataRecipe(), train)


@pytest.fixture
def pool():
    return few_pool()


@pytest.fixture
def recipe():
    return tiny_recipe()
