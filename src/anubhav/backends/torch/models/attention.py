"""Attention as most families have it: queries, keys and values from one fused layer, turned by their positions.

Axes: T tokens, E hidden, H query heads, G key-value heads, X of both, D head dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.layers.elementwise import rms_norm, rotate
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment, linear
from anubhav.backends.torch.models.decoder import Attend
from anubhav.backends.torch.models.weights import Weights

Angles = tuple[Tensor, Tensor]
"""The cosine and the sine of each token's positions."""


@dataclass(frozen=True, slots=True)
class Attention:
    config: ModelConfig
    layer: int
    qkv: FrozenLinear
    q_norm_D: Tensor | None
    k_norm_D: Tensor | None
    o: FrozenLinear

    def __call__(self, h_TE: Tensor, angles: Angles, segments: Sequence[Segment], attend: Attend) -> Tensor:
        config, layer = self.config, self.layer
        qkv = linear(h_TE, self.qkv, (layer, "qkv"), segments)
        qk, v = qkv.split([config.q_width + config.kv_width, config.kv_width], -1)
        qk_TXD = qk.unflatten(-1, (config.heads + config.kv_heads, -1))
        if self.q_norm_D is not None and self.k_norm_D is not None:
            q_THD, k_TGD = qk_TXD.split([config.heads, config.kv_heads], 1)
            q_THD = rms_norm(q_THD, self.q_norm_D, config.norm_eps)
            qk_TXD = torch.cat([q_THD, rms_norm(k_TGD, self.k_norm_D, config.norm_eps)], 1)
        q_THD, k_TGD = rotate(qk_TXD, *angles).split([config.heads, config.kv_heads], 1)
        o_THD = attend(layer, q_THD, k_TGD, v.unflatten(-1, (config.kv_heads, -1)))
        return linear(o_THD.flatten(1), self.o, (layer, "o"), segments)


def read_attention(config: ModelConfig, read: Weights, layer: int) -> Attention:
    prefix = f"model.layers.{layer}.self_attn."
    projections = [f"{prefix}{part}_proj" for part in "qkv"]
    bias = read.together(*[f"{name}.bias" for name in projections]) if config.qkv_bias else None
    return Attention(
        config,
        layer,
        qkv=FrozenLinear(read.together(*[f"{name}.weight" for name in projections]), bias),
        q_norm_D=read.norm(prefix + "q_norm.weight", config.norm_shift, config.query_scale) if config.qk_norm else None,
        k_norm_D=read.norm(prefix + "k_norm.weight", config.norm_shift) if config.qk_norm else None,
        o=FrozenLinear(read(prefix + "o_proj.weight")),
    )
