"""AdamATan2: Adam whose quotient is an arctangent, free of epsilon and bounded (arXiv 2407.05872)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor


class AdamATan2(torch.optim.Optimizer):
    """Parameters move by lr * atan2(m, sqrt(v)); weight decay is decoupled, applied to the parameter itself.

    `torch.optim` has no such variant, and the published one builds for CUDA alone.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
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
            if not params:
                continue
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
