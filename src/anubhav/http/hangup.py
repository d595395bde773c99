"""A client that hangs up is served no further: its slots are for others."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from anubhav.errors import Gone

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives; None, with the work cancelled, when the client hangs up first."""

    async def hang_up() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    answer, gone = asyncio.create_task(work), asyncio.create_task(hang_up())
    try:
        await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def answered(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. Raises Gone when the client hangs up first."""
    found = await unless_gone(request.receive, work)
    if found is None:
        raise Gone("The client hung up before the answer was whole")
    return found


class EventStream(StreamingResponse):
    """Starlette's own never cancels a busy stream: its cancel scope passes by a task whose next event is there."""

    def __init__(
        self, events: AsyncGenerator[str] | AsyncGenerator[bytes], headers: Mapping[str, str] | None = None
    ) -> None:
        shown = {"cache-control": "no-cache", **(headers or {})}
        super().__init__(events, media_type="text/event-stream", headers=shown)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            await unless_gone(receive, self.stream_response(send))
