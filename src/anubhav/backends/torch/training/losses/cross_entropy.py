"""Weighted cross entropy, L = −Σ w · log p. Weights may be any number; negative ones push a token away."""

from collections.abc import Mapping

from torch import Tensor


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], _options: Mapping[str, float]) -> Tensor:
    return -inputs["weights"] * logprobs_P
