"""How an alias releases: to everybody at once, or to more and more of its people while it is watched."""

from dataclasses import dataclass
from typing import Literal

from anubhav.types.experience import Arm
from anubhav.types.sampling import SampleRequest

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
    shadow: int = 20
    """Live prompts that a candidate answers unheard before anybody hears it; 0 is none."""


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
    """The place in the policy's steps; -1 while it answers in the shadow."""
    since: float
    """When it came to this step."""
    started_at: float
    state: TrialState = "running"
    reason: str = ""
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Vote:
    """The last word of one rater on one choice, as it counts for the arm that said it."""

    episode: str
    choice: int
    kind: str
    voter: str
    """The rater, or for the nameless the judgement's own id."""
    arm: Arm
    person: str
    """Whose reply it was, within their tenant."""
    day: int
    reward: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A reply that somebody was given just now, and how it was asked for."""

    reply: str
    alias: str
    request: SampleRequest
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """How one side of a pair went."""

    tokens: int = 0
    failed: bool = False
    """It ended in an error, or nothing was said."""
    cut: bool = False
    pace: float | None = None
    """Seconds a token after the first."""
    worth: float | None = None
    """What the critic expects a usual rater to think of it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What somebody was given, and what the candidate said to the same prompt in the shadow."""

    reply: str
    shadow: str | None
    """The candidate's reply as it is recorded; None where an error ended it."""
    release: Said
    candidate: Said
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of an arm's replies ended in an error."""

    failed: int
    replies: int
    """With those that failed."""


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
