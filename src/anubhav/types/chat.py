"""Conversations as people and clients write them, before they become tokens."""

from dataclasses import dataclass
from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What an assistant asked a tool to do."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it: it may be malformed."""


@dataclass(frozen=True, slots=True)
class Tool:
    """Something an assistant may ask for."""

    name: str
    description: str = ""
    parameters: str = "{}"
    """A JSON schema, as JSON."""
    strict: bool = False
    """Calls of it are held to the schema while they are sampled."""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as it was sent, undecoded."""

    kind: Literal["png", "jpeg", "webp", "gif"]
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn."""
    tool_call_id: str | None = None
    """Of a tool's turn: the call it answers."""
    tools: tuple[Tool, ...] = ()
    """Of a system's turn: what may be called. One that says nothing else only brings its tools."""
    reasoning: str = ""
    """Of an assistant's turn: what it thought before it spoke."""
    images: tuple[Image, ...] = ()
    """Shown with the words. A model that does not see refuses the message (rendering/sight.py)."""


class Heard(msgspec.Struct, frozen=True, gc=False):
    """Some more of a reply, told apart: what it thought, what it said, and which tools it called.

    A struct, as some are made for each token.
    """

    content: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()

    def __add__(self, more: "Heard") -> "Heard":
        return Heard(self.content + more.content, self.reasoning + more.reasoning, self.calls + more.calls)


NOTHING = Heard()
