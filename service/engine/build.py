"""From a verified checkpoint to a warm runner: which backend, in which dtype, compiled or not."""

from __future__ import annotations

import logging
from functools import cached_property
from importlib.metadata import version
from typing import Literal

import torch

from model.checkpoint import CheckpointError, CheckpointInfo, Precision
from model.device import DeviceError, pick_device, pick_dtype, tune_allocator
from model.weights import load_model
from service.engine.choice import Choices, circumstances, faster
from service.engine.graph import can_compile, compiler_errors, keep_compiled_in
from service.engine.torch_runner import TorchRunner
from service.packages import onnx_installed
from service.settings import Settings, variable

log = logging.getLogger(__name__)

Backend = Literal["torch", "onnx"]


class Builder:
    """Makes runners for one device, as the settings and the machine allow."""

    def __init__(self, settings: Settings) -> None:
        """Raises DeviceError where the device, the backend or the compiler that was asked for is not there."""
        self._settings = settings
        tune_allocator()
        self.device = pick_device(settings.device)
        self.backends = self._possible_backends()
        self.compiled = "torch" in self.backends and self._choose_mode()
        self._choices = Choices(settings.state_dir)

    def build(self, info: CheckpointInfo, size: int) -> TorchRunner:
        """A warm runner of `size` slots with a checkpoint's weights.

        Where several backends are possible, the one that was or is measured to be the fastest here.

        Raises:
            CheckpointError: the checkpoint cannot be read or compiled, or asks for a dtype that no backend has here.
            DeviceError: ONNX Runtime, which was asked for, cannot run it here.
        """
        asked, backends = self.asked(info), self._able(info)
        dtype = pick_dtype(asked, self.device) if asked else self._fast_dtype
        if len(backends) == 1:
            return self._warm(backends[0], info, size, dtype)
        known = circumstances(
            architecture=info.architecture.to_dict(),
            slots=size,
            device=torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device),
            threads=torch.get_num_threads(),
            dtype=str(dtype),
            compiled=self.compiled,
            torch=version("torch"),
        )
        remembered = self._choices.get(known)
        if remembered in backends:
            log.info("backend chosen", extra={"backend": remembered, "why": "it was the faster one here before"})
            return self._warm(remembered, info, size, dtype)
        runners: dict[str, TorchRunner] = {}
        for backend in backends:
            try:
                runners[backend] = self._warm(backend, info, size, dtype)
            except DeviceError as error:
                log.warning("a backend cannot be used", extra={"backend": backend, "reason": str(error)})
        chosen, ms = faster(runners)
        measured = {f"{name} ({runners[name].mode}) ms": round(value, 3) for name, value in ms.items()}
        log.info("backend chosen", extra={"backend": chosen, "why": "its segment is the fastest here", **measured})
        self._choices.put(known, chosen)
        return runners[chosen]

    def asked(self, info: CheckpointInfo) -> Precision | None:
        """The dtype that the settings ask for, or else the checkpoint; None: whatever is fast here."""
        setting = self._settings.precision
        return info.precision if setting == "auto" else setting

    @cached_property
    def _fast_dtype(self) -> torch.dtype:
        if self.backends == ["onnx"] and self.device.type == "cpu":
            return torch.float32
        return pick_dtype("auto", self.device)

    def _able(self, info: CheckpointInfo) -> list[Backend]:
        """The backends that have the dtype that a checkpoint asks for; raises CheckpointError where none has."""
        if self.asked(info) != "bf16" or self.device.type != "cpu":
            return self.backends
        able: list[Backend] = [backend for backend in self.backends if backend != "onnx"]
        if not able:
            raise CheckpointError(
                f"{info.path}: asks for bf16, and ONNX Runtime computes in fp32 on a CPU: set {variable('precision')}"
            )
        return able

    def _possible_backends(self) -> list[Backend]:
        """Those that can be considered; raises DeviceError where the one that was asked for is not among them."""
        asked = self._settings.backend
        fits = self.device.type != "mps" and (self.device.type != "cpu" or self._settings.precision != "bf16")
        if asked == "onnx":
            if not onnx_installed():
                raise DeviceError(
                    f"{variable('backend')} is onnx, but it is not installed: pip install 'hrm-serve[onnx]'"
                )
            if not fits:
                raise DeviceError(f"{variable('backend')} is onnx, which computes in fp32 on a CPU, or on CUDA")
            return ["onnx"]
        return ["onnx", "torch"] if asked == "auto" and fits and onnx_installed() else ["torch"]

    def _choose_mode(self) -> bool:
        """Whether to compile; raises DeviceError where that was asked for and cannot be."""
        if self._settings.compile == "off":
            return False
        possible = can_compile(self.device)
        if self._settings.compile == "on" and not possible:
            raise DeviceError(
                f"{variable('compile')} is on, but there is no compiler for {self.device} on this machine"
            )
        if not possible and "onnx" in self.backends:
            log.warning(
                "no compiler on this machine: ONNX Runtime runs the segments, or torch eagerly if that is faster"
            )
        elif not possible:
            log.warning("no compiler on this machine: segments run eagerly, about half as fast; hrm-serve[onnx] helps")
        keep_compiled_in(self._settings.state_dir / "compiled")
        return possible

    def _warm(self, backend: str, info: CheckpointInfo, size: int, dtype: torch.dtype) -> TorchRunner:
        runner = self._make(backend, info, size, dtype)
        try:
            runner.warm_up()
        except compiler_errors() as error:
            reason = first_line(error)
            if self._settings.compile == "on":
                raise CheckpointError(f"{info.path}: cannot be compiled here: {reason}") from None
            log.warning("compiling failed; going on without", extra={"reason": reason})
            self.compiled = False
            return self._warm(backend, info, size, dtype)
        return runner

    def _make(self, backend: str, info: CheckpointInfo, size: int, dtype: torch.dtype) -> TorchRunner:
        fixed_batch = self._settings.fixed_batch
        if backend == "torch":
            model = load_model(info, self.device, dtype)
            return TorchRunner(model, size, dtype, compiled=self.compiled, fixed_batch=fixed_batch)
        from service.engine.onnx_runner import OnnxRunner  # noqa: PLC0415 (an extra of its own)

        dtype = torch.float32 if self.device.type == "cpu" else dtype
        return OnnxRunner(load_model(info, self.device, dtype), size, dtype, fixed_batch=fixed_batch)


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
