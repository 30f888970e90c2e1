"""From a checkpoint on disk to a table that can serve it: verify, build, warm up, ask the canaries."""

from __future__ import annotations

import logging
import time

import numpy as np
import torch

from model.checkpoint import CheckpointError, CheckpointInfo
from model.device import pick_device, pick_dtype
from model.weights import load_model
from service.engine.codec import encode
from service.engine.runner import Runner
from service.engine.table import Table
from service.engine.torch_runner import TorchRunner
from service.schemas import SolveRequest
from service.settings import Settings

log = logging.getLogger(__name__)

_SLOTS = {"cpu": 64, "mps": 128, "cuda": 256}


def load_table(info: CheckpointInfo, settings: Settings) -> Table:
    """Load and warm up a checkpoint.

    Raises:
        CheckpointError: it is damaged, does not fit, or fails its canaries.
        DeviceError: the device is not there.
    """
    start = time.perf_counter()
    info.verify()
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.precision, device)
    model = load_model(info, device, dtype)
    size = settings.slots or _SLOTS[device.type]
    runner = TorchRunner(model, size, dtype, compiled=settings.compile == "on", fixed_batch=settings.fixed_batch)
    runner.warm_up()
    table = Table(info.task, info.name, runner)
    require_canaries(info, runner)
    log.info(
        "checkpoint is ready",
        extra={"checkpoint": info.name, **runner.describe(), "seconds": round(time.perf_counter() - start, 2)},
    )
    return table


def require_canaries(info: CheckpointInfo, runner: Runner) -> None:
    """Ask an idle runner the checkpoint's canary puzzles; raises CheckpointError if too few come out exact."""
    canaries = info.canaries()
    exact = 0
    for start in range(0, len(canaries), runner.size):
        chunk = canaries[start : start + runner.size]
        requests = [SolveRequest(task=info.task, puzzle=c.puzzle, puzzle_id=c.puzzle_id) for c in chunk]
        table = Table(info.task, info.name, runner)
        table.staged.extend(encode(request, info, work_id=str(n)) for n, request in enumerate(requests))
        answers = [info.codec.parse_answer(canary.answer) for canary in chunk]
        while table.busy:
            table.refill(0.0)
            table.launch(0.0)
            for outcome in table.settle(table.collect(), 0.0)[0]:
                exact += outcome.tokens is not None and np.array_equal(outcome.tokens, answers[int(outcome.work.id)])
    accuracy = exact / len(canaries)
    if accuracy < info.canary_accuracy:
        raise CheckpointError(
            f"{info.path}: {exact} of {len(canaries)} canary puzzles came out exact; "
            f"{info.canary_accuracy:.3f} of them must"
        )


def limit_threads(threads: int) -> None:
    """Let torch use so many CPU threads."""
    torch.set_num_threads(threads)
