"""Upstream's checkpoints come in as they are and go out as they came."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from upstream_lab import HRM_NAME, WRAPPER, random_network, says, write_run

from model.checkpoint import CheckpointError, read_checkpoint
from model.config import HRMConfig
from model.exchange import Reading, export_upstream, import_upstream
from model.layers import Block
from model.registry import Registry
from model.upstream import load_upstream, read_identifiers, read_upstream
from model.upstream_config import arch_of

TRM = {"shared_levels": True, "halt_rule": "halt_over_zero", "H_cycles": 3, "L_cycles": 2}
VARIANTS = {
    "rope": {},
    "learned positions": {"positions": "learned"},
    "puzzle embedding": {"puzzle_emb_ndim": 32, "num_puzzles": 4},
    "narrow embedding, learned": {"puzzle_emb_ndim": 20, "num_puzzles": 4, "positions": "learned"},
    "embedding wider than hidden": {"puzzle_emb_ndim": 80, "num_puzzles": 4},
    "other N, T and layers": {"H_cycles": 3, "L_cycles": 1, "H_layers": 2, "L_layers": 3},
    "softmax, 8 segments": {"loss": "softmax", "halt_max_segments": 8},
    "arc": {"seq_len": 900, "vocab_size": 12, "puzzle_emb_ndim": 32, "num_puzzles": 4, "H_cycles": 1, "L_cycles": 1},
    "TRM": {**TRM, "puzzle_emb_ndim": 32, "puzzle_emb_len": 16, "num_puzzles": 4},
    "TRM, MLP": {
        **TRM, "mixer": "mlp", "mixer_norm": "positions", "positions": "none", "puzzle_emb_ndim": 32,
        "puzzle_emb_len": 16, "num_puzzles": 4,
    },
    "TRM, no embedding": TRM,
}  # fmt: skip


def differing(one: HRMConfig, other: HRMConfig) -> set[str]:
    """Fields that matter and differ: a shared network has no H_layers."""
    pairs = zip(one.to_dict().items(), other.to_dict().values(), strict=True)
    return {name for (name, a), b in pairs if a != b} - ({"H_layers"} if one.shared_levels else set())


@pytest.mark.parametrize("sizes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_kind_comes_in_and_goes_out_again(tmp_path: Path, sizes: dict) -> None:
    network = random_network(**sizes)
    ids = [1, 3] if "num_puzzles" in sizes else None
    changes = {"mlp_t": True} if network.config.mixer == "mlp" else {}
    run = write_run(tmp_path / "run", network, **changes)

    loaded = load_upstream(run, network.config.seq_len)
    assert not differing(loaded.config, network.config)
    assert all(torch.equal(*pair) for pair in zip(says(network, ids), says(loaded, ids), strict=True))

    registry = Registry([tmp_path / "registry"])
    reading = Reading("grid", seq_len=network.config.seq_len)
    exported = export_upstream(import_upstream(registry, run, reading), tmp_path / "exported")
    assert exported.name == "step_7"
    assert_same_tensors(exported, run / "step_7")
    assert (
        yaml.safe_load((tmp_path / "exported/all_config.yaml").read_text())["arch"]
        == (yaml.safe_load((run / "all_config.yaml").read_text())["arch"])
    )
    assert not differing(read_upstream(tmp_path / "exported").config, network.config)


@pytest.mark.parametrize("sizes", VARIANTS.values(), ids=VARIANTS.keys())
def test_our_own_networks_are_described_in_upstreams_words(tmp_path: Path, sizes: dict) -> None:
    network = random_network(**sizes)
    run = write_run(tmp_path, network)
    (run / "all_config.yaml").write_text(yaml.safe_dump({"arch": arch_of(network.config)}))
    assert not differing(read_upstream(run, network.config.seq_len).config, network.config)


def assert_same_tensors(one: Path, other: Path) -> None:
    mine, theirs = (torch.load(file, weights_only=True) for file in (one, other))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(value, theirs[name])


@pytest.mark.parametrize("prefix", ["_orig_mod.model.inner.", "model.inner.", "inner.", "_orig_mod.", "module.", ""])
@pytest.mark.parametrize("file", ["step_20000", "checkpoint"])
def test_wrappers_and_file_names_do_not_matter(tmp_path: Path, prefix: str, file: str) -> None:
    network = random_network()
    run = write_run(tmp_path, network, file, prefix)
    for path in (run, str(run / file)):
        state = load_upstream(path, 81).state_dict()
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_of_several_steps_the_last_is_taken(tmp_path: Path) -> None:
    for file in ("step_900", "step_10000", "step_2000", "step_10000_all_preds.0"):
        write_run(tmp_path, random_network(), file)
    assert read_upstream(tmp_path, 81).file.name == "step_10000"


def test_initial_states_keep_the_dtype_that_upstream_computes_in(tmp_path: Path) -> None:
    network = random_network()
    network.H_init, network.L_init = network.H_init.bfloat16(), network.L_init.bfloat16()
    run = write_run(tmp_path / "run", network)
    info = import_upstream(Registry([tmp_path / "registry"]), run, Reading("sudoku"))
    assert_same_tensors(export_upstream(info, tmp_path / "exported"), run / "step_7")


def test_a_file_with_the_optimiser_in_it_is_read_for_its_model(tmp_path: Path) -> None:
    network = random_network()
    run = write_run(tmp_path, network)
    state = {WRAPPER + name: value for name, value in network.state_dict().items()}
    torch.save({"model": state, "optimizers": [{"state": {}}], "step": 7}, run / "step_7")
    assert torch.equal(load_upstream(run, 81).H_init, network.H_init)


def test_the_older_archive_of_torch_is_read(tmp_path: Path) -> None:
    network = random_network()
    run = write_run(tmp_path, network)
    state = {WRAPPER + name: value for name, value in network.state_dict().items()}
    torch.save(state, run / "step_7", _use_new_zipfile_serialization=False)
    assert torch.equal(load_upstream(run, 81).H_init, network.H_init)


def test_trms_mlp_is_normalised_over_the_positions() -> None:
    """What models/recursive_reasoning/trm.py computes, written out."""
    torch.manual_seed(0)
    config = HRMConfig(vocab_size=6, seq_len=10, hidden_size=8, num_heads=2, mixer="mlp", mixer_norm="positions")
    block, x = Block(config), torch.randn(2, 10, 8)

    def rms(values: torch.Tensor) -> torch.Tensor:
        return values / (values.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    turned = x.transpose(1, 2)
    mixed = rms(turned + block.mlp_t(turned)).transpose(1, 2)
    torch.testing.assert_close(block(x, None), rms(mixed + block.mlp(mixed)))


def test_a_puzzle_has_as_many_cells_as_somebody_tells(tmp_path: Path) -> None:
    learned = write_run(tmp_path / "learned", random_network(positions="learned", puzzle_emb_ndim=40))
    assert read_upstream(learned).config.seq_len == 81
    rope = write_run(tmp_path / "rope", random_network())
    assert read_upstream(rope, usual=81).config.seq_len == 81
    with pytest.raises(CheckpointError, match="how many cells"):
        read_upstream(rope)
    (rope / "dataset.json").write_text(json.dumps({"seq_len": 49}))
    assert read_upstream(rope, usual=81).config.seq_len == 49
    assert read_upstream(rope, 100).config.seq_len == 100


def test_an_import_knows_its_task(tmp_path: Path) -> None:
    registry = Registry([tmp_path / "registry"])
    maze = write_run(tmp_path / "maze", random_network(seq_len=100, vocab_size=6))
    assert import_upstream(registry, maze, Reading("maze", seq_len=100)).codec.describe()["shape"] == [10, 10]
    grid = write_run(tmp_path / "grid", random_network(seq_len=12, vocab_size=5))
    info = import_upstream(registry, grid, Reading("grid", shape=(3, 4), alphabet=".abc"), name="letters", version="1")
    assert info.name == "letters/1"
    assert info.codec.format(np.full(12, 2, np.uint8), like="") == "a" * 12
    with pytest.raises(CheckpointError, match="reads 100 cells of 6 tokens, sudoku has 81 of 11"):
        import_upstream(registry, maze, Reading("sudoku", seq_len=100))
    with pytest.raises(CheckpointError, match="never changed once written"):
        import_upstream(registry, grid, Reading("grid", shape=(3, 4)), name="letters", version="1")


def test_identifiers_come_along(tmp_path: Path) -> None:
    network = random_network(seq_len=900, vocab_size=12, puzzle_emb_ndim=32, num_puzzles=4, H_cycles=1, L_cycles=1)
    run = write_run(tmp_path / "run", network)
    listed = ["<blank>", "007bbfb7", "007bbfb7_t3_0192837465", "<blank>"]
    (run / "identifiers.json").write_text(json.dumps(listed))
    info = import_upstream(Registry([tmp_path / "registry"]), run, Reading("arc"))
    assert info.identifiers == {"007bbfb7": 1, "007bbfb7_t3_0192837465": 2}
    assert {canary.puzzle_id for canary in info.canaries()} <= set(info.identifiers)
    export_upstream(info, tmp_path / "exported")
    assert json.loads((tmp_path / "exported/identifiers.json").read_text()) == listed


def test_a_list_of_blanks_names_nothing(tmp_path: Path) -> None:
    file = tmp_path / "identifiers.json"
    file.write_text('["<blank>"]')
    assert read_identifiers(file, 1) is None
    file.write_text('["<blank>", "a", "b"]')
    with pytest.raises(CheckpointError, match="'b' has row 2; the puzzle embedding has 2"):
        read_identifiers(file, 2)
    file.write_text('[["a"]]')
    with pytest.raises(CheckpointError, match="expected a list of identifiers"):
        read_identifiers(file, 2)
    file.write_text('{"a": "one"}')
    with pytest.raises(CheckpointError, match="'a' has row 'one'"):
        read_identifiers(file, 2)


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return open, (self.trace, "w")


def with_code(run: Path) -> None:
    torch.save({"model": Bomb(run / "it-ran")}, run / "step_7")


def a_bare_pickle_with_code(run: Path) -> None:
    (run / "step_7").write_bytes(pickle.dumps(Bomb(run / "it-ran")))


def truncated(run: Path) -> None:
    (run / "step_7").write_bytes((run / "step_7").read_bytes()[:-5000])


def empty(run: Path) -> None:
    (run / "step_7").write_bytes(b"")


def compressed(run: Path) -> None:
    shutil.move(run / "step_7", run / "plain")
    with zipfile.ZipFile(run / "plain") as plain, zipfile.ZipFile(run / "step_7", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))


def without_config(run: Path) -> None:
    (run / "all_config.yaml").unlink()


def without_weights(run: Path) -> None:
    (run / "step_7").unlink()


def config_that_is_no_yaml(run: Path) -> None:
    (run / "all_config.yaml").write_text("arch: [")


def config_with_code(run: Path) -> None:
    (run / "all_config.yaml").write_text(f"arch: !!python/object/apply:builtins.open ['{run / 'it-ran'}', 'w']")


def config_without_arch(run: Path) -> None:
    (run / "all_config.yaml").write_text("lr: 1")


def nested_without_end(run: Path) -> None:
    (run / "all_config.yaml").write_text("[" * 1_000)


def with_more_than_tensors(run: Path) -> None:
    torch.save({"model.inner.H_init": "hello"}, run / "step_7")


def a_tensor_alone(run: Path) -> None:
    torch.save(torch.zeros(3), run / "step_7")


def claiming_more_than_it_holds(run: Path) -> None:
    torch.save({"model.inner.lm_head.weight": torch.zeros(1).expand(1 << 16, 1 << 16)}, run / "step_7")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_code, "nothing in it was run"),
        (a_bare_pickle_with_code, "nothing in it was run"),
        (truncated, "truncated, or not of torch"),
        (empty, "truncated, or not of torch"),
        (compressed, "a compressed archive"),
        (without_config, "all_config.yaml is missing"),
        (without_weights, "neither step_N nor checkpoint"),
        (config_that_is_no_yaml, "not YAML"),
        (config_with_code, "not YAML"),
        (config_without_arch, "no `arch` block"),
        (nested_without_end, "not YAML"),
        (with_more_than_tensors, "is not a tensor"),
        (a_tensor_alone, "no state dict"),
        (claiming_more_than_it_holds, "larger than the file"),
    ],
)
def test_what_is_damaged_or_foul_is_refused_in_one_line(tmp_path: Path, spoil, message: str) -> None:
    run = write_run(tmp_path, random_network())
    spoil(run)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_upstream(run, 81)
    assert len(str(refusal.value).splitlines()) == 1
    assert str(tmp_path) in str(refusal.value)
    assert not (run / "it-ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "recursive_reasoning.trm_hier6@TinyRecursiveReasoningModel_ACTV1"}, "trm_hier6"),
        ({"name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"}, "H_level"),
        ({"num_heads": None}, "num_heads must be a whole number"),
        ({"num_heads": 3}, "heads of even size"),
        ({"H_cycles": 1 << 40}, "H_cycles must be a whole number from 1 to 64"),
        ({"expansion": "much"}, "wrong type"),
        ({"expansion": 64}, "down_proj"),
        ({"hidden_size": 512}, "hidden_size is 512, the tensors have 32"),
        ({"L_layers": 4}, "L_layers is 4, the tensors have 1"),
        ({"pos_encodings": "learned"}, "embed_pos"),
        ({"pos_encodings": "alibi"}, "positions must be one of"),
        ({"loss": {"loss_type": "hinge"}}, "loss must be one of"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    run = write_run(tmp_path, random_network(), **changes)
    with pytest.raises(CheckpointError, match=message):
        load_upstream(run, 81)


@pytest.mark.parametrize("missing", ["num_heads", "H_cycles", "halt_max_steps", "expansion", "pos_encodings"])
def test_a_config_that_lacks_a_number_is_refused(tmp_path: Path, missing: str) -> None:
    run = write_run(tmp_path, random_network())
    document = yaml.safe_load((run / "all_config.yaml").read_text())
    del document["arch"][missing]
    (run / "all_config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(CheckpointError, match=f"'{missing}' is missing"):
        load_upstream(run, 81)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"inner_multiple": 8}, "multiples of 256"),
        ({"mixer": "mlp"}, "normalised over the positions"),
        ({"mixer": "mlp", "mixer_norm": "positions"}, "share one network"),
        ({"positions": "none"}, "needs positions"),
        ({"halt_rule": "halt_over_zero"}, "halts when"),
        ({"puzzle_emb_ndim": 32, "puzzle_emb_len": 4}, "prefix"),
    ],
)
def test_what_upstreams_code_cannot_run_is_not_exported(tmp_path: Path, sizes: dict, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        arch_of(random_network(**sizes).config)


def test_export_asks_for_an_empty_directory(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", random_network())
    info = import_upstream(Registry([tmp_path / "registry"]), run, Reading("sudoku"))
    with pytest.raises(CheckpointError, match="is not empty"):
        export_upstream(info, run)


@pytest.mark.skipif("HRM_GOLDEN_DIR" not in os.environ, reason="HRM_GOLDEN_DIR names no folder with golden checkpoints")
def test_the_golden_checkpoint_gives_what_upstreams_network_gave(tmp_path: Path) -> None:
    """Through the import and the runner that serves."""
    from model.weights import load_model
    from service.engine.runner import Admission
    from service.engine.torch_runner import TorchRunner

    golden = Path(os.environ["HRM_GOLDEN_DIR"]) / "upstream-sudoku-rope"
    expected = np.load(golden / "expected.npz")
    info = import_upstream(Registry([tmp_path / "registry"]), golden, Reading("sudoku"))
    info.verify()
    assert read_checkpoint(info.path).training["upstream"]["arch"]["name"] == HRM_NAME
    network, count = load_model(info, torch.device("cpu"), torch.float32), len(expected["inputs"])
    runner = TorchRunner(network, count, torch.float32)
    slots = np.arange(count)
    runner.admit(
        Admission(
            slots,
            expected["inputs"].astype(np.uint8),
            np.ones((count, 81), bool),
            expected["puzzle_identifiers"].astype(np.int64),
            np.full(count, 9),
            np.full(count, 9),
        )
    )
    carry, tokens = network.initial_carry(count), torch.from_numpy(expected["inputs"]).long()
    for segment, logits in enumerate(expected["logits"]):
        runner.launch(slots)
        said = runner.collect()
        for name in ("q_halt", "q_continue"):
            np.testing.assert_allclose(getattr(said, name), expected[name][segment], atol=1e-4, rtol=0)
        assert np.array_equal(said.tokens, logits.argmax(-1))
        carry, output = network.segment(carry, tokens)
        np.testing.assert_allclose(output.logits.numpy(), logits, atol=1e-4, rtol=0)
    assert_same_tensors(export_upstream(info, tmp_path / "exported"), golden / "step_1000")


def test_a_large_table_of_puzzle_embeddings_stays_in_its_file(tmp_path: Path) -> None:
    """100 MB of it, of which a few rows are read."""
    psutil = pytest.importorskip("psutil")
    from model.weights import load_model, load_weights

    rows = 200_000
    network = random_network(seq_len=12, vocab_size=5, puzzle_emb_ndim=128, num_puzzles=2)
    network.puzzle_emb.weights = torch.zeros(rows, 128)
    network.puzzle_emb.weights[rows - 1] = 3.0
    run = write_run(tmp_path / "run", network)
    info = import_upstream(Registry([tmp_path / "registry"]), run, Reading("grid", seq_len=12))
    del network
    process = psutil.Process()
    before = process.memory_info().rss
    loaded = load_model(info, torch.device("cpu"), torch.bfloat16)
    load_weights(loaded, info)
    assert loaded.puzzle_vectors(torch.tensor([5, rows - 1])).unique(dim=1).flatten().tolist() == [0.0, 3.0]
    assert process.memory_info().rss - before < 20e6
