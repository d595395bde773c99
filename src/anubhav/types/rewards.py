"""Rewards: what the critic expects of an answer, how far it can be wrong, and what went wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Mark = Literal["trusted", "quarantined"]
"""What an operator says of a rater."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """In units of reward, -1 to 1."""

    mean: float
    deviation: float
    """Epistemic: what more feedback would take away. The noise of people's judgement is not in it."""


@dataclass(frozen=True, slots=True)
class Alarm:
    name: str
    """What it is about: calibration, accuracy, drift, leans:<covariate> or bought:<covariate>."""
    since: float
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rater:
    """How a rater stands, as the operator sees it."""

    name: str
    trust: float
    """0 to 1: how much a vote counts before caps."""
    votes: int
    agreed: float
    disagreed: float
    """Evidence from others' votes and from predictions made without this rater."""
    first_at: float
    held: bool
    """Their thumbs, ratings and comparisons judge candidates and are never trained on."""
    quarantined: bool
    mark: Mark | None = None
    share: float = 0.0
    """What of the critic comes from them, and from those who share their cap."""
    cap: float | None = None
    """The most it may be; None: there is no cap."""
