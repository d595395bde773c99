"""Chat replies in OpenAI's shapes, whole and as events, and what completions share with them."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from anubhav.flows.chat import Reply
from anubhav.rendering.renderer import Renderer
from anubhav.serving.streams import Piece
from anubhav.serving.voices import Voice
from anubhav.types.chat import NOTHING, Heard, ToolCall


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client wants to see besides the words."""

    logprobs: bool = False
    usage: bool = False
    token_ids: bool = False


def model_json(name: str, *, created: int | None = None, owner: str = "anubhav") -> dict[str, Any]:
    """A model as OpenAI's API tells of it, and as Anthropic's does."""
    now = int(time.time()) if created is None else created
    told = {"type": "model", "display_name": name, "created_at": datetime.fromtimestamp(now, UTC).isoformat()}
    return {"id": name, "object": "model", "created": now, "owned_by": owner, **told}


def head_of(name: str, voice: Voice) -> dict[str, Any]:
    return {
        "id": name,
        "created": int(time.time()),
        "model": voice.name,
        "system_fingerprint": voice.adapter or voice.base_model,
        "anubhav": {"base_model": voice.base_model, "adapter": voice.adapter, "path": voice.path},
    }


async def listen(pieces: AsyncGenerator[Piece], n: int) -> list[list[Piece]]:
    """The pieces of each of the n samples."""
    heard: list[list[Piece]] = [[] for _ in range(n)]
    async with aclosing(pieces) as stream:
        async for piece in stream:
            heard[piece.index].append(piece)
    return heard


async def whole(reply: Reply, renderer: Renderer, n: int, shown: Shown) -> dict[str, Any]:
    heard = await listen(reply.pieces, n)
    choices = [
        {
            "index": index,
            "message": _message(sum((piece.heard for piece in one), NOTHING)),
            "logprobs": _logprobs(one, renderer) if shown.logprobs else None,
            "finish_reason": _ending(one[-1], called=any(piece.heard.calls for piece in one)),
        }
        | ({"token_ids": [token for piece in one for token in piece.tokens]} if shown.token_ids else {})
        for index, one in enumerate(heard)
    ]
    made = sum(len(piece.tokens) for one in heard for piece in one)
    cached = max(piece.cached for one in heard for piece in one)
    head = {**_head(reply, shown), "object": "chat.completion"}
    return {**head, "choices": choices, "usage": usage_of(len(reply.prompt_tokens), made, cached)}


async def events(reply: Reply, renderer: Renderer, shown: Shown) -> AsyncGenerator[dict[str, Any]]:
    """The episode is recorded before the event that ends the last choice is sent."""
    head = {**_head(reply, shown), "object": "chat.completion.chunk"}
    calls: dict[int, int] = {}
    made = cached = 0
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            made, cached = made + len(piece.tokens), max(cached, piece.cached)
            delta: dict[str, Any] = {} if piece.index in calls else {"role": "assistant"}
            delta |= _delta(piece.heard, calls.setdefault(piece.index, 0))
            calls[piece.index] += len(piece.heard.calls)
            known = _logprobs([piece], renderer) if shown.logprobs else None
            if delta or known or piece.stop_reason or (shown.token_ids and piece.tokens):
                ending = _ending(piece, called=calls[piece.index] > 0)
                choice = {"index": piece.index, "delta": delta, "logprobs": known, "finish_reason": ending}
                yield {**head, "choices": [choice | ({"token_ids": piece.tokens} if shown.token_ids else {})]}
    if shown.usage:
        yield {**head, "choices": [], "usage": usage_of(len(reply.prompt_tokens), made, cached)}


def _head(reply: Reply, shown: Shown) -> dict[str, Any]:
    head = head_of(reply.id, reply.voice)
    if reply.clamped is not None:
        head["anubhav"]["max_tokens"] = reply.clamped
    return head | ({"prompt_token_ids": reply.prompt_tokens} if shown.token_ids else {})


def _message(heard: Heard) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": heard.content, "refusal": None}
    if heard.reasoning:
        said["reasoning_content"] = heard.reasoning
    if heard.calls:
        said |= {"content": heard.content or None, "tool_calls": [call_json(call) for call in heard.calls]}
    return said


def _delta(heard: Heard, calls: int) -> dict[str, Any]:
    """`calls`: how many were told before."""
    found: dict[str, Any] = {"reasoning_content": heard.reasoning} if heard.reasoning else {}
    if heard.content:
        found["content"] = heard.content
    if heard.calls:
        found["tool_calls"] = [{"index": calls + place, **call_json(call)} for place, call in enumerate(heard.calls)]
    return found


def call_json(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _ending(piece: Piece, *, called: bool) -> str | None:
    return "tool_calls" if called and piece.stop_reason == "stop" else piece.stop_reason


def usage_of(read: int, made: int, cached: int | None = None) -> dict[str, Any]:
    """`cached`: of the prompt, what had been computed for an earlier one; None where it is not told."""
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
    return usage if cached is None else {**usage, "prompt_tokens_details": {"cached_tokens": cached}}


def token_logprobs(renderer: Renderer) -> Callable[[Sequence[Piece]], list[dict[str, Any]]]:
    """What tells the log-probabilities of pieces, token by token."""
    return lambda pieces: _logprobs(pieces, renderer)["content"]


def _logprobs(pieces: Sequence[Piece], renderer: Renderer) -> dict[str, Any]:
    """One entry per token of the text; the token that ends the turn is no text."""
    content = [
        {
            **_token(token, logprob, renderer),
            "top_logprobs": [_token(*other, renderer) for other in (piece.top[place] if piece.top else ())],
        }
        for piece in pieces
        for place, (token, logprob) in enumerate(zip(piece.tokens, piece.logprobs, strict=True))
        if not renderer.is_control(token)
    ]
    return {"content": content, "refusal": None}


def _token(token: int, logprob: float, renderer: Renderer) -> dict[str, Any]:
    """`bytes` is null for a token that is a part of a character."""
    text = renderer.decode([token])
    return {
        "token": text,
        "logprob": logprob,
        "bytes": None if "\N{REPLACEMENT CHARACTER}" in text else [*text.encode()],
    }
