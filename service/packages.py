"""What is installed beside us, where that matters."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from service.settings import SettingsError


def installed(package: str) -> bool:
    """Whether a distribution is installed."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def onnx_installed() -> bool:
    """Whether checkpoints can be run with ONNX Runtime."""
    return installed("onnx") and (installed("onnxruntime") or installed("onnxruntime-gpu"))


def require_one_onnxruntime() -> None:
    """Raise SettingsError where both builds of ONNX Runtime are installed: each overwrites the other's files."""
    if installed("onnxruntime") and installed("onnxruntime-gpu"):
        raise SettingsError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: uninstall both, "
            "then install 'hrm-serve[onnx]' or 'hrm-serve[onnx-gpu]'"
        )
