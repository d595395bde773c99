"""Differences of two groups of people, each person counted once, however much they said.

`lift` is Welch's interval (Biometrika, 1947) on people's means, for a look at a time of one's own choosing; its
quantile of Student's t is Abramowitz & Stegun 26.7.5. `watch` may be looked at after every judgement: it is the mixture
sequential test of Johari, Pekelis & Walsh (arXiv:1512.04922) with a normal prior of variance τ² on the difference,

    d ± sqrt(2 V (V + τ²) / τ² · ln(sqrt((V + τ²) / V) / α)),    V = s₁² / n₁ + s₂² / n₂,

which holds at all times together with probability 1 − α where the means are near normal and V is known. Here V is
estimated, and few people who agree would pass for certainty: each side has three more who stand a whole reward away.
That number is counted, not proven: with one added person, equal candidates at a twentieth of the people were taken back
in 10 % of trials, with three in 4 % (`tests/releases/test_differences.py`).
"""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean

from anubhav.types.releases import Difference, Judged, Rate

ALPHA = 0.05
_CAUTION = 3.0
_EFFECT = 0.3
"""τ: the differences that are looked for, in rewards of -1 to 1."""
FEWEST = 10
"""People of a side, below which lift has no interval."""
_WATCHED = 3
"""The same of a trial, which a few people who agree must be able to end."""


def lift(ours: Iterable[Judged], theirs: Iterable[Judged]) -> Difference | None:
    """None with fewer than ten people on a side."""
    first, second = people_means(ours), people_means(theirs)
    if min(len(first), len(second)) < FEWEST:
        return None
    spread = [_squares(one) / (len(one) - 1) / len(one) for one in (first, second)]
    total = sum(spread)
    parts = sum(part**2 / (len(one) - 1) for part, one in zip(spread, (first, second), strict=True))
    freedom = total**2 / parts if parts else float(len(first) + len(second) - 2)
    return _difference(first, second, student(1 - ALPHA / 2, freedom) * math.sqrt(total))


def watch(candidate: Iterable[Judged], release: Iterable[Judged]) -> Difference | None:
    """None with fewer than three people on a side."""
    first, second = people_means(candidate), people_means(release)
    if min(len(first), len(second)) < _WATCHED:
        return None
    return _difference(first, second, _always(list(map(_squares, (first, second))), (len(first), len(second))))


def watch_rates(candidate: Rate, release: Rate) -> Difference | None:
    """The same of the shares of replies that failed, each reply counted once; None with fewer than three on a side."""
    if min(candidate.replies, release.replies) < _WATCHED:
        return None
    shares = [one.failed / one.replies for one in (candidate, release)]
    counts = candidate.replies, release.replies
    room = _always([count * share * (1 - share) for count, share in zip(counts, shares, strict=True)], counts)
    away = shares[0] - shares[1]
    return Difference(counts, (shares[0], shares[1]), away, away - room, away + room)


def people_means(judged: Iterable[Judged]) -> list[float]:
    """One value a person, in no order."""
    said: dict[str, list[float]] = {}
    for one in judged:
        said.setdefault(one.person, []).extend(one.rewards)
    return [fmean(rewards) for rewards in said.values() if rewards]


def student(chance: float, freedom: float) -> float:
    """The quantile of Student's t; below three degrees of freedom it is taken as three."""
    z, v = NormalDist().inv_cdf(chance), max(3.0, freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3


def _always(squares: Sequence[float], counts: Sequence[int]) -> float:
    """Half the width, by each side's sum of squares around its mean, to which the cautious ones are added."""
    spread = sum((one + _CAUTION) / count**2 for one, count in zip(squares, counts, strict=True))
    wider = spread + _EFFECT**2
    return math.sqrt(2 * spread * wider / _EFFECT**2 * math.log(math.sqrt(wider / spread) / ALPHA))


def _squares(said: Sequence[float]) -> float:
    """The sum of the squares around the mean."""
    centre = fmean(said)
    return sum((one - centre) ** 2 for one in said)


def _difference(first: Sequence[float], second: Sequence[float], room: float) -> Difference:
    means = fmean(first), fmean(second)
    away = means[0] - means[1]
    return Difference((len(first), len(second)), means, away, away - room, away + room)
