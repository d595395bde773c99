"""Replies in Anthropic's shapes, whole and as events."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from anubhav.flows.chat import Reply
from anubhav.http.blocks import Block, Row, Step, Whole, gather, whole_of
from anubhav.rendering.renderer import Renderer
from anubhav.serving.streams import Piece


async def whole(reply: Reply, renderer: Renderer, stops: tuple[str, ...]) -> dict[str, Any]:
    found = await gather(reply.pieces)
    content = [_block(block) for block in found.blocks]
    usage = _usage(reply, found)
    return {**_head(reply), "content": content, **_ending(found, renderer, stops), "usage": usage}


async def events(reply: Reply, renderer: Renderer, stops: tuple[str, ...]) -> AsyncGenerator[dict[str, Any]]:
    row, heard = Row(), list[Piece]()
    begun: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            if not heard:
                usage = _usage(reply, whole_of([piece])) | {"output_tokens": 0}
                yield {"type": "message_start", "message": {**_head(reply), **begun, "usage": usage}}
            heard.append(piece)
            for step in row.grow(piece.heard):
                yield _event(step)
    for step in row.close():
        yield _event(step)
    found = whole_of(heard)
    yield {"type": "message_delta", "delta": _ending(found, renderer, stops), "usage": _usage(reply, found)}
    yield {"type": "message_stop"}


def _head(reply: Reply) -> dict[str, Any]:
    return {"id": reply.id, "type": "message", "role": "assistant", "model": reply.voice.name}


def _block(block: Block) -> dict[str, Any]:
    if block.call:
        return {"type": "tool_use", "id": block.call.id, "name": block.call.name, "input": _object(block.text)}
    if block.kind == "thought":
        return {"type": "thinking", "thinking": block.text, "signature": ""}
    return {"type": "text", "text": block.text, "citations": None}


def _event(step: Step) -> dict[str, Any]:
    if step.act == "close":
        return {"type": "content_block_stop", "index": step.index}
    if step.act == "open":
        return {"type": "content_block_start", "index": step.index, "content_block": _block(step.block)}
    delta = {
        "call": {"type": "input_json_delta", "partial_json": step.more},
        "thought": {"type": "thinking_delta", "thinking": step.more},
        "text": {"type": "text_delta", "text": step.more},
    }[step.block.kind]
    return {"type": "content_block_delta", "index": step.index, "delta": delta}


def _object(arguments: str) -> Any:
    """What stands in a call is checked to be an object where it is heard."""
    return json.loads(arguments) if arguments else {}


def _ending(found: Whole, renderer: Renderer, stops: tuple[str, ...]) -> dict[str, Any]:
    stop = None if found.cut or found.called else _stop(found, renderer, stops)
    reason = "max_tokens" if found.cut else "tool_use" if found.called else "stop_sequence" if stop else "end_turn"
    return {"stop_reason": reason, "stop_sequence": stop}


def _stop(found: Whole, renderer: Renderer, stops: tuple[str, ...]) -> str | None:
    """The stop string that ended the reply: what its tokens say goes on with it where its text ends."""
    said = "".join(piece.text for piece in found.pieces)
    decoded = renderer.decode([token for piece in found.pieces for token in piece.tokens])
    return next((stop for stop in stops if decoded.startswith(stop, len(said))), None)


def _usage(reply: Reply, found: Whole) -> dict[str, Any]:
    """`input_tokens` are those that were not read from what was computed before, as in this dialect."""
    return {
        "input_tokens": len(reply.prompt_tokens) - found.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": found.cached,
        "output_tokens": found.made,
    }
