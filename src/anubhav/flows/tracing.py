"""Tracing: a chat's pieces as they pass, told to a collector when there is one."""

import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from anubhav.serving.streams import Piece
from anubhav.serving.voices import Voice
from anubhav.telemetry.traces import ChatSpan, is_exporting
from anubhav.types.sampling import SampleRequest


def traced(
    name: str, voice: Voice, request: SampleRequest, session: str | None, pieces: AsyncGenerator[Piece]
) -> AsyncGenerator[Piece]:
    """The same pieces. `name`: the reply's id; of the session only a hash is told, as its name is the client's word."""
    if not is_exporting():
        return pieces
    return _traced(name, voice, request, session, pieces, time.time_ns())


async def _traced(
    name: str,
    voice: Voice,
    request: SampleRequest,
    session: str | None,
    pieces: AsyncGenerator[Piece],
    begun: int,
) -> AsyncGenerator[Piece]:
    span, params = ChatSpan(voice.name, begun), request.params
    span.tell(response=name, base_model=voice.base_model, adapter=voice.adapter, input_tokens=len(request.prompt))
    span.tell(max_tokens=params.max_tokens, temperature=params.temperature, top_p=params.top_p, choices=request.n)
    if session:
        span.tell(conversation=hashlib.sha256(f"{request.tenant}/{session}".encode()).hexdigest()[:32])
    made = cached = 0
    ends: list[str] = []
    try:
        async with aclosing(pieces) as stream:
            async for piece in stream:
                if not made:
                    span.tell(seconds_to_first_token=(time.time_ns() - begun) / 1e9)
                made, cached = made + len(piece.tokens), max(cached, piece.cached)
                ends += [piece.stop_reason] if piece.stop_reason else []
                yield piece
    except BaseException as problem:
        span.fail(problem)
        raise
    finally:
        span.tell(output_tokens=made, cached_tokens=cached, finish_reasons=ends)
        span.end()
