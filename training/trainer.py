"""The training loop: deep supervision over a running batch, one optimiser step a segment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.act import halts
from model.config import HRMConfig
from model.device import pick_device, pick_dtype
from model.hrm import HRM, Carry
from training.data.pool import Pool
from training.ema import EMA
from training.losses import q_loss
from training.objective import Objective
from training.optimiser import AdamATan2, Muon
from training.recipe import Recipe
from training.running_batch import RunningBatch


@dataclass(slots=True)
class StepResult:
    """What one step did. Means are over the rows it concerns; those of halted rows are None where none halted."""

    step: int
    loss: float
    token_loss: float
    halt_loss: float
    continue_loss: float
    lr: float
    halted: int
    exact: float | None
    segments: float | None


class Trainer:
    """Model, optimiser, EMA and running batch of one run; `advance` moves them on by one step."""

    def __init__(self, recipe: Recipe, pool: Pool, device: str = "auto") -> None:
        settings = recipe.train
        torch.manual_seed(settings.seed)
        self.settings, self.pool, self.step = settings, pool, 0
        self.device = pick_device(device)
        self.dtype = pick_dtype(settings.precision, self.device)
        task = pool.task
        self.config = HRMConfig.from_dict({"vocab_size": task.vocab_size, "seq_len": task.seq_len} | recipe.model)
        self.model = HRM(self.config).to(self.device)
        self.ema = EMA(self.model, settings.ema)
        numbers = (settings.lr, (settings.betas[0], settings.betas[1]), settings.weight_decay)
        self.optimiser = (
            Muon(self.model, *numbers) if settings.optimiser == "muon" else AdamATan2(self.model.parameters(), *numbers)
        )
        self.batch = RunningBatch(self.model, settings.batch_size, 0, self.dtype, self.device)
        self.objective = Objective(self.model, settings.gradient, settings.compile)
        self.target_rows = max(1, round(settings.batch_size * settings.target_share))

    def advance(self) -> StepResult:
        """One segment of every row, one update of the weights."""
        settings, batch, config = self.settings, self.batch, self.config
        batch.refill(self.pool, self.step, settings.exploration, config.halt_max_segments)
        result = self.objective.run_segment(batch.carry, batch.tokens, batch.labels)
        batch.carry = Carry(*(z.clone() for z in result.carry))
        batch.segments += 1

        rows = self._target_rows()
        target = self.objective.continue_target(
            Carry(batch.carry.z_H[rows], batch.carry.z_L[rows]), batch.tokens[rows], batch.segments[rows]
        )
        proceed = q_loss(result.q_continue[rows], target).mean()
        loss = result.token + 0.5 * (result.halt + proceed)
        loss.backward()  # type: ignore[no-untyped-call]

        lr = self.learning_rate()
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.update()
        self.step += 1

        batch.halted = halts(
            result.q_halt.detach(), result.q_continue.detach(), batch.segments, batch.min_segments,
            torch.full_like(batch.segments, config.halt_max_segments), config.halt_rule,
        )  # fmt: skip
        halted = int(batch.halted.sum())
        return StepResult(
            step=self.step,
            loss=float(loss.detach()),
            token_loss=float(result.token.detach()),
            halt_loss=float(result.halt.detach()),
            continue_loss=float(proceed.detach()),
            lr=lr,
            halted=halted,
            exact=float(result.exact[batch.halted].float().mean()) if halted else None,
            segments=float(batch.segments[batch.halted].float().mean()) if halted else None,
        )

    def learning_rate(self) -> float:
        """Linear warm-up, then constant, then a linear fall over the last fifth of the run."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / max(1, settings.warmup_steps))
        left = (settings.steps - self.step) / max(1.0, 0.2 * settings.steps)
        fall = settings.final_lr_share + (1 - settings.final_lr_share) * min(1.0, left)
        return settings.lr * warm * fall

    def weights(self) -> dict[str, Tensor]:
        """The EMA weights: what is judged and published."""
        return dict(self.ema.model.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that training continues from, by name."""
        named = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        named |= {f"ema.{k}": v for k, v in self.ema.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            named |= {f"optimiser.{name}.{k}": v for k, v in self.optimiser.state[parameter].items()}
        return named | {f"batch.{k}": v for k, v in self.batch.tensors().items()}

    def load(self, tensors: dict[str, Tensor], step: int) -> None:
        """Continue from what `tensors` gave at `step`."""
        self.step = step
        self.model.load_state_dict(_under(tensors, "model."))
        self.ema.model.load_state_dict(_under(tensors, "ema."))
        for name, parameter in self.model.named_parameters():
            self.optimiser.state[parameter] = {
                k: v.to("cpu" if k == "step" else self.device) for k, v in _under(tensors, f"optimiser.{name}.").items()
            }
        self.batch.load(_under(tensors, "batch."))

    def _target_rows(self) -> Tensor:
        """The rows whose q_continue is trained in this step: a window that moves round the batch."""
        size, k = self.settings.batch_size, self.target_rows
        return (torch.arange(k, device=self.device) + self.step * k) % size


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
