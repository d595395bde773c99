"""GGUF → Hugging Face layout, once: dequantise, undo llama.cpp's rotary permutation, write bf16 safetensors.

Axes: N blocks of a quantised tensor.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.catalog.gguf import Gguf, TensorInfo, read
from anubhav.errors import BadInput

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write config.json and model.safetensors into `folder`. Raises BadInput for families or formats we cannot read."""
    model = read(gguf)
    if model.metadata.get("general.architecture") != "llama":
        raise BadInput(
            "Only GGUF files of the llama architecture can be read", hint="Use a safetensors folder instead."
        )
    config = _config(model)
    tensors: dict[str, Tensor] = {}
    raw = torch.from_file(str(gguf), shared=False, size=gguf.stat().st_size, dtype=torch.uint8)
    for info in model.tensors:
        values = _dequantise(info, raw[info.offset : info.offset + info.size])
        heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
        part = info.name.split(".")[-2]
        if part in heads:
            values = _unpermute(values, heads[part])
        tensors[_rename(info.name)] = values.to(torch.bfloat16).contiguous()
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})


def _config(model: Gguf) -> dict[str, Any]:
    def field(name: str) -> Any:
        return model.metadata[f"llama.{name}"]

    heads, hidden = field("attention.head_count"), field("embedding_length")
    embedding = next(info for info in model.tensors if info.name == "token_embd.weight")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": field("feed_forward_length"),
        "num_hidden_layers": field("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": field("attention.head_count_kv"),
        "head_dim": hidden // heads,
        "vocab_size": embedding.shape[0],
        "max_position_embeddings": field("context_length"),
        "rms_norm_eps": round(field("attention.layer_norm_rms_epsilon"), 12),
        "rope_theta": float(field("rope.freq_base")),
        "tie_word_embeddings": not any(info.name == "output.weight" for info in model.tensors),
        "bos_token_id": model.metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": model.metadata.get("tokenizer.ggml.eos_token_id"),
        "torch_dtype": "bfloat16",
    }


def _rename(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_NAMES[parts[2]]}.weight"
    return f"{_NAMES[parts[0]]}.weight"


def _dequantise(info: TensorInfo, data: Tensor) -> Tensor:
    """Formats of ggml's quants: blocks of 32 with an fp16 scale (and minimum)."""
    if info.kind == "F32":
        return data.clone().view(torch.float32).reshape(info.shape)
    if info.kind == "F16":
        return data.clone().view(torch.float16).float().reshape(info.shape)
    if info.kind == "Q8_0":
        blocks_N = data.reshape(-1, 34)
        scale = blocks_N[:, :2].clone().view(torch.float16).float()
        return (blocks_N[:, 2:].clone().view(torch.int8).float() * scale).reshape(info.shape)
    if info.kind == "Q4_1":
        blocks_N = data.reshape(-1, 20)
        scale, least = blocks_N[:, :4].clone().view(torch.float16).float().split(1, -1)
        nibbles = blocks_N[:, 4:]
        values = torch.cat([nibbles & 15, nibbles >> 4], -1).float()
        return (values * scale + least).reshape(info.shape)
    raise BadInput(f"The tensor format {info.kind} is not implemented", hint="Use F32, F16, Q8_0 or Q4_1 files.")


def _unpermute(weight: Tensor, heads: int) -> Tensor:
    """llama.cpp interleaves the two rotary halves of q and k; Hugging Face keeps them apart."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
