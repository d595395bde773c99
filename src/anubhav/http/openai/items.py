"""The items of the Responses API: what a request's input holds, read into messages, with sizes bounded."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.http.images import LONGEST, from_url
from anubhav.types.chat import Image, Message, Role, ToolCall

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Short = Annotated[str, StringConstraints(max_length=200)]
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Part(Lenient):
    type: Short
    text: Text | None = None
    refusal: Text | None = None
    image_url: Annotated[str, StringConstraints(max_length=LONGEST)] | None = None


Parts = Annotated[list[Part], Field(max_length=1000)]


class Item(Lenient):
    """Any kind of item; `type` says which of the fields it has."""

    type: Short | None = None
    role: Short | None = None
    content: Text | Parts | None = None
    call_id: Short | None = None
    name: Short | None = None
    arguments: Text | None = None
    output: Text | Parts | None = None
    summary: Parts | None = None
    id: Short | None = None


def read_items(items: str | Sequence[Item]) -> list[Message]:
    """What OpenAI's own services left in a history (searches, screenshots) is passed over: no other model can read it.

    Raises BadInput for what cannot be left out without a change of meaning.
    """
    return join(read_each(items))


def read_each(items: str | Sequence[Item]) -> list[Message]:
    """As `read_items`, each item a message of its own."""
    if isinstance(items, str):
        return [Message("user", items)]
    return [message for item in items if (message := _read(item))]


def join(messages: Iterable[Message]) -> list[Message]:
    """What an assistant thought, said and called before others spoke is one turn."""
    found: list[Message] = []
    for message in messages:
        if found and message.role == "assistant" == found[-1].role:
            found[-1] = _joined(found[-1], message)
        else:
            found.append(message)
    return found


def _read(item: Item) -> Message | None:
    if item.type in (None, "message"):
        if item.role not in _ROLES:
            raise BadInput(f"A message of role {str(item.role)[:50]!r}", hint="Use system, developer, user, assistant.")
        return Message(_ROLES[item.role], _words(item.content), images=_images(item.content))
    if item.type in ("function_call", "custom_tool_call"):
        return Message("assistant", "", tool_calls=(ToolCall(_call(item), item.name or "", item.arguments or "{}"),))
    if item.type in ("function_call_output", "custom_tool_call_output"):
        return Message("tool", _words(item.output), tool_call_id=_call(item), images=_images(item.output))
    if item.type == "reasoning":
        thought = _words(item.content) or _words(item.summary)
        return Message("assistant", "", reasoning=thought) if thought else None
    if item.type == "item_reference":
        raise BadInput("item_reference is not in this build", hint="Send the item itself, or previous_response_id.")
    return None


def _call(item: Item) -> str:
    if not item.call_id:
        raise BadInput(f"An item of type {item.type} lacks call_id", hint="Name the call.")
    return item.call_id


def _joined(one: Message, other: Message) -> Message:
    return Message(
        "assistant",
        "\n".join(filter(None, (one.content, other.content))),
        tool_calls=one.tool_calls + other.tool_calls,
        reasoning="\n".join(filter(None, (one.reasoning, other.reasoning))),
    )


def _words(content: str | Sequence[Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for part in content:
        if part.type not in _TEXTS and part.type not in ("refusal", "input_image"):
            raise BadInput(f"Content of type {part.type[:50]!r} is not in this build", hint="Send text.")
    return "".join(part.text or part.refusal or "" for part in content)


def _images(content: str | Sequence[Part] | None) -> tuple[Image, ...]:
    """Raises BadInput for one that is a file of OpenAI's: it has no image_url."""
    parts = () if content is None or isinstance(content, str) else content
    return tuple(from_url(part.image_url) for part in parts if part.type == "input_image")


def settle(messages: Sequence[Message]) -> tuple[Message, ...]:
    """A thought that nothing was said after belongs to no turn."""
    return tuple(one for one in messages if one.role != "assistant" or one.content or one.tool_calls)
