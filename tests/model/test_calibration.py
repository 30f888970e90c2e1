import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.calibration import Calibration
from model.checkpoint import CONFIG_FILE, CheckpointError, read_checkpoint, write_checkpoint
from model.weights import serialise
from tests.model.test_checkpoint import CANARY

WEIGHTS = st.floats(0, 100)
SURE = Calibration(offset=-1.0, by_confidence=0.5, by_q_halt=0.25)


def test_half_sure_of_a_cell_and_of_halting_leaves_the_offset():
    assert SURE.probability(0.5, 0.0) == pytest.approx(1 / (1 + np.e))
    assert SURE.probability([0.5, 0.9], [0.0, 4.0]).shape == (2,)


@given(st.floats(-100, 100), WEIGHTS, WEIGHTS, st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(-50, 50))
def test_surer_is_never_called_less_likely(offset, by_confidence, by_q_halt, confidences, q_halt):
    calibration = Calibration(offset, by_confidence, by_q_halt)
    low, high = calibration.probability(sorted(confidences), [q_halt, q_halt])
    assert 0 <= low <= high <= 1
    low, high = calibration.probability([confidences[0]] * 2, [q_halt, q_halt + 1])
    assert low <= high


def test_a_checkpoint_brings_it_or_not(tmp_path, tiny):
    fields = {
        "task": {"kind": "sudoku", "shape": [9, 9]}, "architecture": tiny.config, "weights": serialise(tiny),
        "canaries": [CANARY], "canary_accuracy": 0.0, "training": {},
    }  # fmt: skip
    assert write_checkpoint(tmp_path / "without", **fields).calibration is None
    assert write_checkpoint(tmp_path / "with", calibration=SURE, **fields).calibration == SURE


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([1, 2, 3], "expected an object"),
        ({"offset": 0.0, "by_confidence": 1.0}, "by_q_halt"),
        ({"offset": 0.0, "by_confidence": "1", "by_q_halt": 0.0}, "by_confidence must be a number, not '1'"),
        ({"offset": float("nan"), "by_confidence": 1.0, "by_q_halt": 0.0}, "offset must be a number, not nan"),
        ({"offset": 0.0, "by_confidence": -1.0, "by_q_halt": 0.0}, "must not be below 0"),
        ({"offset": 0.0, "by_confidence": 1.0, "by_q_halt": 0.0, "code": "rm"}, "code"),
    ],
)
def test_a_checkpoint_with_another_one_is_refused(tmp_path, tiny, values, complaint):
    path = tmp_path / "1"
    write_checkpoint(
        path, task={"kind": "sudoku", "shape": [9, 9]}, architecture=tiny.config, weights=serialise(tiny),
        canaries=[CANARY], canary_accuracy=0.0, training={},
    )  # fmt: skip
    config = json.loads((path / CONFIG_FILE).read_text())
    (path / CONFIG_FILE).write_text(json.dumps(config | {"calibration": values}))
    with pytest.raises(CheckpointError, match=complaint):
        read_checkpoint(path)
