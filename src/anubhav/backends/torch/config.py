"""The shape of a Llama-family model, read from a Hugging Face config.json; families we do not implement are refused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anubhav.errors import BadInput

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    norm_eps: float
    rope_theta: float
    tied: bool
    """The unembedding is the embedding matrix."""

    @property
    def qkv_bias(self) -> bool:
        return self.architecture == "Qwen2ForCausalLM"

    @property
    def qk_norm(self) -> bool:
        return self.architecture == "Qwen3ForCausalLM"

    @property
    def q_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim


def read_config(folder: Path) -> ModelConfig:
    """Raises BadInput for an architecture, activation or rotary scaling that this backend does not compute."""
    raw: dict[str, Any] = json.loads((folder / "config.json").read_text())
    architecture = (raw.get("architectures") or ["?"])[0]
    rope: dict[str, Any] = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if architecture not in ARCHITECTURES:
        raise BadInput(f"The architecture {architecture} is not implemented", hint=f"Use one of {ARCHITECTURES}.")
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise BadInput(f"Rotary scaling {rope} is not implemented", hint="Use a model with plain rotary positions.")
    if raw.get("hidden_act", "silu") != "silu" or raw.get("mlp_bias") or raw.get("use_sliding_window"):
        raise BadInput(
            "Only SiLU-gated MLPs without bias and full attention are implemented", hint="Use another model."
        )
    if raw.get("attention_bias") and architecture != "Qwen2ForCausalLM":
        raise BadInput("attention_bias is not implemented for this family", hint="Use another model.")
    heads = int(raw["num_attention_heads"])
    return ModelConfig(
        architecture=architecture,
        layers=int(raw["num_hidden_layers"]),
        hidden=int(raw["hidden_size"]),
        heads=heads,
        kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or raw["hidden_size"] // heads),
        intermediate=int(raw["intermediate_size"]),
        vocab=int(raw["vocab_size"]),
        context=int(raw["max_position_embeddings"]),
        norm_eps=float(raw["rms_norm_eps"]),
        rope_theta=float(raw.get("rope_theta") or rope.get("rope_theta") or 10000.0),
        tied=bool(raw.get("tie_word_embeddings", False)),
    )
