"""Talks: conversations that clients keep by name, item by item, and replies that nobody waits for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from anubhav.types.chat import Message

DeferredState = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation somebody named."""

    id: str
    tenant: str
    created_at: float
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Entry:
    """An item of a talk: words, a thought, one call or what came of one."""

    id: str
    message: Message
    created_at: float
    episode: str | None = None
    """The reply with which it came, and with which it goes; None: put there by hand."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A reply under way with nobody waiting for it, or what became of it. Its words are its episode's."""

    id: str
    """The reply's."""
    tenant: str
    alias: str
    created_at: float
    state: DeferredState = "queued"
    code: str | None = None
    """Of a failure: the name of the error's class."""
    problem: str | None = None
