"""A network's weights as bytes, and back."""

from __future__ import annotations

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from model.checkpoint import WEIGHTS_FILE, CheckpointError, CheckpointInfo
from model.config import HRMConfig
from model.hrm import HRM


def serialise(model: HRM) -> bytes:
    """All parameters and buffers as a safetensors file."""
    return save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()})


def load_model(info: CheckpointInfo, device: torch.device, dtype: torch.dtype) -> HRM:
    """Build the network of a checkpoint and fill it, ready for inference in `dtype`.

    The q-head, the norms and RoPE's tables stay in fp32. Shapes are compared before memory is taken.

    Raises:
        CheckpointError: the weights do not fit the architecture or cannot be read.
    """
    with torch.device("meta"):
        model = HRM(info.architecture)
    _require_shapes(model, info)
    model.to_empty(device=device)
    model.reset_positions()
    load_weights(model, info)
    for name, parameter in model.named_parameters():
        if not name.startswith("q_head."):
            parameter.data = parameter.data.to(dtype)
    return model.requires_grad_(False).eval()


def load_weights(model: HRM, info: CheckpointInfo) -> None:
    """Copy a checkpoint's weights into a network of the same architecture, in place and in its dtypes."""
    try:
        model.load_state_dict(load_file(info.path / WEIGHTS_FILE), strict=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{info.path / WEIGHTS_FILE}: {' '.join(str(error).split())}") from None


def memory_needed(config: HRMConfig, slots: int) -> int:
    """About how many bytes serving takes: the weights in fp32, the state of all slots, and one block's activations."""
    with torch.device("meta"):
        weights = sum(value.numel() for value in HRM(config).state_dict().values())
    state = 2 * slots * config.total_len * config.hidden_size
    widest = slots * config.total_len * max(3 * config.inner_size(config.hidden_size), 3 * config.hidden_size)
    return int(4 * (weights + 3 * state + widest))


def _require_shapes(model: HRM, info: CheckpointInfo) -> None:
    path = info.path / WEIGHTS_FILE
    expected = {name: list(value.shape) for name, value in model.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path}: {name} has shape {found.get(name, 'nothing')} "
                f"where the architecture says {expected.get(name, 'nothing')}"
            )
