"""DeepSeek's attention over latents (MLA): keys and values of all heads are made of one short vector per token.

What makes a head's keys out of the latents is multiplied into its queries, and what makes its values into its outputs,
so that all heads look at the latents themselves: attention, and the cache, have one head of keys and values. The two
inner matrices, q_b and kv_b, are frozen, as Tinker leaves them.
Axes: T tokens, E hidden, H heads, N dimensions without positions, R rank of the latents, V dimensions of a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import LatentShape, ModelConfig
from anubhav.backends.torch.layers.elementwise import rms_norm, rotate
from anubhav.backends.torch.layers.frozen import FrozenLinear
from anubhav.backends.torch.layers.lora import Segment, linear
from anubhav.backends.torch.models.attention import Angles
from anubhav.backends.torch.models.decoder import Attend
from anubhav.backends.torch.models.weights import Weights

_EPS = 1e-6
"""Of the latents' norms, whatever the config says of the others."""


@dataclass(frozen=True, slots=True)
class LatentAttention:
    config: ModelConfig
    shape: LatentShape
    layer: int
    group: str
    """Where the LoRA of `first` stands."""
    first: FrozenLinear
    """The queries, or their latents, and the latents of keys and values."""
    q_norm: Tensor | None
    q_b: FrozenLinear | None
    kv_norm_R: Tensor
    keys_HNR: Tensor
    values_HRV: Tensor
    o: FrozenLinear

    def __call__(self, h_TE: Tensor, angles: Angles, segments: Sequence[Segment], attend: Attend) -> Tensor:
        shape = self.shape
        made = linear(h_TE, self.first, (self.layer, self.group), segments)
        q, latent_TR, k_turned = made.split([made.shape[-1] - shape.rank - shape.turned, shape.rank, shape.turned], -1)
        if self.q_b is not None and self.q_norm is not None:
            q = linear(rms_norm(q, self.q_norm, _EPS), self.q_b, (self.layer, "q_b"), ())
        latent_T1R = rms_norm(latent_TR, self.kv_norm_R, _EPS)[:, None]
        q_THN, q_turned = q.unflatten(-1, (self.config.heads, -1)).split([shape.plain, shape.turned], -1)
        q_THR = torch.bmm(q_THN.transpose(0, 1), self.keys_HNR).transpose(0, 1)
        q_THD = torch.cat([q_THR, self._turn(q_turned, angles)], -1) * self.config.query_scale
        k_T1D = torch.cat([latent_T1R, self._turn(k_turned[:, None], angles)], -1)
        o_THR = attend(self.layer, q_THD, k_T1D, latent_T1R)
        o_THV = torch.bmm(o_THR.transpose(0, 1), self.values_HRV).transpose(0, 1)
        return linear(o_THV.flatten(1), self.o, (self.layer, "o"), segments)

    def _turn(self, x_THD: Tensor, angles: Angles) -> Tensor:
        if self.shape.interleaved:
            x_THD = x_THD.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
        return rotate(x_THD.contiguous(), *angles)


def read_latent(config: ModelConfig, shape: LatentShape, read: Weights, layer: int) -> LatentAttention:
    prefix = f"model.layers.{layer}.self_attn."
    short = shape.query_rank is not None
    inner_HxR = read(prefix + "kv_b_proj.weight").unflatten(0, (config.heads, -1))
    keys_HNR, values_HVR = inner_HxR.split([shape.plain, shape.values], 1)
    query = "q_a_proj.weight" if short else "q_proj.weight"
    return LatentAttention(
        config,
        shape,
        layer,
        group="latents" if short else "query_latents",
        first=FrozenLinear(read.together(prefix + query, prefix + "kv_a_proj_with_mqa.weight")),
        q_norm=read(prefix + "q_a_layernorm.weight") if short else None,
        q_b=FrozenLinear(read(prefix + "q_b_proj.weight")) if short else None,
        kv_norm_R=read(prefix + "kv_a_layernorm.weight"),
        keys_HNR=keys_HNR.contiguous(),
        values_HRV=values_HVR.mT.contiguous(),
        o=FrozenLinear(read(prefix + "o_proj.weight")),
    )
