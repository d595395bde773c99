"""Memories as they are kept: whose they are, how far a session was heard, and the ledger's lines."""

from dataclasses import dataclass, field
from typing import Literal

from anubhav.types.memory import Decision, Memory, MemoryPolicy, Scope


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a request asks for."""

    budget: int | None = None
    """Tokens that the memory may take of a prompt, its heading included; None: the usual ones."""
    scope: Scope = "session"


@dataclass(frozen=True, slots=True)
class Shelved:
    """A memory and what is known of it."""

    id: str
    tenant: str
    scope: Scope
    key: str
    """The session's or the user's name."""
    user: str | None = None
    """Who was named last in it."""
    base_model: str = ""
    """Whose tokens are counted."""
    budget: int = 0
    """Of the last request."""
    created_at: float = 0.0
    updated_at: float = 0.0
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, slots=True)
class Heard:
    """How far a session was heard; of the whole of it, only what the last request was."""

    messages: int = 0
    """Of the last request, without system messages."""
    asked: str = ""
    """Digest of them."""
    answered: str = ""
    """Digest of them and the reply; "" while there is none."""
    first: int = 0
    """The number in memory of the first message that the reply answers."""


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """A decision, and when it came to be."""

    seq: int
    version: int
    """Of the memory that has it."""
    episode: str | None
    """The reply it was made for; None for what was done by hand."""
    created_at: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class LedgerFilter:
    """Which lines; None: all."""

    episode: str | None = None
    chunk: str | None = None
    act: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One change of what decides about a tenant's memories, or a candidate that was not good enough."""

    seq: int
    action: Literal["activate", "discard", "rollback"]
    policy: MemoryPolicy
    who: str
    why: str
    created_at: float
