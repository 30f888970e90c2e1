import dataclasses

import pytest

from model.config import ConfigError, HRMConfig


def test_survives_a_round_trip_through_plain_values(tiny_config):
    assert HRMConfig.from_dict(tiny_config.to_dict()) == tiny_config


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_size", 0, "hidden_size must be a whole number from 2"),
        ("hidden_size", 1 << 40, "hidden_size must be a whole number"),
        ("H_layers", 1.5, "H_layers must be a whole number"),
        ("L_cycles", True, "L_cycles must be a whole number"),
        ("num_heads", 3, "must split into num_heads 3"),
        ("expansion", -1.0, "expansion must be above 0"),
        ("mixer", "conv", "mixer must be one of attention, mlp"),
        ("norm_eps", 0.0, "must be above 0"),
        ("puzzle_emb_len", 999, "puzzle_emb_len must be from 0"),
    ],
)
def test_refuses_an_impossible_value_by_name(tiny_config, field, value, message):
    with pytest.raises(ConfigError, match=message):
        HRMConfig.from_dict(tiny_config.to_dict() | {field: value})


def test_names_an_unknown_and_a_missing_field():
    with pytest.raises(ConfigError, match="unknown architecture field 'hiden_size'"):
        HRMConfig.from_dict({"vocab_size": 11, "seq_len": 81, "hiden_size": 8})
    with pytest.raises(ConfigError, match="'seq_len' is missing"):
        HRMConfig.from_dict({"vocab_size": 11})


def test_prefix_holds_the_puzzle_embedding(tiny_config):
    assert tiny_config.prefix_len == 0
    assert dataclasses.replace(tiny_config, puzzle_emb_ndim=33).prefix_len == 2
    assert dataclasses.replace(tiny_config, puzzle_emb_ndim=33, puzzle_emb_len=16).total_len == 97
    with pytest.raises(ConfigError, match="too short"):
        dataclasses.replace(tiny_config, puzzle_emb_ndim=33, puzzle_emb_len=1)


def test_inner_size_is_two_thirds_of_the_expansion_rounded_up():
    assert HRMConfig(vocab_size=11, seq_len=81).inner_size(512) == 1536  # 1365 rounded up to a multiple of 256
