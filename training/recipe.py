"""Recipes: everything a training run needs to know, in one small TOML file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from model.config import HRMConfig
from model.hrm import Gradient
from model.tasks import Task, task_from


class RecipeError(ValueError):
    """A recipe or an override is wrong; the message names the key."""


@dataclass(slots=True)
class DataRecipe:
    """What the run trains on and is judged on; the sources are mixed by weight."""

    generate: int = 0
    """Puzzles to generate before the run (0: none)."""
    generate_weight: float = 1.0
    clues: list[int] = field(default_factory=lambda: [17, 35])
    """Fewest and most clues of a generated puzzle; minimal puzzles keep what they have."""
    minimal_share: float = 0.5
    """Share of the generated puzzles in which no clue can be left out."""
    min_path: int = 0
    """Fewest steps from S to G in a generated maze (0: its longer side)."""
    unique_path: bool = False
    """Generate only mazes with a single shortest path, so that there is one right answer."""
    first_path: bool = False
    """Of several shortest paths, let always the first in a fixed order be the answer: there is one right answer to any
    maze, too. Symmetries do not keep the order: set data.augment = false."""
    csv: list[str] = field(default_factory=list)
    """Files in the CSV format (source,question,answer,rating) to mix in."""
    csv_weight: list[float] = field(default_factory=lambda: [1.0])
    """Of every file, or of each in turn."""
    dataset: list[str] = field(default_factory=list)
    """Dataset folders to mix in (`hrm-train data build`, or upstream's)."""
    dataset_weight: float = 1.0
    """Of each folder."""
    augment: bool = True
    """Show every puzzle under a random symmetry of its task each time."""
    easy_steps: int = 0
    """Steps in which harder puzzles (more cells to find) come in little by little (0: all from the start)."""
    heldout: int = 512
    """Puzzles set aside, drawn evenly from all sources, to judge the run by."""
    judge_on_test: bool = False
    """Judge by the folders' test splits, as upstream does, and not by training puzzles set aside: all of those are
    trained on, but the best weights are chosen by the test. Data with puzzle identifiers is always judged so."""

    def __post_init__(self) -> None:
        if self.heldout == 0:
            raise RecipeError("data.heldout must be at least 1: the best weights are chosen by these puzzles")
        if len(self.csv_weight) not in (1, len(self.csv)):
            raise RecipeError(f"data.csv_weight holds {len(self.csv_weight)} weights for {len(self.csv)} files")


@dataclass(slots=True)
class TrainRecipe:
    """Optimisation."""

    steps: int = 10_000
    batch_size: int = 128
    """Rows of the running batch, over all processes."""
    rotation: int = 1
    """Running batches that take turns, one a step. With one, as in the paper, the weights learn the puzzles at hand by
    heart where the learning rate is high: up to M_max updates in a row see the same ones."""
    accumulate: int = 1
    """Parts in which each process reasons over its rows, one after the other: less memory, the same result."""
    optimiser: Literal["adam_atan2", "muon"] = "adam_atan2"
    """adam_atan2 is the paper's; muon makes the updates of the blocks' matrices orthogonal."""
    lr: float = 1e-4
    warmup_steps: int = 2000
    final_lr_share: float = 1.0
    """The learning rate falls linearly to this share of itself over the last fifth of the run (1: constant)."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    weight_decay: float = 1.0
    puzzle_lr: float = 1e-4
    """Of the puzzle embeddings, which SignSGD moves; it warms up and falls as `lr` does."""
    puzzle_weight_decay: float = 1.0
    ema: float = 0.999
    gradient: Gradient = "last_step"
    exploration: float = 0.1
    """Probability that a fresh row draws its M_min from 2..M_max."""
    target_share: float = 1.0
    """Share of the rows whose q_continue is trained each step; its target costs them one more segment. Each weighs what
    it does where all are trained: fewer would otherwise drown the tokens' gradient in noise."""
    seed: int = 0
    init_from: str = ""
    """A checkpoint, or another run's directory, whose weights the run begins with."""
    precision: str = "auto"
    compile: bool = True
    eval_every: int = 1000
    save_every: int = 250
    patience: int = 0
    """Evaluations without a better held-out accuracy after which the run ends (0: never). They count once it has solved
    a puzzle."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "rotation", "accumulate", "eval_every", "save_every"):
            if getattr(self, name) == 0:
                raise RecipeError(f"train.{name} must be at least 1")
        for name in ("exploration", "ema", "final_lr_share", "target_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"train.{name} must be from 0 to 1, not {getattr(self, name)}")
        if not self.target_share:
            raise RecipeError("train.target_share must be above 0: q_continue is never trained")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise RecipeError(f"train.betas must be two numbers from 0 to below 1, not {self.betas}")


@dataclass(slots=True)
class Recipe:
    """A named run."""

    name: str
    task: dict[str, Any]
    """What `model.tasks.task_from` reads."""
    model: dict[str, Any]
    data: DataRecipe
    train: TrainRecipe
    summary: str = ""
    cost: str = ""
    """What the run takes, where somebody knows."""
    accuracy: str = ""
    """What to expect of it, where somebody knows."""
    prepare: str = ""
    """The command that makes its data, where it needs some."""

    @property
    def task_name(self) -> str:
        """How the registry calls the task."""
        return self.codec.name

    @property
    def codec(self) -> Task:
        """The task in the recipe's shape; raises RecipeError."""
        try:
            return task_from(self.task)
        except ValueError as error:
            raise RecipeError(f"{self.name}: {error}") from None

    def architecture(self, num_puzzles: int) -> HRMConfig:
        """The network for data with so many puzzle identifiers; raises RecipeError or ConfigError."""
        codec = self.codec
        fixed = {"vocab_size": codec.vocab_size, "seq_len": codec.seq_len, "num_puzzles": num_puzzles}
        if named := sorted(set(fixed) & set(self.model)):
            raise RecipeError(f"model.{named[0]} follows from the task and its data; leave it out")
        config = HRMConfig.from_dict(fixed | self.model)
        if num_puzzles > 1 and not config.puzzle_emb_ndim:
            raise RecipeError("the data tells puzzles apart by identifiers: set model.puzzle_emb_ndim")
        return config

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the run's state and the checkpoint's card."""
        return dataclasses.asdict(self)
