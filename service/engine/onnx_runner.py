"""Segments with ONNX Runtime: it reads and writes the memory of torch's tensors, on a CPU or on CUDA."""

from __future__ import annotations

import onnxruntime
import torch
from torch import Tensor

from model.checkpoint import CheckpointInfo
from model.device import DeviceError
from model.hrm import HRM, Carry
from model.onnx_graph import OUTPUTS, segment_model
from model.probability import confidence
from service.engine.graph import Rows, Said, SegmentResult, begun, in_place, judged
from service.engine.torch_runner import TorchRunner

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""By the device's type."""

_ELEMENTS = {torch.float32: 1, torch.int64: 7, torch.uint8: 2, torch.bfloat16: 16}
"""ONNX's numbers of the types."""


class OnnxRunner(TorchRunner):
    """The same table of slots; only the network is run by ONNX Runtime."""

    backend = "onnx"
    mode = "session"

    def __init__(self, model: HRM, size: int, dtype: torch.dtype = torch.float32, *, fixed_batch: bool = False) -> None:
        """Open a session; raises DeviceError where ONNX Runtime cannot compute on the model's device in this dtype."""
        super().__init__(model, size, dtype, fixed_batch=fixed_batch, graphs=False)
        self._session = open_session(segment_model(model, dtype).SerializeToString(), self.device, dtype)

    def load(self, info: CheckpointInfo) -> None:
        """The same by a new session: the weights of one are laid out for the processor, and stay as they are."""
        super().load(info)
        model = segment_model(self.model, self.dtype)
        self._session = open_session(model.SerializeToString(), self.device, self.dtype)

    def _step(self, index: Tensor) -> Tensor:
        """One segment of the slots at `index`; gives what the host wants to know."""
        return in_place(self._segment, self._carry, self._rows, index)

    def _segment(self, carry: Carry, rows: Rows) -> SegmentResult:
        """Run one segment of n rows; the halting rule is torch's."""
        carry = begun(self.model, carry, rows)
        binding = self._session.io_binding()
        inputs = {"tokens": rows.tokens.contiguous(), "z_H": carry.z_H, "z_L": carry.z_L}
        if self.model.config.puzzle_emb_ndim:
            inputs["puzzle_vectors"] = rows.puzzle_vectors
        outputs = self._outputs(carry, rows)
        for name, tensor in inputs.items():
            binding.bind_input(name, *_place(tensor))
        for name, tensor in outputs.items():
            binding.bind_output(name, *_place(tensor))
        if self.device.type == "cuda":
            torch.cuda.current_stream().synchronize()  # ONNX Runtime has a stream of its own
        self._session.run_with_iobinding(binding)
        logits, answer, config = outputs["logits"], outputs["answer"].long(), self.model.config
        said = Said(
            Carry(outputs["next_z_H"], outputs["next_z_L"]),
            answer,
            outputs["q_halt"],
            outputs["q_continue"],
            confidence(logits, answer, rows.predicted, config.loss),
            outputs["residual_H"],
            outputs["residual_L"],
        )
        return judged(said, rows, config.halt_rule)

    def _outputs(self, carry: Carry, rows: Rows) -> dict[str, Tensor]:
        """Memory for what the session says."""
        outputs = {name: rows.puzzle_vectors.new_empty(len(rows.tokens)) for name in OUTPUTS}
        outputs |= {"next_z_H": torch.empty_like(carry.z_H), "next_z_L": torch.empty_like(carry.z_L)}
        outputs["logits"] = carry.z_H.new_empty(*rows.tokens.shape, self.model.config.vocab_size)
        outputs["answer"] = rows.tokens.new_empty(rows.tokens.shape, dtype=torch.uint8)
        return outputs


def open_session(model: bytes, device: torch.device, dtype: torch.dtype) -> onnxruntime.InferenceSession:
    """A session on the provider that belongs to `device`, and on no other.

    Raises:
        DeviceError: there is no such provider, it does not compute in `dtype`, or ONNX Runtime took another one.
    """
    provider = PROVIDERS.get(device.type)
    if provider is None or provider not in onnxruntime.get_available_providers():
        there = ", ".join(onnxruntime.get_available_providers())
        raise DeviceError(f"this ONNX Runtime has no provider for {device} (it has {there})")
    if device.type == "cpu" and dtype != torch.float32:
        raise DeviceError("ONNX Runtime computes in fp32 on a CPU")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin while they wait take the cores from API, queue and publishing: on a busy machine that made
    # a segment four times as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    details = {"device_id": device.index or 0, "use_tf32": 0} if device.type == "cuda" else {}
    session = onnxruntime.InferenceSession(model, options, providers=[(provider, details)])
    if session.get_providers()[0] != provider:
        raise DeviceError(f"ONNX Runtime runs on {session.get_providers()[0]} where {provider} was asked for")
    return session


def _place(tensor: Tensor) -> tuple[str, int, int, tuple[int, ...], int]:
    """Where a contiguous tensor lies, as ONNX Runtime wants to be told."""
    device = tensor.device
    return device.type, device.index or 0, _ELEMENTS[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()
