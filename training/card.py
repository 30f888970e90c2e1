"""The card of a published checkpoint: what it is, what it was made from, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model.hrm import HRM

_JUDGES = {
    "train": "puzzles of the training data that were set aside and not trained on",
    "test": "puzzles of the test split",
}


def model_card(name: str, version: str, model: HRM, training: Mapping[str, Any], overrides: list[str] | None) -> str:
    """README.md of a checkpoint, from what its config.json says of its training.

    `overrides` make its recipe out of the shipped one of that name; None: there is no such.
    """
    recipe, config = training["recipe"], model.config
    again = "the whole recipe is in config.json, under `training`"
    if overrides is not None:
        again = f"`{' '.join(['hrm-train fit', recipe['name'], *overrides])}`"
    parameters = sum(p.numel() for p in model.parameters())
    lines = [
        f"# {name}/{version}",
        "",
        f"A Hierarchical Reasoning Model (arXiv 2506.21734) for the task `{name}`, trained by hrm-serve.",
        "",
        f"- **Network**: {parameters:,} parameters; hidden size {config.hidden_size}, {config.H_layers} + "
        f"{config.L_layers} layers, N = {config.H_cycles}, T = {config.L_cycles}, {config.mixer} mixer, M_max "
        f"{config.halt_max_segments}",
        f"- **Halts** when q_halt is above {'q_continue' if config.halt_rule == 'halt_over_continue' else '0'}",
        f"- **Training**: recipe `{recipe['name']}`, seed {recipe['train']['seed']}, the EMA weights of step "
        f"{training['step']:,}{_duration(training['seconds'])}{_beginning(recipe['train'])}",
        f"- **Hardware**: {', '.join(filter(None, (training['hardware'], training['precision']))) or 'not recorded'}",
        f"- **Again**: {again}",
        "",
        "## Data",
        "",
        "| source | puzzles | licence | sha256 |",
        "|---|---|---|---|",
        *(_source(source) for source in training["data"]),
        "",
        "## Accuracy",
        "",
        f"Exactly right answers to {_JUDGES[training['judged_by']]}, under ACT and after a fixed number of segments.",
        "The best step was chosen by them.",
        "",
        *_accuracy(training["heldout"]),
        "",
    ]
    return "\n".join(lines)


def _source(of: Mapping[str, Any]) -> str:
    return f"| {of['name']} | {of['count']:,} | {of['licence'] or 'not stated'} | `{of['sha256'][:16]}` |"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", after {seconds / 3600:.1f} hours" if seconds >= 3600 else f", after {seconds / 60:.0f} minutes"


def _beginning(settings: Mapping[str, Any]) -> str:
    begun = settings.get("init_from")
    return f", begun with the weights of `{begun}`" if begun else ""


def _accuracy(heldout: Mapping[str, Mapping[str, Any]]) -> list[str]:
    numbers = list(next(iter(heldout.values()))["exact_by_segments"])
    header = ["source", "puzzles", "under ACT", "mean segments", *(f"{n} segments" for n in numbers)]
    rows = [
        [
            source, str(of["puzzles"]), f"{of['exact']:.1%}", f"{of['mean_segments']:.2f}",
            *(f"{of['exact_by_segments'][n]:.1%}" for n in numbers),
        ]
        for source, of in heldout.items()
    ]  # fmt: skip
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
