"""Conversations as people and clients write them, before they become tokens."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What an assistant asked a tool to do."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it: it may be malformed."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn."""
    tool_call_id: str | None = None
    """Of a tool's turn: the call it answers."""
