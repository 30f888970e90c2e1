import json
import resource

import numpy as np
import pytest

from model.tasks import get_task
from training.data.errors import DataError
from training.data.folder import FIELDS, is_dataset, read_identifiers, read_split
from training.data.folder_writer import SplitWriter, new_folder, write_identifiers

SUDOKU = get_task("sudoku")


def write_two_groups(path, rng):
    """Three puzzles in two groups, of 1, 2 and 1 examples; returns what was written."""
    examples = rng.integers(1, 11, (4, 81)).astype(np.uint8)
    with new_folder(path) as folder:
        with SplitWriter(folder / "train", SUDOKU) as writer:
            writer.add_puzzle(examples[:1], examples[:1], identifier=1)
            writer.add_puzzle(examples[1:3], examples[1:3], identifier=2)
            writer.end_group()
            writer.end_group()  # an empty group is none
            writer.add_puzzle(examples[3:], examples[3:], identifier=1)
            writer.end_group()
            writer.finish(3, {"seed": 5, "licence": "CC0-1.0"})
        write_identifiers(folder, ["a", "b"])
    return examples


def write_as_upstream(path, **changes):
    """The files that upstream's Sudoku builder leaves when it augments: int64 tokens and nothing of ours."""
    (path / "train").mkdir(parents=True)
    metadata = {
        "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 11, "seq_len": 81,
        "num_puzzle_identifiers": 1, "total_groups": 1, "mean_puzzle_examples": 1, "sets": ["all"],
    }  # fmt: skip
    arrays = {
        "inputs": np.ones((2, 81), dtype=np.int64),
        "labels": np.full((2, 81), 7, dtype=np.int64),
        "puzzle_identifiers": np.array([0, 0], dtype=np.int32),
        "puzzle_indices": np.array([0, 1, 2], dtype=np.int32),
        "group_indices": np.array([0, 2], dtype=np.int32),
    }
    for name in FIELDS:
        np.save(path / "train" / f"all__{name}.npy", changes.pop(name, arrays[name]))
    (path / "train" / "dataset.json").write_text(json.dumps(metadata | changes))


def test_what_is_written_reads_back(tmp_path):
    examples = write_two_groups(tmp_path / "d", np.random.default_rng(0))
    split = read_split(tmp_path / "d", "train", SUDOKU)
    assert (split.inputs == examples).all()
    assert (split.labels == examples).all()
    assert split.example_identifiers.tolist() == [1, 2, 2, 1]
    assert split.group_starts.tolist() == [0, 3, 4]
    assert (split.metadata["seed"], split.metadata["licence"], split.metadata["total_groups"]) == (5, "CC0-1.0", 2)
    upstream_s = {"pad_id", "ignore_label_id", "blank_identifier_id", "vocab_size", "seq_len", "num_puzzle_identifiers"}
    assert upstream_s | {"total_groups", "mean_puzzle_examples", "sets"} <= set(split.metadata)
    assert split.metadata["mean_puzzle_examples"] == pytest.approx(4 / 3)
    assert read_identifiers(tmp_path / "d") == ["<blank>", "a", "b"]


def test_the_sha256_is_that_of_the_arrays(tmp_path):
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        write_two_groups(tmp_path / name, np.random.default_rng(seed))
    a, again, b = (read_split(tmp_path / name, "train", SUDOKU).sha256 for name in ("a", "again", "b"))
    assert a == again != b


def test_a_folder_of_upstream_s_is_read(tmp_path):
    write_as_upstream(tmp_path / "d")
    split = read_split(tmp_path / "d", "train", SUDOKU)
    assert split.inputs.dtype == np.uint8
    assert split.labels.tolist() == [[7] * 81] * 2
    assert split.group_starts.tolist() == [0, 2]
    assert len(split.sha256) == 64
    assert is_dataset(tmp_path / "d")
    assert not is_dataset(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seq_len": 900}, r"dataset\.json: seq_len is 900, the task sudoku has 81"),
        ({"vocab_size": "11"}, r"dataset\.json: vocab_size is missing or of the wrong type"),
        ({"ignore_label_id": -100}, r"dataset\.json: ignore_label_id is -100"),
        ({"sets": ["all", "more"]}, r"dataset\.json: 2 sets, expected one"),
        ({"inputs": np.ones((2, 80))}, r"inputs has shape \(2, 80\), expected \(2, 81\)"),
        ({"labels": np.ones((3, 81))}, r"labels has shape \(3, 81\)"),
        ({"labels": np.full((2, 81), 11)}, r"labels\.npy: tokens are not between 0 and 10"),
        ({"puzzle_indices": np.array([0, 1, 3])}, "puzzle_indices are not offsets that rise from 0 to 2"),
        ({"group_indices": np.array([1, 2])}, "group_indices are not offsets that rise from 0 to 2"),
        ({"puzzle_identifiers": np.array([0, 1])}, "puzzle_identifiers are not between 0 and 0"),
        ({"puzzle_identifiers": np.array([0]), "group_indices": np.array([0, 1])}, "1 puzzle_identifiers, 2 puzzles"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(tmp_path, changes, message):
    write_as_upstream(tmp_path / "d", **changes)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "d", "train", SUDOKU)


def test_a_damaged_folder_is_named(tmp_path):
    write_as_upstream(tmp_path / "d")
    labels = tmp_path / "d" / "train" / "all__labels.npy"
    labels.write_bytes(labels.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"all__labels\.npy: "):
        read_split(tmp_path / "d", "train", SUDOKU)
    labels.unlink()
    with pytest.raises(DataError, match=r"all__labels\.npy: No such file"):
        read_split(tmp_path / "d", "train", SUDOKU)
    (tmp_path / "d" / "train" / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json: "):
        read_split(tmp_path / "d", "train", SUDOKU)
    with pytest.raises(DataError, match=r"test/dataset\.json: No such file"):
        read_split(tmp_path / "d", "test", SUDOKU)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="d: exists already"):
        write_two_groups(tmp_path / "d", np.random.default_rng(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DataError, match="new: File too large"):
            write_two_groups(tmp_path / "new", np.random.default_rng(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["d"], "nothing half-written is left"
