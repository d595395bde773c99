"""Memory under a budget: what is kept of a conversation, what was decided about it and by which policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from anubhav.types.chat import Role

Act = Literal["kept", "compressed", "dropped", "superseded", "deleted", "edited", "pinned", "unpinned"]
Pin = Literal["", "rule", "client"]
"""Who pinned a chunk: nobody, a rule that heard a standing wish, or the client by name."""
Scope = Literal["session", "user"]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a sentence claims: a later sentence about the same with another value takes its place."""

    sentence: int
    about: tuple[str, ...]
    value: tuple[str, ...]
    update: bool = False
    """It says itself that something changed."""
    event: bool = False
    """It tells what somebody did: another one takes its place only if it says that something changed."""
    of: tuple[str, ...] = ()
    """Whose it is, where it is somebody else's ("Anna's")."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a message, at most some sentences: what is scored, shortened and dropped as one."""

    id: str
    role: Role
    text: str
    """What is left of it."""
    tokens: int
    """What its line costs in a prompt."""
    turn: int
    """Messages are numbered from 0 over the whole life of a memory; chunks of one message share its number."""
    at: float
    session: str = ""
    weights: tuple[float, ...] = ()
    """Per word of `text`, the model's surprise in nats; empty: not measured."""
    sentences: tuple[int, ...] = ()
    """Per word of `text`, which of the chunk's sentences it stands in."""
    statements: tuple[Statement, ...] = ()
    features: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the score is made of, by name (`memory.features`)."""
    score: float = 0.0
    pin: Pin = ""
    open: bool = False
    """A question nobody has answered yet."""
    whole: int = 0
    """What its line cost before anything was cut."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything that is remembered of one (tenant, scope). `chunks` are in the order they were said."""

    chunks: tuple[Chunk, ...] = ()
    turns: int = 0
    version: int = 0

    @property
    def tokens(self) -> int:
        return sum(chunk.tokens for chunk in self.chunks)


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the ledger."""

    chunk: str
    act: Act
    turn: int
    """At which message it was decided."""
    said: int
    """At which message the chunk was said."""
    role: Role
    score: float
    budget: int
    """Tokens the chunk was allowed; 0: none."""
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True)
class MemoryPolicy:
    """Everything about memory that can be learned."""

    name: str
    weights: Mapping[str, float]
    """Of the features; a chunk's score is exp(weights · features)."""
    stretch: float = 1.0
    """tau of the allocation, in units of a chunk's content tokens: small keeps few chunks whole, large many in part."""
    window: float = 0.125
    """Share of the budget that the latest words have for themselves."""
    refiller: str | None = None
    """The `tinker://` path of what writes shorter versions; None: words are taken out, nothing is written."""
