"""A checkpoint directory: written in one move, read without torch, verified before it is trusted.

model.safetensors   the weights (and nothing that could run code)
config.json         format_version, task, architecture, training summary, sha256 of the weights, canary accuracy,
                    how its confidence is calibrated (see `model.calibration`), and the dtype that it is to be served
                    in, where that is not left to the machine
canary.jsonl        puzzles with answers, one JSON object a line (see `Canary`)
identifiers.json    puzzle identifier -> row of the puzzle embedding, for tasks that use one
README.md           the card, for people
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from model.calibration import Calibration
from model.config import ConfigError, HaltRule, HRMConfig
from model.tasks import Puzzle, Task, task_from

Precision = Literal["fp32", "bf16"]

FORMAT_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CANARY_FILE = "canary.jsonl"
IDENTIFIERS_FILE = "identifiers.json"
CARD_FILE = "README.md"

LIMITS = {CONFIG_FILE: 1 << 20, CANARY_FILE: 16 << 20, IDENTIFIERS_FILE: 256 << 20}
"""The most bytes that are read of each file beside the weights."""

IDENTIFIER_SEPARATORS = ("_", "|||")
"""What stands before each part of the symmetry's name in an augmented puzzle's identifier: in HRM's, as in
007bbfb7_t3_0192837465, and in TinyRecursiveModels'."""


class CheckpointError(ValueError):
    """A checkpoint cannot be trusted or read; the message names the directory and what is wrong."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A puzzle whose answer is known: asked before a checkpoint may serve.

    `answer` is what a caller must be told, in the form of `Task.format`. It need not be right: an imported
    checkpoint's canaries hold what the network itself said after `max_segments` (see `model.canary`).
    """

    puzzle: Puzzle
    answer: Puzzle
    puzzle_id: str | None = None
    max_segments: int | None = None


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself; reading it touches no weights."""

    task: str
    version: str
    path: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """How answers name it: task/version."""
        return f"{self.task}/{self.version}"

    @property
    def sha256(self) -> str:
        """Of the weights file."""
        return str(self.config["weights"]["sha256"])

    @property
    def task_description(self) -> dict[str, Any]:
        """What `model.tasks.task_from` reads."""
        return dict(self.config["task"])

    @property
    def max_segments(self) -> int:
        """M_max, as trained."""
        return self.architecture.halt_max_segments

    @property
    def canary_accuracy(self) -> float:
        """The share of its canaries that it must answer exactly."""
        return float(self.config["canary"]["accuracy"])

    @property
    def training(self) -> dict[str, Any]:
        """What training, or an import, wrote about itself; nobody checks it."""
        training = self.config.get("training")
        return training if isinstance(training, dict) else {}

    @property
    def precision(self) -> Precision | None:
        """What it is to be served in; None: in whatever the machine is fast in."""
        precision: Precision | None = self.config.get("precision")
        return precision

    @cached_property
    def calibration(self) -> Calibration | None:
        """How likely its answers are exact; None where it was published or imported without that knowledge."""
        values = self.config.get("calibration")
        return None if values is None else Calibration.from_dict(values)

    @cached_property
    def architecture(self) -> HRMConfig:
        """The validated network configuration."""
        return HRMConfig.from_dict(self.config["architecture"])

    def halting(self, rule: HaltRule) -> CheckpointInfo:
        """The same checkpoint, ended by another rule than its own."""
        return replace(self, config=self.config | {"architecture": self.config["architecture"] | {"halt_rule": rule}})

    @cached_property
    def codec(self) -> Task:
        """The task in the shape this checkpoint was trained for."""
        return task_from(self.task_description)

    @cached_property
    def identifiers(self) -> dict[str, int] | None:
        """Rows of the puzzle embedding by identifier, where the checkpoint brings them; raises CheckpointError."""
        path = self.path / IDENTIFIERS_FILE
        if not path.is_file():
            return None
        rows, network = _read_json(path), self.architecture
        for identifier, row in rows.items():
            if type(row) is not int or (network.puzzle_emb_ndim and not 0 <= row < network.num_puzzles):
                raise CheckpointError(f"{path}: {identifier!r} has row {row!r}; there are {network.num_puzzles}")
        return rows

    def views(self, puzzle_id: str) -> list[tuple[str, int]]:
        """The augmented forms of a puzzle that have rows of their own: (name of the symmetry, row).

        An augmented puzzle's identifier is the puzzle's with the symmetry's name behind it (`IDENTIFIER_SEPARATORS`).
        """
        known, found = self.identifiers or {}, []
        for separator in IDENTIFIER_SEPARATORS:
            prefix = f"{puzzle_id}{separator}t"
            for index in range(bisect_left(self._sorted_identifiers, prefix), len(known)):
                identifier = self._sorted_identifiers[index]
                if not identifier.startswith(prefix):
                    break
                name = identifier.removeprefix(puzzle_id + separator).replace(separator, "_")
                found.append((name, known[identifier]))
        return found

    @cached_property
    def _sorted_identifiers(self) -> list[str]:
        return sorted(self.identifiers or {})

    def canaries(self) -> list[Canary]:
        """The canary puzzles; raises CheckpointError if there are none or one cannot be read."""
        lines = _read_text(self.path / CANARY_FILE).splitlines()
        try:
            canaries = [Canary(**json.loads(line)) for line in lines if line.strip()]
            for canary in canaries:
                self.codec.parse(canary.puzzle)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{self.path / CANARY_FILE}: {error}") from None
        if not canaries:
            raise CheckpointError(f"{self.path}: {CANARY_FILE} holds no canary")
        return canaries

    def require_task_of(self, other: CheckpointInfo) -> None:
        """Raise CheckpointError where this is for another kind of puzzle than `other`, which it is to follow."""
        own, others = self.codec.name, other.codec.name
        if own != others:
            raise CheckpointError(f"{self.path}: is for {own!r}; {other.name}, to be replaced, is for {others!r}")

    def verify(self) -> None:
        """Raise CheckpointError unless the weights are byte for byte what config.json says."""
        path = self.path / WEIGHTS_FILE
        expected = self.config["weights"]
        if not path.is_file():
            raise CheckpointError(f"{self.path}: {WEIGHTS_FILE} is missing")
        try:
            size = path.stat().st_size
            if size != expected["bytes"]:
                raise CheckpointError(
                    f"{path}: {size} bytes where config.json says {expected['bytes']}: truncated or altered"
                )
            actual = _sha256(path)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
        if actual != self.sha256:
            raise CheckpointError(f"{path}: sha256 is {actual} where config.json says {self.sha256}: altered")


def read_checkpoint(path: Path, task: str | None = None, version: str | None = None) -> CheckpointInfo:
    """Read and validate a checkpoint's config; raises CheckpointError. Weights are left for `verify`."""
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint directory")
    config = _read_json(path / CONFIG_FILE)
    info = CheckpointInfo(task or path.parent.name, version or path.name, path, config)
    try:
        if config["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: format_version {config['format_version']!r}; this version reads {FORMAT_VERSION}"
            )
        codec, architecture = info.codec, info.architecture
        _ = info.calibration, info.sha256, int(config["weights"]["bytes"])
        accuracy = info.canary_accuracy
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path / CONFIG_FILE}: {error} is missing or of the wrong type") from None
    except CheckpointError:
        raise
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"{path / CONFIG_FILE}: {error}") from None
    if (architecture.seq_len, architecture.vocab_size) != (codec.seq_len, codec.vocab_size):
        raise CheckpointError(
            f"{path}: the architecture is for {architecture.seq_len} cells of {architecture.vocab_size} tokens, "
            f"the task {codec.name!r} has {codec.seq_len} of {codec.vocab_size}"
        )
    if info.precision not in (None, *get_args(Precision)):
        raise CheckpointError(f"{path / CONFIG_FILE}: precision must be fp32 or bf16, not {info.precision!r}")
    if not 0 <= accuracy <= 1:
        raise CheckpointError(f"{path / CONFIG_FILE}: canary accuracy must be from 0 to 1, not {accuracy}")
    return info


