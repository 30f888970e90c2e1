"""A run that is killed without warning goes on as if nothing had happened."""

import os
import random
import signal
import subprocess
import time

import pytest
import torch

from tests.training.tiny_run import HRM_TRAIN, hrm_train, write_tiny_recipe
from training.state import STATE_FILE, load_state

STEPS = 1000
OVERRIDES = [f"train.steps={STEPS}", "train.save_every=7"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
"""On busy cores two threads wait for each other at every barrier."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_and_resumed_runs_end_with_the_same_weights_bit_for_bit(tmp_path):
    recipe = write_tiny_recipe(tmp_path)
    hrm_train("fit", recipe, *OVERRIDES, "--run", tmp_path / "through", env=ONE_THREAD)
    seed = int.from_bytes(os.urandom(4))
    rng, killed_at = random.Random(seed), []
    for _ in range(3):
        command = [*HRM_TRAIN, "fit", recipe, *OVERRIDES, "--run", str(tmp_path / "killed")]
        process = subprocess.Popen(command, env=ONE_THREAD)
        state = tmp_path / "killed" / STATE_FILE
        before = state.stat().st_mtime_ns if state.exists() else None
        while not state.exists() or state.stat().st_mtime_ns == before:
            assert process.poll() is None, "it came to an end before it could be killed"
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed_at.append(load_state(tmp_path / "killed").facts["step"])
    assert max(killed_at) < STEPS, "it was killed on its way"
    assert hrm_train("fit", recipe, *OVERRIDES, "--run", tmp_path / "killed", env=ONE_THREAD).returncode == 0
    through, killed = (load_state(tmp_path / name) for name in ("through", "killed"))
    assert through.facts["step"] == killed.facts["step"] == STEPS
    for name, value in through.tensors.items():
        assert torch.equal(value, killed.tensors[name]), f"{name}, killed after steps {killed_at}, seed {seed}"
