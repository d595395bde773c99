"""Tiny random models of families that transformers computes for us, each with something of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

SPECIAL: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "tie_word_embeddings": False,
    **SPECIAL,
}
FULL = {name: value for name, value in SHAPE.items() if name != "num_key_value_heads"}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2}
COHERE = {"logit_scale": 0.25, "sliding_window": 11, "head_dim": 16}
COHERE_LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
OPT_SHAPE: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 64, "ffn_dim": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 256, "word_embed_proj_dim": 64, "init_std": 0.1, "dropout": 0.0, **SPECIAL,
}  # fmt: skip
GRANITE = {
    "embedding_multiplier": 3.0, "attention_multiplier": 0.1, "residual_multiplier": 0.4, "logits_scaling": 4.0,
}  # fmt: skip

MAKERS: dict[str, Callable[[], Any]] = {
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**SHAPE, sliding_window=9)),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**SHAPE)),
    "stablelm": lambda: StableLmForCausalLM(StableLmConfig(**SHAPE, use_qkv_bias=True, qk_layernorm=True)),
    "gpt neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**FULL)),
    "granite, tied": lambda: GraniteForCausalLM(GraniteConfig(**{**SHAPE, "tie_word_embeddings": True}, **GRANITE)),
    "cohere2": lambda: Cohere2ForCausalLM(Cohere2Config(**SHAPE, **COHERE, layer_types=COHERE_LAYERS)),
    "starcoder2": lambda: Starcoder2ForCausalLM(Starcoder2Config(**SHAPE, sliding_window=20, use_bias=True)),
    "opt, learnt positions": lambda: OPTForCausalLM(OPTConfig(**OPT_SHAPE)),
    "olmoe, frozen experts": lambda: OlmoeForCausalLM(OlmoeConfig(**SHAPE, **EXPERTS)),
    "llama with biases": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True)),
}

CAPS = {"attn_logit_softcapping": None, "final_logit_softcapping": None, "head_dim": 16, "query_pre_attn_scalar": 16}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "gpt-oss": (
        lambda: GptOssForCausalLM(GptOssConfig(**SHAPE, num_local_experts=4, head_dim=16, rope_parameters=None)),
        "GptOssForCausalLM.* sinks",
    ),
    "gemma2": (
        lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, **{**CAPS, "attn_logit_softcapping": 5.0})),
        "Gemma2ForCausalLM.*softcap",
    ),
    "gemma2, capped behind the unembedding": (
        lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, **{**CAPS, "final_logit_softcapping": 1.0})),
        "Gemma2ForCausalLM.* off by",
    ),
    "mamba": (
        lambda: MambaForCausalLM(MambaConfig(vocab_size=300, hidden_size=64, num_hidden_layers=2, **SPECIAL)),
        "MambaForCausalLM.* positions",
    ),
    "gpt2": (
        lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=300, n_embd=64, n_layer=2, n_head=4, n_positions=256, **{**SPECIAL, "n_inner": 80})
        ),
        "GPT2LMHeadModel.* linear layers",
    ),
    "bloom, alibi": (
        lambda: BloomForCausalLM(
            BloomConfig(vocab_size=300, hidden_size=64, n_layer=2, n_head=4, seq_length=256, **SPECIAL)
        ),
        "BloomForCausalLM",
    ),
    "roberta, both directions": (
        lambda: RobertaForCausalLM(RobertaConfig(**FULL)),
        "RobertaForCausalLM.* causal",
    ),
}


def write(model: Any, folder: Path) -> None:
    """With norms and biases that are not what they begin as."""
    torch.manual_seed(2)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name or "bias" in name:
                value.add_(torch.randn_like(value) * 0.1)
    model.save_pretrained(folder)


def write_family(family: str, folder: Path) -> None:
    torch.manual_seed(1)
    write(MAKERS[family](), folder)
