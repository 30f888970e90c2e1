"""`make train-smoke`: what the smoke recipe learns in a minute is published, served and solves puzzles."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.checkpoint import Canary, write_checkpoint
from model.hrm import HRM
from model.registry import Registry
from model.weights import serialise
from training.recipe_file import load_recipe

PUZZLES = 200


def run(program, *arguments):
    """Run one of our programs to its end, in the sight of whoever watches with -s."""
    subprocess.run([str(Path(sys.executable).with_name(program)), *map(str, arguments)], check=True, timeout=900)


def solved(registry, puzzles):
    """How many puzzles `hrm solve` answers with a valid solution from a registry."""
    output = registry / "answers.jsonl"
    run("hrm", "solve", "--task", "sudoku", "--file", puzzles, "--output", output, "--checkpoints", registry)
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(answers) == PUZZLES
    return sum(answer["valid"] for answer in answers)


def publish_untrained(registry):
    """The smoke recipe's network as it begins."""
    recipe = load_recipe("smoke")
    torch.manual_seed(0)
    model = HRM(recipe.architecture(num_puzzles=1))
    [(puzzle, answer)] = recipe.codec.examples()
    write_checkpoint(
        registry / "sudoku" / "untrained",
        task=recipe.task, architecture=model.config, weights=serialise(model), canaries=[Canary(puzzle, answer)],
        canary_accuracy=0.0, training={},
    )  # fmt: skip
    Registry([registry]).use("sudoku", "untrained")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_smoke_recipe_learns_what_an_untrained_network_cannot(tmp_path):
    puzzles = tmp_path / "heldout.csv"
    ten_blanks = ["--clues", "71,71", "--minimal-share", 0]
    run("hrm-train", "data", "generate", "sudoku", puzzles, PUZZLES, "--seed", 1000, *ten_blanks)
    run("hrm-train", "fit", "smoke", "--run", tmp_path / "run", "--device", "cpu")
    run("hrm-train", "publish", tmp_path / "run", "--registry", tmp_path / "trained", "--device", "cpu")
    publish_untrained(tmp_path / "untrained")
    assert solved(tmp_path / "untrained", puzzles) == 0
    assert solved(tmp_path / "trained", puzzles) >= PUZZLES / 2
