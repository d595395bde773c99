"""The losses and their derivatives by hand: (value, d loss / d log p) at each position of a datum.

The formulas and their sources stand in backends/torch/training/losses.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from anubhav.types.losses import UNBOUNDED

_MARK = "sequence_ratio_mask"
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


def cispo(logprobs: Sequence[float], positions: Sequence[Position], options: Options) -> list[Result]:
    low, high = options["sequence_clip_low_threshold"], options["sequence_clip_high_threshold"]
    whole = None if (low, high) == UNBOUNDED else min(max(_exp(_apart(logprobs, positions)[0]), low), high)
    found: list[Result] = []
    for logprob, at in zip(logprobs, positions, strict=True):
        weight = _clipped(_exp(logprob - at["logprobs"]), at) if whole is None else whole
        found.append((-weight * at["advantages"] * logprob, -weight * at["advantages"]))
    return found


def dro(logprob: float, at: Position, options: Options) -> Result:
    away, beta = logprob - at["logprobs"], options["beta"]
    return 0.5 * beta * away * away - logprob * at["advantages"], beta * away - at["advantages"]


def stable_reinforce(logprob: float, at: Position, options: Options) -> Result:
    away, advantage = logprob - at["logprobs"], at["advantages"]
    slope = -min(_exp(away), 2.0) * advantage
    hold = options["kl_coeff"] if advantage else 0.0
    return slope * logprob + 0.5 * hold * away * away, slope + hold * away


def gspo(logprobs: Sequence[float], positions: Sequence[Position], _options: Options) -> list[Result]:
    total, count = _apart(logprobs, positions)
    ratio = _exp(total / count)
    return [_pessimistic(ratio, at) for at in positions]


def masked(compute: Compute) -> Compute:
    """The loss with 0 where a mask says so."""

    def masking(logprobs: Sequence[float], positions: Sequence[Position], options: Options) -> list[Result]:
        keep = _kept(logprobs, positions, options)
        if all(keep):
            return compute(logprobs, positions, options)
        marked = [
            {**at, _MARK: at[_MARK] * kept} if _MARK in at else at for at, kept in zip(positions, keep, strict=True)
        ]
        calm = [
            logprob if kept else at["logprobs"] for logprob, at, kept in zip(logprobs, positions, keep, strict=True)
        ]
        found = compute(calm, marked, options)
        return [one if kept else (0.0, 0.0) for one, kept in zip(found, keep, strict=True)]

    return masking


def _kept(logprobs: Sequence[float], positions: Sequence[Position], options: Options) -> list[bool]:
    total, count = _apart(logprobs, positions)
    if not (_inside(total, options, "sequence_mask") and _inside(total / count, options, "geometric_mask")):
        return [False] * len(positions)
    away = (logprob - at["logprobs"] for logprob, at in zip(logprobs, positions, strict=True))
    return [_inside(one, options, "mask") for one in away]


def _inside(log_ratio: float, options: Options, name: str) -> bool:
    low, high = options[f"{name}_low_threshold"], options[f"{name}_high_threshold"]
    return (low <= 0 or log_ratio >= math.log(low)) and log_ratio <= (math.log(high) if high > 0 else -math.inf)


def _apart(logprobs: Sequence[float], positions: Sequence[Position]) -> tuple[float, int]:
    """(sum of log p − log q over what counts of a datum, how many count), of at least one."""
    pairs = zip(logprobs, positions, strict=True)
    away = [logprob - at["logprobs"] for logprob, at in pairs if at.get(_MARK, at["advantages"])]
    return math.fsum(away), max(1, len(away))


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
    "importance_sampling": masked(_each(importance_sampling)),
    "ppo": masked(_each(ppo)),
    "cispo": masked(cispo),
    "dro": masked(_each(dro)),
    "gspo": masked(gspo),
    "stable_reinforce": masked(_each(stable_reinforce)),
}
