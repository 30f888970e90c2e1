"""What upstream's `all_config.yaml` says of a network, and how ours is said in its words.

Two code bases are read: sapientinc/HRM (`hrm.hrm_act_v1`) and SamsungSAILMontreal/TinyRecursiveModels
(`recursive_reasoning.trm`). What tensors tell by their shapes is taken from them; the file adds the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from model.checkpoint import CheckpointError
from model.config import ConfigError, HRMConfig

CONFIG_FILE = "all_config.yaml"

_MAX_BYTES = 1 << 18
_HRM = "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1"
_TRM = "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"
_HRM_MODULES = ("hrm_act_v1", "hrm")
_TRM_MODULES = ("trm",)
_LOSS_SUFFIX = "_cross_entropy"
_TRM_PREFIX = 16
"""Positions that TRM gives a puzzle embedding where its file does not say otherwise."""

Shapes = Mapping[str, list[int]]
"""Shapes of the tensors, by their names without upstream's wrapper prefixes."""


def read_arch(path: Path) -> dict[str, Any]:
    """The `arch` block of a file, plain values only; raises CheckpointError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CheckpointError(f"{path}: larger than {_MAX_BYTES} bytes")
        document = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent}: {path.name} is missing beside the weights") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    arch = document.get("arch") if isinstance(document, dict) else None
    if not isinstance(arch, dict):
        raise CheckpointError(f"{path}: there is no `arch` block")
    loss = arch.get("loss")
    return _plain(arch) | {"loss": _plain(loss) if isinstance(loss, dict) else {}}


def config_of(
    arch: Mapping[str, Any], shapes: Shapes, where: Path, seq_len: int | None, usual: int | None
) -> HRMConfig:
    """The network that an `arch` block and its tensors describe.

    Args:
        arch: what `read_arch` gave.
        shapes: the tensors' shapes; not compared with the result.
        where: the file, which errors name.
        seq_len: cells of a puzzle; None: as many as the tensors tell.
        usual: as many where they do not tell either.

    Raises:
        CheckpointError: it is a network that is not known here, or a value is missing or impossible.
    """
    module = str(arch.get("name", "")).partition("@")[0].rpartition(".")[2]
    if module not in _HRM_MODULES + _TRM_MODULES:
        raise CheckpointError(f"{where}: arch.name is {arch.get('name')!r}; known are {_HRM} and {_TRM}")
    is_trm = module in _TRM_MODULES
    try:
        vocab_size, hidden_size = shapes["embed_tokens.embedding_weight"]
        num_puzzles, puzzle_emb_ndim = shapes.get("puzzle_emb.weights", [1, 0])
        fields: dict[str, Any] = {
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "num_heads": arch["num_heads"],
            "L_layers": _layers("L_level", shapes),
            "H_layers": _layers("L_level" if is_trm else "H_level", shapes),
            "H_cycles": arch["H_cycles"],
            "L_cycles": arch["L_cycles"],
            "expansion": float(arch["expansion"]),
            "positions": arch["pos_encodings"],
            "rope_theta": float(arch.get("rope_theta", 10000.0)),
            "norm_eps": float(arch.get("rms_norm_eps", 1e-5)),
            "puzzle_emb_ndim": puzzle_emb_ndim,
            "num_puzzles": num_puzzles,
            "halt_max_segments": arch["halt_max_steps"],
            "loss": str(arch["loss"].get("loss_type", f"stablemax{_LOSS_SUFFIX}")).removesuffix(_LOSS_SUFFIX),
            "shared_levels": is_trm,
        }
        if is_trm and arch.get("no_ACT_continue", True):
            fields["halt_rule"] = "halt_over_zero"
        if is_trm and puzzle_emb_ndim:
            fields["puzzle_emb_len"] = arch.get("puzzle_emb_len", _TRM_PREFIX) or None
        if _mixes_by_mlp(shapes):
            fields |= {"mixer": "mlp", "mixer_norm": "positions"}
        config = HRMConfig(seq_len=1, **fields)
        cells = seq_len or _cells(shapes, config.prefix_len) or usual
        if cells is None:
            raise ConfigError("nothing tells how many cells a puzzle has; it must be said")
        config = replace(config, seq_len=cells)
    except KeyError as error:
        raise CheckpointError(f"{where}: {error} is missing") from None
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: a value of `arch` has the wrong type: {error}") from None
    for name, size in (("hidden_size", config.hidden_size), ("L_layers", config.L_layers)):
        if arch.get(name, size) != size:
            raise CheckpointError(f"{where}: arch.{name} is {arch[name]!r}, the tensors have {size}")
    return config


def arch_of(config: HRMConfig) -> dict[str, Any]:
    """The `arch` block of one of our networks; raises CheckpointError where upstream has no such network."""
    reason = _not_upstreams(config)
    if reason:
        raise CheckpointError(f"upstream's code cannot run this network: {reason}")
    arch: dict[str, Any] = {
        "name": _TRM if config.shared_levels else _HRM,
        "loss": {"name": "losses@ACTLossHead", "loss_type": f"{config.loss}{_LOSS_SUFFIX}"},
        "halt_exploration_prob": 0.1,
        "halt_max_steps": config.halt_max_segments,
        "H_cycles": config.H_cycles,
        "L_cycles": config.L_cycles,
        "H_layers": 0 if config.shared_levels else config.H_layers,
        "L_layers": config.L_layers,
        "hidden_size": config.hidden_size,
        "num_heads": config.num_heads,
        "expansion": config.expansion,
        "puzzle_emb_ndim": config.puzzle_emb_ndim,
        "pos_encodings": config.positions,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "forward_dtype": "float32",
    }
    if config.shared_levels:
        arch |= {
            "mlp_t": config.mixer == "mlp",
            "puzzle_emb_len": config.prefix_len,
            "no_ACT_continue": config.halt_rule == "halt_over_zero",
        }
    return arch


def _not_upstreams(config: HRMConfig) -> str | None:
    """What upstream's network of the same kind lacks; None where it can run this one."""
    own, mlp = not config.shared_levels, config.mixer == "mlp"
    spare = config.prefix_len * config.hidden_size - config.puzzle_emb_ndim
    lacks = {
        f"its inner widths are multiples of 256, not of {config.inner_multiple}": config.inner_multiple != 256,
        "its token-mixing MLP is normalised over the positions": mlp and config.mixer_norm == "hidden",
        "an MLP mixes tokens only where both levels share one network": mlp and own,
        "it needs positions": own and config.positions == "none",
        "it halts when q_halt is above q_continue, not above zero": own and config.halt_rule == "halt_over_zero",
        "its prefix is as short as the puzzle embedding allows": own and spare >= config.hidden_size,
    }
    return next((reason for reason, is_lacking in lacks.items() if is_lacking), None)


def _plain(block: Mapping[Any, Any]) -> dict[str, Any]:
    """Without what is nested: YAML's references can make a small file endless."""
    return {
        str(name): value for name, value in block.items() if value is None or isinstance(value, (str, int, float, bool))
    }


def _layers(level: str, shapes: Shapes) -> int:
    return len({name.split(".")[2] for name in shapes if name.startswith(f"{level}.layers.")})


def _mixes_by_mlp(shapes: Shapes) -> bool:
    return any(".mlp_t." in name for name in shapes)


def _cells(shapes: Shapes, prefix_len: int) -> int | None:
    """The puzzle's cells, where a tensor is as long as the state."""
    for name, shape in shapes.items():
        if name == "embed_pos.embedding_weight" or name.endswith(".mlp_t.down_proj.weight"):
            return shape[0] - prefix_len
    return None
