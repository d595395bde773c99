"""The paired bootstrap (Efron 1979; Koehn 2004 for systems on the same items): percentile interval of the mean
difference, resampling items, seeded so that a verdict can be computed again."""

import random
import statistics
from collections.abc import Sequence

from anubhav.types.experience import Comparison, Score

_RESAMPLES = 10_000


def interval(differences: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Low and high of the mean's percentile interval."""
    rng, count = random.Random(seed), len(differences)
    means = sorted(sum(rng.choices(differences, k=count)) / count for _ in range(_RESAMPLES))
    cut = int(_RESAMPLES * (1 - confidence) / 2)
    return means[cut], means[-1 - cut]


def compare(suite: str, scores: Sequence[Score]) -> Comparison:
    """Candidate minus incumbent over one suite."""
    differences = [score.candidate - score.incumbent for score in scores]
    low, high = interval(differences)
    count = len(scores)
    return Comparison(
        suite,
        count,
        sum(score.incumbent for score in scores) / count,
        sum(score.candidate for score in scores) / count,
        sum(differences) / count,
        low,
        high,
        effect=effect(differences),
    )


def effect(differences: Sequence[float]) -> float | None:
    """Cohen's d for pairs: how large the mean is beside the spread. None where there is no spread."""
    spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
    return statistics.fmean(differences) / spread if spread > 1e-9 else None
