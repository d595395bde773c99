"""Lines of training files as OpenAI's clients write them: a chat whose answers are learned, or two answers to one chat
of which one is preferred. Unknown fields are ignored; what would change the lesson and is not understood is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from anubhav.errors import BadInput
from anubhav.types.chat import Message, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class _Call:
    function: _Function
    id: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    type: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Said:
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[_Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[_Call, ...] | None = None
    tool_call_id: str | None = None
    weight: Literal[0, 1] | None = None


@dataclass(frozen=True, slots=True)
class _Declared:
    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Tool:
    type: Literal["function"]
    function: _Declared


@dataclass(frozen=True, slots=True)
class _Chat:
    messages: tuple[_Said, ...]
    tools: tuple[_Tool, ...] | None = None
    functions: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class _Choice:
    input: _Chat
    preferred_output: tuple[_Said, ...]
    non_preferred_output: tuple[_Said, ...]


@dataclass(frozen=True, slots=True)
class Chat:
    messages: tuple[Message, ...]
    learned: tuple[int, ...]
    """The places of the answers that are learned."""


@dataclass(frozen=True, slots=True)
class Preference:
    messages: tuple[Message, ...]
    chosen: Message
    rejected: Message


def read_chat(line: bytes) -> Chat:
    """All answers are learned but those of weight 0. Raises BadInput for a line with nothing to learn."""
    chat = _decode(line, _Chat)
    messages = _messages(chat)
    if chat.messages and chat.messages[0].role == "assistant":
        raise BadInput("It begins with an answer", hint="Begin with what was asked.")
    before = len(messages) - len(chat.messages)
    learned = tuple(before + at for at, one in enumerate(chat.messages) if one.role == "assistant" and one.weight != 0)
    if not learned:
        raise BadInput("No message is an assistant's with a weight other than 0", hint="End with the answer to learn.")
    return Chat(messages, learned)


def read_preference(line: bytes) -> Preference:
    """Raises BadInput unless both outputs are one answer of an assistant."""
    found = _decode(line, _Choice)
    messages = _messages(found.input)
    if not found.input.messages:
        raise BadInput("input.messages is empty", hint="Give what was asked.")
    return Preference(
        messages,
        _answer("preferred_output", found.preferred_output),
        _answer("non_preferred_output", found.non_preferred_output),
    )


def _decode(line: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:  # ValidationError is one of the former
        raise BadInput(str(problem)[:300], hint="Each line is one JSON object in the method's format.") from problem


def _messages(chat: _Chat) -> tuple[Message, ...]:
    """With its tools in a first message that only brings them."""
    if chat.functions:
        raise BadInput("functions are an older form", hint="Write them as tools.")
    tools = tuple(
        Tool(one.name, one.description, json.dumps(one.parameters or {"type": "object", "properties": {}}))
        for one in (tool.function for tool in chat.tools or ())
    )
    return (*([Message("system", "", tools=tools)] if tools else []), *map(_message, chat.messages))


def _answer(name: str, said: Sequence[_Said]) -> Message:
    if len(said) != 1 or said[0].role != "assistant":
        raise BadInput(f"{name} is not one message of an assistant", hint="Give exactly one answer.")
    return _message(said[0])


def _message(said: _Said) -> Message:
    if said.tool_calls and said.role != "assistant":
        raise BadInput(f"A message of role {said.role} has tool_calls", hint="They are the assistant's.")
    if (said.role == "tool") != (said.tool_call_id is not None):
        raise BadInput("tool_call_id belongs to messages of role tool, and to each", hint="Name the call it answers.")
    if said.content is None and not said.tool_calls:
        raise BadInput(f"A message of role {said.role} has no content", hint="Give its text.")
    calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in said.tool_calls or ())
    role = "system" if said.role == "developer" else said.role
    return Message(role, _text(said.content), said.name, calls, said.tool_call_id)


def _text(content: str | tuple[_Part, ...] | None) -> str:
    if not isinstance(content, tuple):
        return content or ""
    if other := [part.type for part in content if part.type != "text"]:
        raise BadInput(f"Content parts of type {other[0][:50]!r} are not in this build", hint="Write text.")
    return "".join(part.text for part in content)
