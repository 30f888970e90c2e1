"""`hrm-train` as a process, a recipe of seconds for it, and a disk that fills up."""

import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

HRM_TRAIN = [str(Path(sys.executable).with_name("hrm-train"))]

TINY = """
task = "sudoku"
[model]
hidden_size = 16
num_heads = 2
H_layers = 1
L_layers = 1
expansion = 2.0
inner_multiple = 8
mixer = "mlp"
halt_max_segments = 4
[data]
generate = 300
clues = [60, 71]
minimal_share = 0.0
heldout = 40
[train]
steps = 60
batch_size = 8
lr = 1e-3
warmup_steps = 0
compile = false
precision = "fp32"
eval_every = 30
save_every = 10
"""


def write_tiny_recipe(folder: Path) -> str:
    """Write the recipe, for `hrm-train fit`."""
    path = folder / "tiny.toml"
    path.write_text(TINY)
    return str(path)


def hrm_train(*arguments, **options) -> subprocess.CompletedProcess:
    """Run `hrm-train` to its end."""
    command = [*HRM_TRAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, **options)


@contextmanager
def files_up_to(size):
    """A limit on the size of files stands in for a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
