"""The conventions of docs/lora.md, and adapters that PEFT made elsewhere: the same function, and they learn on."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from replay import DATUM, RUN, logprobs_of
from safetensors import safe_open
from torch import Tensor
from transformers import LlamaForCausalLM

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.peft_files import read_adapter, write_adapter
from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.backends.torch.layers.adapters import Adapter, fresh_adapter
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.layers.lora import Segment, linear
from anubhav.backends.torch.models.families import read_config
from anubhav.errors import BadInput
from anubhav.types.training import LoraSpec, OptimParams, Pass

pytestmark = [
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:Setting `save_embedding_layers`"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`"),
]
CPU = torch.device("cpu")
ATTENTION = {f"self_attn.{name}_proj" for name in "qkvo"}
MLP = {f"mlp.{name}_proj" for name in ("gate", "up", "down")}


@pytest.fixture
def config(tiny_llama: Path) -> ModelConfig:
    return read_config(tiny_llama)


def load(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping


def store(tensors: dict[str, Tensor], file: Path) -> None:
    write_tensors(file, tensors, {"format": "pt"})


def written(config: ModelConfig, spec: LoraSpec, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    write_adapter(config, fresh_adapter(config, spec, CPU), folder, None)
    return load(folder / "adapter_model.safetensors"), json.loads((folder / "adapter_config.json").read_text())


@pytest.mark.parametrize("rank", [1, 8])
def test_a_is_uniform_within_one_over_the_root_of_its_inputs_and_b_is_zero(
    config: ModelConfig, tmp_path: Path, rank: int
) -> None:
    tensors, about = written(config, LoraSpec(rank=rank, seed=5), tmp_path)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert about["lora_alpha"] / about["r"] == 32 / rank == fresh_adapter(config, LoraSpec(rank=rank), CPU).scale
    scaled = [tensor * math.sqrt(tensor.shape[1]) for name, tensor in tensors.items() if "lora_A" in name]
    values = torch.cat([tensor.flatten() for tensor in scaled])
    assert 0.98 < float(values.abs().max()) <= 1
    assert abs(float(values.mean())) * math.sqrt(3 * len(values)) < 4, "the mean of so many is not 0"
    assert float(values.std()) == pytest.approx(1 / math.sqrt(3), rel=0.05)
    assert not any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)


def test_a_seed_gives_one_adapter(config: ModelConfig) -> None:
    def first(seed: int) -> Tensor:
        return fresh_adapter(config, LoraSpec(rank=2, seed=seed), CPU).parameters()[0]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize(
    ("flags", "modules"),
    [
        ({"train_mlp": False, "train_unembed": False}, ATTENTION),
        ({"train_attn": False, "train_unembed": False}, MLP),
        ({"train_attn": False, "train_mlp": False}, {"lm_head"}),
        ({}, ATTENTION | MLP | {"lm_head"}),
    ],
)
def test_each_flag_trains_its_modules_in_every_layer(
    config: ModelConfig, tmp_path: Path, flags: dict[str, bool], modules: set[str]
) -> None:
    tensors, about = written(config, LoraSpec(rank=2, **flags), tmp_path)
    wanted = {
        f"base_model.model.{f'model.layers.{layer}.' if '.' in module else ''}{module}.lora_{half}.weight"
        for module in modules
        for layer in range(config.layers)
        for half in "AB"
    }
    assert set(tensors) == wanted
    assert set(about["target_modules"]) == {module.split(".")[-1] for module in modules}
    assert read_adapter(config, tmp_path, CPU)[0].spec == LoraSpec(rank=2, **flags)


def test_what_is_written_is_read_to_the_bit(config: ModelConfig, tmp_path: Path) -> None:
    adapter = filled(config, rank=3)  # 32 / 3 is no number of fp32
    write_adapter(config, adapter, tmp_path, None)
    again = read_adapter(config, tmp_path, CPU)[0]
    assert again.spec == LoraSpec(rank=3)
    assert all(map(torch.equal, adapter.parameters(), again.parameters()))


def outside(base: Path, folder: Path, options: dict[str, Any], dtype: torch.dtype = torch.float32) -> Any:
    """A PEFT adapter with B ≠ 0, saved in `folder`; returns its model."""
    torch.manual_seed(1)
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_((parameter + torch.randn_like(parameter) * 0.1).to(dtype))
    model.save_pretrained(folder, save_embedding_layers=False)
    if dtype != torch.float32:
        file = folder / "adapter_model.safetensors"
        store({name: tensor.to(dtype) for name, tensor in load(file).items()}, file)
    return model


FOREIGN: dict[str, dict[str, Any]] = {
    "PEFT's own choice for Llama": {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
    "all linear layers": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
    "rank-stabilised": {"r": 4, "lora_alpha": 4, "target_modules": ["o_proj", "down_proj"], "use_rslora": True},
    "patterns": {
        "r": 2,
        "lora_alpha": 3,
        "target_modules": ["q_proj", "up_proj", "gate_proj"],
        "rank_pattern": {"up_proj": 5},
        "alpha_pattern": {"^model.layers.0.self_attn.q_proj": 20, "gate_proj": 7},
    },
    "one layer": {"r": 4, "lora_alpha": 32, "target_modules": ["k_proj"], "layers_to_transform": [1]},
    "the unembedding": {"r": 4, "lora_alpha": 8, "target_modules": ["lm_head", "k_proj"]},
}


DTYPES = [torch.float32, torch.bfloat16, torch.float16] * 2


@pytest.mark.parametrize(("options", "dtype"), list(zip(FOREIGN.values(), DTYPES, strict=True)), ids=FOREIGN)
async def test_an_adapter_from_elsewhere_is_the_same_function_and_learns_on(
    engine: TorchEngine, tiny_llama: Path, tmp_path: Path, options: dict[str, Any], dtype: torch.dtype
) -> None:
    model = outside(tiny_llama, tmp_path / "outside", options, dtype)
    plain = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    theirs = logprobs_of(model)
    assert max(abs(a - b) for a, b in zip(theirs, logprobs_of(plain), strict=True)) > 0.005, "the adapter does nothing"
    await engine.trainer.load(RUN, tmp_path / "outside", optimizer=False)
    (found,) = await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy")])
    assert found.logprobs[0].tolist() == pytest.approx(theirs, abs=2e-5)
    adapter = engine.training.pupil(RUN).adapter
    assert adapter.spec.alpha == 32
    before = [parameter.detach().clone() for parameter in adapter.parameters()]

    (tmp_path / "ours").mkdir()
    await engine.trainer.save(RUN, tmp_path / "ours", optimizer=False)
    again = read_adapter(engine.model.config, tmp_path / "ours", CPU)[0]
    assert again.spec == adapter.spec
    assert all(map(torch.equal, before, again.parameters()))

    for _ in range(10):
        await engine.trainer.step(RUN, OptimParams(learning_rate=1e-2))
        (after,) = await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy")])
    assert after.metrics["loss:sum"] < 0.97 * found.metrics["loss:sum"]
    changed = [not torch.equal(b, a) for b, a in zip(before, adapter.parameters(), strict=True)]
    assert all(changed), "a factor of a module that was not there does not learn"


def edit(folder: Path, **options: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | options))


PLAIN: dict[str, Any] = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "embed_tokens"),
    ],
    ids=str,
)
def test_what_plain_factors_cannot_say_is_refused(
    config: ModelConfig, tiny_llama: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    outside(tiny_llama, tmp_path, PLAIN | options)
    with pytest.raises(BadInput, match=message):
        read_adapter(config, tmp_path, CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a_thing_of_next_year": 1}, "a_thing_of_next_year"),
        ({"peft_type": "LOHA"}, "peft_type"),
        ({"lora_bias": True}, "lora_bias"),
        ({"lora_alpha": "NaN"}, "lora_alpha"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"alpha_pattern": {"(a+)+$": 4}}, "alpha_pattern"),
        ({"alpha_pattern": [1]}, "alpha_pattern"),
    ],
    ids=str,
)
def test_a_config_nobody_should_trust_is_refused(
    config: ModelConfig, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    written(config, LoraSpec(rank=2), tmp_path)
    edit(tmp_path, **change)
    with pytest.raises(BadInput, match=message):
        read_adapter(config, tmp_path, CPU)


def test_damaged_files_and_other_models_are_refused(config: ModelConfig, tmp_path: Path) -> None:
    tensors, _ = written(config, LoraSpec(rank=2), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    store({**tensors, name: tensors[name][:, 1:].contiguous()}, file)
    with pytest.raises(BadInput, match=r"layers\.0\.self_attn"):
        read_adapter(config, tmp_path, CPU)
    store({**tensors, name.replace("layers.0", "layers.2"): tensors[name].clone()}, file)
    with pytest.raises(BadInput, match=r"layers\.2"):
        read_adapter(config, tmp_path, CPU)
    store({key: value for key, value in tensors.items() if key != name}, file)
    with pytest.raises(BadInput, match="nothing at"):
        read_adapter(config, tmp_path, CPU)
    store({**tensors, name: tensors[name].to(torch.int64)}, file)
    with pytest.raises(BadInput, match="floats"):
        read_adapter(config, tmp_path, CPU)
    file.write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(BadInput, match=r"adapter_model\.safetensors"):
        read_adapter(config, tmp_path, CPU)


def test_tinkers_own_name_of_the_unembedding_is_understood(config: ModelConfig, tmp_path: Path) -> None:
    spec = LoraSpec(rank=2, train_attn=False, train_mlp=False)
    tensors, _ = written(config, spec, tmp_path)
    renamed = {name.replace("lm_head", "model.unembed_tokens"): tensor for name, tensor in tensors.items()}
    store(renamed, tmp_path / "adapter_model.safetensors")
    assert read_adapter(config, tmp_path, CPU)[0].spec == spec


async def test_rows_of_different_ranks_share_a_batch(engine: TorchEngine, config: ModelConfig) -> None:
    small, large = (filled(config, rank) for rank in (1, 8))
    layer, site = engine.model.layers[1].attention.qkv, (1, "qkv")
    x_TI = torch.randn(5, config.hidden)
    rows = [torch.tensor([0, 3]), torch.tensor([1, 4])]

    def compute() -> tuple[Tensor, list[Tensor]]:
        with torch.no_grad():
            mixed = linear(x_TI, layer, site, [Segment(small, rows[0]), Segment(large, rows[1])])
            return mixed, [linear(x_TI, layer, site, [Segment(one)] if one else []) for one in (small, large, None)]

    mixed, (by_small, by_large, plain) = await engine.call(compute)
    expected = plain.clone()
    expected[rows[0]], expected[rows[1]] = by_small[rows[0]], by_large[rows[1]]
    torch.testing.assert_close(mixed, expected)
    assert not torch.allclose(mixed, plain)


def filled(config: ModelConfig, rank: int) -> Adapter:
    """With B ≠ 0."""
    adapter = fresh_adapter(config, LoraSpec(rank=rank), CPU)
    with torch.no_grad():
        for pair in adapter.pairs.values():
            pair.b_OR.add_(torch.randn_like(pair.b_OR) * (1 if pair.blocks_OR is None else pair.blocks_OR))
    return adapter
