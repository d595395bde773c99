"""Responses in OpenAI's shapes: whole, as the events of a stream, and told again from what was recorded."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from anubhav.flows.chat import Reply
from anubhav.flows.continuing import Told
from anubhav.flows.conversing import Noted
from anubhav.http.blocks import Block, Row, Step, Whole, gather, whole_of
from anubhav.http.openai.echoes import entries_of, entry_of, item_of, parts_of, prefix_of
from anubhav.http.openai.items import read_each
from anubhav.http.openai.response_bodies import Create
from anubhav.serving.streams import Piece
from anubhav.types.talks import Deferred, Entry

Json = dict[str, Any]
Logprobs = Callable[[Sequence[Piece]], list[Json]]


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the output of one response."""

    id: str
    created: float
    model: str
    anubhav: Json
    asked: Create
    read: int
    """Tokens of the prompt."""

    def response(self, status: str, output: list[Json], found: Whole | None = None, error: Json | None = None) -> Json:
        asked = self.asked
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": error,
            "background": asked.background is True,
            "conversation": {"id": asked.talk} if asked.talk else None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": _object(asked.metadata),
            "model": self.model,
            "output": output,
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": asked.previous_response_id,
            "reasoning": {"effort": asked.reasoning.effort if asked.reasoning else None, "summary": None},
            "store": asked.store is not False,
            "temperature": 1.0 if asked.temperature is None else asked.temperature,
            "text": {"format": _format(asked)},
            "tool_choice": _choice(asked),
            "tools": [_tool(tool.model_dump()) for tool in asked.tools or () if tool.type == "function"],
            "top_p": asked.top_p or 1.0,
            "truncation": "disabled",
            "usage": usage(self.read, found) if found else None,
            "user": asked.user if isinstance(asked.user, str) else None,
            "anubhav": self.anubhav,
        }


def frame_of(reply: Reply, asked: Create) -> Frame:
    voice = reply.voice
    origin = {"base_model": voice.base_model, "adapter": voice.adapter, "path": voice.path}
    return Frame(reply.id, time.time(), voice.name, origin, asked, len(reply.prompt_tokens))


async def whole(reply: Reply, asked: Create, logprobs: Logprobs) -> Json:
    found = await gather(reply.pieces)
    frame = frame_of(reply, asked)
    return frame.response(_status(found), output_of(reply.id, found, logprobs), found)


async def events(reply: Reply, asked: Create, logprobs: Logprobs) -> AsyncGenerator[Json]:
    """The episode is recorded before the events that end the response are sent."""
    frame, row, heard = frame_of(reply, asked), Row(), list[Piece]()
    number = -1

    def numbered(event: Json) -> Json:
        nonlocal number
        number += 1
        return {**event, "sequence_number": number}

    for kind in ("response.created", "response.in_progress"):
        yield numbered({"type": kind, "response": frame.response("in_progress", [])})
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            heard.append(piece)
            for step in row.grow(piece.heard):
                for event in _events(reply.id, step, logprobs([piece]) if asked.logprobs else []):
                    yield numbered(event)
    for step in row.close():
        for event in _events(reply.id, step, []):
            yield numbered(event)
    found = whole_of(heard)
    status = _status(found)
    final = frame.response(status, output_of(reply.id, found, logprobs if asked.logprobs else None), found)
    yield numbered({"type": f"response.{status}", "response": final})


def noted(name: str, asked: Create) -> Noted:
    """For the conversation: what was asked, and what the response `name` says."""

    def note(pieces: Sequence[Piece]) -> list[Entry]:
        said = enumerate(whole_of(pieces).blocks)
        told = [entry_of(_item(name, place, block, "completed")["id"], block, name) for place, block in said]
        return [*entries_of(read_each(asked.input), name), *told]

    return note


def queued(reply: Reply, asked: Create, one: Deferred) -> Json:
    return frame_of(reply, asked).response(one.state, [])


def looked_up(one: Deferred | None, told: Told | None) -> Json:
    """A response that was stored, or one in the background that is not whole."""
    if told:
        return _again(told, background=one is not None)
    assert one is not None
    frame = Frame(one.id, one.created_at, one.alias, {}, Create(model=one.alias, background=True), 0)
    code = "rate_limit_exceeded" if one.code in ("Busy", "Spent") else "server_error"
    return frame.response(one.state, [], error={"code": code, "message": one.problem} if one.problem else None)


