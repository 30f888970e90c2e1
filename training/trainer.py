"""The training loop: deep supervision over a running batch, one optimiser step a segment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.act import halts
from model.device import pick_dtype
from model.hrm import HRM, Carry
from model.weights import PUZZLE_TABLE
from training.data.pool import Pool
from training.ema import EMA
from training.errors import RunError, StateError
from training.losses import q_loss
from training.objective import Objective
from training.optimiser import make_optimiser
from training.puzzle_table import SparseSignSGD
from training.recipe import Recipe
from training.running_batch import RunningBatch
from training.world import World

_MAY_DIFFER = {"halt_rule", "halt_max_segments", "loss"}
"""What a network need not share with the one whose weights it begins with."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did. Means are over the rows it concerns; those of halted rows are None where none halted."""

    step: int
    loss: float
    token_loss: float
    halt_loss: float
    continue_loss: float
    cells: float
    lr: float
    halted: int
    exact: float | None
    segments: float | None


class Trainer:
    """Model, optimiser, EMA and running batches of one run; `advance` moves them on by one step.

    Each process of the world holds its share of the rows. Losses are sums over these, divided by the number of rows in
    the world, so that gradients add up to those of one process that holds all rows.
    """

    def __init__(self, recipe: Recipe, pool: Pool, world: World) -> None:
        settings, device = recipe.train, world.device
        torch.manual_seed(settings.seed)
        self.settings, self.pool, self.world, self.step = settings, pool, world, 0
        self.dtype = pick_dtype(settings.precision, device)
        self.config = recipe.architecture(pool.num_puzzles)
        self.model = HRM(self.config).to(device)
        self.ema = EMA(self.model, settings.ema)
        self.optimiser = make_optimiser(self.model, settings)
        self.table: SparseSignSGD | None = None
        if self.config.puzzle_emb_ndim:
            self.table = SparseSignSGD(self.model.puzzle_emb.weights, settings.puzzle_weight_decay, self.world)
        self.rows = self.world.share(settings.batch_size)
        self.batches = [
            RunningBatch(self.model, self.rows.stop - self.rows.start, self.rows.start, self.dtype, device)
            for _ in range(settings.rotation)
        ]
        self.objective = Objective(self.model, settings.gradient, settings.compile)
        self.target_period = max(1, round(1 / settings.target_share))
        self.parts = _parts(self.rows.stop - self.rows.start, settings.accumulate, self.target_period)

    @property
    def batch(self) -> RunningBatch:
        """The running batch whose turn it is."""
        return self.batches[self.step % len(self.batches)]

    def advance(self) -> StepResult:
        """One segment of every row of the batch whose turn it is, one update of the weights."""
        batch, settings, pace = self.batch, self.settings, self._pace()
        batch.refill(self.pool, self.step, settings.exploration)
        if self.step < len(self.batches):
            batch.spread_ages()
        batch.segments += 1
        vectors = self.model.puzzle_vectors(batch.puzzle_ids).requires_grad_(self.table is not None)
        sums = torch.stack([self._learn(rows, vectors) for rows in self.parts]).sum(0)
        self.world.add_gradients(self.model.parameters())
        for group in self.optimiser.param_groups:
            group["lr"] = settings.lr * pace
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.table is not None and vectors.grad is not None:
            self.table.step(batch.puzzle_ids, vectors.grad, settings.puzzle_lr * pace)
        self.ema.update()
        self.step += 1
        return self._result(self.world.add(sums).tolist(), settings.lr * pace)

    def learning_rate(self) -> float:
        """Linear warm-up, then constant, then a linear fall over the last fifth of the run."""
        return self.settings.lr * self._pace()

    def weights(self) -> dict[str, Tensor]:
        """The EMA weights: what is judged and published."""
        return dict(self.ema.model.state_dict())

    def is_finite(self) -> bool:
        """Whether the weights are all numbers."""
        return all(bool(p.isfinite().all()) for p in self.model.parameters())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that training continues from, by name; every process gets the rows of all."""
        named = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        named |= {f"ema.{k}": v for k, v in self.ema.model.state_dict().items() if k != PUZZLE_TABLE}
        for name, parameter in self.model.named_parameters():
            named |= {f"optimiser.{name}.{k}": v for k, v in self.optimiser.state[parameter].items()}
        for turn, batch in enumerate(self.batches):
            named |= {f"batch.{turn}.{k}": self.world.gather(v) for k, v in batch.tensors().items()}
        return named

    def begin_with(self, other: HRM, name: str) -> None:
        """Take over the weights of a network of the same architecture; raises RunError where it is another."""
        mine, theirs = self.config.to_dict(), other.config.to_dict()
        for key in sorted(mine.keys() - _MAY_DIFFER):
            if mine[key] != theirs[key]:
                raise RunError(
                    f"{name} has {key} = {theirs[key]!r}, the recipe {mine[key]!r}: it cannot begin with that"
                )
        self.model.load_state_dict(other.state_dict())
        self.ema.model.load_state_dict(other.state_dict())

    def load(self, tensors: dict[str, Tensor], step: int) -> None:
        """Continue from what `tensors` gave at `step`, in any number of processes; raises StateError."""
        self.step = step
        try:
            self.model.load_state_dict(_under(tensors, "model."))
            self.ema.model.load_state_dict(self.model.state_dict() | _under(tensors, "ema."))
            for name, parameter in self.model.named_parameters():
                self.optimiser.state[parameter] = {
                    k: v.to("cpu" if k == "step" else self.world.device)
                    for k, v in _under(tensors, f"optimiser.{name}.").items()
                }
            for turn, batch in enumerate(self.batches):
                batch.load({name: value[self.rows] for name, value in _under(tensors, f"batch.{turn}.").items()})
        except (KeyError, RuntimeError) as error:
            raise StateError(f"the saved state belongs to another network or batch: {_first_line(error)}") from None

    def _pace(self) -> float:
        """The share of their learning rates at which the optimisers move in this step."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(1, settings.warmup_steps))
        left = (settings.steps - self.step) / max(1.0, 0.2 * settings.steps)
        return warm * (settings.final_lr_share + (1 - settings.final_lr_share) * min(1.0, left))

    def _learn(self, rows: slice, vectors: Tensor) -> Tensor:
        """Reason over some rows, add up their gradients, move their state on; returns sums over them, for `_result`."""
        batch, config = self.batch, self.config
        carry = Carry(batch.carry.z_H[rows], batch.carry.z_L[rows])
        tokens, segments = batch.tokens[rows], batch.segments[rows]
        result = self.objective.run_segment(carry, tokens, batch.labels[rows], vectors[rows])

        some = self._target_rows(rows)
        ahead = Carry(*(z[some].contiguous() for z in result.carry))
        target = self.objective.continue_target(ahead, tokens[some], vectors.detach()[rows][some], segments[some])
        proceed = q_loss(result.q_continue[some], target)
        loss = (result.token.sum() + 0.5 * (result.halt.sum() + proceed.sum())) / self.settings.batch_size
        loss.backward()  # type: ignore[no-untyped-call]

        for z, new in zip(batch.carry, result.carry, strict=True):
            z[rows] = new
        halted = halts(
            result.q_halt.detach(), result.q_continue.detach(), segments, batch.min_segments[rows],
            torch.full_like(segments, config.halt_max_segments), config.halt_rule,
        )  # fmt: skip
        batch.halted[rows] = halted
        summed = (
            result.token, result.halt, proceed, torch.ones_like(proceed), result.cells, halted, halted & result.exact,
            halted * segments,
        )  # fmt: skip
        return torch.stack([values.detach().double().sum() for values in summed])

    def _target_rows(self, rows: slice) -> slice:
        """Which of some rows train q_continue in this step: every `target_period`th of the world's rows, in turn."""
        first = self.step - self.rows.start - rows.start
        return slice(first % self.target_period, None, self.target_period)

    def _result(self, sums: list[float], lr: float) -> StepResult:
        token, halt, proceed, targets, cells, halted, exact, segments = sums
        size = self.settings.batch_size
        token_loss, halt_loss, continue_loss = token / size, halt / size, proceed / targets
        return StepResult(
            step=self.step,
            loss=token_loss + 0.5 * (halt_loss + continue_loss),
            token_loss=token_loss,
            halt_loss=halt_loss,
            continue_loss=continue_loss,
            cells=cells / size,
            lr=lr,
            halted=int(halted),
            exact=exact / halted if halted else None,
            segments=segments / halted if halted else None,
        )


def _parts(rows: int, accumulate: int, target_period: int) -> list[slice]:
    """The rows of one process in equal parts; each must hold a row whose q_continue is trained."""
    if rows % accumulate:
        raise RunError(f"{rows} rows a process cannot be split into train.accumulate={accumulate} equal parts")
    each = rows // accumulate
    if each < target_period:
        raise RunError(
            f"a part has {each} rows, but train.target_share trains one in {target_period}: lower train.accumulate "
            f"or raise train.target_share"
        )
    return [slice(start, start + each) for start in range(0, rows, each)]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
