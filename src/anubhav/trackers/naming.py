"""Names that every tracker takes."""

import math

from anubhav.types.tracking import TrackRow

PROJECT = "anubhav"
"""Where nothing else is said by the tracker's own variable."""


def track_name(track: str) -> str:
    """Without the colons of a run's id, which trackers and some file systems do not take."""
    return track.replace(":", "-")


def named(row: TrackRow) -> dict[str, float]:
    """The row's finite numbers, each under its kind, so that operations of two kinds do not share a curve."""
    return {f"{row.kind.lower()}/{name}": value for name, value in row.metrics.items() if math.isfinite(value)}
