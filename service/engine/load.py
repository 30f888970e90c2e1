"""From a checkpoint on disk to a table that can serve it: verify, build, warm up, ask the canaries."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import partial
from math import nan

import torch

from model.checkpoint import Canary, CheckpointError, CheckpointInfo, Precision
from model.device import DeviceError, free_memory, used_memory
from model.weights import memory_needed
from service.engine.build import Builder, first_line
from service.engine.codec import encode
from service.engine.runner import Runner
from service.engine.table import Table
from service.engine.torch_runner import TorchRunner
from service.engine.turns import apart
from service.engine.work import Work
from service.schemas import SolveRequest
from service.settings import Settings

log = logging.getLogger(__name__)

_SLOTS = {"cpu": 64, "mps": 128, "cuda": 256}


class Loader:
    """Loads checkpoints for one device, and keeps the banks that their predecessors left.

    Every architecture has at most two banks of weights. A checkpoint is copied into the idle one in place, so what
    was compiled or captured for it stays good.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises DeviceError where what the settings ask for is not there."""
        self._settings = settings
        self._builder = Builder(settings)
        self._device = self._builder.device
        self._idle: list[TorchRunner] = []
        self._asked: dict[TorchRunner, Precision | None] = {}
        """Every bank, and the dtype that was asked for it."""

    def load(self, info: CheckpointInfo) -> Table:
        """A warm table that has answered the checkpoint's canaries; its `info` is what the settings made of `info`.

        Raises:
            CheckpointError: it is damaged, does not fit into memory, or fails its canaries.
        """
        return apart(partial(self._load, info))

    def _load(self, info: CheckpointInfo) -> Table:
        start = time.perf_counter()
        info.verify()
        if self._settings.halt_rule != "auto":
            info = info.halting(self._settings.halt_rule)
        try:
            runner = self._bank(info)
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise CheckpointError(f"{info.path}: out of memory while loading: {first_line(error)}") from None
        except DeviceError as error:
            raise CheckpointError(f"{info.path}: {error}") from None
        try:
            require_canaries(info, runner)
        except CheckpointError:
            self.release(runner)
            raise
        seconds = round(time.perf_counter() - start, 2)
        log.info("checkpoint is ready", extra={"checkpoint": info.name, **runner.describe(), "seconds": seconds})
        return Table(info, runner, self._settings.slot_share, self._settings.batch_wait_ms / 1e3)

    def release(self, runner: Runner) -> None:
        """Take back a bank that nothing runs on any more."""
        if isinstance(runner, TorchRunner):
            self._idle.append(runner)

    def describe(self) -> dict[str, object]:
        """Device, precision and backend, for `/workers`."""
        return {
            "device": str(self._device),
            "precision": _listed(str(bank.dtype).removeprefix("torch.") for bank in self._asked),
            "backend": _listed(bank.backend for bank in self._asked),
        }

    def memory(self) -> dict[str, float]:
        """Bytes of the device: `used` by this process, and `free`."""
        used, free = used_memory(self._device), free_memory(self._device)
        return {"used": nan if used is None else used, "free": nan if free is None else free}

    def _bank(self, info: CheckpointInfo) -> TorchRunner:
        for runner in self._idle:
            if runner.model.config == info.architecture and self._asked[runner] == self._builder.asked(info):
                runner.load(info)
                self._idle.remove(runner)
                return runner
        size = self._settings.slots or _SLOTS[self._device.type]
        _require_memory(info, size, self._device)
        runner = self._builder.build(info, size)
        self._asked[runner] = self._builder.asked(info)
        return runner


def _listed(words: Iterable[str]) -> str | None:
    return ", ".join(sorted(set(words))) or None


def _require_memory(info: CheckpointInfo, slots: int, device: torch.device) -> None:
    """Say how much memory will be taken; refuse, before any is, what does not fit into what is free."""
    needed, free = memory_needed(info.architecture, slots), free_memory(device)
    mb = {"about_MB": round(needed / 1e6), "free_MB": None if free is None else round(free / 1e6)}
    log.info("memory to be taken", extra={"checkpoint": info.name, "slots": slots, **mb})
    if free is not None and needed > free:
        raise CheckpointError(
            f"{info.path}: needs about {needed / 1e6:.0f} MB for {slots} slots; "
            f"{free / 1e6:.0f} MB are free on {device}"
        )


def require_canaries(info: CheckpointInfo, runner: Runner) -> None:
    """Ask an idle runner the checkpoint's canary puzzles; raises CheckpointError if too few come out exact."""
    canaries = info.canaries()
    exact = 0
    for start in range(0, len(canaries), runner.size):
        chunk = canaries[start : start + runner.size]
        table = Table(info, runner)
        table.staged.extend(_work(canary, info, str(n)) for n, canary in enumerate(chunk))
        while table.busy:
            table.refill(0.0)
            table.launch(0.0)
            for outcome in table.settle(table.collect(), 0.0)[0]:
                answer = chunk[int(outcome.work.id)].answer
                exact += outcome.tokens is not None and info.codec.format(outcome.tokens, like=answer) == answer
    accuracy = exact / len(canaries)
    if accuracy < info.canary_accuracy:
        raise CheckpointError(
            f"{info.path}: {exact} of {len(canaries)} canary puzzles came out exact; "
            f"{info.canary_accuracy:.3f} of them must"
        )


def _work(canary: Canary, info: CheckpointInfo, work_id: str) -> Work:
    try:
        request = SolveRequest(
            task=info.task, puzzle=canary.puzzle, puzzle_id=canary.puzzle_id, max_segments=canary.max_segments
        )
        return encode(request, info, work_id=work_id)
    except ValueError as error:  # pydantic's, or a PuzzleError
        raise CheckpointError(f"{info.path}: a canary cannot be asked: {first_line(error)}") from None
