"""The optimisers: AdamATan2 (arXiv 2407.05872), and Muon on the blocks' matrices (arXiv 2502.16982)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

from model.hrm import HRM
from training.recipe import TrainRecipe


def make_optimiser(model: HRM, settings: TrainRecipe) -> AdamATan2:
    """The optimiser that a recipe names, for a model's parameters."""
    numbers = (settings.lr, (settings.betas[0], settings.betas[1]), settings.weight_decay)
    if settings.optimiser == "muon":
        return Muon(model, *numbers)
    return AdamATan2(model.parameters(), *numbers)


class AdamATan2(torch.optim.Optimizer):
    """Parameters move by lr * atan2(m, sqrt(v)); weight decay is decoupled, applied to the parameter itself.

    `torch.optim` has no such variant, and the published one builds for CUDA alone.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 1.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(params, group)

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        for p in params:
            if not self.state[p]:
                self.state[p] = {
                    "step": torch.zeros((), dtype=torch.int64),
                    "m": torch.zeros_like(p),
                    "v": torch.zeros_like(p),
                }
            self.state[p]["step"] += 1
        grads = [cast(Tensor, p.grad) for p in params]
        m = [self.state[p]["m"] for p in params]
        v = [self.state[p]["v"] for p in params]
        beta1, beta2 = group["betas"]
        step = int(self.state[params[0]]["step"])
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        numerators = torch._foreach_div(m, 1 - beta1**step)
        denominators = torch._foreach_sqrt(torch._foreach_div(v, 1 - beta2**step))
        for p, numerator, denominator in zip(params, numerators, denominators, strict=True):
            p.sub_(torch.atan2(numerator, denominator), alpha=group["lr"])


class Muon(AdamATan2):
    """Momentum, made orthogonal, for the matrices of the blocks; AdamATan2 for everything else.

    An update has the root mean square of a typical Adam step, 0.2 (arXiv 2502.16982, section 2.2), so that one
    learning rate suits both. `torch.optim.Muon` computes in bf16, which is a hundred times slower on CPUs without it.
    """

    def __init__(
        self,
        model: HRM,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        groups: dict[int, list[Tensor]] = {parts: [] for parts in range(4)}
        for name, parameter in model.named_parameters():
            groups[_parts(name)].append(parameter)
        described: list[dict[str, Any]] = [
            {"params": params, "parts": parts, "momentum": momentum} for parts, params in groups.items() if params
        ]
        super().__init__(described, lr, betas, weight_decay)

    def _update(self, params: list[Tensor], group: dict[str, Any]) -> None:
        if not group["parts"]:
            super()._update(params, group)
            return
        for p in params:
            gradient = cast(Tensor, p.grad)
            if not self.state[p]:
                self.state[p] = {"momentum": torch.zeros_like(p)}
            momentum = self.state[p]["momentum"].lerp_(gradient, 1 - group["momentum"])
            direction = gradient.lerp(momentum, group["momentum"])
            update = torch.cat([_orthogonal_step(part) for part in direction.chunk(group["parts"])])
            p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """About the nearest matrix whose singular values are all one, by a quintic Newton-Schulz iteration, in fp32."""
    x: Tensor = matrix.float() / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x


def _orthogonal_step(part: Tensor) -> Tensor:
    step: Tensor = orthogonalise(part) * (0.2 * max(part.shape) ** 0.5)
    return step


def _parts(name: str) -> int:
    """How many matrices a parameter holds on top of each other; 0: it is not one of a block's matrices."""
    if "_level." not in name:
        return 0
    return 3 if "qkv_proj" in name else 2 if "gate_up_proj" in name else 1
