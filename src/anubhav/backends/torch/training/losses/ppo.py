"""Clipped policy gradient, L = −Σ min(r A, clip(r, low, high) A) with r = p / q (arXiv:1707.06347).

The thresholds bound the ratio itself, as Tinker's do: 0.8 and 1.2 by default.
"""

from collections.abc import Mapping

from torch import Tensor

from anubhav.backends.torch.training.losses.clip import pessimistic


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], _options: Mapping[str, float]) -> Tensor:
    return pessimistic((logprobs_P - inputs["logprobs"]).exp(), inputs)
