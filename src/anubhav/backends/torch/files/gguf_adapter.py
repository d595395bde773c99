"""An adapter as llama.cpp reads it: a GGUF file with what its convert_lora_to_gguf.py writes.

llama.cpp interleaves the two rotary halves of each head of q and k in models of its llama architecture, so the rows of
their B are put into the same order.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from anubhav.backends.torch.files.peft_files import read_adapter
from anubhav.backends.torch.layers.adapters import split
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.opening import read_shape
from anubhav.catalog.gguf_writing import Matrix, write
from anubhav.errors import BadInput

_FAMILIES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "lm_head": "output",
}


def write_gguf_adapter(adapter: Path, base: Path, file: Path) -> None:
    """Of the PEFT folder `adapter`, trained on the model folder `base`.

    Raises BadInput for an adapter of a tied unembedding, which GGUF models do not have as a matrix of its own, and for
    families whose names in such files are not known here.
    """
    config = read_shape(base)
    if config.architecture not in _FAMILIES:
        raise BadInput(
            f"Adapters of {config.architecture} are not written as GGUF", hint="Export it in PEFT's form, or merged."
        )
    found, _ = read_adapter(config, adapter, torch.device("cpu"))
    if found.spec.train_unembed and config.tied:
        raise BadInput(
            "This model's unembedding is its embedding, and llama.cpp cannot adapt the one without the other",
            hint="Export it as merged, or train with train_unembed=False.",
        )
    family = _FAMILIES[config.architecture]
    tensors: list[Matrix] = []
    for (layer, group), pair in found.pairs.items():
        for module, a, b in split(config, found.spec, group, pair.a_RI.detach(), pair.b_OR.detach()):
            name = _NAMES[module] if group == "head" else f"blk.{layer}.{_NAMES[module]}"
            rows = _permute(b, heads) if (heads := _heads(config, module)) and family == "llama" else b
            tensors += _pair(name, a, rows)
    about = {
        "general.architecture": family,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": found.spec.alpha,
        "general.file_type": 0,
    }
    write(file, about, tensors)


def _heads(config: ModelConfig, module: str) -> int:
    """Of q and k; 0 for what rotary positions do not touch."""
    return {"self_attn.q_proj": config.heads, "self_attn.k_proj": config.kv_heads}.get(module, 0)


def _permute(weight: Tensor, heads: int) -> Tensor:
    """The way back of convert._unpermute."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _pair(name: str, a: Tensor, b: Tensor) -> Iterator[Matrix]:
    for half, values in (("lora_a", a), ("lora_b", b)):
        dense = values.float().contiguous()
        # Without numpy a tensor has no buffer of its own.
        content = ctypes.string_at(dense.data_ptr(), dense.nbytes)
        yield Matrix(f"{name}.weight.{half}", (dense.shape[0], dense.shape[1]), content)
