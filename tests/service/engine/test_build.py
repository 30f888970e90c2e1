"""Which backend a worker takes: asked for, measured, or remembered."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint import CheckpointError
from model.device import DeviceError
from model.registry import Registry
from service.engine import build, choice, onnx_runner
from service.engine.build import Builder
from service.engine.choice import Choices
from service.engine.cuda_graphs import bucket, buckets
from service.engine.load import Loader
from service.settings import Settings


@pytest.fixture
def info(tiny_registry: Path):
    return Registry([tiny_registry]).current("sudoku")


@pytest.fixture
def settings(tiny_registry: Path, tmp_path: Path) -> Settings:
    return Settings(
        checkpoints=tiny_registry, state_dir=tmp_path, slots=4, device="cpu", precision="fp32", compile="off"
    )


def changed(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update=changes)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch):
    """Makes backends take as long as a test says; gives the list of those that were asked."""
    asked = []

    def time(**seconds: float):
        def segment_s(runner, rows):
            asked.append(runner.backend)
            return seconds[runner.backend]

        monkeypatch.setattr(choice, "segment_s", segment_s)
        return asked

    return time


@pytest.mark.parametrize(("onnx", "torch_", "taken"), [(0.1, 0.2, "onnx"), (0.2, 0.1, "torch")])
def test_auto_takes_the_faster_one_and_says_why(settings, info, timed, caplog, onnx, torch_, taken):
    caplog.set_level(logging.INFO)
    timed(onnx=onnx, torch=torch_)
    runner = Builder(settings).build(info, 4)
    assert runner.backend == taken
    said = next(record for record in caplog.records if record.message == "backend chosen")
    assert (said.backend, getattr(said, "onnx (session) ms"), getattr(said, "torch (eager) ms")) == (
        taken, 1e3 * onnx, 1e3 * torch_,
    )  # fmt: skip


def test_what_was_measured_is_remembered_until_something_changes(settings, info, timed):
    asked = timed(onnx=0.1, torch=0.2)
    for slots, measured in ((4, True), (4, False), (2, True)):
        asked.clear()
        runner = Builder(settings).build(info, slots)
        assert (runner.backend, bool(asked)) == ("onnx", measured)


def test_a_real_measurement_comes_to_a_choice(settings, info):
    runner = Builder(settings).build(info, 4)
    assert runner.backend in ("torch", "onnx")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_damaged_memory_is_no_memory(tmp_path, content):
    path = tmp_path / "compiled" / "backends.json"
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
    choices = Choices(tmp_path)
    assert choices.get({"a": 1}) is None
    choices.put({"a": 1}, "onnx")
    assert choices.get({"a": 1}) == "onnx"
    assert len(json.loads(path.read_text())) == 1


def test_where_there_is_no_state_directory_none_is_made(tmp_path):
    Choices(tmp_path / "state").put({"a": 1}, "onnx")
    assert not (tmp_path / "state").exists()


def test_what_is_asked_for_is_taken(settings, info):
    for backend in ("torch", "onnx"):
        runner = Builder(changed(settings, backend=backend)).build(info, 4)
        assert runner.describe()["backend"] == backend


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"backend": "onnx", "precision": "bf16"}, "HRM_BACKEND is onnx, which computes in fp32 on a CPU"),
        ({"compile": "on"}, "HRM_COMPILE is on, but there is no compiler for cpu"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(settings, monkeypatch, changes, reason):
    monkeypatch.setattr(build, "can_compile", lambda device: False)
    with pytest.raises(DeviceError, match=reason):
        Builder(changed(settings, **changes))


def asking(info, precision):
    return replace(info, config=info.config | {"precision": precision})


def test_a_checkpoint_may_ask_for_its_dtype(settings, info):
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        runner = Builder(changed(settings, precision="auto", backend="torch")).build(asking(info, precision), 4)
        assert runner.dtype == dtype


def test_the_setting_overrides_what_a_checkpoint_asks_for(settings, info):
    runner = Builder(changed(settings, precision="fp32", backend="torch")).build(asking(info, "bf16"), 4)
    assert runner.dtype == torch.float32


def test_bf16_that_a_checkpoint_asks_for_is_not_left_to_a_backend_without_it(settings, info):
    runner = Builder(changed(settings, precision="auto")).build(asking(info, "bf16"), 4)
    assert (runner.backend, runner.dtype) == ("torch", torch.bfloat16)
    with pytest.raises(CheckpointError, match="asks for bf16, and ONNX Runtime computes in fp32 on a CPU"):
        Builder(changed(settings, precision="auto", backend="onnx")).build(asking(info, "bf16"), 4)


def test_without_onnx_runtime_torch_is_taken_and_onnx_refused(settings, monkeypatch):
    monkeypatch.setattr(build, "onnx_installed", lambda: False)
    assert Builder(settings).backends == ["torch"]
    with pytest.raises(DeviceError, match=r"not installed: pip install 'hrm-serve\[onnx\]'"):
        Builder(changed(settings, backend="onnx"))


def test_a_machine_without_a_compiler_gets_onnx_runtime_and_is_told(settings, info, monkeypatch, timed, caplog):
    monkeypatch.setattr(build, "can_compile", lambda device: False)
    timed(onnx=0.1, torch=0.2)
    runner = Builder(changed(settings, compile="auto")).build(info, 4)
    assert runner.backend == "onnx"
    assert "no compiler on this machine: ONNX Runtime runs the segments" in caplog.text


class Fallen:
    """A session of the GPU build where CUDA cannot be used: it falls back to the CPU without an error."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


def test_onnx_runtime_on_another_provider_than_asked_is_refused(settings, info, monkeypatch):
    monkeypatch.setattr(onnx_runner.onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnx_runner.onnxruntime, "InferenceSession", Fallen)
    with pytest.raises(DeviceError, match="runs on CPUExecutionProvider where CUDAExecutionProvider was asked for"):
        onnx_runner.open_session(b"", torch.device("cuda"), torch.float32)
    with pytest.raises(CheckpointError, match=r"has no provider for cpu \(it has CUDAExecutionProvider\)"):
        Loader(changed(settings, backend="onnx")).load(info)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_bank_that_was_given_back_is_used_again(settings, info, backend):
    loader = Loader(changed(settings, backend=backend))
    first, second = loader.load(info), loader.load(info)
    loader.release(first.runner)
    assert loader.load(info).runner is first.runner
    assert second.runner is not first.runner
    assert loader.describe()["backend"] == backend


@pytest.mark.parametrize("rule", ["halt_over_continue", "halt_over_zero"])
def test_the_settings_say_what_halts_a_puzzle(settings, info, rule):
    assert info.architecture.halt_rule == "halt_over_continue"
    table = Loader(changed(settings, backend="torch", halt_rule=rule)).load(info)
    assert (table.info.architecture.halt_rule, table.runner.model.config.halt_rule) == (rule, rule)
    assert table.info.name == info.name


def test_few_buckets_cover_every_number_of_rows():
    assert buckets(256) == [256, 128, 64, 32, 16, 8, 2]
    for size in (1, 3, 8, 100):
        assert all(rows <= bucket(rows, size) <= size for rows in range(1, size + 1))
        assert buckets(size)[0] == size
