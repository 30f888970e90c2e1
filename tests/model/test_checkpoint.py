import dataclasses
import errno
import hashlib
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from model.checkpoint import Canary, CheckpointError, read_checkpoint, write_checkpoint
from model.config import HRMConfig
from model.hrm import HRM
from model.tasks import get_task
from model.weights import load_model, serialise, write_weights

CANARY = Canary(*get_task("sudoku").examples()[0])
CPU = torch.device("cpu")


def write(path, model, **changes):
    fields = {
        "task": {"kind": "sudoku", "shape": [9, 9]},
        "architecture": model.config,
        "weights": serialise(model),
        "canaries": [CANARY],
        "canary_accuracy": 0.0,
        "training": {"recipe": "none"},
    }
    return write_checkpoint(path, **(fields | changes))


@pytest.fixture
def info(tmp_path, tiny):
    return write(tmp_path / "sudoku" / "1", tiny)


def test_comes_back_as_it_was_written(info, tiny):
    read = read_checkpoint(info.path)
    read.verify()
    assert read.name == "sudoku/1"
    assert read.architecture == tiny.config
    assert read.canaries() == [CANARY]
    loaded = load_model(read, CPU, torch.float32)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in tiny.state_dict().items())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    heads=st.integers(1, 3), layers=st.integers(1, 2), mixer=st.sampled_from(["attention", "mlp"]),
    positions=st.sampled_from(["rope", "learned"]), embedding=st.integers(0, 20),
)  # fmt: skip
def test_round_trip_keeps_what_the_network_says(tmp_path_factory, heads, layers, mixer, positions, embedding):
    model = HRM(
        HRMConfig(
            vocab_size=11, seq_len=81, hidden_size=8 * heads, num_heads=heads, H_layers=layers, L_layers=1,
            inner_multiple=8, mixer=mixer, positions=positions, puzzle_emb_ndim=embedding,
        )
    )  # fmt: skip
    loaded = load_model(write(tmp_path_factory.mktemp("t") / "1", model), CPU, torch.float32)
    tokens = torch.randint(1, 11, (2, 81))
    said, repeated = (m.segment(m.initial_carry(2), tokens)[1] for m in (model, loaded))
    assert torch.equal(said.logits, repeated.logits)


def test_bf16_leaves_the_q_head_alone(info):
    model = load_model(info, CPU, torch.bfloat16)
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert model.q_head.weight.dtype == torch.float32
    _, output = model.segment(model.initial_carry(1, torch.bfloat16), torch.ones(1, 81, dtype=torch.int64))
    assert output.logits.isfinite().all()


def test_a_version_is_never_written_twice(info, tiny):
    with pytest.raises(CheckpointError, match="never changed once written"):
        write(info.path, tiny)


def test_a_failed_write_leaves_nothing(tmp_path, tiny):
    with pytest.raises(TypeError):
        write(tmp_path / "sudoku" / "1", tiny, canaries=[None])
    assert list((tmp_path / "sudoku").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path, tiny):
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(CheckpointError, match=r"file/sudoku/1: cannot be written: Not a directory$"):
        write(tmp_path / "file" / "sudoku" / "1", tiny)


def test_weights_that_the_disk_does_not_take_are_named_and_leave_nothing(tmp_path, tiny):
    absent = tmp_path / "absent" / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"sudoku/1: cannot be written: .*No such file"):
        write(tmp_path / "sudoku" / "1", tiny, weights=lambda _: write_weights(tiny, absent))
    assert list((tmp_path / "sudoku").iterdir()) == []


def test_of_two_that_write_the_same_version_at_once_the_first_stays(tmp_path, tiny):
    path, first = tmp_path / "sudoku" / "1", []

    def while_another_writes(file):
        first.append(write(path, tiny, training={"recipe": "first"}))
        write_weights(tiny, file)

    with pytest.raises(CheckpointError, match="never changed once written"):
        write(path, tiny, weights=while_another_writes)
    assert read_checkpoint(path).training == first[0].training
    assert list((tmp_path / "sudoku").iterdir()) == [path]


def test_truncated_weights_are_named(info):
    path = info.path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated or altered"):
        info.verify()


def test_altered_weights_are_named(info):
    path = info.path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="sha256"):
        info.verify()


def test_weights_that_cannot_be_read_are_named(info, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("model.checkpoint._sha256", broken)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read: Input/output error"):
        info.verify()


def change_config(info, **changes):
    path = info.path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format_version 99"),
        ({"task": {"kind": "chess"}}, "chess"),
        ({"task": {"kind": "maze", "shape": [9, 9]}}, "the task 'maze' has 81 of 6"),
        ({"weights": {}}, "'sha256'"),
        ({"weights": None}, "wrong type"),
        ({"canary": {"accuracy": 7}}, "canary accuracy"),
        ({"precision": "fp8"}, "precision must be fp32 or bf16, not 'fp8'"),
        ({"architecture": {"vocab_size": 11, "seq_len": 81, "hidden_size": 1 << 30}}, "hidden_size"),
    ],
)
def test_a_wrong_config_is_named(info, changes, message):
    change_config(info, **changes)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(info.path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_a_config_that_is_no_object_is_named(info, text):
    (info.path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_checkpoint(info.path)


def test_missing_parts_are_named(info, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint directory"):
        read_checkpoint(tmp_path / "nothing")
    (info.path / "canary.jsonl").write_text("\n")
    with pytest.raises(CheckpointError, match="holds no canary"):
        info.canaries()
    (info.path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        info.verify()


def test_weights_of_another_shape_are_refused_before_they_are_read(info, tiny):
    state = tiny.state_dict() | {"lm_head.weight": torch.zeros(11, 64)}
    (info.path / "model.safetensors").write_bytes(save(state))
    with pytest.raises(CheckpointError, match=r"lm_head\.weight has shape \[11, 64\]"):
        load_model(info, CPU, torch.float32)


def test_identifiers_must_name_rows_that_are_there(tmp_path, tiny_config):
    model = HRM(dataclasses.replace(tiny_config, puzzle_emb_ndim=8, num_puzzles=2))
    info = write(tmp_path / "sudoku" / "1", model, identifiers={"first": 0, "second": 1})
    assert info.identifiers == {"first": 0, "second": 1}
    info = write(tmp_path / "sudoku" / "2", model, identifiers={"third": 2})
    with pytest.raises(CheckpointError, match="'third' has row 2; there are 2"):
        _ = info.identifiers


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Expecting"),
        ('{"puzzle": "1"}', "answer"),
        ('{"puzzle": "1", "answer": "2"}', "expected 81 cells"),
        ("[1]", "mapping"),
    ],
)
def test_a_canary_that_cannot_be_read_is_named(info, line, message):
    (info.path / "canary.jsonl").write_text(line + "\n")
    with pytest.raises(CheckpointError, match=message):
        info.canaries()


def test_weights_can_be_written_by_a_function_and_are_read_back_before_they_appear(tmp_path, tiny):
    info = write(tmp_path / "sudoku" / "1", tiny, weights=lambda path: write_weights(tiny, path))
    info.verify()
    assert info.config["weights"]["sha256"] == hashlib.sha256(serialise(tiny)).hexdigest()
    with pytest.raises(CheckpointError, match="the task 'maze' has 81 of 6"):
        write(tmp_path / "sudoku" / "2", tiny, task={"kind": "maze", "shape": [9, 9]})
    assert [path.name for path in (tmp_path / "sudoku").iterdir()] == ["1"]


def test_anybody_may_read_the_weights(tiny, tmp_path):
    write_weights(tiny, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o644
