"""A run's saved state: tensors as safetensors and facts as JSON, replaced together and never half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.errors import StateError

STATE_FILE = "state.safetensors"


def save_state(run_dir: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write the state beside the old one, then replace it in one move; raises StateError, and the old one stays."""
    path = run_dir / STATE_FILE
    partial = run_dir / f"{STATE_FILE}.partial"
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        save_file(plain, partial, {"facts": json.dumps(facts)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (SafetensorError, OSError) as error:
        kept = "; the one before is untouched" if path.exists() else ""
        raise StateError(f"{path}: the state cannot be written{kept}: {_reason(error)}") from None
    finally:
        partial.unlink(missing_ok=True)


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
        raise StateError(f"{path}: the saved state is damaged: {_reason(error)}; move it away to begin anew") from None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
