"""Checkpoints of sapientinc/HRM and SamsungSAILMontreal/TinyRecursiveModels, read as they are and written back.

A run's directory holds `step_N` (or `checkpoint`), a torch archive of the state dict, beside `all_config.yaml`; a
data set's directory holds `dataset.json` and `identifiers.json`, which are read where somebody put them beside.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from torch import Tensor

from model.checkpoint import IDENTIFIERS_FILE, LIMITS, CheckpointError
from model.config import HRMConfig
from model.hrm import HRM
from model.upstream_config import CONFIG_FILE, config_of, read_arch
from model.weights import filled, require_shapes

DATASET_FILE = "dataset.json"
BLANK = "<blank>"
"""Upstream's name of a row that no puzzle has."""

_MAX_JSON_BYTES = LIMITS[IDENTIFIERS_FILE]
_PREFIX = "_orig_mod.model.inner."
"""What torch.compile and upstream's two wrappers put before every name."""
_WRAPPERS = ("_orig_mod.", "module.", "model.", "inner.")
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
_NOT_WEIGHTS = ("rotary_emb.", "puzzle_emb.local_")
"""Buffers that some versions save and none needs."""


@dataclass(frozen=True)
class Upstream:
    """An upstream checkpoint; its tensors are mapped from the file where that is possible, and read when used."""

    file: Path
    arch: dict[str, Any]
    config: HRMConfig
    tensors: dict[str, Tensor]
    """By upstream's names without wrapper prefixes, which are ours."""

    @property
    def step(self) -> int | None:
        """How many optimiser steps it was trained for, where its name says so."""
        found = re.fullmatch(r"step_(\d{1,12})", self.file.name)
        return int(found[1]) if found else None

    @property
    def dtypes(self) -> dict[str, str]:
        """Of the tensors that are not fp32: upstream keeps the initial states in the dtype it computes in."""
        return {
            name: str(value.dtype).removeprefix("torch.")
            for name, value in self.tensors.items()
            if value.dtype != torch.float32
        }

    @cached_property
    def identifiers(self) -> dict[str, int] | None:
        """Rows of the puzzle embedding by identifier, where `identifiers.json` lies beside."""
        path = self.file.parent / IDENTIFIERS_FILE
        return read_identifiers(path, self.config.num_puzzles) if path.is_file() else None

    def network(self) -> HRM:
        """Ready for inference on the CPU in fp32; the table of puzzle embeddings stays in the file."""
        with torch.device("meta"):
            network = HRM(self.config)
        return filled(network, self.tensors, torch.device("cpu"), torch.float32)


def load_upstream(path: Path | str, seq_len: int) -> HRM:
    """An upstream checkpoint as a network of ours, in fp32 on the CPU.

    Args:
        path: the file, or the directory that holds it (of several steps the last is taken).
        seq_len: cells of a puzzle, which upstream keeps with its data.

    Raises:
        CheckpointError: it cannot be read, holds code, or is no network that is known here.
    """
    return read_upstream(Path(path), seq_len).network()


def read_upstream(path: Path, seq_len: int | None = None, *, usual: int | None = None) -> Upstream:
    """Read what `load_upstream` reads.

    `seq_len` None: what `dataset.json` or the tensors tell, or else the `usual` number of cells.
    """
    file = _find(path)
    arch = read_arch(file.parent / CONFIG_FILE)
    tensors = _unwrapped(_load(file), file)
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    config = config_of(arch, shapes, file.parent / CONFIG_FILE, seq_len or _cells(file.parent), usual)
    with torch.device("meta"):
        require_shapes(HRM(config), shapes, str(file))
    return Upstream(file, arch, config, tensors)


def write_upstream(
    directory: Path,
    network: HRM,
    arch: Mapping[str, Any],
    *,
    step: int | None = None,
    dtypes: Mapping[str, str] | None = None,
    identifiers: Mapping[str, int] | None = None,
) -> Path:
    """Write a network as upstream does, into a new or empty directory; `load_upstream` and upstream read it.

    Args:
        directory: where to.
        network: any of ours that upstream's code can run.
        arch: upstream's `arch` block (see `model.upstream_config.arch_of`).
        step: for the file's name.
        dtypes: of tensors that are not to be written in fp32, by name.
        identifiers: rows of the puzzle embedding, for `identifiers.json`.

    Returns:
        The file with the weights.

    Raises:
        CheckpointError: the directory holds something or cannot be written.
    """
    narrow = {name: _DTYPES[dtype] for name, dtype in (dtypes or {}).items()}
    state = {
        _PREFIX + name: value.detach().to(narrow.get(name, torch.float32))
        for name, value in network.state_dict().items()
    }
    file = directory / ("checkpoint" if step is None else f"step_{step}")
    config = network.config
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise CheckpointError(f"{directory}: is not empty; export into a new directory")
        torch.save(state, file)
        (directory / CONFIG_FILE).write_text(yaml.safe_dump({"arch": dict(arch)}), encoding="utf-8")
        dataset = {
            "vocab_size": config.vocab_size,
            "seq_len": config.seq_len,
            "num_puzzle_identifiers": config.num_puzzles,
        }
        (directory / DATASET_FILE).write_text(json.dumps(dataset), encoding="utf-8")
        if identifiers is not None:
            names = {row: identifier for identifier, row in identifiers.items()}
            listed = [names.get(row, BLANK) for row in range(config.num_puzzles)]
            (directory / IDENTIFIERS_FILE).write_text(json.dumps(listed), encoding="utf-8")
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{directory}: cannot be written: {_line(error)}") from None
    return file


