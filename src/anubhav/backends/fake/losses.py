"""The losses and their derivatives by hand: (value, d loss / d log p) of one position, as in backends/torch."""

import math
from collections.abc import Callable, Mapping

Position = Mapping[str, float]


def cross_entropy(logprob: float, at: Position, _config: Mapping[str, float]) -> tuple[float, float]:
    return -at["weights"] * logprob, -at["weights"]


def importance_sampling(logprob: float, at: Position, _config: Mapping[str, float]) -> tuple[float, float]:
    value = -_ratio(logprob, at) * at["advantages"]
    return value, value


def ppo(logprob: float, at: Position, config: Mapping[str, float]) -> tuple[float, float]:
    ratio, advantage = _ratio(logprob, at), at["advantages"]
    low, high = config.get("clip_low_threshold", 0.8), config.get("clip_high_threshold", 1.2)
    free, clipped = ratio * advantage, min(max(ratio, low), high) * advantage
    # Inside the bounds both are equal; outside, the clipped branch is constant.
    return -min(free, clipped), -free if free <= clipped else 0.0


def _ratio(logprob: float, at: Position) -> float:
    """Infinite where it is too large, as tensors have it."""
    difference = logprob - at["logprobs"]
    return math.exp(difference) if difference < 700 else math.inf


LOSSES: Mapping[str, tuple[Callable[[float, Position, Mapping[str, float]], tuple[float, float]], tuple[str, ...]]] = {
    "cross_entropy": (cross_entropy, ("weights",)),
    "importance_sampling": (importance_sampling, ("logprobs", "advantages")),
    "ppo": (ppo, ("logprobs", "advantages")),
}
