import numpy as np
import pytest

from model.tasks import get_task
from training.data.pool import Pool, Source
from training.recipe import DataRecipe, Recipe, TrainRecipe

TINY_MODEL = {
    "hidden_size": 16, "num_heads": 2, "H_layers": 1, "L_layers": 1, "expansion": 2.0, "inner_multiple": 8,
    "mixer": "mlp", "halt_max_segments": 4,
}  # fmt: skip


@pytest.fixture
def pool():
    """A few solved Sudokus with some cells left blank."""
    task = get_task("sudoku")
    answer = task.parse(task.examples()[0][1])
    rng = np.random.default_rng(0)
    answers = np.stack([task.random_symmetry(rng).apply(answer) for _ in range(32)])
    puzzles = np.where(rng.random(answers.shape) < 0.2, np.uint8(1), answers)
    return Pool(task, [Source("few", puzzles, answers, 1.0)], seed=5)


@pytest.fixture
def recipe():
    train = TrainRecipe(steps=20, batch_size=8, lr=1e-3, warmup_steps=0, compile=False, precision="fp32")
    return Recipe("tiny", "sudoku", "", dict(TINY_MODEL), DataRecipe(), train)
