"""Clipped policy gradient, L = −Σ min(r A, clip(r, low, high) A) with r = p / q (arXiv:1707.06347).

The thresholds bound the ratio itself, as Tinker's do: 0.8 and 1.2 by default.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], config: Mapping[str, float]) -> Tensor:
    ratio_P = (logprobs_P - inputs["logprobs"]).exp()
    low, high = config.get("clip_low_threshold", 0.8), config.get("clip_high_threshold", 1.2)
    advantages_P = inputs["advantages"]
    return -torch.minimum(ratio_P * advantages_P, ratio_P.clamp(low, high) * advantages_P)
