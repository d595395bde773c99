"""The elementwise layers with hand-written backward passes: they save one tensor where autograd would save five.

Axes: T tokens, E hidden, H heads, D head dimension, F feed-forward.
"""

from typing import Any

import torch
from torch import Tensor

from anubhav.backends.torch.kernels import fused


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
        x_TE = x_TE.contiguous()
        y_TE, scale_T1 = _norm(x_TE, weight_E, eps)
        ctx.save_for_backward(x_TE, weight_E, scale_T1)
        return y_TE

    @staticmethod
    def backward(ctx: Any, dy_TE: Tensor) -> tuple[Tensor, None, None]:
        x_TE, weight_E, scale_T1 = ctx.saved_tensors
        done = fused.norm_back(dy_TE.contiguous(), x_TE, weight_E, scale_T1)
        if done is not None:
            return done, None, None
        normal_TE = x_TE.float() * scale_T1
        g_TE = dy_TE.float() * weight_E
        mean_T1 = (g_TE * normal_TE).mean(-1, keepdim=True)
        return g_TE.sub_(normal_TE.mul_(mean_T1)).mul_(scale_T1).to(x_TE.dtype), None, None


def _norm(x_TE: Tensor, weight_E: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The result, and what each row was scaled by."""
    x_TE = x_TE.contiguous()
    done = fused.norm(x_TE, weight_E, eps)
    if done is not None:
        return done
    scale_T1 = torch.rsqrt(x_TE.float().pow(2).mean(-1, keepdim=True).add_(eps))
    return (x_TE.float() * scale_T1).mul_(weight_E).to(weight_E.dtype), scale_T1


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up_T2F: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_T2F)
        return _gate(gate_up_T2F)

    @staticmethod
    def backward(ctx: Any, dy_TF: Tensor) -> Tensor:
        done = fused.swiglu_back(dy_TF.contiguous(), ctx.saved_tensors[0])
        if done is not None:
            return done
        gate_TF, up_TF = ctx.saved_tensors[0].chunk(2, -1)
        sigmoid_TF = torch.sigmoid(gate_TF)
        silu_TF = gate_TF * sigmoid_TF
        dgate_TF = (1 - sigmoid_TF).mul_(silu_TF).add_(sigmoid_TF).mul_(up_TF).mul_(dy_TF)
        return torch.cat([dgate_TF, silu_TF.mul_(dy_TF)], -1)


def _gate(gate_up_T2F: Tensor) -> Tensor:
    done = fused.swiglu(gate_up_T2F)
    if done is not None:
        return done
    gate_TF, up_TF = gate_up_T2F.chunk(2, -1)
    return torch.nn.functional.silu(gate_TF).mul_(up_TF)


class _GeGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up_T2F: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up_T2F)
        gate_TF, up_TF = gate_up_T2F.chunk(2, -1)
        return torch.nn.functional.gelu(gate_TF, approximate="tanh").mul_(up_TF)

    @staticmethod
    def backward(ctx: Any, dy_TF: Tensor) -> Tensor:
        gate_TF, up_TF = ctx.saved_tensors[0].chunk(2, -1)
        dgate_TF = torch.ops.aten.gelu_backward(dy_TF * up_TF, gate_TF, approximate="tanh")
        return torch.cat([dgate_TF, torch.nn.functional.gelu(gate_TF, approximate="tanh").mul_(dy_TF)], -1)


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_THD: Tensor, cos_T1K: Tensor, sin_T1K: Tensor) -> Tensor:
        ctx.save_for_backward(cos_T1K, sin_T1K)
        return _turn(x_THD, cos_T1K, sin_T1K, 1.0)

    @staticmethod
    def backward(ctx: Any, dy_THD: Tensor) -> tuple[Tensor, None, None]:
        cos_T1K, sin_T1K = ctx.saved_tensors
        return _turn(dy_THD, cos_T1K, sin_T1K, -1.0), None, None


def _turn(x_THD: Tensor, cos_T1K: Tensor, sin_T1K: Tensor, sign: float) -> Tensor:
    done = fused.turn(x_THD, cos_T1K, sin_T1K, sign)
    if done is not None:
        return done
    first, second = x_THD.chunk(2, -1)
    sin_T1K = sin_T1K * sign
    turned = [first * cos_T1K - second * sin_T1K, second * cos_T1K + first * sin_T1K]
    return torch.cat(turned, -1).to(x_THD.dtype)


def rms_norm(x_TE: Tensor, weight_E: Tensor, eps: float) -> Tensor:
    """Root-mean-square normalisation over the last axis, in the type of the weight, which is frozen."""
    if not torch.is_grad_enabled():  # to sample: a node of autograd costs more than the kernel
        return _norm(x_TE, weight_E, eps)[0]
    return _RmsNorm.apply(x_TE, weight_E, eps)  # pyright: ignore[reportReturnType]


def swiglu(gate_up_T2F: Tensor) -> Tensor:
    """silu(gate) · up, with gate and up side by side in the last axis."""
    if not torch.is_grad_enabled():
        return _gate(gate_up_T2F)
    return _SwiGlu.apply(gate_up_T2F)  # pyright: ignore[reportReturnType]


def geglu(gate_up_T2F: Tensor) -> Tensor:
    """gelu(gate) · up, by tanh, with gate and up side by side in the last axis."""
    return _GeGlu.apply(gate_up_T2F)  # pyright: ignore[reportReturnType]


def rotate(x_THD: Tensor, cos_T1K: Tensor, sin_T1K: Tensor) -> Tensor:
    """Rotary positions, the two halves of a head paired as Hugging Face does; K = D / 2."""
    if not torch.is_grad_enabled():
        return _turn(x_THD, cos_T1K, sin_T1K, 1.0)
    return _Rotate.apply(x_THD, cos_T1K, sin_T1K)  # pyright: ignore[reportReturnType]
