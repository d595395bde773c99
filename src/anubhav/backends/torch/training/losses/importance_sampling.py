"""Importance-weighted policy gradient, L = −Σ (p / q) · A, with q the log-probabilities at sampling (Tinker docs)."""

from collections.abc import Mapping

from torch import Tensor


def compute(logprobs_P: Tensor, inputs: Mapping[str, Tensor], _options: Mapping[str, float]) -> Tensor:
    return -(logprobs_P - inputs["logprobs"]).exp() * inputs["advantages"]
