"""Dimuon, Tinker's second optimizer, as far as its documents tell: one reading of it, not its arithmetic.

Documented: an average of the gradient (beta1), a direction of Frobenius norm √rank for each LoRA matrix found by a
matrix-sign iteration, the learning rate corrected by the rank relative to 32, alike for all matrices. Not documented,
and chosen here: the iteration is Muon's, five quintic Newton-Schulz steps (Keller Jordan, 2024), on A and B of every
module by themselves, fused ones apart; there is no preconditioner before it; and the correction is √(rank / 32), which
with W' = W + (32 / rank) B A gives a step of B the same size in W at every rank.

    M ← beta1 M + (1 − beta1) G;    P ← P − learning_rate · √(rank / 32) · √rank · O / ‖O‖,    O = NewtonSchulz(M)
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from anubhav.backends.torch.layers.adapters import Adapter, split
from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.training.optimizer import Moments, clip
from anubhav.types.training import OptimParams

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_TINY = 1e-30


@torch.no_grad()
def update(
    config: ModelConfig, adapter: Adapter, gradient: list[Tensor], moments: Moments, params: OptimParams
) -> None:
    """One step, in place. `gradient` is used up."""
    clip(gradient, params.grad_clip_norm)
    moments.steps += 1
    torch._foreach_lerp_(moments.first, gradient, 1 - params.beta1)
    rank = adapter.spec.rank
    rate = params.learning_rate * math.sqrt(rank / 32) * math.sqrt(rank)
    by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
    matrices = _matrices(config, adapter, adapter.parameters())
    for matrix, momentum in zip(matrices, _matrices(config, adapter, moments.first), strict=True):
        by_shape.setdefault(tuple(matrix.shape), []).append((matrix, momentum))
    for group in by_shape.values():
        directions_MRN = orthogonal(torch.stack([momentum for _, momentum in group]))
        for (matrix, _), direction in zip(group, directions_MRN, strict=True):
            matrix.add_(direction, alpha=-rate)


def orthogonal(matrices_MRN: Tensor) -> Tensor:
    """The directions of M wide matrices R × N: singular values near one another, Frobenius norm 1; 0 stays 0."""
    # The largest cell first: the square of a small gradient is no float32.
    found = matrices_MRN / matrices_MRN.abs().amax((1, 2), keepdim=True).clamp_min(_TINY)
    found = _unit(found)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        gram_MRR = found @ found.mT
        found = a * found + (b * gram_MRR + c * gram_MRR @ gram_MRR) @ found
    return _unit(found)


def _unit(matrices_MRN: Tensor) -> Tensor:
    return matrices_MRN / matrices_MRN.norm(dim=(1, 2), keepdim=True).clamp_min(_TINY)


def _matrices(config: ModelConfig, adapter: Adapter, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Views of A, and of B transposed, of every module: rank rows each."""
    views: list[Tensor] = []
    for site, a_RI, b_OR in zip(adapter.pairs, tensors[::2], tensors[1::2], strict=True):
        for _, a, b in split(config, adapter.spec, site[1], a_RI, b_OR):
            views += [a, b.mT]
    return views