def _again(told: Told, *, background: bool) -> Json:
    """A stored response. What its request said besides the conversation is not kept."""
    episode, row = told.episode, Row()
    steps = [*row.grow(told.heard), *row.close()]
    found = Whole(tuple(row.blocks), ()) if steps else Whole((), ())
    asked = Create(model=episode.alias, temperature=episode.temperature, background=background)
    origin = {"base_model": episode.base_model, "adapter": episode.adapter}
    read, made = len(episode.prompt_tokens), len(episode.choices[0].tokens)
    frame = Frame(episode.id, episode.created_at, episode.alias, origin, asked, read)
    status = "incomplete" if episode.choices[0].stop_reason == "length" else "completed"
    counts = {**usage(read, found), "output_tokens": made, "total_tokens": read + made}
    return {**frame.response(status, output_of(episode.id, found)), "usage": counts}


def input_items(told: Told) -> Json:
    """What the response was asked, in order."""
    name = told.episode.id
    data = [
        item_of(f"{prefix_of(part)}_{name}_in{place}_{number}", part)
        for place, one in enumerate(told.conversation[:-1])
        for number, part in enumerate(parts_of(one))
    ]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, "has_more": False, **ends}


def output_of(name: str, found: Whole, logprobs: Logprobs | None = None) -> list[Json]:
    """`name`: the response's, after which its items are named."""
    items = [_item(name, place, block, "completed") for place, block in enumerate(found.blocks)]
    texts = [item for item in items if item["type"] == "message"]
    if logprobs and texts:
        texts[0]["content"][0]["logprobs"] = logprobs(found.pieces)
    return items


def usage(read: int, found: Whole) -> Json:
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": found.cached, "cache_write_tokens": 0},
        "output_tokens": found.made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + found.made,
    }


def _status(found: Whole) -> str:
    return "incomplete" if found.cut else "completed"


def _item(name: str, place: int, block: Block, status: str) -> Json:
    end = f"{name.removeprefix('ep_')}_{place}"
    if block.call:
        call = {"call_id": block.call.id, "name": block.call.name, "arguments": block.text}
        return {"id": f"fc_{end}", "type": "function_call", "status": status, **call}
    if block.kind == "thought":
        content = [{"type": "reasoning_text", "text": block.text}] if block.text else []
        return {"id": f"rs_{end}", "type": "reasoning", "summary": [], "content": content, "status": status}
    content = [_part(block.text)] if block.text else []
    return {"id": f"msg_{end}", "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _events(name: str, step: Step, logprobs: list[Json]) -> list[Json]:
    block, status = step.block, "completed" if step.act == "close" else "in_progress"
    item = _item(name, step.index, block, status)
    place: Json = {"output_index": step.index}
    at = {**place, "item_id": item["id"]}
    if step.act == "open":
        first = [{"type": "response.output_item.added", **place, "item": item}]
        part = {"type": "response.content_part.added", **at, "content_index": 0, "part": _part("")}
        return [*first, part] if block.kind == "text" else first
    if step.act == "fill":
        kind = {"call": "function_call_arguments", "thought": "reasoning_text", "text": "output_text"}[block.kind]
        more = {} if block.kind == "call" else {"content_index": 0}
        more |= {"logprobs": logprobs} if block.kind == "text" else {}
        return [{"type": f"response.{kind}.delta", **at, **more, "delta": step.more}]
    return [*_done(block, at), {"type": "response.output_item.done", **place, "item": item}]


def _done(block: Block, at: Json) -> list[Json]:
    if block.call:
        done = {"type": "response.function_call_arguments.done", **at, "name": block.call.name}
        return [{**done, "arguments": block.text}]
    inner = {**at, "content_index": 0}
    if block.kind == "thought":
        return [{"type": "response.reasoning_text.done", **inner, "text": block.text}]
    return [
        {"type": "response.output_text.done", **inner, "text": block.text, "logprobs": []},
        {"type": "response.content_part.done", **inner, "part": _part(block.text)},
    ]


def _object(value: Any) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}


def _tool(tool: Json) -> Json:
    return {**tool, "strict": bool(tool["strict"]), "parameters": tool["parameters"] or {}}


def _choice(asked: Create) -> Any:
    choice = asked.tool_choice
    return "auto" if choice is None else choice if isinstance(choice, str) else choice.model_dump()


def _format(asked: Create) -> Json:
    form = asked.text.format if asked.text else None
    return form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}
