import json
from pathlib import Path
from typing import Any, get_args

import pytest
from tiny_configs import DENSE, LATENT, TIED

from anubhav.cluster.planning.adapter import Adapter, ExpertLayout, adapter_parameters
from anubhav.cluster.planning.memory import compare
from anubhav.cluster.planning.models import MODELS, find_config
from anubhav.cluster.planning.probe.process import Probe
from anubhav.errors import BadInput

# Parameters as published or as their checkpoints hold them; the router biases are stored beside them.
COUNTS = {
    "kimi-k2": (1_026_408_209_408, 23_040),
    "deepseek-v3": (671_026_404_352, 14_848),
    "qwen3-235b-a22b": (235_093_634_560, 0),
    "qwen3-30b-a3b": (30_532_122_624, 0),
    "qwen3-8b": (8_190_735_360, 0),
    "llama-3.1-8b": (8_030_261_248, 0),
    "smollm2-135m": (134_515_008, 0),
}
# Tinker's published counts for each unit of rank: MLPs with shared outer factors, attention, unembedding.
TINKER = {
    "kimi-k2": 144_583_680 + 1_940_288 + 171_008,
    "deepseek-v3": 94_307_328 + 2_440_000 + 136_448,
    "qwen3-235b-a22b": 56_598_528 + 3_176_448 + 156_032,
    "qwen3-30b-a3b": 14_450_688 + 835_584 + 153_984,
    "qwen3-8b": 1_769_472 + 958_464 + 156_032,
}


def test_every_name_has_a_count_to_be_held_to() -> None:
    assert set(COUNTS) == set(MODELS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_exact(probe: Probe, name: str) -> None:
    census = probe.census(MODELS[name])
    assert (census.parameters, census.router_biases) == COUNTS[name]


@pytest.mark.parametrize("name", TINKER)
def test_adapters_are_those_of_tinkers_table(probe: Probe, name: str) -> None:
    census = probe.census(MODELS[name])
    assert adapter_parameters(census, Adapter(rank=1)) == TINKER[name]
    assert adapter_parameters(census, Adapter(rank=32)) == 32 * TINKER[name]


def test_the_four_layouts_of_kimi_k2(probe: Probe) -> None:
    census = probe.census(MODELS["kimi-k2"])
    all_of_attention = 3_814_208
    counts = {
        experts: adapter_parameters(census, Adapter(8, experts, "all-linear")) for experts in get_args(ExpertLayout)
    }
    dense = 3 * (7168 + 18432) + 60 * 3 * (7168 + 2048)
    assert counts == {
        "tied": 8 * (3_394_560 + all_of_attention),
        "per-expert": 8 * (638_745_600 + all_of_attention),
        "shared-outer": 8 * (144_583_680 + all_of_attention),
        "rank-normalised": 638_745_600 - dense + 8 * (dense + all_of_attention),
    }


def test_what_a_token_meets_of_kimi_k2(probe: Probe) -> None:
    census = probe.census(MODELS["kimi-k2"])
    assert census.active == pytest.approx(32.86e9, rel=1e-3)
    assert census.multiplied == pytest.approx(31.69e9, rel=1e-3)


def test_a_tied_unembedding_counts_once_and_has_an_adapter(probe: Probe) -> None:
    census = probe.census(TIED)
    untied = probe.census({**TIED, "tie_word_embeddings": False})
    assert untied.parameters - census.parameters == 256 * 64
    assert adapter_parameters(census, Adapter(4)) == adapter_parameters(untied, Adapter(4))


def test_a_tenth_of_the_cards(probe: Probe) -> None:
    census = probe.census(MODELS["kimi-k2"])
    adapted = adapter_parameters(census, Adapter(32, "shared-outer", "all-linear"))
    found = compare(census.parameters, adapted, int(80e9 * 0.85))
    assert (found.lora_cards, found.full_cards) == (32, 272)
    assert found.share == pytest.approx(0.116, abs=5e-4)
    tied = adapter_parameters(census, Adapter(32, "tied", "all-linear"))
    assert compare(census.parameters, tied, int(80e9 * 0.85)).share == pytest.approx(0.111, abs=5e-4)


def test_a_folder_is_read_as_its_configuration_says(probe: Probe, tmp_path: Path) -> None:
    """Whatever it calls itself, and however its weights are stored."""
    told: dict[str, Any] = {**LATENT, "model_type": "kimi_k2", "quantization_config": {"quant_method": "fp8"}}
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert probe.census(find_config(str(tmp_path))) == probe.census(LATENT)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architectures": ["Qwen3VLForConditionalGeneration"]}, "no causal language model"),
        ({"architectures": []}, "without architectures"),
        ({"architectures": ["GPT2LMHeadModel"]}, "no causal language model"),
        ({"hidden_size": "wide"}, "cannot build"),
    ],
)
def test_what_cannot_be_built_is_said(probe: Probe, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        probe.census({**DENSE, **change})
    assert caught.value.hint
