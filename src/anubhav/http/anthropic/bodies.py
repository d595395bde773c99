"""What a client asks in Anthropic's words, with sizes bounded. Unknown fields and betas are ignored."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.flows.questions import Question
from anubhav.http.fields import Body, Limit, ModelName, Spoken, Temperature, Text, TopK, TopP
from anubhav.http.identity import Identity
from anubhav.http.images import LONGEST, from_base64, from_url
from anubhav.http.tools import Wanted, bring, declared, wanted
from anubhav.types.chat import Image, Message, ToolCall
from anubhav.types.sampling import Grammar

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_READ = frozenset({"text", "thinking", "tool_use", "tool_result", "image"})
_SILENT = frozenset({"redacted_thinking", "server_tool_use", "web_search_tool_result", "cache_control"})
"""Blocks of Anthropic's own services in a history: what they say no other model can read."""


class Source(Body):
    type: Annotated[str, StringConstraints(max_length=100)] | None = None
    data: Annotated[str, StringConstraints(max_length=LONGEST)] | None = None


class Block(Body):
    type: Annotated[str, StringConstraints(max_length=100)]
    text: Text | None = None
    thinking: Text | None = None
    id: Name | None = None
    name: Name | None = None
    input: dict[str, Any] | None = None
    tool_use_id: Name | None = None
    content: "Text | list[Block] | None" = None
    is_error: bool | None = None
    source: Source | None = None


Blocks = Annotated[list[Block], Field(max_length=10_000)]


class Said(Body):
    role: Literal["user", "assistant", "system"]
    content: Text | Blocks


class ToolBody(Body):
    name: Name
    type: str | None = None
    description: Annotated[str, StringConstraints(max_length=100_000)] | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Body):
    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Body):
    type: str


class Format(Body):
    type: str
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class OutputConfig(Body):
    format: Format | None = None


class Asked(Body):
    model: ModelName
    messages: Annotated[list[Said], Field(min_length=1, max_length=10_000)]
    system: Text | Blocks | None = None
    tools: Annotated[list[ToolBody], Field(max_length=1024)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None

    @property
    def texts(self) -> list[tuple[str, str]]:
        told = [("system", _words(self.system))] if self.system else []
        return told + [(said.role, _words(said.content)) for said in self.messages]


class Messages(Asked, Spoken):
    max_tokens: Limit
    stream: bool | None = None
    stop_sequences: Annotated[list[Annotated[str, StringConstraints(max_length=500)]], Field(max_length=16)] | None = (
        None
    )
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return tuple(text for text in self.stop_sequences or () if text)


def question(body: Messages, who: Identity) -> Question:
    """Raises BadInput for what this build cannot do."""
    tools = _wanted(body)
    asked = Question(
        body.model,
        conversation(body, tools),
        max_tokens=body.max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_k=body.top_k or -1,
        top_p=body.top_p or 1.0,
        stop=body.stops,
        grammar=_grammar(body),
        forced=tools.forced,
        several=tools.several,
        settings=settings(body),
    )
    return who.asks(asked)


def settings(body: Asked) -> dict[str, Any]:
    """A client of this dialect says so where it wants thoughts."""
    return {"enable_thinking": body.thinking is not None and body.thinking.type != "disabled"}


def conversation(body: Asked, tools: Wanted | None = None) -> tuple[Message, ...]:
    found = [Message("system", _words(body.system))] if body.system else []
    for said in body.messages:
        found += _messages(said)
    if not found or found[-1].role == "assistant":
        raise BadInput("The last message is the assistant's own", hint="End with a user's message or a tool's result.")
    return bring(found, (tools or _wanted(body)).tools)


def _messages(said: Said) -> list[Message]:
    blocks = [Block(type="text", text=said.content)] if isinstance(said.content, str) else said.content
    for block in blocks:
        if block.type not in _READ and block.type not in _SILENT:
            raise BadInput(f"Content of type {block.type[:50]!r} is not in this build", hint="Send text.")
    results = [_result(block) for block in blocks if block.type == "tool_result"]
    if said.role != "assistant":
        words, images = _words(blocks), _images(blocks)
        shown = words or images or not results
        return results + ([Message(said.role, words, images=images)] if shown else [])
    calls = tuple(
        ToolCall(block.id or "", block.name or "", json.dumps(block.input or {}, ensure_ascii=False))
        for block in blocks
        if block.type == "tool_use"
    )
    thought = "".join(block.thinking or "" for block in blocks if block.type == "thinking")
    return [Message("assistant", _words(blocks), tool_calls=calls, reasoning=thought)]


def _result(block: Block) -> Message:
    if not block.tool_use_id:
        raise BadInput("A tool_result lacks tool_use_id", hint="Name the call it answers.")
    words = _words(block.content)
    told = f"Error: {words}" if block.is_error else words
    return Message("tool", told, tool_call_id=block.tool_use_id, images=_images(block.content))


def _images(content: "str | list[Block] | None") -> tuple[Image, ...]:
    blocks = content if isinstance(content, list) else []
    return tuple(_image(block.source) for block in blocks if block.type == "image")


def _image(source: Source | None) -> Image:
    return from_base64(source.data or "") if source and source.type == "base64" else from_url(None)


def _words(content: "str | list[Block] | None") -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(block.text or "" for block in content if block.type == "text")


def _wanted(body: Asked) -> Wanted:
    """Tools with a schema are the client's; the others are services that only Anthropic runs."""
    offered = [tool for tool in body.tools or () if tool.input_schema is not None]
    found = [declared(one.name, one.description, one.input_schema, strict=bool(one.strict)) for one in offered]
    choice = body.tool_choice
    if choice is None:
        return wanted(found, "auto")
    how = (choice.name or "",) if choice.type == "tool" else {"any": "required"}.get(choice.type, choice.type)
    return wanted(found, how, several=choice.disable_parallel_tool_use is False)


def _grammar(body: Messages) -> Grammar | None:
    form = (body.output_config.format if body.output_config else None) or body.output_format
    if form is None:
        return None
    if form.type != "json_schema" or form.schema_ is None:
        raise BadInput(f"An output format of type {form.type[:50]!r} is not in this build", hint="Use json_schema.")
    return Grammar("json_schema", json.dumps(form.schema_))
