"""A run's saved state: tensors as safetensors and facts as JSON, replaced together and never half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

STATE_FILE = "state.safetensors"


class StateError(RuntimeError):
    """A saved state cannot be read; the message names the file."""


def save_state(run_dir: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write the state beside the old one, then replace it in one move."""
    run_dir.mkdir(parents=True, exist_ok=True)
    partial = run_dir / f"{STATE_FILE}.partial"
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial, {"facts": json.dumps(facts)}
    )
    partial.replace(run_dir / STATE_FILE)


class SavedState(NamedTuple):
    """Tensors by name, and the facts that were saved beside them."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def load_state(run_dir: Path) -> SavedState | None:
    """The saved state, or None where there is none; raises StateError if it is damaged."""
    path = run_dir / STATE_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return SavedState(tensors, json.loads(file.metadata()["facts"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise StateError(f"{path}: the saved state is damaged: {error}") from None
