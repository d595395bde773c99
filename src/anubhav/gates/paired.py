"""Paired tests of one suite: Student's t for graded scores (Student 1908), McNemar's exact test for right-or-wrong ones
(McNemar 1947), the exact binomial tail for a share. All one-sided; small p speaks for the claim."""

import math
from collections.abc import Sequence

_STEPS = 300
_CLOSE = 1e-12


def gained(differences: Sequence[float]) -> float:
    """P of: the mean difference is not above zero."""
    if _is_binary(differences):
        won, lost = differences.count(1.0), differences.count(-1.0)
        return at_least(won, won + lost, 0.5)
    return above(differences, 0.0)


def fell(differences: Sequence[float], margin: float) -> float:
    """P of: the mean difference is not below minus `margin`."""
    return above([-one for one in differences], margin)


def above(differences: Sequence[float], bar: float) -> float:
    """P of: the mean is not above `bar`, by the t-test. Fewer than two items tell nothing."""
    count = len(differences)
    if count < 2:
        return 1.0
    mean = sum(differences) / count
    spread = math.sqrt(sum((one - mean) ** 2 for one in differences) / (count - 1))
    # Rounding alone is no spread.
    if spread < 1e-9:
        return 0.0 if mean > bar + 1e-9 else 1.0
    return _t_tail((mean - bar) / (spread / math.sqrt(count)), count - 1)


def at_least(seen: int, count: int, share: float) -> float:
    """The chance of `seen` or more out of `count` at this share."""
    return min(1.0, sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(seen, count + 1)))


def _is_binary(differences: Sequence[float]) -> bool:
    return all(one in (-1.0, 0.0, 1.0) for one in differences)


def _t_tail(t: float, freedom: int) -> float:
    half = 0.5 * _beta(freedom / (freedom + t * t), freedom / 2, 0.5)
    return half if t > 0 else 1 - half


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, 6.4)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 / _apart(1 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _STEPS):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _apart(1 + part * d), _apart(1 + part / c)
            found *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return math.exp(logs) * found / a


def _apart(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
