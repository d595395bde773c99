"""A compact Llama-family decoder over flat tokens: the same function serves training, prefill and decoding.

What differs is only attention, which the caller brings as `attend`. Axes: T tokens, E hidden, H query heads,
G key-value heads, D head dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from anubhav.backends.torch.config import ModelConfig, read_config
from anubhav.backends.torch.frozen import FrozenLinear
from anubhav.backends.torch.layers import rms_norm, rotate, swiglu
from anubhav.backends.torch.lora import Segment, linear
from anubhav.errors import MissingPart

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q_THD, k_TGD, v_TGD) → o_THD."""


@dataclass(frozen=True, slots=True)
class Layer:
    attention_norm_E: Tensor
    qkv: FrozenLinear
    q_norm_D: Tensor | None
    k_norm_D: Tensor | None
    o: FrozenLinear
    mlp_norm_E: Tensor
    gate_up: FrozenLinear
    down: FrozenLinear


class Model:
    def __init__(self, folder: Path, *, device: torch.device, dtype: torch.dtype) -> None:
        self.config = read_config(folder)
        self.device, self.dtype = device, dtype
        read = _Weights(folder, device, dtype)
        self.embedding_VE = read("model.embed_tokens.weight")
        self.layers = [_read_layer(self.config, read, number) for number in range(self.config.layers)]
        self.norm_E = read("model.norm.weight")
        self.head = FrozenLinear(self.embedding_VE if self.config.tied else read("lm_head.weight"))
        self._cos_C1K, self._sin_C1K = _rotary_table(self.config, device)

    def hidden(self, tokens_T: Tensor, positions_T: Tensor, segments: Sequence[Segment], attend: Attend) -> Tensor:
        """The final normalised hidden states, (T, E)."""
        cos, sin = self._cos_C1K[positions_T], self._sin_C1K[positions_T]
        x_TE = self.embedding_VE[tokens_T]
        for number, layer in enumerate(self.layers):
            h_TE = rms_norm(x_TE, layer.attention_norm_E, self.config.norm_eps)
            o_TE = self._attention(number, layer, h_TE, (cos, sin), segments, attend)
            x_TE = x_TE + o_TE
            h_TE = rms_norm(x_TE, layer.mlp_norm_E, self.config.norm_eps)
            f_TF = swiglu(linear(h_TE, layer.gate_up, (number, "gate_up"), segments))
            x_TE = x_TE + linear(f_TF, layer.down, (number, "down"), segments)
        return rms_norm(x_TE, self.norm_E, self.config.norm_eps)

    def _attention(
        self,
        number: int,
        layer: Layer,
        h_TE: Tensor,
        angles: tuple[Tensor, Tensor],
        segments: Sequence[Segment],
        attend: Attend,
    ) -> Tensor:
        config = self.config
        qkv = linear(h_TE, layer.qkv, (number, "qkv"), segments)
        q, k, v = qkv.split([config.q_width, config.kv_width, config.kv_width], -1)
        q_THD, k_TGD = q.unflatten(-1, (config.heads, -1)), k.unflatten(-1, (config.kv_heads, -1))
        if layer.q_norm_D is not None and layer.k_norm_D is not None:
            q_THD = rms_norm(q_THD, layer.q_norm_D, config.norm_eps)
            k_TGD = rms_norm(k_TGD, layer.k_norm_D, config.norm_eps)
        o_THD = attend(number, rotate(q_THD, *angles), rotate(k_TGD, *angles), v.unflatten(-1, (config.kv_heads, -1)))
        return linear(o_THD.flatten(1), layer.o, (number, "o"), segments)

    def logits(self, hidden_TE: Tensor, segments: Sequence[Segment]) -> Tensor:
        """(T, V) in the compute type. Keep T small: one row of a 50k vocabulary is 200 kB."""
        return linear(hidden_TE, self.head, (self.config.layers, "head"), segments)


class _Weights:
    """Looks a tensor up by name over all safetensors files of a folder."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self._files = [safe_open(file, framework="pt") for file in sorted(folder.glob("*.safetensors"))]  # pyright: ignore[reportUnknownVariableType]
        self._where = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118 - not a mapping
        self._device, self._dtype = device, dtype

    def __call__(self, name: str) -> Tensor:
        if name not in self._where:
            raise MissingPart(f"The model's files lack the tensor {name}", hint="Pull the model again.")
        return self._where[name].get_tensor(name).to(self._device, self._dtype)

    def together(self, *names: str) -> Tensor:
        return torch.cat([self(name) for name in names])


def _read_layer(config: ModelConfig, read: _Weights, number: int) -> Layer:
    prefix = f"model.layers.{number}."
    attention = [f"{prefix}self_attn.{part}_proj" for part in "qkv"]
    bias = read.together(*[f"{name}.bias" for name in attention]) if config.qkv_bias else None
    return Layer(
        attention_norm_E=read(prefix + "input_layernorm.weight"),
        qkv=FrozenLinear(read.together(*[f"{name}.weight" for name in attention]), bias),
        q_norm_D=read(prefix + "self_attn.q_norm.weight") if config.qk_norm else None,
        k_norm_D=read(prefix + "self_attn.k_norm.weight") if config.qk_norm else None,
        o=FrozenLinear(read(prefix + "self_attn.o_proj.weight")),
        mlp_norm_E=read(prefix + "post_attention_layernorm.weight"),
        gate_up=FrozenLinear(read.together(prefix + "mlp.gate_proj.weight", prefix + "mlp.up_proj.weight")),
        down=FrozenLinear(read(prefix + "mlp.down_proj.weight")),
    )


def _rotary_table(config: ModelConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    rates_K = config.rope_theta ** -(torch.arange(0, config.head_dim, 2).float() / config.head_dim)
    angles_C1K = (torch.arange(config.context).float()[:, None] * rates_K)[:, None]
    return angles_C1K.cos().to(device), angles_C1K.sin().to(device)