def write_checkpoint(
    path: Path,
    *,
    task: Mapping[str, Any],
    architecture: HRMConfig,
    weights: bytes | Callable[[Path], None],
    canaries: Sequence[Canary],
    canary_accuracy: float,
    training: Mapping[str, Any],
    precision: Precision | None = None,
    calibration: Calibration | None = None,
    identifiers: Mapping[str, int] | None = None,
    card: str | None = None,
) -> CheckpointInfo:
    """Write a checkpoint beside its final place, read it back, and move it there; `path` must not exist yet.

    `weights` is a safetensors file, or what writes it to a path; `task` is what `Task.describe` says.

    Raises:
        CheckpointError: it exists, cannot be written, or is none that `read_checkpoint` would take.
    """
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
    try:
        _require_new(path)
        partial.mkdir(parents=True)
        if isinstance(weights, bytes):
            (partial / WEIGHTS_FILE).write_bytes(weights)
        else:
            weights(partial / WEIGHTS_FILE)
        config = {
            "format_version": FORMAT_VERSION,
            "task": dict(task),
            "architecture": architecture.to_dict(),
            "weights": {
                "sha256": _sha256(partial / WEIGHTS_FILE),
                "bytes": (partial / WEIGHTS_FILE).stat().st_size,
            },
            "canary": {"accuracy": canary_accuracy, "count": len(canaries)},
            "training": dict(training),
        }
        if precision is not None:
            config["precision"] = precision
        if calibration is not None:
            config["calibration"] = calibration.to_dict()
        (partial / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
        (partial / CANARY_FILE).write_text("".join(_canary_line(canary) for canary in canaries))
        if identifiers is not None:
            (partial / IDENTIFIERS_FILE).write_text(json.dumps(dict(identifiers)))
        if card is not None:
            (partial / CARD_FILE).write_text(card, encoding="utf-8")
        read_checkpoint(partial)
        _sync(partial)
        _require_new(path)  # another process may have written it meanwhile
        partial.rename(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return read_checkpoint(path)


def _require_new(path: Path) -> None:
    if path.exists():
        raise CheckpointError(f"{path}: exists already; a version is never changed once written")


def _canary_line(canary: Canary) -> str:
    return json.dumps({name: value for name, value in asdict(canary).items() if value is not None}) + "\n"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(directory: Path) -> None:
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _read_text(path: Path) -> str:
    limit = LIMITS[path.name]
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path}: not a file")
        if path.stat().st_size > limit:
            raise CheckpointError(f"{path}: larger than {limit} bytes")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: {path.name} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected an object")
    return value
