"""A proxy between a client and a server, which keeps what the one asked and how the other answered."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

Steer = Callable[[dict[str, Any]], dict[str, Any]]
_HOP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "content-encoding"}


@dataclass
class Exchange:
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    """JSON as the client sent it; None where there was none."""
    status: int = 0
    answer: bytes = b""
    ended: bool = False
    """Whether the answer came to its end."""


@dataclass
class Proxy:
    """`steer` may change a body on its way: what is kept is the client's own."""

    to: str
    steer: Steer = lambda body: body
    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        sent = await request.body()
        query = f"?{request.url.query}" if request.url.query else ""
        exchange = Exchange(request.method, request.url.path + query, dict(request.headers), _read(sent))
        self.exchanges.append(exchange)
        if isinstance(exchange.body, dict):
            sent = json.dumps(self.steer(dict(exchange.body))).encode()
        kept = {name: value for name, value in request.headers.items() if name not in _HOP}
        async with httpx2.AsyncClient(timeout=600) as client:
            asked = client.build_request(exchange.method, self.to + exchange.path, headers=kept, content=sent)
            answer = await client.send(asked, stream=True)
            exchange.status = answer.status_code
            told = {name: value for name, value in answer.headers.items() if name not in _HOP}
            await StreamingResponse(_pass_on(answer, exchange), answer.status_code, told)(scope, receive, send)


async def _pass_on(answer: httpx2.Response, exchange: Exchange) -> AsyncIterator[bytes]:
    async for part in answer.aiter_bytes():
        exchange.answer += part
        yield part
    exchange.ended = True


def _read(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


@contextmanager
def recording(to: str, steer: Steer = lambda body: body) -> Iterator[Proxy]:
    proxy = Proxy(to, steer)
    server = uvicorn.Server(uvicorn.Config(proxy, lifespan="off", log_level="warning", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield proxy
        finally:
            server.should_exit = True
            thread.join()
