"""The elementwise layers with hand-written backward passes: they save one tensor where autograd would save five.

Axes: T tokens, E hidden, H heads, D head dimension, F feed-forward.
"""

from typing import Any

import torch
from torch import Tensor


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
        scale_T1 = torch.rsqrt(x_TE.float().pow(2).mean(-1, keepdim=True).add_(eps))
        ctx.save_for_backward(x_TE, weight_E, scale_T1)
        return (x_TE.float() * scale_T1).mul_(weight_E).to(x_TE.dtype)

    @staticmethod
    def backward(ctx: Any, dy_TE: Tensor) -> tuple[Tensor, None, None]:
        x_TE, weight_E, scale_T1 = ctx.saved_tensors
        normal_TE = x_TE.float() * scale_T1
        g_TE = dy_TE.float() * weight_E
        mean_T1 = (g_TE * normal_TE).mean(-1, keepdim=True)
        return g_TE.sub_(normal_TE.mul_(mean_T1)).mul_(scale_T1).to(x_TE.dtype), None, None


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up_T2F: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_T2F)
        gate_TF, up_TF = gate_up_T2F.chunk(2, -1)
        return torch.nn.functional.silu(gate_TF).mul_(up_TF)

    @staticmethod
    def backward(ctx: Any, dy_TF: Tensor) -> Tensor:
        gate_TF, up_TF = ctx.saved_tensors[0].chunk(2, -1)
        sigmoid_TF = torch.sigmoid(gate_TF)
        silu_TF = gate_TF * sigmoid_TF
        dgate_TF = (1 - sigmoid_TF).mul_(silu_TF).add_(sigmoid_TF).mul_(up_TF).mul_(dy_TF)
        return torch.cat([dgate_TF, silu_TF.mul_(dy_TF)], -1)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_THD: Tensor, cos_T1K: Tensor, sin_T1K: Tensor) -> Tensor:
        ctx.save_for_backward(cos_T1K, sin_T1K)
        return _turn(x_THD, cos_T1K, sin_T1K)

    @staticmethod
    def backward(ctx: Any, dy_THD: Tensor) -> tuple[Tensor, None, None]:
        cos_T1K, sin_T1K = ctx.saved_tensors
        return _turn(dy_THD, cos_T1K, -sin_T1K), None, None


def _turn(x_THD: Tensor, cos_T1K: Tensor, sin_T1K: Tensor) -> Tensor:
    first, second = x_THD.chunk(2, -1)
    return torch.cat([first * cos_T1K - second * sin_T1K, second * cos_T1K + first * sin_T1K], -1)


def rms_norm(x_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """Root-mean-square normalisation over the last axis; the weight is frozen."""
    return _RmsNorm.apply(x_TE, weight_E, eps)  # pyright: ignore[reportReturnType]


def swiglu(gate_up_T2F: Tensor) -> Tensor:
    """silu(gate) · up, with gate and up side by side in the last axis."""
    return _SwiGlu.apply(gate_up_T2F)  # pyright: ignore[reportReturnType]


def rotate(x_THD: Tensor, cos_T1K: Tensor, sin_T1K: Tensor) -> Tensor:
    """Rotary positions, the two halves of a head paired as Hugging Face does; K = D / 2."""
    return _Rotate.apply(x_THD, cos_T1K, sin_T1K)  # pyright: ignore[reportReturnType]
