"""Curves: the watch's record as an eye wants it. What was predicted against what came, how often it was right as
votes went by, and where it was surest and wrong. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anubhav.rewards.watch import Judged, Record

_BINS: Final = 10
_LEAST: Final = 40
"""Reliable votes from which on they alone are followed."""
_WINDOW: Final = 20
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class Bin:
    """Votes that were predicted with about the same chance."""

    predicted: float
    """The mean chance of a yes, or of the first of a pair."""
    came: float
    """The share that said so."""
    low: float
    high: float
    """Its 95 % interval (Wilson, 1927)."""
    n: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Successive votes."""

    back: int
    """How many votes ago it began."""
    accuracy: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Miss:
    """A vote that was predicted to be the other way round."""

    seq: int
    """Of the judgement."""
    chance: float
    """That was given to what the vote said."""


@dataclass(frozen=True, slots=True)
class Curves:
    calibration: tuple[Bin, ...]
    accuracy: tuple[Stretch, ...]
    """Oldest first."""
    reliable: bool
    """Whether `accuracy` follows the held-out or trusted raters alone."""
    worst: tuple[Miss, ...]
    """Those that were predicted least first."""


def curves(record: Record, worst: int = 8) -> Curves:
    judged = [one for one in record.judged if one.wanted != 0.5]
    reliable = [one for one in judged if one.reliable]
    followed = reliable if len(reliable) >= _LEAST else judged
    missed = [Miss(one.seq, 1 - abs(one.chance - one.wanted)) for one in judged if one.seq]
    wrong = sorted((one for one in missed if one.chance < 0.5), key=lambda one: one.chance)
    return Curves(_calibration(judged), _stretches(followed), followed is reliable, tuple(wrong[:worst]))


def _calibration(judged: Sequence[Judged]) -> tuple[Bin, ...]:
    # A pair told the other way round is the same pair: only the winner's side is recorded.
    told = [(one.chance, one.wanted) for one in judged]
    told += [(1 - one.chance, 1 - one.wanted) for one in judged if one.pair]
    found: list[Bin] = []
    for place in range(_BINS):
        inside = [one for one in told if min(_BINS - 1, int(one[0] * _BINS)) == place]
        if inside:
            came = _mean([wanted for _, wanted in inside])
            found.append(Bin(_mean([chance for chance, _ in inside]), came, *_wilson(came, len(inside)), len(inside)))
    return tuple(found)


def _stretches(judged: Sequence[Judged]) -> tuple[Stretch, ...]:
    """The newest is whole; what does not fill one at the beginning is left out."""
    found: list[Stretch] = []
    for back in range(_WINDOW, len(judged) + 1, _WINDOW):
        part = judged[len(judged) - back : len(judged) - back + _WINDOW]
        right = _mean([float((one.chance > 0.5) == (one.wanted > 0.5)) for one in part])
        found.append(Stretch(back, right, *_wilson(right, len(part)), len(part)))
    return tuple(found[::-1])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _wilson(share: float, n: int) -> tuple[float, float]:
    middle = (share + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z / (1 + _Z * _Z / n) * (share * (1 - share) / n + _Z * _Z / (4 * n * n)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
