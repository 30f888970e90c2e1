import pytest
import torch

from model.config import HRMConfig
from model.hrm import HRM


@pytest.fixture
def tiny_config() -> HRMConfig:
    """The smallest network that has every part."""
    return HRMConfig(
        vocab_size=11, seq_len=81, hidden_size=32, num_heads=2, H_layers=1, L_layers=1, expansion=2.0, inner_multiple=8
    )


@pytest.fixture
def tiny(tiny_config: HRMConfig) -> HRM:
    torch.manual_seed(0)
    return HRM(tiny_config)
