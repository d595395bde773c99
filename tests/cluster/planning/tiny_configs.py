"""Small models of the architectures that plans are made for, as their config.json has them."""

from typing import Any

_SMALL: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "tie_word_embeddings": False,
}
DENSE = {**_SMALL, "architectures": ["Qwen3ForCausalLM"], "num_hidden_layers": 4}
MIXTURE = {
    **_SMALL,
    "architectures": ["Qwen3MoeForCausalLM"],
    "num_hidden_layers": 3,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "decoder_sparse_step": 1,
}
LATENT = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 4,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_shared_experts": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "tie_word_embeddings": False,
}
TIED = {**_SMALL, "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "tie_word_embeddings": True}
ODD = {**DENSE, "hidden_size": 72, "vocab_size": 259, "intermediate_size": 132, "num_hidden_layers": 3}
"""Whose sizes few numbers of ranks divide."""
