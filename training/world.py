"""The processes of one run, started by `torchrun`: each holds an equal share of the rows, all hold the same weights."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from model.device import pick_device, tune_allocator
from training.errors import RunError


@dataclass(frozen=True, slots=True)
class World:
    """Which of how many processes this is, and the device it owns.

    What concerns all of them is called by all of them, in the same order.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """This process's part of so many rows; raises RunError where they cannot be shared out evenly."""
        if rows % self.size:
            raise RunError(f"train.batch_size={rows} cannot be shared out among {self.size} processes")
        each = rows // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def add(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is set in any process: they all take the same turn."""
        return bool(self.add(torch.tensor(float(flag), device=self.device)) > 0) if self.size > 1 else flag

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give every process the sum of the gradients of all, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        summed = self.add(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, _split(summed, gradients), strict=True):
            gradient.copy_(part.view_as(gradient))

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, each [n, ...], in the order of the processes: [size * n, ...]."""
        if self.size == 1:
            return rows
        sent = rows.contiguous().view(len(rows), -1).view(torch.uint8)  # bytes: not every backend knows every dtype
        received = [torch.empty_like(sent) for _ in range(self.size)]
        dist.all_gather(received, sent)
        return torch.cat(received).view(rows.dtype).view(-1, *rows.shape[1:])

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process goes through the block before the others, which find what it left on the disk."""
        if self.size > 1 and not self.is_first:
            dist.barrier()
        try:
            yield
        finally:
            if self.size > 1 and self.is_first:
                dist.barrier()


def _split(flat: Tensor, like: list[Tensor]) -> Sequence[Tensor]:
    parts: Sequence[Tensor] = flat.split([tensor.numel() for tensor in like])  # type: ignore[no-untyped-call]
    return parts


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that `torchrun` started, or be alone.

    Raises:
        DeviceError: The device is not there.
    """
    tune_allocator()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=pick_device(device))
        return
    chosen = pick_device(device)
    if chosen.type == "cuda":
        chosen = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size, chosen)
        dist.barrier()  # a process that leaves while another still sends now and then takes that one down
    finally:
        dist.destroy_process_group()
