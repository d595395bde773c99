"""Masks: what the sampler and the trainer disagree on too much weighs nothing, where clipping would let it pull on.

With r = p / q, bounds are laid on r of each token (IcePop's mask, verl's `token_k1`), on the product of r over a datum
(sequence MIS) and on its geometric mean, which does not grow with length (verl's `seq_mean_k1`): Liu et al., "When
Speed Kills Stability" (richardli.xyz/rl-collapse), Li et al., arXiv:2512.23075. A mask has no gradient of its own. What
counts for a datum's ratio is what gspo marks, and for the other losses what has an advantage.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_MARK = "sequence_ratio_mask"
Compute = Callable[[Tensor, Mapping[str, Tensor], Mapping[str, float]], Tensor]
"""(logprobs_P, inputs by name, options) → loss_P, differentiable in the first."""


def masked(compute: Compute) -> Compute:
    """The loss with 0 where a mask says so."""

    def masking(logprobs_P: Tensor, inputs: Mapping[str, Tensor], options: Mapping[str, float]) -> Tensor:
        keep_P = kept(logprobs_P, inputs, options)
        if keep_P is None:
            return compute(logprobs_P, inputs, options)
        # At p = q every loss is finite: 0 · ∞ must not come of a ratio that is far out.
        calm_P = torch.where(keep_P, logprobs_P, inputs["logprobs"])
        if _MARK in inputs:
            inputs = {**inputs, _MARK: inputs[_MARK] * keep_P}
        return compute(calm_P, inputs, options) * keep_P

    return masking


def kept(logprobs_P: Tensor, inputs: Mapping[str, Tensor], options: Mapping[str, float]) -> Tensor | None:
    """Where all bounds hold; None without any."""
    away_P = logprobs_P.detach() - inputs["logprobs"]
    keep_P = _inside(away_P, options, "mask")
    for name in ("sequence_mask", "geometric_mask"):
        if _bounds(options, name):
            total_P, count_P = over_data(away_P, inputs)
            inside_P = _inside(total_P if name == "sequence_mask" else total_P / count_P, options, name)
            keep_P = inside_P if keep_P is None or inside_P is None else keep_P & inside_P
    return keep_P


def over_data(values_P: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(sum, number) of what counts in each position's datum; the number is 1 at least. D: the data."""
    datum_P = inputs["datum"]
    counts_P = (inputs[_MARK if _MARK in inputs else "advantages"] != 0).to(values_P.dtype)
    none_D = torch.zeros(int(datum_P[-1]) + 1, dtype=values_P.dtype, device=values_P.device)
    total_D = none_D.index_add(0, datum_P, values_P * counts_P)
    return total_D[datum_P], none_D.index_add(0, datum_P, counts_P).clamp(min=1)[datum_P]


def _inside(log_ratio_P: Tensor, options: Mapping[str, float], name: str) -> Tensor | None:
    bounds = _bounds(options, name)
    return (log_ratio_P >= bounds[0]) & (log_ratio_P <= bounds[1]) if bounds else None


def _bounds(options: Mapping[str, float], name: str) -> tuple[float, float] | None:
    """Of the logarithm; None where none are set."""
    low, high = options.get(f"{name}_low_threshold", 0.0), options.get(f"{name}_high_threshold", math.inf)
    if low <= 0 and high == math.inf:
        return None
    return (math.log(low) if low > 0 else -math.inf), (math.log(high) if high > 0 else -math.inf)
