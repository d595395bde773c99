"""What people were seen to judge: beyond its edges an answer is scored as if it stood on them.

A policy that writes longer than anything anybody rated, or flatters more, is paid for the edge and no more. For a
forged tool result nothing is ever paid.
"""

from collections.abc import Sequence

from anubhav.rewards.covariates import NAMES
from anubhav.rewards.posterior import Posterior

_EDGE = 2.0
"""Deviations from the mean of what was judged."""
_FORGING = 1 + NAMES.index("forging")
_ENOUGH = 8.0


class Seen:
    def __init__(self, size: int) -> None:
        self.weight = 0.0
        self.mean = [0.0] * size
        self.square = [0.0] * size
        """Sums of squared differences from the mean (Welford, 1962)."""

    def add(self, x: Sequence[float], weight: float) -> None:
        self.weight += weight
        for place, value in enumerate(x):
            away = value - self.mean[place]
            self.mean[place] += weight / self.weight * away
            self.square[place] += weight * away * (value - self.mean[place])

    def clipped(self, x: Sequence[float], belief: Posterior) -> list[float]:
        if self.weight < _ENOUGH:
            found = list(x)
        else:
            found = [
                min(max(value, mean - edge), mean + edge)
                for value, mean, edge in zip(x, self.mean, self._edges(), strict=True)
            ]
        if belief.weight(_FORGING) > 0:
            found[_FORGING] = 0.0
        return found

    def _edges(self) -> list[float]:
        return [_EDGE * (square / self.weight) ** 0.5 for square in self.square]
