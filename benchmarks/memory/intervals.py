"""95 % intervals by the bootstrap, when what was asked comes in clusters (the questions of one conversation)."""

from collections.abc import Sequence
from random import Random
from statistics import fmean

_DRAWS = 1000


def clustered(clusters: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float]:
    """Of the mean over all values: clusters are drawn with replacement, and within each its values."""
    filled = [cluster for cluster in clusters if cluster]
    if not filled:
        return 0.0, 0.0
    chance = Random(seed)
    means: list[float] = []
    for _ in range(_DRAWS):
        drawn = [chance.choices(cluster, k=len(cluster)) for cluster in chance.choices(filled, k=len(filled))]
        means.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
    means.sort()
    return means[int(0.025 * _DRAWS)], means[int(0.975 * _DRAWS) - 1]


def paired(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """The mean difference of pairs, and its interval."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    low, high = clustered([[one] for one in differences], seed)
    return fmean(differences), low, high


def percent(share: float) -> float:
    return round(100 * share, 1)


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return fmean(values) if values else None
