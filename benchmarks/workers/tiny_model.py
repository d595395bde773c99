"""A nearly empty Llama with the real model's tokenizer: on it a server's answer costs nearly nothing but the server."""

import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.stand.jobs import answer_jobs


def write(source: str, target: str, vocabulary: int) -> int:
    """Two layers of 64 numbers; how many parameters that are."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(target)
    for file in Path(source).iterdir():
        if file.name.startswith(("tokenizer", "special_tokens", "chat_template")):
            shutil.copy(file, target)
    return sum(weight.numel() for weight in model.parameters())


if __name__ == "__main__":
    answer_jobs({"write": write})
