"""Tools as clients declare them, read once for every dialect: what may be called, what must be, and how often."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anubhav.errors import BadInput
from anubhav.types.chat import Message, Tool

_MOST, _LONGEST = 256, 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request wants of its tools."""

    tools: tuple[Tool, ...] = ()
    forced: tuple[str, ...] = ()
    """Those of which one must be called."""
    several: bool = False
    """More than one call where one must come: only if the client says so, for small models would go on and on."""


def declared(name: str, description: str | None, schema: Mapping[str, Any] | None, *, strict: bool = False) -> Tool:
    return Tool(name, description or "", json.dumps(schema or {"type": "object", "properties": {}}), strict)


def wanted(tools: Sequence[Tool], choice: str | tuple[str, ...], *, several: bool = False) -> Wanted:
    """`choice`: none, auto, required, or the names of those of which one must be called.

    Raises BadInput for names that are not declared and for more tools than a prompt could hold.
    """
    if len(tools) > _MOST or sum(len(tool.parameters) for tool in tools) > _LONGEST:
        raise BadInput(f"More than {_MOST} tools, or than {_LONGEST} characters of schemas", hint="Offer fewer tools.")
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise BadInput("Two tools have the same name", hint="Name each tool once.")
    if choice == "none":
        return Wanted()
    if choice == "auto":
        return Wanted(tuple(tools), (), several)
    forced = tuple(names) if isinstance(choice, str) else choice
    if not forced or not set(forced) <= set(names):
        missing = next((name for name in forced if name not in names), "any")
        raise BadInput(f"A call of {missing[:100]!r} is asked for and no such tool is offered", hint="Declare it.")
    return Wanted(tuple(tools), forced, several)


def bring(messages: Sequence[Message], tools: tuple[Tool, ...]) -> tuple[Message, ...]:
    """The conversation with its tools: in its first system message, or in one that only brings them."""
    if not tools:
        return tuple(messages)
    if messages and messages[0].role == "system" and not messages[0].tools:
        first = messages[0]
        return (replace(first, tools=tools), *messages[1:])
    return (Message("system", "", tools=tools), *messages)
