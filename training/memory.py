"""How much memory a run takes: measured while it runs, foreseen where running out would end the process silently."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from model.config import HRMConfig
from model.device import free_memory, pick_dtype
from model.hrm import HRM, Carry
from model.weights import PUZZLE_TABLE
from training.errors import RunError
from training.objective import Objective
from training.recipe import TrainRecipe

_COPIES = 5
"""Of each parameter: itself, its gradient, its average, and two states of the optimiser."""
_COMPILED_SHARE = 0.5
"""About what a compiled graph keeps for the backward pass, of what the eager one does."""
_GIB = 1 << 30


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held: on the device, or in all where that is a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def require_memory(config: HRMConfig, settings: TrainRecipe, rows: int) -> None:
    """Raise RunError where a CPU has too little memory free for so many rows.

    There the system would end the process without a word; other devices say so themselves (see `memory_errors`).
    """
    free = free_memory(torch.device("cpu"))
    if free is None:
        return
    with torch.device("meta"):
        state = HRM(config).state_dict()
    table = state[PUZZLE_TABLE].nbytes if PUZZLE_TABLE in state else 0
    weights = _COPIES * (sum(value.nbytes for value in state.values()) - table) + table
    if weights > free:
        raise _too_large(weights, free, "take a smaller model")
    dtype = pick_dtype(settings.precision, torch.device("cpu"))
    states = 2 * settings.rotation + 2  # two of every running batch, and the new ones of one
    carry = states * rows * config.total_len * config.hidden_size * dtype.itemsize
    kept = rows * _kept_a_row(config, settings, dtype) * (_COMPILED_SHARE if settings.compile else 1.0)
    needed = weights + carry + kept / settings.accumulate
    if weights + carry + kept / rows > free:
        rotates = " or train.rotation" if settings.rotation > 1 else ""
        raise _too_large(needed, free, f"lower train.batch_size{rotates}")
    if needed > free:
        least = math.ceil(kept / (free - weights - carry))
        parts = next(n for n in range(least, rows + 1) if rows % n == 0)
        raise _too_large(needed, free, f"set train.accumulate={parts}")


@contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Turn what torch and numpy raise where memory runs out into a RunError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "DefaultCPUAllocator" not in str(error):
            raise
        raise RunError(f"the memory of {device} does not hold the run: raise train.accumulate") from None


def _too_large(needed: float, free: int, advice: str) -> RunError:
    return RunError(f"the run needs about {needed / _GIB:.1f} GiB of memory, {free / _GIB:.1f} GiB are free: {advice}")


def _kept_a_row(config: HRMConfig, settings: TrainRecipe, dtype: torch.dtype) -> int:
    """Bytes that autograd keeps for every further row: what two rows keep beyond one."""
    objective = Objective(HRM(config), settings.gradient, compiled=False)
    return _kept(objective, 2, dtype) - _kept(objective, 1, dtype)


def _kept(objective: Objective, rows: int, dtype: torch.dtype) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model = objective.model
    tokens = torch.ones(rows, model.config.seq_len, dtype=torch.int64)
    carry: Carry = model.initial_carry(rows, dtype)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        objective.run_segment(carry, tokens, tokens, model.puzzle_vectors(tokens[:, 0] * 0))
    return sum(kept.values())
