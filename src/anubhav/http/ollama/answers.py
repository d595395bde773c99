"""Replies in Ollama's shapes: one object, or a line of JSON for each piece."""

import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from anubhav.errors import AnubhavError
from anubhav.flows.chat import Reply
from anubhav.http.errors import broken
from anubhav.serving.streams import Piece
from anubhav.types.chat import NOTHING, Heard
from anubhav.types.models import Model

Json = dict[str, Any]
Shape = Callable[[Heard], Json]


def chat_shape(heard: Heard) -> Json:
    message: Json = {"role": "assistant", "content": heard.content}
    if heard.reasoning:
        message["thinking"] = heard.reasoning
    if heard.calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": json.loads(call.arguments)}} for call in heard.calls
        ]
    return {"message": message}


def generate_shape(heard: Heard) -> Json:
    return {"response": heard.content} | ({"thinking": heard.reasoning} if heard.reasoning else {})


async def whole(reply: Reply, shape: Shape, started: float) -> Json:
    heard, made, reason = NOTHING, 0, "stop"
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            heard, made, reason = heard + piece.heard, made + len(piece.tokens), piece.stop_reason or reason
    return {**_head(reply), **shape(heard), **_ending(reply, made, reason, started)}


async def lines(reply: Reply, shape: Shape, started: float, request_id: str) -> AsyncGenerator[str]:
    """The last one is sent once the episode is recorded; what goes wrong is a line too."""
    made, last = 0, None
    try:
        async with aclosing(reply.pieces) as pieces:
            async for piece in pieces:
                made, last = made + len(piece.tokens), piece
                if piece.heard != NOTHING:
                    yield _line({**_head(reply), **shape(piece.heard), "done": False})
    except AnubhavError as problem:
        yield _line({"error": str(problem), "request_id": request_id})
    except Exception as problem:  # noqa: BLE001 - the status is sent already, so this is the last resort here
        broken(problem, request_id)
        yield _line({"error": "The server failed on this request", "request_id": request_id})
    else:
        yield _line({**_head(reply), **shape(NOTHING), **_ending(reply, made, _reason(last), started)})


def model_json(name: str, model: Model) -> Json:
    size = sum(file.stat().st_size for file in model.folder.iterdir() if file.is_file())
    when = datetime.fromtimestamp(model.folder.stat().st_mtime, UTC).isoformat()
    return {"name": name, "model": name, "modified_at": when, "size": size, "digest": "", "details": details(model)}


def details(model: Model) -> Json:
    family = model.name.partition("-")[0]
    told = {"parent_model": "", "format": "safetensors", "family": family, "families": [family]}
    return {**told, "parameter_size": "", "quantization_level": ""}


def _head(reply: Reply) -> Json:
    return {"model": reply.voice.name, "created_at": datetime.now(UTC).isoformat(), "id": reply.id}


def _ending(reply: Reply, made: int, reason: str, started: float) -> Json:
    spent = int((time.monotonic() - started) * 1e9)
    counts = {"prompt_eval_count": len(reply.prompt_tokens), "eval_count": made}
    return {"done": True, "done_reason": reason, "total_duration": spent, **counts}


def _reason(last: Piece | None) -> str:
    return last.stop_reason or "stop" if last else "stop"


def _line(body: Json) -> str:
    return json.dumps(body) + "\n"
