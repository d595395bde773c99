"""The losses by name: what a datum must bring for each, and which options it reads. The one list that the desk checks
against and both backends compute by; the formulas stand in `backends/torch/training/losses`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from anubhav.errors import BadInput

Level = Literal["token", "datum", "graph"]


@dataclass(frozen=True, slots=True)
class LossInfo:
    inputs: tuple[str, ...]
    """What a datum must bring beside target_tokens, in the same shape."""
    options: Mapping[str, float] = field(default_factory=dict[str, float])
    """Numbers of the loss's config, and their defaults."""
    per_token: tuple[str, ...] = ()
    """Options that a datum may also bring as an input, position by position; there it replaces the option."""
    level: Level = "token"
    """`datum`: a position's value depends on its whole datum, and targets are one to a position. `graph`: a client's
    own loss, which the pass brings with it; its graph says what a datum must bring."""


_CLIPS = ("clip_low_threshold", "clip_high_threshold")
_SEQUENCE_CLIPS = ("sequence_clip_low_threshold", "sequence_clip_high_threshold")
_TOKEN_MASKS = ("mask_low_threshold", "mask_high_threshold")
_SEQUENCE_MASKS = ("sequence_mask_low_threshold", "sequence_mask_high_threshold")
_GEOMETRIC_MASKS = ("geometric_mask_low_threshold", "geometric_mask_high_threshold")
_POLICY = ("logprobs", "advantages")
UNBOUNDED = (0.0, math.inf)
"""Bounds that no ratio leaves."""
_MASKS = {
    name: bound
    for pair in (_TOKEN_MASKS, _SEQUENCE_MASKS, _GEOMETRIC_MASKS)
    for name, bound in zip(pair, UNBOUNDED, strict=True)
}
"""Of every policy loss: positions, or data, whose ratio leaves them count for nothing (docs/precision.md)."""


def _clipped(low: float, high: float) -> dict[str, float]:
    return {**dict(zip(_CLIPS, (low, high), strict=True)), **_MASKS}


LOSSES: Mapping[str, LossInfo] = {
    "cross_entropy": LossInfo(("weights",)),
    "importance_sampling": LossInfo(_POLICY, _MASKS),
    "ppo": LossInfo(_POLICY, _clipped(0.8, 1.2), _CLIPS),
    "cispo": LossInfo(_POLICY, {**_clipped(0.0, 4.0), **dict(zip(_SEQUENCE_CLIPS, UNBOUNDED, strict=True))}, _CLIPS),
    "dro": LossInfo(_POLICY, {"beta": 0.05, **_MASKS}),
    # The clip range of the GSPO paper, section 5.1; Tinker publishes none.
    "gspo": LossInfo((*_POLICY, "sequence_ratio_mask"), _clipped(1 - 3e-4, 1 + 4e-4), _CLIPS, "datum"),
    "stable_reinforce": LossInfo(_POLICY, {"kl_coeff": 0.0, **_MASKS}),
    "custom": LossInfo((), level="graph"),
}
_NEVER_NEGATIVE = ("beta", "kl_coeff")


def options_of(loss: str, config: Mapping[str, float | str]) -> dict[str, float]:
    """The loss's options, with defaults filled in. Names it does not read are left alone, as long as they are numbers.

    Raises BadInput for an unknown loss, for a text, and for a number that the loss cannot use.
    """
    if loss not in LOSSES:
        raise BadInput(f"The loss {loss[:100]!r} is unknown", hint=f"Use one of: {', '.join(LOSSES)}.")
    numbers: dict[str, float] = {}
    for name, value in config.items():
        if isinstance(value, str):
            raise BadInput(f"The loss option {name[:100]!r} is a text", hint="The losses here take numbers only.")
        if not math.isfinite(value):
            raise BadInput(f"The loss option {name[:100]!r} is not finite", hint="Send finite numbers.")
        numbers[name] = value
    found = {name: numbers.get(name, default) for name, default in LOSSES[loss].options.items()}
    _check(found)
    return found


def _check(options: Mapping[str, float]) -> None:
    for name in _NEVER_NEGATIVE:
        if options.get(name, 0.0) < 0:
            raise BadInput(f"{name} is {options[name]}", hint="Send 0 or more.")
    for names in (_CLIPS, _SEQUENCE_CLIPS, _TOKEN_MASKS, _SEQUENCE_MASKS, _GEOMETRIC_MASKS):
        low, high = (options.get(name, 0.0) for name in names)
        if low > high:
            raise BadInput(f"{names[0]} {low} is above {names[1]} {high}", hint=CLIP_HINT)


def level_of(loss: str, options: Mapping[str, float]) -> Level:
    """That of the loss, or `datum` where a ratio of the whole datum is bounded."""
    bounds = (_SEQUENCE_CLIPS, _SEQUENCE_MASKS, _GEOMETRIC_MASKS)
    whole = any(
        tuple(options.get(name, bound) for name, bound in zip(pair, UNBOUNDED, strict=True)) != UNBOUNDED
        for pair in bounds
    )
    return "datum" if whole else LOSSES[loss].level


CLIP_HINT = "They bound the ratio itself, as in 0.8 and 1.2."
