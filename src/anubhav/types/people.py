"""People: what a tenant's policy says of their words, and what a lap had in its hands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is taken out of texts before they are kept. A regex of `redaction.NAMED` has its name and no text here."""

    name: str
    regex: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """Of a tenant. The default records everything, learns from it and keeps it."""

    train: bool = True
    keep_days: float | None = None
    """Episodes and their feedback go after so many days; None keeps them."""
    patterns: tuple[Pattern, ...] = ()


class Use(NamedTuple):
    """One answer that a lap had in its hands, and what for."""

    episode: str
    choice: int
    feedback: str | None
    """The judgement it was used for; None for replays and rollouts without one."""
    role: str
    """imitated, preferred, rejected, reinforced, replayed, rollout …"""
    part: int
    """The number of the batch within the lap."""


@dataclass(frozen=True, slots=True)
class Node:
    """A thing in a trace."""

    id: str
    kind: str
    """reply, adapter, release, lap, feedback, memory, rater, user."""
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Edge:
    """`to` was found through `source`."""

    source: str
    to: str
    what: str


@dataclass(frozen=True, slots=True)
class Trace:
    id: str
    back: tuple[Edge, ...]
    """What led to it."""
    onward: tuple[Edge, ...]
    """What came of it."""
    nodes: tuple[Node, ...]
    cut: bool = False
    """There is more than was looked at."""
