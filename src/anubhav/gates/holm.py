"""Several tests in one verdict: Holm's correction (Scand. J. Statist. 6, 1979)."""

from collections.abc import Sequence


def corrected(chances: Sequence[float]) -> list[float]:
    """Each p as it counts beside the others: below a level exactly when Holm rejects at that level."""
    found, reached = [1.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        reached = max(reached, min(1.0, chances[place] * (len(chances) - rank)))
        found[place] = reached
    return found
