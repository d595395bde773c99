"""Tiny random models of three families, whose sizes divide by 2 and 4."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, DeepseekV3Config, Qwen3Config, Qwen3MoeConfig

from anubhav.cluster.sharded.trainer import ShardedTrainer

Gangs = Callable[..., ShardedTrainer]
"""The fixture of that name: a trainer over a family in a layout."""

COMMON = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
    "max_position_embeddings": 64,
}
MIXTURE = {"moe_intermediate_size": 32, "num_experts_per_tok": 2, "norm_topk_prob": True}


def write_tiny(family: str, folder: Path) -> Path:
    """Dense: 4 layers. Mixture: 3 of 8 experts. Deepseek: a dense layer, then 3 of 8 experts and a shared one."""
    configs = {
        "dense": lambda: Qwen3Config(**COMMON, num_hidden_layers=4, num_attention_heads=8, head_dim=8),
        "mixture": lambda: Qwen3MoeConfig(
            **COMMON, **MIXTURE, num_hidden_layers=3, num_attention_heads=8, head_dim=8, num_experts=8
        ),
        "deepseek": lambda: DeepseekV3Config(
            **COMMON,
            **MIXTURE,
            num_hidden_layers=4,
            num_attention_heads=4,
            n_shared_experts=1,
            n_routed_experts=8,
            routed_scaling_factor=2.5,
            kv_lora_rank=16,
            q_lora_rank=32,
            qk_rope_head_dim=8,
            v_head_dim=16,
            qk_nope_head_dim=16,
            n_group=1,
            topk_group=1,
            first_k_dense_replace=1,
        ),
    }
    torch.manual_seed(1)
    net = AutoModelForCausalLM.from_config(configs[family](), dtype=torch.float32)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.15)
    net.save_pretrained(folder / family)
    return folder / family
