"""The families that are computed here, read from a Hugging Face config.json: each is a few lines of what it has of its
own. What a config asks for and we do not compute is refused by name, never ignored.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anubhav.backends.torch.layers.config import LatentShape, MixtureShape, ModelConfig
from anubhav.backends.torch.layers.rotary import mscale, read_rotary
from anubhav.errors import BadInput

Raw = Mapping[str, Any]
_REFUSED = ("mlp_bias", "final_logit_softcapping", "attn_logit_softcapping", "use_bidirectional_attention")


def read_config(folder: Path) -> ModelConfig:
    """Raises BadInput for an architecture, activation or rotary scaling that this backend does not compute."""
    raw: dict[str, Any] = json.loads((folder / "config.json").read_text())
    architecture = (raw.get("architectures") or ["?"])[0]
    if architecture not in FAMILIES:
        raise BadInput(f"The architecture {architecture} is not implemented", hint=f"Use one of {', '.join(FAMILIES)}.")
    for option in _REFUSED:
        if raw.get(option):
            raise BadInput(f"The model's {option} is not implemented", hint="Use another model.")
    wanted = "gelu_pytorch_tanh" if architecture == "Gemma3ForCausalLM" else "silu"
    if raw.get("hidden_activation", raw.get("hidden_act", wanted)) != wanted:
        raise BadInput(f"{architecture} is implemented with {wanted} gates only", hint="Use another model.")
    if raw.get("attention_bias") and architecture != "Qwen2ForCausalLM":
        raise BadInput("attention_bias is not implemented for this family", hint="Use another model.")
    return FAMILIES[architecture](raw, architecture)


def _plain(raw: Raw, architecture: str) -> ModelConfig:
    """Llama, and what the others have in common with it."""
    heads, context = int(raw["num_attention_heads"]), int(raw["max_position_embeddings"])
    head_dim = int(raw.get("head_dim") or raw["hidden_size"] // heads)
    layers = int(raw["num_hidden_layers"])
    return ModelConfig(
        architecture=architecture,
        layers=layers,
        hidden=int(raw["hidden_size"]),
        heads=heads,
        kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=head_dim,
        v_dim=head_dim,
        intermediate=int(raw["intermediate_size"]),
        vocab=int(raw["vocab_size"]),
        context=context,
        norm_eps=float(raw["rms_norm_eps"]),
        tied=bool(raw.get("tie_word_embeddings", False)),
        rotary=read_rotary(_rope(raw), float(raw.get("rope_theta") or 10000.0), head_dim, context),
        windows=(None,) * layers,
    )


def _rope(raw: Raw) -> Raw:
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def _mistral(raw: Raw, architecture: str) -> ModelConfig:
    config = _plain(raw, architecture)
    return replace(config, windows=(raw.get("sliding_window"),) * config.layers)


def _qwen(raw: Raw, architecture: str) -> ModelConfig:
    config = _plain(raw, architecture)
    since = int(raw.get("max_window_layers") or 0) if raw.get("use_sliding_window") else config.layers
    return replace(
        config,
        windows=tuple(int(raw["sliding_window"]) if layer >= since else None for layer in range(config.layers)),
        qkv_bias=architecture == "Qwen2ForCausalLM",
        qk_norm=architecture != "Qwen2ForCausalLM",
    )


def _qwen_mixture(raw: Raw, architecture: str) -> ModelConfig:
    config = _qwen(raw, architecture)
    step, dense = int(raw.get("decoder_sparse_step") or 1), raw.get("mlp_only_layers") or ()
    mixture = MixtureShape(
        experts=_experts(raw),
        each=int(raw["num_experts_per_tok"]),
        width=int(raw["moe_intermediate_size"]),
        layers=tuple(layer for layer in range(config.layers) if layer not in dense and (layer + 1) % step == 0),
        normed=bool(raw.get("norm_topk_prob", False)),
    )
    return replace(config, mixture=mixture)


def _experts(raw: Raw) -> int:
    names = ("n_routed_experts", "num_experts", "num_local_experts")
    return next(int(raw[name]) for name in names if raw.get(name))


def _gemma(raw: Raw, architecture: str) -> ModelConfig:
    layers, window = int(raw["num_hidden_layers"]), raw.get("sliding_window")
    every = int(raw.get("_sliding_window_pattern") or raw.get("sliding_window_pattern") or 6)
    kinds = raw.get("layer_types") or [
        "full_attention" if (layer + 1) % every == 0 else "sliding_attention" for layer in range(layers)
    ]
    ropes = raw.get("rope_parameters") or {}
    wide = ropes.get("full_attention") or raw.get("rope_scaling") or {}
    config = _plain({**raw, "rope_parameters": wide, "rope_theta": raw.get("rope_theta") or 1e6}, architecture)
    near = float(raw.get("rope_local_base_freq") or 10000.0)
    local = read_rotary(ropes.get("sliding_attention") or {}, near, config.head_dim, config.context)
    return replace(
        config,
        tied=bool(raw.get("tie_word_embeddings", True)),
        windows=tuple(int(window) if window and kind == "sliding_attention" else None for kind in kinds),
        local_rotary=local,
        qk_norm=True,
        query_scale=math.sqrt(config.head_dim / float(raw["query_pre_attn_scalar"])),
        gelu=True,
        norm_shift=1.0,
        out_norms=True,
        embedding_scale=math.sqrt(config.hidden),
    )


def _deepseek(raw: Raw, architecture: str) -> ModelConfig:
    latent = LatentShape(
        query_rank=raw.get("q_lora_rank"),
        rank=int(raw["kv_lora_rank"]),
        plain=int(raw["qk_nope_head_dim"]),
        turned=int(raw["qk_rope_head_dim"]),
        values=int(raw["v_head_dim"]),
        interleaved=bool(raw.get("rope_interleave", True)),
    )
    config = _plain({**raw, "head_dim": latent.turned}, architecture)
    rope = _rope(raw)
    scaled = rope.get("rope_type", rope.get("type", "default")) != "default"
    softened = mscale(float(rope["factor"]), float(rope.get("mscale_all_dim") or 0)) if scaled else 1.0
    first, step = int(raw.get("first_k_dense_replace") or 0), int(raw.get("moe_layer_freq") or 1)
    mixture = MixtureShape(
        experts=_experts(raw),
        each=int(raw["num_experts_per_tok"]),
        width=int(raw["moe_intermediate_size"]),
        layers=tuple(layer for layer in range(first, config.layers) if layer % step == 0),
        normed=bool(raw.get("norm_topk_prob", True)),
        scale=float(raw.get("routed_scaling_factor", 1.0)),
        shared=int(raw["moe_intermediate_size"]) * int(raw.get("n_shared_experts") or 0),
        sigmoid=True,
        groups=int(raw.get("n_group") or 1),
        groups_kept=int(raw.get("topk_group") or 1),
    )
    width = latent.rank + latent.turned
    return replace(
        config,
        kv_heads=1,
        head_dim=width,
        v_dim=latent.rank,
        query_scale=softened**2 * math.sqrt(width / (latent.plain + latent.turned)),
        latent=latent,
        mixture=mixture if mixture.experts else None,
    )


FAMILIES: Mapping[str, Callable[[Raw, str], ModelConfig]] = {
    "LlamaForCausalLM": _plain,
    "MistralForCausalLM": _mistral,
    "Qwen2ForCausalLM": _qwen,
    "Qwen3ForCausalLM": _qwen,
    "Qwen3MoeForCausalLM": _qwen_mixture,
    "Gemma3ForCausalLM": _gemma,
    "DeepseekV3ForCausalLM": _deepseek,
}
