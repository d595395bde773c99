"""When an alias learns by itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    every: float | None = None
    """Seconds between two laps."""
    after: int | None = None
    """Unread judgements that begin a lap."""
    apart: float = 600.0
    """Seconds that laps are apart at least."""
    since: float = 0.0
    """When it was set."""
