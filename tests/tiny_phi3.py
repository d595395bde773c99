"""A tiny random Phi-3, a family that the engine leaves to transformers."""

from pathlib import Path

import torch
from transformers import Phi3Config, Phi3ForCausalLM


def write_phi3(folder: Path, *, vocab: int, context: int) -> None:
    """2 layers, 4 query heads in 2 groups, fused projections, tied embeddings."""
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=vocab,
        hidden_size=64,
        intermediate_size=112,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        original_max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    Phi3ForCausalLM(config).save_pretrained(folder)
