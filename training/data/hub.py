"""Where published data lies: a folder, a file, or a data set on the Hugging Face hub."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

from training.data.errors import DataError

HUB = "hub:"
"""How a data set on the hub is written: hub:sapientinc/sudoku-extreme."""


@dataclass(frozen=True, slots=True)
class Published:
    """CSV files that were found: what to train on, and what to test on where it is published apart."""

    train: Path
    test: Path | None


def locate(text: str) -> Published:
    """Find the files that `text` names: a CSV file, a folder with train.csv and test.csv, or hub:OWNER/NAME.

    Raises:
        DataError: There is nothing, or the hub cannot be asked.
    """
    if text.startswith(HUB):
        repository = text.removeprefix(HUB)
        return Published(_download(repository, "train.csv"), _download(repository, "test.csv"))
    path = Path(text)
    if path.is_file():
        return Published(path, None)
    if (path / "train.csv").is_file():
        test = path / "test.csv"
        return Published(path / "train.csv", test if test.is_file() else None)
    raise DataError(
        f"{text}: neither a CSV file nor a folder with train.csv in it; the hub's are written {HUB}OWNER/NAME"
    )


def _download(repository: str, name: str) -> Path:
    """Fetch a file of a data set, or take it from the hub's own cache."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise DataError(
            f"{HUB}{repository}: needs `pip install huggingface_hub`; or download train.csv and test.csv yourself"
        ) from None
    try:
        return Path(hub.hf_hub_download(repository, name, repo_type="dataset"))
    except (OSError, ValueError, RuntimeError) as error:  # what the hub's errors and its HTTP client's descend from
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{HUB}{repository}: {name} cannot be fetched: {reason}") from None
