"""How an alias releases: to everybody at once, or to more and more of its people while it is watched."""

from dataclasses import dataclass
from typing import Literal

TrialState = Literal["running", "promoted", "rolled back", "replaced", "ended"]


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """Of one alias. The default releases what passes the gate to everybody at once."""

    steps: tuple[int, ...] = ()
    """Percent of the people who hear a candidate, growing; reaching 100 promotes it."""
    least_people: int = 10
    """Who judged a reply, on either side, before a step is left."""
    least_replies: int = 30
    """Judged replies of the candidate before a step is left."""
    margin: float = 0.1
    """How far below the release a candidate's mean reward (-1 to 1) may be and still go on."""
    holdback: int = 0
    """Percent of the people who are answered by the frozen base model, to measure lift against."""
    since: float = 0.0
    """When the share held back was last changed; lift counts from there."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate that passed the gate, on its way to everybody."""

    id: str
    alias: str
    path: str
    adapter: str
    lap: str
    who: str
    step: int
    """The place in the policy's steps."""
    since: float
    """When it came to this step."""
    started_at: float
    state: TrialState = "running"
    reason: str = ""
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What one person's judgements of an arm came to."""

    person: str
    day: int
    """Days since 1970, UTC, of the reply."""
    rewards: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two groups of people's mean rewards, the first less the second, with a 95 % interval."""

    people: tuple[int, int]
    means: tuple[float, float]
    difference: float
    low: float
    high: float
