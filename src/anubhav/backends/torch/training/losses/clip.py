"""PPO's pessimistic clipping, for the losses that differ in their ratio alone: −min(r A, clip(r, low, high) A)."""

from collections.abc import Mapping

import torch
from torch import Tensor


def pessimistic(ratio_P: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """The value at each position. The thresholds bound the ratio itself."""
    return -torch.minimum(ratio_P * inputs["advantages"], clipped(ratio_P, inputs) * inputs["advantages"])


def clipped(ratio_P: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    return ratio_P.clamp(inputs["clip_low_threshold"], inputs["clip_high_threshold"])
