"""Replies in OpenAI's shapes, whole and as server-sent events."""

import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from anubhav.errors import AnubhavError
from anubhav.flows.chat import Reply
from anubhav.http.errors import body_of
from anubhav.rendering.renderer import Renderer
from anubhav.serving.streams import Piece


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    voice = reply.voice
    return {
        "id": reply.id,
        "object": kind,
        "created": int(time.time()),
        "model": voice.name,
        "system_fingerprint": voice.adapter or voice.base_model,
        "anubhav": {"base_model": voice.base_model, "adapter": voice.adapter, "path": voice.path},
    }


async def whole(reply: Reply, renderer: Renderer, n: int, *, logprobs: bool) -> dict[str, Any]:
    heard: list[list[Piece]] = [[] for _ in range(n)]
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            heard[piece.index].append(piece)
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
    return {**_head(reply, "chat.completion"), "choices": choices, "usage": _usage(reply, made)}


async def events(
    reply: Reply, renderer: Renderer, request_id: str, *, logprobs: bool, usage: bool
) -> AsyncGenerator[str]:
    """The episode is recorded before the event that ends the last choice is sent."""
    head = _head(reply, "chat.completion.chunk")
    begun: set[int] = set()
    made = 0
    try:
        async with aclosing(reply.pieces) as pieces:
            async for piece in pieces:
                made += len(piece.tokens)
                delta: dict[str, Any] = {} if piece.index in begun else {"role": "assistant"}
                begun.add(piece.index)
                if piece.text:
                    delta["content"] = piece.text
                known = _logprobs([piece], renderer) if logprobs else None
                if delta or known or piece.stop_reason:
                    yield _event({**head, "choices": [_delta(piece, delta, known)]})
    except AnubhavError as problem:
        yield _event(body_of(problem, request_id))
        return
    if usage:
        yield _event({**head, "choices": [], "usage": _usage(reply, made)})
    yield "data: [DONE]\n\n"


def _delta(piece: Piece, delta: dict[str, Any], logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": piece.index, "delta": delta, "logprobs": logprobs, "finish_reason": piece.stop_reason}


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"


def _usage(reply: Reply, made: int) -> dict[str, int]:
    read = len(reply.prompt_tokens)
    return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}


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
    text = renderer.decode([token])
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
