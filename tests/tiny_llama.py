"""A tiny random Llama in Hugging Face's layout, for the engine that computes for real."""

from pathlib import Path

import torch
from fake_model import write_model
from transformers import LlamaConfig, LlamaForCausalLM


def write_llama(folder: Path, *, vocab: int, context: int, width: int = 96, loud: float = 0.02) -> None:
    """2 layers, 6 query heads in 2 groups, tied embeddings; `loud` is the deviation of the weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=width,
        intermediate_size=112,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=loud,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def write_talking_llama(folder: Path, context: int = 512) -> Path:
    """With the fake model's tokenizer, so that it can be served."""
    write_model(folder)
    write_llama(folder, vocab=258, context=context)
    return folder
