"""Makes checkpoints in upstream's format, by hand, out of random networks of ours."""

from pathlib import Path

import torch
import yaml

from model.config import HRMConfig
from model.hrm import HRM

HRM_NAME = "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1"
TRM_NAME = "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"
WRAPPER = "_orig_mod.model.inner."


def random_network(**sizes) -> HRM:
    """A small network whose every tensor is random, the ones that start at zero included."""
    torch.manual_seed(1)
    defaults = {"vocab_size": 11, "seq_len": 81, "hidden_size": 32, "num_heads": 2, "H_layers": 1, "L_layers": 1}
    network = HRM(HRMConfig(**{**defaults, "expansion": 2.0, **sizes}))
    with torch.no_grad():
        for name in ("q_head.weight", "q_head.bias", "puzzle_emb.weights"):
            if name in network.state_dict():
                torch.nn.init.normal_(network.get_parameter(name) if "q" in name[:1] else network.get_buffer(name))
    return network.requires_grad_(False).eval()


def arch_block(config: HRMConfig, **changes) -> dict:
    """What upstream's all_config.yaml would say of the network."""
    block = {
        "name": TRM_NAME if config.shared_levels else HRM_NAME,
        "loss": {"name": "losses@ACTLossHead", "loss_type": f"{config.loss}_cross_entropy"},
        "H_cycles": config.H_cycles,
        "L_cycles": config.L_cycles,
        "H_layers": 0 if config.shared_levels else config.H_layers,
        "L_layers": config.L_layers,
        "hidden_size": config.hidden_size,
        "num_heads": config.num_heads,
        "expansion": 2,
        "pos_encodings": config.positions,
        "puzzle_emb_ndim": config.puzzle_emb_ndim,
        "halt_max_steps": config.halt_max_segments,
        "halt_exploration_prob": 0.1,
        "forward_dtype": "bfloat16",
    }
    return block | changes


def write_run(directory: Path, network: HRM, file: str = "step_7", prefix: str = WRAPPER, **changes) -> Path:
    """Write a run's directory as upstream's training leaves it; `changes` are of the arch block."""
    directory.mkdir(parents=True, exist_ok=True)
    torch.save({prefix + name: value for name, value in network.state_dict().items()}, directory / file)
    document = {"arch": arch_block(network.config, **changes), "data_path": "data/x", "lr": 1e-4}
    (directory / "all_config.yaml").write_text(yaml.safe_dump(document))
    return directory


def says(network: HRM, puzzle_ids: list[int] | None = None, segments: int = 2) -> list[torch.Tensor]:
    """Logits and q values of a few segments on the same random puzzles."""
    config, seeded = network.config, torch.Generator().manual_seed(5)
    tokens = torch.randint(1, config.vocab_size, (2, config.seq_len), generator=seeded)
    ids = None if puzzle_ids is None else torch.tensor(puzzle_ids)
    carry, said = network.initial_carry(2), []
    with torch.inference_mode():
        for _ in range(segments):
            carry, output = network.segment(carry, tokens, ids)
            said += output
    return said
