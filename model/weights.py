"""A network's weights in a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from model.checkpoint import WEIGHTS_FILE, CheckpointError, CheckpointInfo
from model.config import HRMConfig
from model.hrm import HRM

PUZZLE_TABLE = "puzzle_emb.weights"
"""The one tensor that may be larger than all others together: it is mapped from its file, never loaded."""


def serialise(model: HRM) -> bytes:
    """All parameters and buffers as a safetensors file."""
    return save(_saved(model))


def write_weights(model: HRM, path: Path) -> None:
    """The same as a file, without a copy in memory; raises OSError where it cannot be written."""
    try:
        save_file(_saved(model), path)
    except SafetensorError as error:  # its word for what the system refuses
        raise OSError(" ".join(str(error).split())) from None
    path.chmod(0o644)  # safetensors lets nobody else read it; whoever serves it is somebody else


def load_model(info: CheckpointInfo, device: torch.device, dtype: torch.dtype) -> HRM:
    """Build the network of a checkpoint and fill it, ready for inference in `dtype`.

    The q-head, the initial states, the norms and RoPE's tables stay in fp32, the table of puzzle embeddings in its
    file. Shapes are compared before memory is taken.

    Raises:
        CheckpointError: the weights do not fit the architecture or cannot be read.
        OutOfMemoryError: `device` has not enough memory.
    """
    with torch.device("meta"):
        network = HRM(info.architecture)
    return filled(network, _read(network, info), device, dtype)


def load_weights(model: HRM, info: CheckpointInfo) -> None:
    """Copy a checkpoint's weights into a network of the same architecture, in place and in its dtypes."""
    found = _read(model, info)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name != PUZZLE_TABLE:
                value.copy_(found[name])
    _map_table(model, found)


def filled(network: HRM, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> HRM:
    """Fill a network from the meta device with copies of `tensors`, ready for inference; see `load_model`."""
    narrow = {name for name, _ in network.named_parameters() if not name.startswith("q_head.")}
    state = {
        name: value.to(device, dtype if name in narrow else torch.float32, copy=True)
        for name, value in tensors.items()
        if name != PUZZLE_TABLE
    }
    network.load_state_dict(state, strict=False, assign=True)
    _map_table(network, tensors)
    network.reset_positions(device)
    return network.requires_grad_(False).eval()


def memory_needed(config: HRMConfig, slots: int) -> int:
    """About how many bytes serving takes: the weights in fp32, the state of all slots, and one block's activations."""
    with torch.device("meta"):
        state = HRM(config).state_dict()
    weights = sum(value.numel() for name, value in state.items() if name != PUZZLE_TABLE)
    carry = 2 * slots * config.total_len * config.hidden_size
    widest = slots * config.total_len * max(3 * config.inner_size(config.hidden_size), 3 * config.hidden_size)
    return int(4 * (weights + 3 * carry + widest))


def require_shapes(network: HRM, found: Mapping[str, list[int]], where: str) -> None:
    """Raise CheckpointError, which begins with `where`, unless these are the shapes of the network's tensors."""
    expected = {name: list(value.shape) for name, value in network.state_dict().items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{where}: {name} has shape {found.get(name, 'nothing')} "
                f"where the architecture says {expected.get(name, 'nothing')}"
            )


def _saved(model: HRM) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def _read(network: HRM, info: CheckpointInfo) -> dict[str, Tensor]:
    """A checkpoint's tensors, mapped from its file: nothing is read before it is used."""
    path = info.path / WEIGHTS_FILE
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            shapes = {name: list(file.get_slice(name).get_shape()) for name in names}
            require_shapes(network, shapes, str(path))
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: {' '.join(str(error).split())}") from None


def _map_table(model: HRM, tensors: Mapping[str, Tensor]) -> None:
    if PUZZLE_TABLE in tensors:
        model.puzzle_emb.weights = tensors[PUZZLE_TABLE]
