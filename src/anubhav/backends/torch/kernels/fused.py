"""The kernels of training, where this machine has them; each function answers None when the plain path must do.

They compute what stands beside their callers in plain torch, in `layers`, `head` and `adamw`.
Axes: T tokens, E and F widths, H heads, D head dimension, K = D / 2, C rows of logits, V vocabulary.
"""

import math
from typing import Final

import torch
from torch import Tensor

from anubhav.backends.torch.kernels.native import FLOATS, fits, library, threads
from anubhav.types.training import OptimParams

_VECTOR: Final = 16


def norm(x_TE: Tensor, weight_E: Tensor, eps: float) -> tuple[Tensor, Tensor] | None:
    """(RMS-normalised x in the weight's type, what each row was scaled by)."""
    if not _takes(x_TE.shape[-1], x_TE, weight_E):
        return None
    y_TE, scale_T1 = torch.empty(x_TE.shape, dtype=weight_E.dtype), torch.empty(*x_TE.shape[:-1], 1)
    shape = scale_T1.numel(), x_TE.shape[-1]
    _call("norm", x_TE, FLOATS[x_TE.dtype], weight_E, y_TE, FLOATS[y_TE.dtype], scale_T1, *shape, eps)
    return y_TE, scale_T1


def norm_back(dy_TE: Tensor, x_TE: Tensor, weight_E: Tensor, scale_T1: Tensor) -> Tensor | None:
    if not _takes(x_TE.shape[-1], dy_TE, x_TE, weight_E):
        return None
    dx_TE = torch.empty_like(x_TE)
    types = FLOATS[dy_TE.dtype], FLOATS[x_TE.dtype]
    shape = scale_T1.numel(), x_TE.shape[-1]
    _call("norm_back", dy_TE, types[0], x_TE, dx_TE, types[1], weight_E, scale_T1, *shape)
    return dx_TE


def swiglu(gate_up_T2F: Tensor) -> Tensor | None:
    width = gate_up_T2F.shape[-1] // 2
    if not _takes(width, gate_up_T2F):
        return None
    y_TF = gate_up_T2F.new_empty(*gate_up_T2F.shape[:-1], width)
    _call("swiglu", gate_up_T2F, y_TF, FLOATS[y_TF.dtype], y_TF.numel() // width, width)
    return y_TF


def swiglu_back(dy_TF: Tensor, gate_up_T2F: Tensor) -> Tensor | None:
    width = dy_TF.shape[-1]
    if not _takes(width, dy_TF, gate_up_T2F) or dy_TF.dtype != gate_up_T2F.dtype:
        return None
    dx_T2F = torch.empty_like(gate_up_T2F)
    _call("swiglu_back", dy_TF, gate_up_T2F, dx_T2F, FLOATS[dy_TF.dtype], dy_TF.numel() // width, width)
    return dx_T2F


def turn(x_THD: Tensor, cos_T1K: Tensor, sin_T1K: Tensor, sign: float) -> Tensor | None:
    """Each head's halves turned by the row's angles, or back for a `sign` of -1. Rows of x may lie apart."""
    half = cos_T1K.shape[-1]
    if not _takes(half, x_THD[:1], cos_T1K, sin_T1K) or x_THD.ndim != 3 or x_THD.shape[-1] != 2 * half:
        return None
    y_THD = torch.empty(x_THD.shape, dtype=x_THD.dtype)
    shape = len(x_THD), x_THD.shape[1], half
    _call("turn", x_THD, x_THD.stride(0), y_THD, FLOATS[y_THD.dtype], *shape, cos_T1K, sin_T1K, sign)
    return y_THD


def measure(logits_CV: Tensor) -> tuple[Tensor, Tensor] | None:
    """Of each row: its highest logit, and the sum of exp(logit − that)."""
    if not _takes(0, logits_CV):
        return None
    most_C, sum_C = torch.empty(len(logits_CV)), torch.empty(len(logits_CV))
    _call("measure", logits_CV, FLOATS[logits_CV.dtype], *logits_CV.shape, most_C, sum_C)
    return most_C, sum_C


def soften(logits_CV: Tensor, most_C: Tensor, shares_C: Tensor) -> None:
    """In place, exp(logits − most) · share. Only for what `measure` took."""
    _call("soften", logits_CV, FLOATS[logits_CV.dtype], *logits_CV.shape, most_C, shares_C.contiguous())


def step(
    parameters: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    gradient: list[Tensor],
    number: int,
    params: OptimParams,
) -> bool:
    """AdamW's step of that number, with its two moments; False when nothing was done."""
    kinds = (parameters, first, second, gradient)
    if not all(_takes(0, one) and one.dtype == torch.float32 for kind in kinds for one in kind):
        return False
    rows = [[*(one.data_ptr() for one in row), row[0].numel()] for row in zip(*kinds, strict=True)]
    table = torch.tensor(rows, dtype=torch.int64)
    bias1, bias2 = 1 - params.beta1**number, 1 - params.beta2**number
    shrink = 1 - params.learning_rate * params.weight_decay
    rates = params.beta1, params.beta2, params.eps, shrink, params.learning_rate / bias1, math.sqrt(bias2)
    _call("adamw", table, len(rows), *rates)
    return True


def _takes(width: int, *tensors: Tensor) -> bool:
    """Whether there are kernels, for rows of this width."""
    return width % _VECTOR == 0 and fits(*tensors) and library() is not None


def _call(name: str, *values: Tensor | int | float) -> None:
    passed = [value.data_ptr() if isinstance(value, Tensor) else value for value in values]
    getattr(library(), name)(*passed, threads())
