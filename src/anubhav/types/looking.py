"""What people look at: conversations, a day's figures, what a run measured, what keeps learning from going on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Feedback


@dataclass(frozen=True, slots=True)
class Conversation:
    """The replies of one session; of a reply without a session, that one alone."""

    session: str | None
    tenant: str
    user: str | None
    alias: str
    last: str
    """Its newest episode."""
    asked: str
    """What was asked last."""
    replies: int
    judgements: int
    began_at: float
    ended_at: float
    seq: int
    """Of its newest episode: sent as `before`, it gives those that are older."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A piece of feedback, what it is about, and what became of it."""

    feedback: Feedback
    rater: str
    """Whose it counts as, as the critic names raters."""
    asked: str
    answer: str
    """The one that is judged, or that won."""
    became: Literal["waits", "used", "passed over"]
    """Passed over: laps read it and had no use for it."""
    laps: tuple[str, ...]
    """Those that had it in their hands, newest first."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What was asked and judged since a moment."""

    since: float
    requests: int
    judgements: int
    """By people, as far as they were looked at."""
    up: int
    down: int
    corrections: int
    comparisons: int
    whole: bool
    """Whether all the judgements were looked at; else the newest."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One operation of a run, and the numbers that came of it."""

    seq: int
    kind: str
    state: str
    at: float
    seconds: float | None
    tokens: int | None
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run."""

    seq: int
    what: str
    """begun, loaded, saved, refused, failed, or waits."""
    at: float
    cause: str = ""


@dataclass(frozen=True, slots=True)
class RunHead:
    """A run in a list."""

    id: str
    tenant: str
    base_model: str
    rank: int
    optimizer: str
    metadata: Mapping[str, str]
    created_at: float
    used_at: float
    ended: bool
    position: int
    """Sent as `before`, it gives those that are older."""


@dataclass(frozen=True, slots=True)
class CheckpointHead:
    """A checkpoint in a list."""

    checkpoint: Checkpoint
    position: int
    """Sent as `before`, it gives those that are older."""
    source: str | None
    """The checkpoint that its run began with."""
    aliases: tuple[str, ...]
    """Those that answer with it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A run in a pedigree, with what it saved."""

    run: str
    source: str | None
    """The checkpoint that it began with."""
    depth: int
    checkpoints: tuple[Checkpoint, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nobody's laps begin or go on while it stands."""

    who: str
    why: str
    created_at: float
