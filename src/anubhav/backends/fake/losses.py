"""The losses and their derivatives by hand: (value, d loss / d log p) at each position of a datum.

The formulas and their sources stand in backends/torch/training/losses.
"""

import math
from collections.abc import Callable, Mapping, Sequence

Position = Mapping[str, float]
"""The loss inputs of one position by name; options that may differ by token are always among them."""
Options = Mapping[str, float]
Result = tuple[float, float]
Compute = Callable[[Sequence[float], Sequence[Position], Options], list[Result]]


def cross_entropy(logprob: float, at: Position, _options: Options) -> Result:
    return -at["weights"] * logprob, -at["weights"]


def importance_sampling(logprob: float, at: Position, _options: Options) -> Result:
    value = -_exp(logprob - at["logprobs"]) * at["advantages"]
    return value, value


def ppo(logprob: float, at: Position, _options: Options) -> Result:
    return _pessimistic(_exp(logprob - at["logprobs"]), at)


def cispo(logprob: float, at: Position, _options: Options) -> Result:
    slope = -_clipped(_exp(logprob - at["logprobs"]), at) * at["advantages"]
    return slope * logprob, slope


def dro(logprob: float, at: Position, options: Options) -> Result:
    away, beta = logprob - at["logprobs"], options["beta"]
    return 0.5 * beta * away * away - logprob * at["advantages"], beta * away - at["advantages"]


def stable_reinforce(logprob: float, at: Position, options: Options) -> Result:
    away, advantage = logprob - at["logprobs"], at["advantages"]
    slope = -min(_exp(away), 2.0) * advantage
    hold = options["kl_coeff"] if advantage else 0.0
    return slope * logprob + 0.5 * hold * away * away, slope + hold * away


def gspo(logprobs: Sequence[float], positions: Sequence[Position], _options: Options) -> list[Result]:
    pairs = zip(logprobs, positions, strict=True)
    away = [logprob - at["logprobs"] for logprob, at in pairs if at["sequence_ratio_mask"]]
    ratio = _exp(math.fsum(away) / len(away)) if away else math.nan
    return [_pessimistic(ratio, at) for at in positions]


def _pessimistic(ratio: float, at: Position) -> Result:
    free, clipped = ratio * at["advantages"], _clipped(ratio, at) * at["advantages"]
    # Inside the bounds both are equal; outside, the clipped branch is constant.
    return -min(free, clipped), -free if free <= clipped else 0.0


def _clipped(ratio: float, at: Position) -> float:
    return min(max(ratio, at["clip_low_threshold"]), at["clip_high_threshold"])


def _exp(difference: float) -> float:
    """Infinite where it is too large, as tensors have it."""
    return math.exp(difference) if difference < 700 else math.inf


def _each(one: Callable[[float, Position, Options], Result]) -> Compute:
    return lambda logprobs, positions, options: [
        one(logprob, at, options) for logprob, at in zip(logprobs, positions, strict=True)
    ]


COMPUTE: Mapping[str, Compute] = {
    "cross_entropy": _each(cross_entropy),
    "importance_sampling": _each(importance_sampling),
    "ppo": _each(ppo),
    "cispo": _each(cispo),
    "dro": _each(dro),
    "gspo": gspo,
    "stable_reinforce": _each(stable_reinforce),
}
