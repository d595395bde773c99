"""Log-probabilities of chosen targets out of logits, whose gradient needs no second copy of them in float32.

Axes: N positions, V vocabulary, P (position, target) pairs.
"""

from typing import Any

import torch
from torch import Tensor

_CHUNK = 256
"""Positions at a time, in float32."""


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, place_P: Tensor, targets_P: Tensor) -> Tensor:
        total_N = torch.cat([part.float().logsumexp(-1) for part in logits_NV.split(_CHUNK)])
        ctx.save_for_backward(logits_NV, place_P, targets_P, total_N)
        return logits_NV[place_P, targets_P].float() - total_N[place_P]

    @staticmethod
    def backward(ctx: Any, pull_P: Tensor) -> tuple[Tensor, None, None]:
        logits_NV, place_P, targets_P, total_N = ctx.saved_tensors
        pull_N = torch.zeros_like(total_N).index_add(0, place_P, pull_P)
        slope_NV = torch.empty_like(logits_NV)
        for start in range(0, len(logits_NV), _CHUNK):
            rows = slice(start, start + _CHUNK)
            shares = (logits_NV[rows].float() - total_N[rows, None]).exp()
            slope_NV[rows] = (-shares * pull_N[rows, None]).to(slope_NV.dtype)
        slope_NV.index_put_((place_P, targets_P), pull_P.to(slope_NV.dtype), accumulate=True)
        return slope_NV, None, None


def logprobs(logits_NV: Tensor, place_P: Tensor, targets_P: Tensor) -> Tensor:
    """(P,) in float32."""
    return _LogProbs.apply(logits_NV, place_P, targets_P)  # pyright: ignore[reportReturnType]