def read_identifiers(path: Path, rows: int) -> dict[str, int] | None:
    """Rows by identifier, from upstream's list of identifiers or our object; None where no row has a name.

    Raises:
        CheckpointError: it cannot be read, or does not fit a puzzle embedding of so many rows.
    """
    named = _read_json(path)
    if not isinstance(named, (list, dict)) or not all(isinstance(identifier, str) for identifier in named):
        raise CheckpointError(f"{path}: expected a list of identifiers")
    if isinstance(named, list):
        named = {identifier: row for row, identifier in enumerate(named) if identifier != BLANK}
    for identifier, row in named.items():
        if type(row) is not int or not 0 <= row < rows:
            raise CheckpointError(f"{path}: {identifier!r} has row {row!r}; the puzzle embedding has {rows}")
    return named or None


def _find(path: Path) -> Path:
    """The file with the weights."""
    if not path.is_dir():
        if not path.is_file():
            raise CheckpointError(f"{path}: there is no such file or directory")
        return path
    steps = [file for file in path.glob("step_*") if re.fullmatch(r"step_\d+", file.name) and file.is_file()]
    if steps:
        return max(steps, key=lambda file: int(file.name.removeprefix("step_")))
    if (path / "checkpoint").is_file():
        return path / "checkpoint"
    raise CheckpointError(f"{path}: holds neither step_N nor checkpoint")


def _load(file: Path) -> Mapping[str, Any]:
    """The state dict: tensors and nothing else, mapped from the file in torch's present format."""
    try:
        with warnings.catch_warnings(action="ignore"):
            saved = torch.load(file, map_location="cpu", weights_only=True, mmap=_is_archive(file))
    except CheckpointError:
        raise
    except UnpicklingError:
        raise CheckpointError(
            f"{file}: the pickle is damaged or holds more than tensors; nothing in it was run"
        ) from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise CheckpointError(f"{file}: truncated, or not of torch: {_line(error).partition('. ')[0]}") from None
    if isinstance(saved, dict) and isinstance(saved.get("model"), dict):
        saved = saved["model"]  # later versions of TinyRecursiveModels save the optimiser, too
    if not isinstance(saved, dict) or not saved:
        raise CheckpointError(f"{file}: holds no state dict")
    return saved


def _is_archive(file: Path) -> bool:
    """Whether it is a zip archive; raises CheckpointError for a compressed one, which may unpack to any size."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise CheckpointError(f"{file}: a compressed archive, which torch does not write")
    return True


def _unwrapped(state: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    """The tensors under their own names."""
    size, tensors = file.stat().st_size, {}
    for wrapped, value in state.items():
        name = str(wrapped)
        while prefix := next((prefix for prefix in _WRAPPERS if name.startswith(prefix)), None):
            name = name.removeprefix(prefix)
        if name.startswith(_NOT_WEIGHTS):
            continue
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise CheckpointError(f"{file}: {wrapped} is not a tensor of floating point numbers")
        if value.numel() * value.element_size() > size:
            raise CheckpointError(f"{file}: {wrapped} claims to be larger than the file")
        if name in tensors:
            raise CheckpointError(f"{file}: {name} is there twice")
        tensors[name] = value
    return tensors


def _cells(directory: Path) -> int | None:
    """The puzzle's cells, where a `dataset.json` lies beside."""
    path = directory / DATASET_FILE
    if not path.is_file():
        return None
    dataset = _read_json(path)
    cells = dataset.get("seq_len") if isinstance(dataset, dict) else None
    if type(cells) is not int:
        raise CheckpointError(f"{path}: seq_len is {cells!r}; expected a whole number")
    return cells


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CheckpointError(f"{path}: larger than {_MAX_JSON_BYTES} bytes")
        text = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from None


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
