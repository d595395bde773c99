"""Policy gradient weighted by a clipped ratio, L = −Σ sg(clip(p / q, low, high)) · log p · A (arXiv:2506.13585).

sg stops the gradient, so that outside the bounds a token weighs less and yet teaches. 0 and 4 by default (Tinker docs);
0 and 2 make it truncated importance sampling (Ionides, 2008). With bounds for sequences every token of a datum weighs
clip(Π p / q, low, high) instead, the product over its tokens with an advantage: its sequence form, unbiased where no
bound is met (Liu et al., "When Speed Kills Stability"; verl's `rollout_is: sequence`, bounds of 2 to 10).
"""

from collections.abc import Mapping

from torch import Tensor

from anubhav.backends.torch.training.losses.clip import clipped
from anubhav.backends.torch.training.losses.masking import over_data
from anubhav.types.losses import UNBOUNDED


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], options: Mapping[str, float]) -> Tensor:
    away_P = logprobs_P.detach() - inputs["logprobs"]
    bounds = options["sequence_clip_low_threshold"], options["sequence_clip_high_threshold"]
    if bounds == UNBOUNDED:
        weight_P = clipped(away_P.exp(), inputs)
    else:
        weight_P = over_data(away_P, inputs)[0].exp().clamp(*bounds)
    return -weight_P * logprobs_P * inputs["advantages"]
