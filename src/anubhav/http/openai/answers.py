"""Chat replies in OpenAI's shapes, whole and as events, and what completions share with them."""

import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from anubhav.errors import AnubhavError
from anubhav.flows.chat import Reply
from anubhav.http.errors import body_of, broken
from anubhav.rendering.renderer import Renderer
from anubhav.serving.streams import Piece
from anubhav.serving.voices import Voice


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


async def whole(reply: Reply, renderer: Renderer, n: int, *, logprobs: bool) -> dict[str, Any]:
    heard = await listen(reply.pieces, n)
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": "".join(piece.text for piece in one), "refusal": None},
            "logprobs": _logprobs(one, renderer) if logprobs else None,
            "finish_reason": one[-1].stop_reason,
        }
        for index, one in enumerate(heard)
    ]
    made = sum(len(piece.tokens) for one in heard for piece in one)
    cached = max(piece.cached for one in heard for piece in one)
    head = {**head_of(reply.id, reply.voice), "object": "chat.completion"}
    return {**head, "choices": choices, "usage": usage_of(len(reply.prompt_tokens), made, cached)}


async def events(reply: Reply, renderer: Renderer, *, logprobs: bool, usage: bool) -> AsyncGenerator[dict[str, Any]]:
    """The episode is recorded before the event that ends the last choice is sent."""
    head = {**head_of(reply.id, reply.voice), "object": "chat.completion.chunk"}
    begun: set[int] = set()
    made = cached = 0
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            made, cached = made + len(piece.tokens), max(cached, piece.cached)
            delta: dict[str, Any] = {} if piece.index in begun else {"role": "assistant"}
            begun.add(piece.index)
            if piece.text:
                delta["content"] = piece.text
            known = _logprobs([piece], renderer) if logprobs else None
            if delta or known or piece.stop_reason:
                yield {**head, "choices": [_delta(piece, delta, known)]}
    if usage:
        yield {**head, "choices": [], "usage": usage_of(len(reply.prompt_tokens), made, cached)}


async def streamed(events: AsyncGenerator[dict[str, Any]], request_id: str) -> AsyncGenerator[str]:
    """Server-sent events; what goes wrong after the first of them is an event too."""
    try:
        async with aclosing(events) as bodies:
            async for body in bodies:
                yield f"data: {json.dumps(body)}\n\n"
    except AnubhavError as problem:
        yield f"data: {json.dumps(body_of(problem, request_id))}\n\n"
    except Exception as problem:  # noqa: BLE001 - the status is sent already, so this is the last resort here
        yield f"data: {bytes(broken(problem, request_id).body).decode()}\n\n"
    else:
        yield "data: [DONE]\n\n"


def _delta(piece: Piece, delta: dict[str, Any], logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": piece.index, "delta": delta, "logprobs": logprobs, "finish_reason": piece.stop_reason}


def usage_of(read: int, made: int, cached: int | None = None) -> dict[str, Any]:
    """`cached`: of the prompt, what had been computed for an earlier one; None where it is not told."""
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}
    return usage if cached is None else {**usage, "prompt_tokens_details": {"cached_tokens": cached}}


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
