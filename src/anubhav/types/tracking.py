"""What trackers are told: what is measured of a run or a lap, row by row. Numbers and names of ours, never a text."""

from collections.abc import Mapping
from dataclasses import dataclass

Fact = str | int | float


@dataclass(frozen=True, slots=True)
class Track:
    """A run or a lap, as it begins in a tracker."""

    id: str
    facts: Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class TrackRow:
    step: int
    """Rises within a track: the number of the operation; of a lap, of what it told."""
    kind: str
    """Of the operation, or the phase of the lap."""
    at: float
    metrics: Mapping[str, float]
