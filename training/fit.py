"""`hrm-train fit`: run a recipe to its end, watched, logged, saved, and resumed where it was left."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from training.alarms import Alarms
from training.continuation import require_same_run, trained_on, write_recipe
from training.data.pool import Pool, Source
from training.data.sources import load_sources
from training.errors import RunError
from training.evaluation.unroll import at, unroll
from training.hardware import describe
from training.interrupt import stop_on_signals
from training.lock import only_fit_in
from training.log import open_sinks
from training.memory import memory_errors, peak_memory, require_memory
from training.recipe import Recipe
from training.report import Reporter, Window
from training.run_files import BEST_DIR
from training.state import load_state, save_state
from training.subject import load_subject
from training.trainer import StepResult, Trainer
from training.world import World, join_world

LOG_EVERY = 50
"""Steps whose means make one line of the log."""


class Ending(Enum):
    """Why a run is over."""

    FINISHED = "all steps are done"
    EARLY = "its held-out accuracy no longer rises"
    STOPPED = "it was stopped and saved; the same command goes on"


@dataclass(slots=True)
class Progress:
    """What is saved beside the tensors.

    Attributes:
        best: the best held-out accuracy so far; below 0: not judged yet.
        since_best: how many evaluations have not reached it since.
        seconds: how long it has run in all.
        data: the cards of what it has trained on, without what was held out.
    """

    step: int = 0
    best: float = -1.0
    since_best: int = 0
    seconds: float = 0.0
    data: list[dict[str, Any]] = field(default_factory=list)


def fit(recipe: Recipe, run_dir: Path, device: str = "auto") -> Ending:
    """Train, from the saved state of `run_dir` where there is one; in every process that `torchrun` started.

    Raises:
        RunError: The run was started with another recipe, another fit is in it, memory or disk do not hold it, or it
            came to nothing.
        StateError: The saved state is damaged or does not fit.
        RecipeError, DataError: The recipe or its data are wrong.
    """
    try:
        with join_world(device) as world, only_fit_in(run_dir, world), memory_errors(world.device):
            return _Run(recipe, run_dir, world).go()
    except OSError as error:
        raise RunError(f"{run_dir}: {error.strerror or error}") from None


def split_sources(sources: list[Source], heldout: int) -> tuple[list[Source], list[Source]]:
    """Set the same number of puzzles aside from every source, `heldout` in all and at least one."""
    pairs = [source.split(max(1, min(heldout // len(sources), len(source) // 2))) for source in sources]
    return [trained for trained, _ in pairs], [judged for _, judged in pairs]


class _Run:
    """One process's part in a run."""

    def __init__(self, recipe: Recipe, run_dir: Path, world: World) -> None:
        self.recipe, self.run_dir, self.world = recipe, run_dir, world
        settings, task = recipe.train, recipe.codec
        with world.first_alone():
            require_same_run(recipe, run_dir)
            sources = load_sources(recipe, task, run_dir)
        trained, self.heldout = split_sources(sources, recipe.data.heldout)
        pool = Pool(task, trained, settings.seed, recipe.data.easy_steps, recipe.data.augment)
        if world.device.type == "cpu":
            require_memory(recipe.architecture(pool.num_puzzles), settings, settings.batch_size)
        self.trainer = Trainer(recipe, pool, world)
        self.progress = Progress()
        if (saved := load_state(run_dir)) is not None:
            self.progress = Progress(**saved.facts)
            self.trainer.load(saved.tensors, self.progress.step)
        elif settings.init_from:
            other = load_subject(Path(settings.init_from), world.device, torch.float32)
            self.trainer.begin_with(other.model, settings.init_from)
        self.progress.data = trained_on(run_dir, self.progress.data, trained)
        self.alarms = Alarms(
            self.trainer.config.halt_max_segments, max(settings.warmup_steps, recipe.data.easy_steps)
        )  # fmt: skip
        self.started = time.perf_counter() - self.progress.seconds

    def go(self) -> Ending:
        """Run to the end, or until a signal comes."""
        settings = self.recipe.train
        if (ending := self._ending()) is not None:
            return ending  # no step follows: recipe and log stay those of the steps there were
        with stop_on_signals() as stopped, self._begin() as self.reporter:
            self.reporter.started(self._facts())
            window = Window(settings.batch_size)
            while (ending := self._ending()) is None:
                window.add(self._advance())
                step, last = self.trainer.step, self.trainer.step == settings.steps
                stop = self.world.any(stopped())
                if logged := step % LOG_EVERY == 0 or last:
                    self._log(window)
                if step % settings.eval_every == 0 or last:
                    self._judge()
                if step % settings.save_every == 0 or stop or self._ending():
                    self._save()
                if stop:
                    return Ending.STOPPED
                if logged:
                    window = Window(settings.batch_size)
            return ending

    def _begin(self) -> Reporter:
        """Write the recipe down, now that the run is known to be possible, and open the log."""
        step, first = self.progress.step, self.world.is_first
        if first:
            write_recipe(self.recipe, self.run_dir)
        sinks = open_sinks(self.run_dir, step) if first else []
        return Reporter(self.recipe, sinks, step, speaks=first)

    def _ending(self) -> Ending | None:
        settings = self.recipe.train
        if self.trainer.step >= settings.steps:
            return Ending.FINISHED
        if settings.patience and self.progress.since_best >= settings.patience:
            return Ending.EARLY
        return None

    def _advance(self) -> StepResult:
        result = self.trainer.advance()
        if not math.isfinite(result.loss):
            self._fail()
        return result

    def _log(self, window: Window) -> None:
        line = window.means() | {"peak_memory_bytes": peak_memory(self.world.device)}
        self.reporter.steps(line)
        for warning in self.alarms.look(line):
            self.reporter.warn(self.trainer.step, warning)

    def _judge(self) -> None:
        """Judge the EMA weights under ACT, each process its part; the mean over sources decides what is best."""
        exact_of = []
        for source in self.heldout:
            mine = source.rows(np.arange(self.world.rank, len(source), self.world.size))
            said = unroll(
                self.trainer.ema.model, None, mine.puzzles, mine.answers, mine.puzzle_ids, dtype=self.trainer.dtype
            )  # fmt: skip
            halts = said.halts()
            sums = np.array([at(said.exact, halts).sum(), halts.sum()], dtype=np.float64) / len(source)
            exact, segments = self.world.add(torch.from_numpy(sums).to(self.world.device)).tolist()
            self.reporter.judged(self.trainer.step, source.name, exact, segments)
            exact_of.append(exact)
        accuracy = float(np.mean(exact_of))
        progress = self.progress
        if accuracy >= progress.best and self.world.is_first:
            facts = {"step": self.trainer.step, "exact": accuracy, "seconds": self._seconds(), "data": progress.data}
            save_state(self.run_dir / BEST_DIR, self.trainer.weights(), facts)
        if accuracy > progress.best:
            progress.best, progress.since_best = accuracy, 0
        elif progress.best > 0:
            progress.since_best += 1

    def _save(self) -> None:
        if not self.trainer.is_finite():
            self._fail()
        self.progress.step, self.progress.seconds = self.trainer.step, self._seconds()
        tensors = self.trainer.tensors()
        if self.world.is_first:
            save_state(self.run_dir, tensors, asdict(self.progress))

    def _fail(self) -> NoReturn:
        saved = self.progress.step
        kept = f"the state of step {saved} in {self.run_dir} is whole: go on from it" if saved else "begin anew"
        raise RunError(
            f"step {self.trainer.step}: the weights are no longer numbers; {kept} with a lower train.lr (now "
            f"{self.recipe.train.lr:g}) or with train.precision=fp32"
        )

    def _seconds(self) -> float:
        return round(time.perf_counter() - self.started, 1)

    def _facts(self) -> dict[str, Any]:
        parameters = sum(p.numel() for p in self.trainer.model.parameters())
        return {
            "step": self.trainer.step,
            "hardware": describe(self.world.device, self.world.size),
            "precision": str(self.trainer.dtype).removeprefix("torch."),
            "compile": self.recipe.train.compile,
            "torch": torch.__version__,
            "parameters": parameters,
        }
