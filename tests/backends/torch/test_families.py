"""Every family against transformers, on tiny random models: log-probabilities, LoRA gradients, and the sampler."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
from test_peft_parity import RUN, some_data
from test_sampling import SPOKEN, collect, prompt
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.gguf_adapter import write_gguf_adapter
from anubhav.backends.torch.files.peft_files import named_tensors
from anubhav.backends.torch.models.families import FAMILIES, read_config
from anubhav.catalog.folders import ARCHITECTURES
from anubhav.errors import BadInput
from anubhav.types.arrays import floats, ints
from anubhav.types.sampling import SampleRequest, SamplingParams
from anubhav.types.training import Datum, LoraSpec, Pass

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "initializer_range": 0.1,
}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
SLIDING = ["sliding_attention", "sliding_attention", "full_attention"]

EXPERTS: dict[str, Any] = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 48}

LATENT: dict[str, Any] = {
    **{name: value for name, value in SHAPE.items() if name not in {"head_dim", "num_key_value_heads"}},
    "n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48, "n_group": 4, "topk_group": 2,
    "first_k_dense_replace": 1, "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 24, "v_head_dim": 20,
}  # fmt: skip
SOFT_YARN = {**YARN, "mscale": 1.0, "mscale_all_dim": 0.7}

MAKERS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "llama3 rope": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, rope_parameters=LLAMA3)),
    "yarn": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, rope_parameters=YARN)),
    "linear": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, rope_parameters=LINEAR)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=9)),
    "qwen2": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=20, max_window_layers=1)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **{**SHAPE, "tie_word_embeddings": True}, sliding_window=11, query_pre_attn_scalar=24, layer_types=SLIDING
        )
    ),
    "qwen3 mixture": lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**SHAPE, **EXPERTS, norm_topk_prob=True)),
    "qwen3 mixture, not normed, one dense layer": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**SHAPE, **EXPERTS, mlp_only_layers=[1])
    ),
    "deepseek": lambda: DeepseekV3ForCausalLM(DeepseekV3Config(**LATENT, q_lora_rank=24, rope_parameters=SOFT_YARN)),
    "deepseek, plain queries and rotary": lambda: DeepseekV3ForCausalLM(
        DeepseekV3Config(
            **{**LATENT, "n_group": 1, "topk_group": 1, "n_shared_experts": 2, "norm_topk_prob": False},
            q_lora_rank=None,
            rope_interleave=False,
        )
    ),
}


def write(family: str, folder: Path) -> None:
    """With norms, biases and corrections that are not what they begin as."""
    torch.manual_seed(1)
    model = MAKERS[family]()
    with torch.no_grad():
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if "norm" in name or "bias" in name:
                value.add_(torch.randn_like(value) * 0.1)
    model.save_pretrained(folder)


@pytest.fixture(params=MAKERS)
def family(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[TorchEngine, Path]]:
    write(request.param, tmp_path)
    engine = TorchEngine(tmp_path)
    yield engine, tmp_path
    engine.close()


async def disturb(engine: TorchEngine, spec: LoraSpec) -> None:
    """Create RUN with B ≠ 0, so that both factors have a gradient."""
    await engine.trainer.create(RUN, spec)

    def fill() -> None:
        torch.manual_seed(3)
        for pair in engine.training.pupil(RUN).adapter.pairs.values():
            blocks = 1 if pair.blocks_OR is None else pair.blocks_OR
            with torch.no_grad():
                pair.b_OR.copy_(torch.randn_like(pair.b_OR) * 0.05 * blocks)

    await engine.call(fill)


async def test_trainer_matches_transformers(family: tuple[TorchEngine, Path]) -> None:
    engine, folder = family
    await disturb(engine, LoraSpec(rank=4, seed=1))
    data = some_data(1)
    (result,) = await engine.trainer.run([Pass(RUN, data, "cross_entropy")])
    assert result.failure is None
    pupil = engine.training.pupil(RUN)
    config = engine.model.config
    factors = {
        name: value.detach().clone().requires_grad_()
        for name, value in named_tensors(config, pupil.adapter, pupil.adapter.parameters())
    }
    model = reference.load(folder)
    weights = reference.adapted(model, factors, pupil.adapter.scale)
    total = torch.zeros(())
    for datum, ours in zip(data, result.logprobs, strict=True):
        theirs = reference.logprobs(model, datum, weights)
        torch.testing.assert_close(torch.tensor(ours.tolist()), theirs.detach(), atol=1e-4, rtol=0)
        total = total - (torch.tensor(datum.inputs["weights"].tolist()) * theirs).sum()
    total.backward()
    for name, ours in named_tensors(config, pupil.adapter, pupil.gradient.tensors):
        expected = factors[name].grad
        assert expected is not None
        off = float((ours - expected).norm() / expected.norm().clamp_min(1e-6))
        assert off < 2e-4, f"{name} is off by {off}"


async def test_sampler_and_trainer_agree(family: tuple[TorchEngine, Path], tmp_path_factory: Any) -> None:
    engine, _ = family
    await disturb(engine, LoraSpec(rank=4, seed=1))
    saved = tmp_path_factory.mktemp("adapter")
    await engine.trainer.save(RUN, saved, optimizer=False)
    await engine.sampler.attach(SPOKEN, saved)
    requests = [
        SampleRequest(prompt(1, 40), SamplingParams(20, seed=5), adapter=SPOKEN, n=2, prompt_logprobs=True),
        SampleRequest(prompt(2, 7), SamplingParams(30, seed=7), adapter=SPOKEN),
        SampleRequest(prompt(1, 40), SamplingParams(9, seed=6)),
    ]
    answers = await asyncio.gather(*(collect(engine, request) for request in requests))
    for request, (samples, scores) in zip(requests, answers, strict=True):
        for tokens, logprobs in samples.values():
            if request.adapter is None:
                continue
            full = (*request.prompt, *tokens)
            datum = Datum(full[:-1], {"target_tokens": ints(full[1:]), "weights": floats([0.0] * (len(full) - 1))})
            (result,) = await engine.trainer.run([Pass(RUN, (datum,), "cross_entropy", backward=False)])
            trained = result.logprobs[0].tolist()
            assert trained[len(request.prompt) - 1 :] == pytest.approx(logprobs, abs=1e-4)
            if scores:
                assert scores.logprobs[1:] == pytest.approx(trained[: len(request.prompt) - 1], abs=1e-4)


def test_what_is_not_computed_is_refused(tmp_path: Path) -> None:
    write("gemma3", tmp_path)
    told = (tmp_path / "config.json").read_text()
    for option, value in (("final_logit_softcapping", "30.0"), ("attn_logit_softcapping", "50.0")):
        (tmp_path / "config.json").write_text(told.replace(f'"{option}": null', f'"{option}": {value}'))
        with pytest.raises(BadInput, match=option):
            read_config(tmp_path)
    (tmp_path / "config.json").write_text(told.replace("Gemma3ForCausalLM", "MambaForCausalLM"))
    with pytest.raises(BadInput, match="MambaForCausalLM"):
        read_config(tmp_path)


def test_a_gguf_adapter_of_another_family_is_refused(tmp_path: Path) -> None:
    write("gemma3", tmp_path)
    with pytest.raises(BadInput, match="Gemma3ForCausalLM"):
        write_gguf_adapter(tmp_path, tmp_path, tmp_path / "adapter.gguf")


def test_the_catalog_knows_what_is_computed() -> None:
    assert set(FAMILIES) == set(ARCHITECTURES)
